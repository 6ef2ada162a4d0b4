"""The worked numbers of the specification, and the loops."""

import numpy as np
import pytest

from filterworks import functional
from tests.functional import loops


def plane(rows):
    return np.array(rows, float)[None]


def kernel(rows):
    return np.array(rows, float)[None, None]


FIVE = [[int(digit) for digit in row] for row in ["11100", "01110", "00111", "00110", "01100"]]


@pytest.mark.parametrize(
    ("x", "k", "expected"),
    [
        (np.arange(9).reshape(3, 3), [[0, 1], [2, 3]], [[19, 25], [37, 43]]),
        ([[1, 0, 1], [2, 1, 0], [0, 1, 1]], [[1, 0], [0, 1]], [[2, 0], [3, 2]]),
        (FIVE, [[1, 0, 1], [0, 1, 0], [1, 0, 1]], [[4, 3, 4], [2, 4, 3], [2, 3, 4]]),
        ([[1, 1, 0, 0, 0, 0, 1, 1]] * 6, [[1, -1]], [[0, 1, 0, 0, 0, -1, 0]] * 6),
    ],
)
def test_correlate_valid(x, k, expected):
    np.testing.assert_array_equal(functional.conv2d(plane(x), kernel(k)), plane(expected))


def test_a_kernel_that_is_its_own_flip():
    x, k = plane([[1, 0, 1], [2, 1, 0], [0, 1, 1]]), kernel([[1, 0], [0, 1]])
    np.testing.assert_array_equal(functional.conv2d(x, k), functional.conv2d(x, k, flip=True))


def test_flip_turns_every_kernel_axis():
    delta = np.zeros((1, 5, 5))
    delta[0, 2, 2] = 1
    k = kernel(np.arange(9).reshape(3, 3))
    np.testing.assert_array_equal(functional.conv2d(delta, k, flip=True)[0], k[0, 0])
    np.testing.assert_array_equal(functional.conv2d(delta, k)[0], k[0, 0, ::-1, ::-1])


def test_two_channels_in_three_out():
    x = np.stack([np.arange(1, 10), np.arange(9)]).reshape(1, 2, 3, 3).astype(float)
    k = np.array([[[1, 2], [3, 4]], [[0, 1], [2, 3]]], float)
    y = functional.conv2d(x, np.stack([k, k + 1, k + 2]))
    expected = [[[56, 72], [104, 120]], [[76, 100], [148, 172]], [[96, 128], [192, 224]]]
    np.testing.assert_array_equal(y[0], expected)


def test_transposed():
    y = functional.conv_transpose2d(plane([[1, 0], [2, 1]]), kernel([[1, 0, 1], [0, 1, 1], [1, 0, 0]]))
    np.testing.assert_array_equal(y[0], [[1, 0, 1, 0], [2, 2, 3, 1], [1, 2, 3, 1], [2, 1, 0, 0]])


@pytest.mark.parametrize(
    ("shape", "options", "expected"),
    [
        ((3, 3), {"padding": 1}, (8, 8)),
        ((5, 3), {"padding": (2, 1)}, (8, 8)),
        ((3, 3), {"padding": 1, "stride": 2}, (4, 4)),
        ((3, 5), {"padding": (0, 1), "stride": (3, 4)}, (2, 2)),
    ],
)
def test_sizes_of_8_by_8(shape, options, expected):
    assert functional.conv2d(np.ones((1, 8, 8)), np.ones((1, 1, *shape)), **options).shape == (1, *expected)


@pytest.mark.parametrize(
    ("size", "options", "out", "extra"),
    [
        (6, {"kernel": 3, "stride": 2, "padding": 1}, 3, 1),
        (5, {"kernel": 3, "stride": 2, "padding": 1}, 3, 0),
        (5, {"kernel": 4, "stride": 1, "padding": 2}, 6, 0),
    ],
)
def test_there_and_back(size, options, out, extra):
    k = np.arange(1.0, options.pop("kernel") + 1)[None, None]
    y = functional.conv1d(np.ones((1, size)), k, **options)
    assert y.shape == (1, out)
    assert functional.conv_transpose1d(y, k, output_padding=extra, **options).shape == (1, size)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"),
    [(1, 0, 1, 1), (2, 1, 1, 1), (1, 2, 2, 2), (3, 1, 2, 1), (2, 3, 1, 4), (2, 2, 3, 2)],
)
def test_direct_equals_the_loops(ndim, stride, padding, dilation, groups):
    rng = np.random.default_rng(ndim)
    size, k = (9, 3) if ndim < 3 else (6, 2)
    x = rng.standard_normal((2, 4, *(size - a for a in range(ndim))))
    weight = rng.standard_normal((4, 4 // groups, *(k - a % 2 for a in range(ndim))))
    bias = rng.standard_normal(4)
    y = getattr(functional, f"conv{ndim}d")(x, weight, bias, stride, padding, dilation, groups)
    np.testing.assert_allclose(
        y, loops.correlate(x, weight, bias, stride, padding, dilation, groups), atol=1e-12
    )


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 4])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_transposed_is_its_four_steps(stride, padding, dilation):
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 6, 5)), rng.standard_normal((2, 3, 3, 2))
    for extra in range(max(stride, dilation)):
        sizes = [stride * (i - 1) + dilation * (k - 1) + 1 - 2 * padding + extra for i, k in ((6, 3), (5, 2))]
        if min(sizes) < 1:
            continue
        y = functional.conv_transpose2d(x, weight, None, stride, padding, extra, 1, dilation)
        expected = loops.transpose_in_four_steps(x, weight, stride, padding, extra, dilation)
        np.testing.assert_allclose(y, expected, atol=1e-12)


def test_depthwise_separable_is_two_layers():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 3, 7, 8))
    apart, mixing, bias = (
        rng.standard_normal((6, 1, 3, 2)),
        rng.standard_normal((5, 6, 1, 1)),
        rng.standard_normal(5),
    )
    y = functional.depthwise_separable_conv2d(x, apart, mixing, bias, 2, (1, 0), (1, 2))
    between = functional.conv2d(x, apart, None, 2, (1, 0), (1, 2), 3)
    np.testing.assert_allclose(y, loops.correlate(between, mixing, bias), atol=1e-12)
    np.testing.assert_allclose(
        functional.depthwise_separable_conv2d(x[0], apart, mixing),
        functional.conv2d(functional.conv2d(x[0], apart, groups=3), mixing),
    )


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_padding_modes_and_pairs(mode):
    numpy_name = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
    rng = np.random.default_rng(2)
    x, weight = rng.standard_normal((2, 3, 7, 6)), rng.standard_normal((4, 3, 3, 2))
    y = functional.conv2d(x, weight, padding=[(2, 0), (1, 3)], stride=(1, 2), padding_mode=mode)
    padded = np.pad(x, [(0, 0), (0, 0), (2, 0), (1, 3)], mode=numpy_name)
    np.testing.assert_allclose(y, functional.conv2d(padded, weight, stride=(1, 2)), atol=1e-12)


def test_same_and_valid():
    x, weight = np.arange(6.0)[None], np.array([[[1.0, 10.0, 100.0, 1000.0]]])
    np.testing.assert_array_equal(
        functional.conv1d(x, weight, padding="same"), functional.conv1d(x, weight, padding=[(1, 2)])
    )
    np.testing.assert_array_equal(functional.conv1d(x, weight, padding="valid"), functional.conv1d(x, weight))


@pytest.mark.parametrize(
    ("signal", "result"),
    [
        ("uint8", "float32"),
        ("int16", "float32"),
        ("bool", "float32"),
        ("float16", "float32"),
        ("float32", "float32"),
        ("int32", "float64"),
        ("int64", "float64"),
        ("float64", "float64"),
        ("complex64", "complex64"),
    ],
)
def test_the_signal_decides_the_dtype(signal, result):
    x, weight = np.ones((1, 4), signal), np.array([[[1.0, 2.0]]])
    for y in (functional.conv1d(x, weight), functional.conv_transpose1d(x, weight)):
        assert y.dtype == result
    np.testing.assert_array_equal(functional.conv1d(x, weight), [[3, 3, 3]])


def test_complex_weight_is_not_conjugated():
    x, weight = np.array([[1.0, 2.0, 4.0]]), np.array([[[1j, 2.0]]])
    y = functional.conv1d(x, weight)
    assert y.dtype == np.complex128
    np.testing.assert_array_equal(y, [[4 + 1j, 8 + 2j]])


@pytest.mark.parametrize("view", ["strided", "reversed", "transposed", "big-endian"])
def test_any_memory_layout(view):
    rng = np.random.default_rng(3)
    base = rng.standard_normal((2, 3, 20, 80))
    x = {
        "strided": base[:, :, ::2, ::2],
        "reversed": base[:, ::-1, :, ::-1],
        "transposed": base.swapaxes(2, 3),
        "big-endian": base.astype(">f8"),
    }[view]
    before = x.copy()
    clean = np.ascontiguousarray(x, "f8")
    for shape, groups in (((4, 3, 3, 2), 1), ((3, 1, 3, 2), 3), ((4, 3, 1, 1), 1)):
        weight = rng.standard_normal(shape)
        y = functional.conv2d(x, weight, groups=groups)
        np.testing.assert_allclose(y, functional.conv2d(clean, weight, groups=groups), atol=1e-12)
    np.testing.assert_array_equal(functional.max_pool2d(x, 3), functional.max_pool2d(clean, 3))
    np.testing.assert_allclose(functional.avg_pool2d(x, 3), functional.avg_pool2d(clean, 3))
    np.testing.assert_array_equal(x, before)
