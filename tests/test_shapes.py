"""Integer arithmetic of sizes: the worked numbers, the formulas against counting, the refusals."""

import itertools

import numpy as np
import pytest

from filterworks import shapes
from filterworks.errors import ArgumentError


@pytest.mark.parametrize(
    ("i", "k", "s", "p", "out"),
    [
        (5, 2, 2, 1, 3),
        (6, 3, 2, 1, 3),
        (5, 3, 2, 1, 3),
        (5, 4, 1, 2, 6),
        (8, 3, 1, 1, 8),
        (8, 3, 2, 1, 4),
        (5, 3, 1, 0, 3),
    ],
)
def test_worked_sizes(i, k, s, p, out):
    assert shapes.conv_output_size(i, k, stride=s, padding=p) == out


def test_worked_sizes_per_axis():
    assert shapes.conv_output_size((8, 8), (5, 3), padding=(2, 1)) == (8, 8)
    assert shapes.conv_output_size((8, 8), (3, 5), stride=(3, 4), padding=(0, 1)) == (2, 2)
    assert shapes.conv_output_size((8, 9, 10), 3, stride=2) == (3, 4, 4)
    assert shapes.conv_output_size([8, 9], 3, padding=[(1, 2), (0, 0)]) == (9, 7)
    assert shapes.conv_output_size(8, (3, 5)) == (6, 4)


@pytest.mark.parametrize(
    ("i", "k", "s", "p", "a", "back"), [(6, 3, 2, 1, 1, 6), (5, 3, 2, 1, 0, 5), (5, 4, 1, 2, 0, 5)]
)
def test_there_and_back(i, k, s, p, a, back):
    out = shapes.conv_output_size(i, k, stride=s, padding=p)
    assert shapes.output_padding(i, k, stride=s, padding=p) == a
    assert shapes.conv_transpose_output_size(out, k, stride=s, padding=p, output_padding=a) == back


CASES = [
    (i, k, s, p, d)
    for i, k, s, p, d in itertools.product(range(1, 9), range(1, 5), range(1, 5), range(4), range(1, 4))
    if d * (k - 1) < i + 2 * p
]


def test_against_counting():
    for i, k, s, p, d in CASES:
        positions = [o for o in range(100) if o * s + d * (k - 1) < i + 2 * p]
        assert shapes.conv_output_size(i, k, stride=s, padding=p, dilation=d) == len(positions)


def test_output_padding_restores_every_size():
    for i, k, s, p, d in CASES:
        out = shapes.conv_output_size(i, k, stride=s, padding=p, dilation=d)
        a = shapes.output_padding(i, k, stride=s, padding=p, dilation=d)
        assert 0 <= a < s
        back = shapes.conv_transpose_output_size(out, k, stride=s, padding=p, output_padding=a, dilation=d)
        assert back == i


def test_the_table_of_the_specification():
    i, k, p, s = 11, 4, 2, 3
    assert shapes.conv_output_size(i, k) == i - k + 1
    assert shapes.conv_output_size(i, k, padding=p) == i - k + 2 * p + 1
    assert shapes.conv_output_size(i, 5, padding=2) == i
    assert shapes.conv_output_size(i, k, padding=k - 1) == i + k - 1
    assert shapes.conv_output_size(i, k, stride=s) == (i - k) // s + 1
    assert shapes.conv_transpose_output_size(i, k) == i + k - 1
    assert shapes.conv_transpose_output_size(i, k, padding=p) == i + k - 1 - 2 * p
    assert shapes.conv_transpose_output_size(i, 5, padding=2) == i
    assert shapes.conv_transpose_output_size(i, k, padding=k - 1) == i - k + 1
    assert shapes.conv_transpose_output_size(i, k, stride=s) == s * (i - 1) + k
    assert (
        shapes.conv_transpose_output_size(i, k, stride=s, padding=p, output_padding=2)
        == s * (i - 1) + k - 2 * p + 2
    )


def test_padding_that_keeps_the_size():
    for k, d in itertools.product(range(1, 6), range(1, 4)):
        low, high = shapes.same_padding(k, dilation=d)
        assert 0 <= high - low <= 1
        assert shapes.conv_output_size(9, k, padding=[(low, high)], dilation=d) == (9,)
        assert shapes.conv_output_size(9, k, padding="same", dilation=d) == 9
    assert shapes.same_padding(3, dilation=4) == (4, 4)
    assert shapes.same_padding((3, 4), dilation=2) == ((2, 2), (3, 3))
    assert shapes.conv_output_size(9, 4, padding="valid", stride=2) == 3


def test_direct_equivalent():
    found = shapes.direct_equivalent(4, stride=2, padding=1, output_padding=1)
    assert found == (4, 1, (2, 3), 1, 1)
    assert shapes.direct_equivalent(3, padding=4).padding == (-2, -2)
    assert shapes.direct_equivalent((3, 2), stride=(1, 3), dilation=2) == (
        (3, 1, (4, 4), 0, 0),
        (2, 1, (2, 2), 2, 0),
    )
    for i, k, s, p, d in CASES:
        for a in range(max(s, d)):
            try:
                out = shapes.conv_transpose_output_size(
                    i, k, stride=s, padding=p, output_padding=a, dilation=d
                )
            except ArgumentError:
                continue
            same = shapes.direct_equivalent(k, stride=s, padding=p, output_padding=a, dilation=d)
            spread = i + (i - 1) * same.inserted_zeros + sum(same.padding)
            assert spread - d * (k - 1) == out


def test_receptive_field_and_jump():
    layers = [(7, 2, 1), (3, 2, 1), (3, 1, 2)]
    assert shapes.receptive_field(layers) == 1 + 6 + 2 * 2 + 4 * 4
    assert shapes.jump(layers) == 4
    assert shapes.receptive_field([((3, 5), 2, 1), (3, (1, 2), (1, 2))]) == (7, 13)
    assert shapes.jump([((3, 5), 2, 1), (3, (1, 2), (1, 2))]) == (2, 4)
    assert shapes.receptive_field([]) == shapes.jump([]) == 1


def test_gridding():
    assert shapes.dilation_coverage([(3, 2), (3, 2), (3, 2)]) == (7, 13)
    assert shapes.dilation_coverage([(3, 1), (3, 2), (3, 3)]) == (13, 13)
    assert shapes.samples_read([(3, 2), (3, 2), (3, 2)]) == (0, 2, 4, 6, 8, 10, 12)
    assert shapes.samples_read([(2, 5), (3, 1)]) == (0, 1, 2, 5, 6, 7)
    assert shapes.dilation_coverage([((3, 2), (2, 1)), (3, 2)]) == ((5, 6), (9, 6))
    assert shapes.samples_read([(3, (1, 2))]) == ((0, 1, 2), (0, 2, 4))
    assert shapes.dilation_coverage([]) == (1, 1)


def test_python_ints_only():
    found = shapes.conv_output_size(
        np.int64(8), np.array([3, 5]), stride=np.uint8(2), padding=(np.int32(1), 0)
    )
    assert found == (4, 2)
    assert {type(size) for size in found} == {int}
    assert type(shapes.conv_output_size(np.int16(8), np.int64(3))) is int
    assert shapes.conv_output_size(10**30, 3) == 10**30 - 2


@pytest.mark.parametrize(
    ("function", "arguments", "options", "message"),
    [
        (
            shapes.conv_output_size,
            (5, 8),
            {"padding": 1},
            r"8 taps with dilation 1 span 8 samples, the padded input has 5 \+ 1 \+ 1 = 7; the output "
            r"size would be ⌊\(7 − 8\)/1⌋ \+ 1 = 0",
        ),
        (shapes.output_padding, (5, 3), {"dilation": 3}, r"3 taps with dilation 3 span 7 samples"),
        (shapes.conv_output_size, (0, 1), {"padding": 1}, r"`input` must be an integer of at least 1; got 0"),
        (shapes.conv_output_size, (5, 0), {}, r"`kernel` must be an integer of at least 1; got 0"),
        (shapes.conv_output_size, (5, 3), {"stride": 0}, r"`stride` must be"),
        (shapes.conv_output_size, (5, 3), {"dilation": -1}, r"`dilation` must be"),
        (shapes.conv_output_size, (5, 3), {"padding": -1}, r"`padding` must be"),
        (shapes.conv_output_size, (5.0, 3), {}, r"`input` must be an integer"),
        (shapes.conv_output_size, (5, True), {}, r"`kernel` must be an integer"),
        (
            shapes.conv_output_size,
            ((5, 6), (3, 3, 3)),
            {},
            r"same number of axes; got \{'input': 2, 'kernel': 3\}",
        ),
        (shapes.conv_output_size, ((5, 6), 3), {"padding": (1, 2, 3)}, r"same number of axes"),
        (
            shapes.conv_output_size,
            (5, 3),
            {"padding": "same", "stride": 2},
            r"needs stride 1; got stride \(2,\)",
        ),
        (
            shapes.conv_transpose_output_size,
            (5, 3),
            {"output_padding": 1},
            r"smaller than the stride or the dilation; got 1 with stride 1 and dilation 1",
        ),
        (
            shapes.conv_transpose_output_size,
            (2, 3),
            {"padding": 2},
            r"1·\(2 − 1\) \+ 3 − 2 − 2 \+ 0 = 0; it must be at least 1",
        ),
        (shapes.direct_equivalent, (3,), {"stride": 2, "output_padding": 2}, r"got 2 with stride 2"),
        (
            shapes.receptive_field,
            ([(3, 1)],),
            {},
            r"\(kernel, stride, dilation\) for each layer; got \(3, 1\)",
        ),
        (shapes.receptive_field, ([3],), {}, r"got \(3,\)"),
        (
            shapes.dilation_coverage,
            ([(3, 0)],),
            {},
            r"`dilation of layer 0` must be an integer of at least 1; got 0",
        ),
        (shapes.same_padding, (0,), {}, r"`kernel` must be"),
    ],
)
def test_impossible_values(function, arguments, options, message):
    with pytest.raises(ArgumentError, match=message):
        function(*arguments, **options)
