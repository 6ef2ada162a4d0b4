"""The matrix of a correlation."""

import numpy as np
import pytest
from scipy import sparse

from filterworks import functional
from filterworks.errors import ArgumentError
from filterworks.matrix import conv_matrix


def test_the_shape_of_the_specification():
    c = conv_matrix(np.arange(9.0).reshape(3, 3), (5, 5))
    assert sparse.issparse(c)
    assert c.shape == (9, 25)
    assert c.nnz == 81
    first = np.zeros((5, 5))
    first[:3, :3] = np.arange(9).reshape(3, 3)
    np.testing.assert_array_equal(c.toarray()[0], first.ravel())


def test_the_worked_transpose():
    k, x = np.array([[1, 0, 1], [0, 1, 1], [1, 0, 0]]), np.array([[1, 0], [2, 1]])
    y = conv_matrix(k, (4, 4)).T @ x.ravel()
    np.testing.assert_array_equal(y.reshape(4, 4), [[1, 0, 1, 0], [2, 2, 3, 1], [1, 2, 3, 1], [2, 1, 0, 0]])


OPTIONS = [
    {},
    {"stride": 2},
    {"padding": 2},
    {"stride": 3, "padding": 1, "dilation": 2},
    {"padding": "same", "dilation": 2},
    {"padding": "valid"},
]


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("options", OPTIONS)
def test_channels(ndim, options):
    rng = np.random.default_rng(ndim)
    x = rng.standard_normal((3, *(7, 6, 8)[:ndim]))
    weight = rng.standard_normal((2, 3, *(3, 2, 3)[:ndim]))
    y = getattr(functional, f"conv{ndim}d")(x, weight, **options)
    c = conv_matrix(weight, x.shape, **options)
    assert c.shape == (y.size, x.size)
    np.testing.assert_allclose(c @ x.ravel(), y.ravel(), atol=1e-12)
    if not isinstance(options.get("padding", 0), str):
        back = getattr(functional, f"conv{ndim}d_input")(x.shape, weight, y, **options)
        np.testing.assert_allclose(c.T @ y.ravel(), back.ravel(), atol=1e-12)


def test_plain_kernel_with_pairs():
    rng = np.random.default_rng(0)
    x, k = rng.standard_normal((6, 5)), rng.standard_normal((3, 2))
    c = conv_matrix(k, x.shape, stride=(2, 1), padding=[(2, 0), (0, 1)], dilation=(1, 2))
    y = functional.conv2d(x[None], k[None, None], stride=(2, 1), padding=[(2, 0), (0, 1)], dilation=(1, 2))
    np.testing.assert_allclose(c @ x.ravel(), y.ravel(), atol=1e-12)


@pytest.mark.parametrize(
    ("given", "result"), [("u1", "f4"), ("f4", "f4"), ("i8", "f8"), ("f8", "f8"), ("c8", "c8")]
)
def test_dtype(given, result):
    assert conv_matrix(np.ones(2, given), 4).dtype == result


def test_an_int_is_a_length_and_zeros_are_stored():
    c = conv_matrix([1.0, 0.0, 5.0], 4)
    np.testing.assert_array_equal(c.toarray(), [[1, 0, 5, 0], [0, 1, 0, 5]])
    assert c.nnz == 6


@pytest.mark.parametrize(
    ("weight", "shape", "options", "message"),
    [
        ((3, 3), (5,), {}, r"got `weight` \(3, 3\) and `input_shape` \(5,\)"),
        ((2, 3, 3), (4, 5), {}, r"got `weight` \(2, 3, 3\) and `input_shape` \(4, 5\)"),
        ((3, 0), (5, 5), {}, r"at least one number; got shape \(1, 1, 3, 0\)"),
        ((3, 3), (2, 5), {}, r"3 taps with dilation 1 span 3 samples"),
        ((3,), (), {}, r"non-empty sequence of sizes"),
        ((3,), 5, {"padding": -1}, r"got -1"),
        ((3,), 5, {"stride": 0}, r"got 0"),
        ((3,), (0,), {}, r"`input_shape` must be an integer of at least 1"),
    ],
)
def test_refused(weight, shape, options, message):
    with pytest.raises(ArgumentError, match=message):
        conv_matrix(np.ones(weight), shape, **options)
