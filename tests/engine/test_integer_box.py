"""Boxes of small integers: the exact sum times the factor, however the data lie and the work is cut."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import filterworks as fw
from filterworks import convolution
from filterworks.engine import field, integer_box, separable, unstaged
from filterworks.engine.integer_box import dtype_of_sums, multiplier, parts_of
from filterworks.machine.compiler import obstacle
from filterworks.request import DEFAULTS, make_request

pytestmark = pytest.mark.skipif(obstacle() is not None, reason="nothing can be compiled here")
RNG = np.random.default_rng(17)
OUTSIDE = {
    "constant": "constant", "nearest": "edge", "symmetric": "symmetric", "mirror": "reflect", "wrap": "wrap",
}  # fmt: skip
DTYPES = ["?", "u1", "i1", "u2", "i2"]


def forget():
    separable._plane.cache_clear()
    convolution._recall.cache_clear()


@pytest.fixture(autouse=True)
def anew():
    forget()
    yield
    forget()


def samples(shape, dtype):
    if dtype == "?":
        return RNG.random(shape) < 0.5
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, shape, endpoint=True).astype(dtype)


def rounded(values, dtype):
    if dtype is None:
        return values
    info = np.iinfo(dtype)
    return np.clip(np.rint(values), info.min, info.max).astype(dtype)


def window_sums(x, size):
    """Return the sums of all windows over the first two axes, of integers that wrap nowhere."""
    for axis, k in enumerate(size):
        totals = np.insert(x.cumsum(axis=axis), 0, 0, axis=axis)
        count = totals.shape[axis]
        x = totals.take(range(k, count), axis) - totals.take(range(count - k), axis)
    return x


def test_the_reference_is_a_sum():
    x = samples((9, 12, 2), "i1").astype(np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 4), axis=(0, 1))
    np.testing.assert_array_equal(window_sums(x, (3, 4)), windows.sum(axis=(-2, -1)))


def expected(x, size, boundary, *, dtype=None, origin=(0, 0), factor=None):
    """Return direct sums over the first two axes, times the factor in single precision."""
    pads = [(k // 2 + o, k - 1 - k // 2 - o) for k, o in zip(size, origin, strict=True)]
    padded = np.pad(x.astype(np.int64), [*pads, *[(0, 0)] * (x.ndim - 2)], mode=OUTSIDE[boundary])
    factor = 1 / math.prod(size) if factor is None else factor
    sums = window_sums(padded, size)
    return rounded(sums.astype(np.float32) * np.float32(factor), dtype)


def mean(x, size, boundary="symmetric", **options):
    options = {"axes": (0, 1), "method": "separable", **options}
    return fw.correlate(x, np.full(size, 1 / math.prod(size)), boundary=boundary, **options)


def check(x, size, boundary, **options):
    for dtype in (None,) if x.dtype == bool else (None, x.dtype):
        found = mean(x, size, boundary, dtype=dtype, **options)
        wanted = expected(x, size, boundary, dtype=dtype, **options)
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted, err_msg=f"{x.dtype} {x.shape} {size} {boundary}")


WINDOWS = [(3, 3), (2, 1), (4, 9), (16, 16), (1, 23), (31, 31), (3, 40)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("boundary", OUTSIDE)
def test_every_window_boundary_and_channel(dtype, boundary):
    shapes = [(40, 70), (7, 100, 3), (12, 20, 17), (8, 9, 40)]
    for shape, size in itertools.product(shapes, WINDOWS):
        check(samples(shape, dtype), size, boundary)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_width_and_height(dtype):
    for width in [*range(2, 35), 63, 64, 65, 97]:
        for shape, size in (((4, width), (3, 3)), ((width, 2), (4, 5)), ((2, width), (2, 24))):
            check(samples(shape, dtype), size, "mirror")
    for shape in ((1, 1), (1, 9), (9, 1), (1, 1, 3)):
        for size, boundary in itertools.product([(3, 3), (7, 30)], ["constant", "wrap", "nearest"]):
            check(samples(shape, dtype), size, boundary)


@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2"])
def test_narrower_vectors(vector_bytes, dtype, monkeypatch):
    monkeypatch.setattr("filterworks.machine.loops.vector_bytes", lambda: vector_bytes)
    for shape, size in itertools.product([(9, 75), (9, 31, 3), (6, 7, 20)], WINDOWS):
        check(samples(shape, dtype), size, "symmetric")


@pytest.mark.parametrize("dtype", ["u1", "i2"])
@pytest.mark.parametrize("boundary", OUTSIDE)
@pytest.mark.parametrize("threads", [1, 3])
def test_blocks_and_threads(dtype, boundary, threads, monkeypatch):
    monkeypatch.setattr(unstaged, "_CHUNK", 100)
    monkeypatch.setattr(unstaged, "_LEAST", 5)
    monkeypatch.setattr(unstaged, "usable_threads", lambda: threads)
    monkeypatch.setattr(field, "_WORTH_A_BLOCK", 0)
    monkeypatch.setattr(field, "_WORTH_A_THREAD", 0)
    counts = []
    run = integer_box.IntegerBox.run
    monkeypatch.setattr(
        integer_box.IntegerBox,
        "run",
        lambda self, *given: (counts.append(self.block_count), run(self, *given))[1],
    )
    for size in ((3, 3), (4, 13), (15, 9), (1, 24), (30, 2)):
        check(samples((61, 213), dtype), size, boundary)
        check(samples((40, 190, 3), dtype), size, boundary)
    assert len(counts) == 20
    assert min(counts) > 1


@pytest.mark.parametrize("origin", [(0, 0), (1, -1), (-1, 2), (1, -2)])
def test_one_sided_windows(origin):
    for dtype, boundary in itertools.product(DTYPES, OUTSIDE):
        check(samples((30, 50), dtype), (4, 5), boundary, origin=origin)


@pytest.mark.parametrize("mode", ["valid", "full"])
def test_modes(mode):
    for dtype, size in itertools.product(DTYPES, [(3, 3), (6, 1), (2, 30), (25, 14)]):
        x = samples((33, 52, 2), dtype)
        found = mean(x, size, "constant", mode=mode)
        pads = [(k - 1 if mode == "full" else 0,) * 2 for k in size]
        padded = np.pad(x.astype(np.int64), [*pads, (0, 0)])
        sums = window_sums(padded, size)
        np.testing.assert_array_equal(found, sums.astype(np.float32) * np.float32(1 / math.prod(size)))


def test_layouts():
    large = samples((80, 120, 3), "u1")
    for x in (
        large[::2], large[:, ::2], large[::-1, ::-1], large[..., 1], np.asfortranarray(large),
        large[5:60, 7:90], np.broadcast_to(large[:1], large.shape),
    ):  # fmt: skip
        check(x, (5, 4), "mirror")


def test_planes_single_axes_and_volumes():
    x = samples((4, 30, 70), "u1")
    for k in (2, 5, 30):
        planes = np.stack([expected(plane, (k, k), "mirror", dtype=np.uint8) for plane in x])
        box = np.full((k, k), 1 / k**2)
        found = fw.correlate(x, box, axes=(1, 2), boundary="mirror", dtype=np.uint8, method="separable")
        np.testing.assert_array_equal(found, planes)
        for axis in range(3):
            moved = np.moveaxis(x, axis, 0)
            wanted = np.moveaxis(expected(moved, (k, 1), "mirror", dtype=np.uint8), 0, axis)
            found = fw.correlate(
                x, np.full(k, 1 / k), axes=axis, boundary="mirror", dtype=np.uint8, method="separable"
            )
            np.testing.assert_array_equal(found, wanted)
    cube = fw.correlate(x, np.full((3, 3, 3), 1 / 27), boundary="mirror", method="separable")
    padded = np.pad(x.astype(np.float64), 1, mode="reflect")
    exact = np.lib.stride_tricks.sliding_window_view(padded, (3, 3, 3)).mean(axis=(-3, -2, -1))
    np.testing.assert_allclose(cube, exact, rtol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "low", "high", "sizes"),
    [
        ("u1", 0, 255, [(1, 257), (257, 1), (16, 16), (15, 17), (17, 15), (16, 17), (1, 258), (300, 300)]),
        ("i1", -128, 127, [(1, 256), (256, 1), (16, 16), (257, 1), (1, 257), (16, 17), (300, 300)]),
        ("u2", 0, 65535, [(3, 3), (16, 16), (180, 180)]),
        ("i2", -32768, 32767, [(3, 3), (16, 16), (256, 256)]),
    ],
)  # fmt: skip
def test_the_largest_sums(dtype, low, high, sizes):
    shape = (270, 300)
    board = np.where(np.indices(shape).sum(axis=0) % 2, low, high)
    halves = np.where(np.arange(300) < 150, low, high) * np.ones((270, 1))
    for size in sizes:
        for x in (np.full(shape, low), np.full(shape, high), board, halves):
            for boundary in ("nearest", "constant"):
                check(x.astype(dtype), size, boundary)


def test_sums_have_the_width_that_they_need():
    for dtype, count in (("u1", 257), ("i1", 256), ("?", 257)):
        assert dtype_of_sums(np.dtype(dtype), count).itemsize == 2
        assert dtype_of_sums(np.dtype(dtype), count + 1) == np.int32
    assert dtype_of_sums(np.dtype(np.uint16), 1).itemsize == 2
    assert dtype_of_sums(np.dtype(np.uint16), 32768) == np.int32
    assert dtype_of_sums(np.dtype(np.uint16), 32769) is None
    assert dtype_of_sums(np.dtype(np.int32), 2) is None


@pytest.mark.parametrize("size", range(2, 258))
def test_a_multiplication_rounds_as_floats_do(size):
    sums = np.arange(size * 255 + 1)
    splits = [(1, size), *((k, size // k) for k in range(2, 17) if size % k == 0)]
    for factor in {(1 / a) * (1 / b) for a, b in splits}:
        found = multiplier(factor, size * 255)
        # Ties, which only even sizes have, go to the even number; what is raised is 16 bits.
        assert (found is not None) == (size % 2 == 1 and size < 257)
        if found:
            add, m, shift = found
            assert add + size * 255 < 1 << 16 > m
            exact = np.rint(sums.astype(np.float32) * np.float32(factor))
            np.testing.assert_array_equal(((sums + add) * m >> 16) >> shift, exact)


def test_a_multiplication_is_not_taken_where_it_would_be_wrong():
    assert multiplier(1.0, 2550) is None
    assert multiplier(0.25, 255 * 4) is None
    assert multiplier(0.2, 255 * 9) is None  # saturates
    assert multiplier(-1 / 9, 255 * 9) is None
    assert multiplier(1e-9, 255 * 9) is None
    x = samples((40, 90), "u1")
    for factor in (0.2, 1.0, -0.1, 0.013, 1e-9, 300.0):
        found = fw.correlate(
            x, np.full((3, 3), factor), boundary="mirror", dtype=np.uint8, method="separable"
        )
        np.testing.assert_array_equal(
            found, expected(x, (3, 3), "mirror", dtype=np.uint8, factor=factor), err_msg=str(factor)
        )


@pytest.mark.parametrize("out", ["u1", "i1", "u2", "i2"])
def test_results_of_another_dtype_are_saturated(out):
    for dtype in DTYPES[1:]:
        x = samples((30, 66), dtype)
        for size in ((3, 3), (2, 2), (31, 31)):
            found = mean(x, size, "mirror", dtype=np.dtype(out))
            np.testing.assert_array_equal(found, expected(x, size, "mirror", dtype=np.dtype(out)))


def test_parts_make_whole_lines():
    for size, width in itertools.product(range(1, 300), (2, 4)):
        parts = parts_of(size, width)
        if parts:
            first, times, rest = parts
            assert first * times + rest == size
        else:
            assert size > {2: 21, 4: 13}[width]


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(DTYPES), st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.integers(1, 30),
    st.integers(0, 60), st.integers(0, 60),
)  # fmt: skip
def test_parts_equal_the_whole(dtype, rows, columns, high, wide, top, left):
    if high * wide == 1:
        high = 2
    x = samples((120, 130), dtype)
    whole = mean(x, (high, wide), mode="valid")
    part = mean(x[top : top + rows + high - 1, left : left + columns + wide - 1], (high, wide), mode="valid")
    np.testing.assert_array_equal(part, whole[top : top + part.shape[0], left : left + part.shape[1]])


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(DTYPES), st.integers(1, 50), st.integers(1, 80), st.integers(1, 5), st.integers(1, 40),
    st.integers(1, 40), st.sampled_from(["constant", "nearest", "symmetric", "wrap"]),
)  # fmt: skip
def test_any_size(dtype, rows, columns, channels, high, wide, boundary):
    if high * wide > 1:
        check(samples((rows, columns, channels), dtype), (high, wide), boundary)


def test_what_is_no_box_goes_another_way():
    def kind(x, kernel, **options):
        request = make_request(x, kernel, False, {**DEFAULTS, **options})[0]
        return separable.precision(request.problem)

    x = np.zeros((40, 50), np.uint8)
    assert kind(x, np.ones((3, 3))) == np.uint16
    assert kind(x, np.ones((3, 1))) == np.uint16
    assert kind(x, np.ones((30, 30)), mode="full") == np.int32
    for options in ({"stride": 2}, {"dilation": 2}, {"dtype": np.float64}):
        assert kind(x, np.ones((3, 3)), **options).kind == "f"
    assert kind(x, np.ones((1, 1))).kind == "f"
    assert kind(x, np.zeros((3, 3))).kind == "f"
    assert kind(x, np.outer([1, 2, 1], [1, 1, 1])).kind == "f"
    assert kind(x.astype(np.int32), np.ones((3, 3))).kind == "f"
    assert kind(x.astype(np.float32), np.ones((3, 3))).kind == "f"
