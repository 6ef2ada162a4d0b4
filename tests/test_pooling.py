"""Pooling: the worked numbers, NaN, and windows counted out; torch is asked in "
"functional/test_against_torch.py."""

import itertools

import numpy as np
import pytest

from filterworks import functional, pooling
from filterworks.errors import ArgumentError

NINE, SIXTEEN = np.arange(9.0).reshape(1, 3, 3), np.arange(16.0).reshape(1, 4, 4)


def test_worked_numbers():
    np.testing.assert_array_equal(pooling.max_pool2d(NINE, 2, 1)[0], [[4, 5], [7, 8]])
    np.testing.assert_array_equal(pooling.avg_pool2d(NINE, 2, 1)[0], [[2, 3], [5, 6]])
    np.testing.assert_array_equal(pooling.max_pool2d(SIXTEEN, 3)[0], [[10]])
    np.testing.assert_array_equal(pooling.max_pool2d(SIXTEEN, 3, 2, 1)[0], [[5, 7], [13, 15]])
    found = pooling.max_pool2d(SIXTEEN, (2, 4), (2, 3), (1, 2))[0]
    np.testing.assert_array_equal(found, [[1, 3], [9, 11], [13, 15]])
    pair = pooling.max_pool2d(np.concatenate([SIXTEEN, SIXTEEN + 1]), 3, 2, 1)
    np.testing.assert_array_equal(pair, [[[5, 7], [13, 15]], [[6, 8], [14, 16]]])


def test_functional_has_the_same_functions():
    for name in ("max_pool", "avg_pool"):
        for ndim in (1, 2, 3):
            assert getattr(functional, f"{name}{ndim}d") is getattr(pooling, f"{name}{ndim}d")


@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (3, 0, 2), (1, 0, 3)])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_counted_out(kernel, stride, padding, dilation, ceil_mode):
    rng = np.random.default_rng(kernel)
    x = rng.standard_normal((2, 3, 41))
    padding = min(padding, kernel // 2)
    found, index = pooling.max_pool1d(x, kernel, stride, padding, dilation, ceil_mode, True)
    for place in range(found.shape[-1]):
        at = [place * stride - padding + t * dilation for t in range(kernel)]
        inside = [a for a in at if 0 <= a < 41]
        np.testing.assert_array_equal(found[..., place], x[..., inside].max(-1))
        np.testing.assert_array_equal(np.take_along_axis(x, index, -1)[..., place], found[..., place])
    if dilation == 1:
        means = pooling.avg_pool1d(x, kernel, stride, padding, ceil_mode, False)
        assert means.shape == found.shape
        for place in range(means.shape[-1]):
            low = place * stride - padding
            expected = x[..., max(low, 0) : low + kernel].mean(-1)
            np.testing.assert_allclose(means[..., place], expected, atol=1e-12)


def test_of_equal_maxima_the_first():
    values, index = pooling.max_pool2d([[[1.0, 7.0, 7.0], [7.0, 0.0, 7.0]]], (2, 3), return_indices=True)
    assert (values.item(), index.item()) == (7, 1)


def test_nothing_but_minus_infinity():
    values, index = pooling.max_pool1d(np.full((1, 5), -np.inf), 3, 1, 1, return_indices=True)
    np.testing.assert_array_equal(values, np.full((1, 5), -np.inf))
    np.testing.assert_array_equal(index, [[0, 0, 1, 2, 3]])


@pytest.mark.parametrize("shape", [(1, 5, 7), (2, 3, 40, 90)])
@pytest.mark.parametrize("kernel", [2, 3, 6])
@pytest.mark.parametrize("stride", [1, 2])
def test_nan_reaches_exactly_its_windows(shape, kernel, stride):
    x = np.arange(float(np.prod(shape))).reshape(shape)
    x[..., 2, 3] = np.nan
    spot = np.isnan(x).astype(float)
    kernel = min(kernel, shape[-2])
    hit = pooling.max_pool2d(spot, kernel, stride, 1) > 0
    for pooled in (pooling.max_pool2d(x, kernel, stride, 1), pooling.avg_pool2d(x, kernel, stride, 1)):
        np.testing.assert_array_equal(np.isnan(pooled), hit)


def test_averages_do_not_drift():
    x = np.ones((1, 4000))
    x[0, 0] = 1e16
    np.testing.assert_array_equal(pooling.avg_pool1d(x, 100, 1)[0, 1:], 1)


@pytest.mark.parametrize(
    ("given", "result"), [("u1", "f4"), ("bool", "f4"), ("i4", "f8"), ("f2", "f4"), ("f4", "f4")]
)
def test_dtype(given, result):
    x = np.array([[0, 1, 1, 0]], given)
    assert pooling.max_pool1d(x, 2).dtype == result
    np.testing.assert_array_equal(pooling.avg_pool1d(x, 2), np.array([[0.5, 0.5]], result))


def test_the_input_stays_as_it_is():
    for size, kernel in itertools.product((8, 200), (1, 3, 5)):
        x = np.random.default_rng(0).standard_normal((2, size, size))
        before = x.copy()
        for stride in (1, 2):
            y = pooling.max_pool2d(x, kernel, stride)
            pooling.avg_pool2d(x, kernel, stride)
            assert not np.shares_memory(x, y)
        np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (
            pooling.max_pool1d,
            (np.ones((1, 9)), 3, None, 2),
            r"`padding` must be at most half of kernel_size \(3,\); got \(2,\)",
        ),
        (pooling.max_pool2d, (np.ones((1, 9, 9)), 3, None, 2, 2), r"at most half"),
        (pooling.avg_pool1d, (np.ones((1, 9)), 3, None, 2), r"at most half"),
        (
            pooling.max_pool2d,
            (np.ones((1, 9, 9)), 0),
            r"`kernel_size` must be an integer of at least 1; got 0",
        ),
        (pooling.max_pool2d, (np.ones((1, 9, 9)), 2, 0), r"`stride` must be"),
        (pooling.max_pool2d, (np.ones((1, 9, 9)), 2, 1, -1), r"`padding` must be"),
        (pooling.max_pool2d, (np.ones((1, 2, 2)), 3), r"the output size would be \(0, 0\)"),
        (
            pooling.max_pool2d,
            (np.ones((4, 4)), 3),
            r"`input` must be \(N, C, H, W\) or \(C, H, W\).*; got \(4, 4\)",
        ),
        (pooling.max_pool2d, (np.ones((2, 0, 4, 4)), 3), r"only N possibly 0; got \(2, 0, 4, 4\)"),
        (
            pooling.avg_pool2d,
            (np.ones((1, 4, 4)), 2, None, 0, False, True, 0),
            r"`divisor_override` must be an integer other than 0",
        ),
        (pooling.avg_pool1d, (np.ones((1, 4)) * 1j, 2), r"must be real; got complex128"),
    ],
)
def test_refused(function, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        function(*arguments)
