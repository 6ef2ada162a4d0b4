"""The loops of moving sums of floats, called as their engine calls them."""

import numpy as np
import pytest

from filterworks.engine.field import address
from filterworks.machine import box, compiler, loops

pytestmark = pytest.mark.skipif(compiler.obstacle() is not None, reason="nothing can be compiled here")
SIZES = [4, 5, 15, 16, 17, 63, 64, 65, 100, 255, 256, 257, 1000]
RNG = np.random.default_rng(0)


def columns(data, width, size, vectors, lanes):
    height = len(data) - size + 1
    out = np.full((height, width), np.nan, data.dtype)
    sums = np.full(sum(box.kept_sums(size)) * vectors * lanes, np.nan, data.dtype)
    numbers = [width, data.shape[1], height, width, np.float64(1).view(np.int64)]
    constants = np.array(numbers, np.int64)
    loop = box.box_columns(data.dtype, data.dtype, size, vectors, lanes)
    loop(address(out), address(data), address(sums), address(constants))
    return out


def lines(data, width, size, inner, lanes):
    out = np.full((len(data), width), np.nan, data.dtype)
    sums = np.full(len(box.kept_sums(size)) * box.line_room(size, inner), np.nan, data.dtype)
    numbers = [width, data.shape[1], len(data), width, np.float64(1).view(np.int64)]
    constants = np.array(numbers, np.int64)
    loop = box.box_line(data.dtype, data.dtype, size, inner, lanes)
    loop(address(out), address(data), address(sums), address(constants))
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
def test_sums_of_rows_are_exact_where_they_can_be(size, dtype):
    lanes = loops.lanes_of(np.dtype(dtype))
    for width, vectors, wide in ((3 * lanes + 5, 2, lanes), (lanes, 1, lanes), (5, 1, 4), (1, 1, 1)):
        whole = RNG.integers(-99, 99, (size + 37, width))
        data = np.zeros((size + 37, width + lanes), dtype)
        data[:, :width] = whole
        expected = np.lib.stride_tricks.sliding_window_view(whole, size, axis=0).sum(axis=-1)
        np.testing.assert_array_equal(columns(data, width, size, vectors, wide), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("inner", [1, 3])
def test_sums_along_lines_are_exact_where_they_can_be(size, inner, dtype):
    lanes = loops.lanes_of(np.dtype(dtype))
    for samples in (1, 30, 3000):
        width = samples * inner
        whole = RNG.integers(-99, 99, (2, (samples + size - 1) * inner))
        data = np.zeros((3, whole.shape[1] + 2 * lanes), dtype)
        data[:2, : whole.shape[1]] = whole
        apart = whole.reshape(2, -1, inner)
        expected = np.lib.stride_tricks.sliding_window_view(apart, size, axis=1).sum(axis=-1).reshape(2, -1)
        np.testing.assert_array_equal(lines(data[:2], width, size, inner, lanes), expected)


@pytest.mark.parametrize("size", SIZES)
def test_a_window_is_summed_in_one_order_wherever_its_block_begins(size):
    data = RNG.random((size + 90, 64)).astype(np.float32)
    whole = columns(data, 48, size, 1, 16)
    for start in (1, 2, 3, 17, 50):
        np.testing.assert_array_equal(columns(data[start:], 48, size, 1, 16), whole[start:])
        np.testing.assert_array_equal(columns(data, 48, size, 2, 8), whole)
    line = RNG.random((1, size + 2400)).astype(np.float32)
    whole = lines(line, 2300, size, 1, 16)
    for start in (1, 5, 16, 1000):
        part = lines(np.ascontiguousarray(line[:, start:]), 2300 - start, size, 1, 16)
        np.testing.assert_array_equal(part, whole[:, start:])


def test_nan_stays_in_its_windows():
    data = np.ones((300, 32))
    data[150, 7] = np.nan
    for size in (5, 64, 100):
        found = np.isnan(columns(data, 24, size, 1, 8))
        expected = np.zeros_like(found)
        expected[max(151 - size, 0) : 151, 7] = True
        np.testing.assert_array_equal(found, expected)
