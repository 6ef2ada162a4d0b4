"""Laws that hold for every input, and gradients against finite differences."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from filterworks import functional
from filterworks.matrix import conv_matrix

FIELDS = ("stride", "padding", "dilation", "groups")


@st.composite
def layers(draw):
    ndim = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    per_group, rows = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    axes = [
        draw(st.tuples(st.integers(1, 8), *[st.integers(1, 3)] * 3, st.integers(0, 3))) for _ in range(ndim)
    ]
    spatial, kernel, stride, dilation, padding = zip(*axes, strict=True)
    assume(all(i + 2 * p > d * (k - 1) for i, k, _, d, p in axes))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.standard_normal((draw(st.integers(1, 2)), groups * per_group, *spatial))
    weight = rng.standard_normal((groups * rows, per_group, *kernel))
    return ndim, x, weight, (stride, padding, dilation, groups), rng


@settings(max_examples=80, deadline=None)
@given(layers())
def test_input_gradient_is_the_adjoint(layer):
    ndim, x, weight, options, rng = layer
    y = getattr(functional, f"conv{ndim}d")(x, weight, None, *options)
    slope = rng.standard_normal(y.shape)
    back = getattr(functional, f"conv{ndim}d_input")(x.shape, weight, slope, *options)
    np.testing.assert_allclose(np.vdot(y, slope), np.vdot(x, back), rtol=1e-9, atol=1e-9)
    by_weight = getattr(functional, f"conv{ndim}d_weight")(x, weight.shape, slope, *options)
    np.testing.assert_allclose(np.vdot(y, slope), np.vdot(weight, by_weight), rtol=1e-9, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(layers())
def test_transposed_layer_is_the_transposed_matrix(layer):
    ndim, x, weight, (stride, padding, dilation, _), rng = layer
    weight = rng.standard_normal((3, x.shape[1], *weight.shape[2:]))
    c = conv_matrix(weight, x.shape[1:], stride=stride, padding=padding, dilation=dilation)
    y = getattr(functional, f"conv{ndim}d")(x[0], weight, None, stride, padding, dilation)
    np.testing.assert_allclose(c @ x[0].ravel(), y.ravel(), atol=1e-9)
    back = getattr(functional, f"conv{ndim}d_input")(x[0].shape, weight, y, stride, padding, dilation)
    np.testing.assert_allclose(c.T @ y.ravel(), back.ravel(), atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(layers(), st.integers(1, 4))
def test_shift_equivariance(layer, shift):
    ndim, x, weight, (_, _, dilation, groups), _ = layer
    conv = getattr(functional, f"conv{ndim}d")
    span = dilation[-1] * (weight.shape[-1] - 1)
    wide = np.concatenate([x, x[..., ::-1]], axis=-1)
    assume(
        wide.shape[-1] > span + shift
        and all(i > d * (k - 1) for i, d, k in zip(x.shape[2:], dilation, weight.shape[2:], strict=True))
    )
    moved = conv(wide[..., shift:], weight, None, 1, 0, dilation, groups)
    np.testing.assert_allclose(
        moved, conv(wide, weight, None, 1, 0, dilation, groups)[..., shift:], atol=1e-9
    )


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_gradients_by_finite_differences(ndim):
    rng = np.random.default_rng(ndim)
    x = rng.standard_normal((2, 4, *(5, 6, 4)[:ndim]))
    weight = rng.standard_normal((6, 2, *(3, 2, 2)[:ndim]))
    options = (2, 1, (1, 2, 1)[:ndim], 2)
    conv = getattr(functional, f"conv{ndim}d")
    slope = rng.standard_normal(conv(x, weight, None, *options).shape)

    def loss(a, b):
        return np.vdot(conv(a, b, None, *options), slope)

    for number, gradient in (
        (0, getattr(functional, f"conv{ndim}d_input")(x.shape, weight, slope, *options)),
        (1, getattr(functional, f"conv{ndim}d_weight")(x, weight.shape, slope, *options)),
    ):
        for index in rng.integers(gradient.size, size=20):
            step = np.zeros(gradient.size)
            step[index] = 1e-4
            step = step.reshape(gradient.shape)
            ahead, behind = [(x + s, weight) if number == 0 else (x, weight + s) for s in (step, -step)]
            slope_here = (loss(*ahead) - loss(*behind)) / 2e-4
            np.testing.assert_allclose(gradient.flat[index], slope_here, rtol=1e-6, atol=1e-7)


def test_unbatched_gradients():
    rng = np.random.default_rng(0)
    x, weight, slope = (
        rng.standard_normal((2, 7)),
        rng.standard_normal((3, 2, 2)),
        rng.standard_normal((3, 6)),
    )
    whole = functional.conv1d_input((1, 2, 7), weight, slope[None])
    np.testing.assert_array_equal(functional.conv1d_input((2, 7), weight, slope), whole[0])
    whole = functional.conv1d_weight(x[None], weight.shape, slope[None])
    np.testing.assert_array_equal(functional.conv1d_weight(x, weight.shape, slope), whole)


def test_rows_that_the_floor_dropped_have_no_gradient():
    back = functional.conv1d_input((1, 6), [[[1.0, 2.0]]], [[1.0, 10.0]], stride=3)
    np.testing.assert_array_equal(back, [[1, 2, 0, 10, 20, 0]])


def test_weight_gradient_accumulates_over_many_tiles(monkeypatch):
    from filterworks.functional import gradients

    rng = np.random.default_rng(1)
    x, slope = rng.standard_normal((2, 4, 30, 31)), rng.standard_normal((2, 6, 30, 31))
    whole = functional.conv2d_weight(x, (6, 2, 3, 3), slope, padding=1, groups=2)
    monkeypatch.setattr(gradients, "LARGE_TILE_BYTES", 1 << 13)
    np.testing.assert_allclose(
        functional.conv2d_weight(x, (6, 2, 3, 3), slope, padding=1, groups=2), whole, rtol=1e-10
    )
