"""Gradients of the convolution layers with respect to their input and their weight."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

import numpy as np
from numpy.typing import ArrayLike

from filterworks.arguments import Array, as_int, compute_dtype
from filterworks.errors import ArgumentError, ArgumentTypeError, must
from filterworks.functional.columns import LARGE_TILE_BYTES
from filterworks.functional.geometry import Layer, as_real, direct_layer
from filterworks.functional.transposed import transpose_layer
from filterworks.shapes import Padding, Size, is_per_axis
from filterworks.threads import Scratch
from filterworks.tiles import boxes, read_patch, within


def conv1d_input(
    input_size: Sequence[int],
    weight: ArrayLike,
    grad_output: ArrayLike,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Array:
    """Return the gradient of :func:`conv1d` with respect to its input: the transposed convolution.

    Parameters
    ----------
    input_size
        (N, C_in, L) or (C_in, L).
    weight
        (C_out, C_in/groups, kL).
    grad_output
        Gradient with respect to the output, of the output's shape.
    stride, padding, dilation, groups
        As they were in the convolution.

    Returns
    -------
    ndarray
        Of shape `input_size`.

    Examples
    --------
    >>> conv1d_input((1, 4), [[[3.0, 1.0]]], [[1.0, 0.0, 10.0]])
    array([[ 3.,  1., 30., 10.]])
    """
    return _input_gradient("conv1d", input_size, weight, grad_output, stride, padding, dilation, groups)


def conv2d_input(
    input_size: Sequence[int],
    weight: ArrayLike,
    grad_output: ArrayLike,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Array:
    """Return the gradient of :func:`conv2d` with respect to its input; see :func:`conv1d_input`.

    Examples
    --------
    >>> conv2d_input((1, 2, 3), [[[[3.0, 1.0]]]], [[[1.0, 0.0], [0.0, 10.0]]])
    array([[[ 3.,  1.,  0.],
            [ 0., 30., 10.]]])
    """
    return _input_gradient("conv2d", input_size, weight, grad_output, stride, padding, dilation, groups)


def conv3d_input(
    input_size: Sequence[int],
    weight: ArrayLike,
    grad_output: ArrayLike,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Array:
    """Return the gradient of :func:`conv3d` with respect to its input; see :func:`conv1d_input`.

    Examples
    --------
    >>> conv3d_input((1, 1, 1, 3), [[[[[3.0, 1.0]]]]], [[[[1.0, 10.0]]]])
    array([[[[ 3., 31., 10.]]]])
    """
    return _input_gradient("conv3d", input_size, weight, grad_output, stride, padding, dilation, groups)


def _input_gradient(
    name: str,
    input_size: Sequence[int],
    weight: ArrayLike,
    grad_output: ArrayLike,
    stride: Size,
    padding: Padding,
    dilation: Size,
    groups: int,
) -> Array:
    kernels, gradient = as_real(weight, "weight"), as_real(grad_output, "grad_output")
    shape = _as_shape("input_size", input_size)
    layer = direct_layer(name, shape, kernels.shape, stride, padding, dilation, groups)
    _check_gradient(layer, gradient)
    dtype = compute_dtype(gradient.dtype)
    batch, per_group = 1 if layer.batch is None else layer.batch, layer.channels // layer.groups
    out = np.empty((batch, layer.groups, per_group, *layer.lead, *layer.spatial), dtype)
    transpose_layer(
        layer.in_three(gradient, batch, layer.outputs),
        layer.in_three(kernels.astype(dtype), layer.groups, layer.outputs // layer.groups, per_group),
        tuple(w.stride for w in layer.windows),
        tuple(w.dilation for w in layer.windows),
        tuple(w.low for w in layer.windows),
        out,
    )
    return out.reshape(shape)


def conv1d_weight(
    input: ArrayLike,
    weight_size: Sequence[int],
    grad_output: ArrayLike,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Array:
    """Return the gradient of :func:`conv1d` with respect to its weight: input and gradient correlated.

    Parameters
    ----------
    input
        (N, C_in, L) or (C_in, L).
    weight_size
        (C_out, C_in/groups, kL).
    grad_output
        Gradient with respect to the output, of the output's shape.
    stride, padding, dilation, groups
        As they were in the convolution.

    Returns
    -------
    ndarray
        Of shape `weight_size`.

    Examples
    --------
    >>> conv1d_weight([[1.0, 2.0, 4.0, 8.0]], (1, 1, 2), [[1.0, 0.0, 10.0]])
    array([[[41., 82.]]])
    """
    return _weight_gradient("conv1d", input, weight_size, grad_output, stride, padding, dilation, groups)


def conv2d_weight(
    input: ArrayLike,
    weight_size: Sequence[int],
    grad_output: ArrayLike,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Array:
    """Return the gradient of :func:`conv2d` with respect to its weight; see :func:`conv1d_weight`.

    Examples
    --------
    >>> conv2d_weight([[[1.0, 2.0], [4.0, 8.0]]], (1, 1, 1, 2), [[[1.0], [10.0]]])
    array([[[[41., 82.]]]])
    """
    return _weight_gradient("conv2d", input, weight_size, grad_output, stride, padding, dilation, groups)


def conv3d_weight(
    input: ArrayLike,
    weight_size: Sequence[int],
    grad_output: ArrayLike,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Array:
    """Return the gradient of :func:`conv3d` with respect to its weight; see :func:`conv1d_weight`.

    Examples
    --------
    >>> conv3d_weight([[[[1.0, 2.0, 4.0]]]], (1, 1, 1, 1, 2), [[[[1.0, 10.0]]]])
    array([[[[[21., 42.]]]]])
    """
    return _weight_gradient("conv3d", input, weight_size, grad_output, stride, padding, dilation, groups)


def _weight_gradient(
    name: str,
    input: ArrayLike,
    weight_size: Sequence[int],
    grad_output: ArrayLike,
    stride: Size,
    padding: Padding,
    dilation: Size,
    groups: int,
) -> Array:
    x, gradient = as_real(input, "input"), as_real(grad_output, "grad_output")
    shape = _as_shape("weight_size", weight_size)
    layer = direct_layer(name, x.shape, shape, stride, padding, dilation, groups)
    _check_gradient(layer, gradient)
    batch = 1 if layer.batch is None else layer.batch
    rows, columns = layer.outputs // layer.groups, prod(shape[1:])
    total = np.zeros((layer.groups, rows, columns), compute_dtype(x.dtype))
    if total.size and batch:
        outputs = layer.in_three(gradient, batch, layer.groups, rows)
        _correlate_all(layer, layer.in_three(x, batch, layer.channels), outputs, total)
    return total.reshape(shape)


def _correlate_all(layer: Layer, x: Array, gradient: Array, total: Array) -> None:
    """Add to `total` (group, output, tap) the products of the unrolled input with the gradient."""
    groups, rows, length = total.shape
    channels, windows, scratch, dtype = layer.channels // groups, layer.windows, Scratch(), total.dtype
    kernel = tuple(w.kernel for w in windows)
    positions = prod(layer.out)
    each = (length + rows) * dtype.itemsize
    together = max(1, min(groups, LARGE_TILE_BYTES // (each * min(positions, 4096))))
    limit = max(LARGE_TILE_BYTES // (each * together), 64)
    tiles = list(boxes((windows[0].out, windows[1].out, windows[2].out), limit))
    for sample, first, box in product(range(len(x)), range(0, groups, together), tiles):
        last = min(first + together, groups)
        part = x[sample, first * channels : last * channels]
        patch = read_patch(part, windows, box, scratch, dtype)
        size = prod(patch.counts)
        unrolled = scratch.take("columns", (last - first, length, size), dtype)
        patch.copy_columns(unrolled.reshape(len(part), *kernel, *patch.counts))
        z, y, row = within(box)
        slopes = gradient[sample, first:last, :, z, y, row].reshape(last - first, rows, size)
        with np.errstate(all="ignore"):
            total[first:last] += slopes.astype(dtype, copy=False) @ unrolled.swapaxes(1, 2)


def _as_shape(name: str, shape: object) -> tuple[int, ...]:
    if not is_per_axis(shape):
        raise ArgumentTypeError(must(name, "a sequence of sizes", shape))
    return tuple(as_int(name, size, 0) for size in shape)  # type: ignore[attr-defined]  # just tested


def _check_gradient(layer: Layer, gradient: Array) -> None:
    if gradient.shape != layer.output_shape:
        raise ArgumentError(
            f"{layer.name}: `grad_output` must have the output's shape {layer.output_shape}; "
            f"got {gradient.shape}"
        )
