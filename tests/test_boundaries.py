import numpy as np
import pytest

from filterworks.boundaries import ALIASES, BOUNDARIES, LIBRARIES, as_boundary, pad, source_index, window
from filterworks.errors import ArgumentError

NUMPY = {
    "constant": "constant",
    "nearest": "edge",
    "symmetric": "symmetric",
    "mirror": "reflect",
    "wrap": "wrap",
}


@pytest.mark.parametrize("boundary", NUMPY)
def test_padding_equals_numpy_also_far_beyond_the_data(boundary):
    rng = np.random.default_rng(0)
    values = {"constant_values": 3.5} if boundary == "constant" else {}
    for _ in range(200):
        shape = rng.integers(1, 6, rng.integers(1, 4)).tolist()
        x = rng.normal(size=shape)
        padding = rng.integers(0, 12, (len(shape), 2)).tolist()
        expected = np.pad(x, padding, mode=NUMPY[boundary], **values)
        np.testing.assert_array_equal(pad(x, range(len(shape)), padding, boundary, 3.5), expected)


def test_negative_padding_crops():
    x = np.arange(10)
    np.testing.assert_array_equal(pad(x, [0], [(-3, -2)], "wrap"), [3, 4, 5, 6, 7])
    np.testing.assert_array_equal(pad(x, [0], [(-9, 2)], "nearest"), [9, 9, 9])
    np.testing.assert_array_equal(pad(x, [0], [(-11, 3)], "symmetric"), [8, 7])


def test_every_picture():
    pictures = {
        "nearest": "aaaa abcd ddd",
        "symmetric": "dcba abcd dcb",
        "mirror": "cdcb abcd cba",
        "wrap": "abcd abcd abc",
    }
    letters = np.array(list("abcd"))
    for boundary, picture in pictures.items():
        assert "".join(letters[source_index(4, 4, 3, boundary)]) == picture.replace(" ", "")


def test_names_of_other_libraries():
    for name in BOUNDARIES:
        assert as_boundary(name) == name
    for alias, name in ALIASES.items():
        assert as_boundary(alias) == name
    for library, names in LIBRARIES.items():
        for theirs, name in names.items():
            assert as_boundary(f"{library}:{theirs}") == name
            assert as_boundary(f"{library}:{theirs.upper()}") == name
    assert as_boundary("cv2:BORDER_REFLECT_101") == "mirror"


def test_nothing_stands_outside_where_the_boundary_puts_a_value():
    for boundary in ("constant", "omit"):
        np.testing.assert_array_equal(source_index(2, 1, 3, boundary), [-1, 0, 1, -1, -1, -1])


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_window_equals_that_part_of_the_padded_whole(boundary):
    x = np.arange(1.0, 21).reshape(4, 5)
    whole = pad(x, (0, 1), ((6, 6), (7, 7)), boundary)
    for start, stop in ((-6, 2), (0, 4), (1, 3), (2, 10), (-6, 10), (4, 9), (-5, -1)):
        got = window(x, (0, 1), ((start, stop), (-7, 12)), boundary)
        np.testing.assert_array_equal(got, whole[start + 6 : stop + 6])


def test_the_bare_word_reflect_is_refused_with_both_pictures():
    with pytest.raises(ArgumentError, match=r"c b a\|a b c d\|d c b.*d c b\|a b c d\|c b a"):
        as_boundary("reflect")
