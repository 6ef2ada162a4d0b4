"""Convolution layers with torch's names, argument order and results."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from filterworks.arguments import Array, as_signal
from filterworks.errors import ArgumentError
from filterworks.functional.direct import correlate_layer
from filterworks.functional.geometry import (
    Layer,
    as_bias,
    as_padding_mode,
    direct_layer,
    layer_dtype,
    transposed_layer,
)
from filterworks.functional.transposed import transpose_layer
from filterworks.shapes import Padding, Size


def conv1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
) -> Array:
    """Correlate rows of samples with kernels that span the length and all channels of a group.

    Parameters
    ----------
    input
        (N, C_in, L) or (C_in, L).
    weight
        (C_out, C_in/groups, kL).
    bias
        (C_out,), added to the output.
    stride, dilation
        Positive ints.
    padding
        An int, ``(p,)``, ``[(low, high)]``, ``"same"`` (stride 1) or ``"valid"``.
    groups
        Divides both numbers of channels.
    padding_mode
        ``zeros``, ``reflect``, ``replicate`` or ``circular``.
    flip
        True turns the kernel round: a convolution in the strict sense.

    Returns
    -------
    ndarray
        (N, C_out, L_out), or without N; ``L_out = ⌊(L + 2p − d(k − 1) − 1)/s⌋ + 1``.

    Examples
    --------
    >>> conv1d([[1.0, 2.0, 4.0, 8.0]], [[[3.0, 1.0]]])
    array([[ 5., 10., 20.]])
    >>> conv1d([[1.0, 2.0, 4.0, 8.0]], [[[3.0, 1.0]]], flip=True)
    array([[ 7., 14., 28.]])
    """
    layer_arguments = (input, weight, bias, stride, padding, dilation, groups, padding_mode, flip)
    return _conv("conv1d", *layer_arguments)


def conv2d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
) -> Array:
    """Correlate images with kernels that span all channels of a group.

    Parameters
    ----------
    input
        (N, C_in, H, W) or (C_in, H, W).
    weight
        (C_out, C_in/groups, kH, kW).
    bias, stride, padding, dilation, groups, padding_mode, flip
        As in :func:`conv1d`, tuples with one entry per axis.

    Returns
    -------
    ndarray
        (N, C_out, H_out, W_out), or without N.

    Examples
    --------
    >>> image = np.arange(9.0).reshape(1, 3, 3)
    >>> conv2d(image, [[[[0, 1], [2, 3]]]])
    array([[[19., 25.],
            [37., 43.]]])
    """
    layer_arguments = (input, weight, bias, stride, padding, dilation, groups, padding_mode, flip)
    return _conv("conv2d", *layer_arguments)


def conv3d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
) -> Array:
    """Correlate volumes with kernels that span all channels of a group.

    Parameters
    ----------
    input
        (N, C_in, D, H, W) or (C_in, D, H, W).
    weight
        (C_out, C_in/groups, kD, kH, kW).
    bias, stride, padding, dilation, groups, padding_mode, flip
        As in :func:`conv1d`, tuples with one entry per axis.

    Returns
    -------
    ndarray
        (N, C_out, D_out, H_out, W_out), or without N.

    Examples
    --------
    >>> volume = np.arange(8.0).reshape(1, 2, 2, 2)
    >>> conv3d(volume, [[[[[1, 2]], [[0, 3]]]]])
    array([[[[17.],
             [29.]]]])
    """
    layer_arguments = (input, weight, bias, stride, padding, dilation, groups, padding_mode, flip)
    return _conv("conv3d", *layer_arguments)


def _conv(
    name: str,
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    stride: Size,
    padding: Padding,
    dilation: Size,
    groups: int,
    padding_mode: str,
    flip: bool,
) -> Array:
    x, kernels = as_signal(input, "input"), as_signal(weight, "weight")
    layer = direct_layer(name, x.shape, kernels.shape, stride, padding, dilation, groups)
    boundary = as_padding_mode(layer, padding_mode)
    offset = as_bias(layer, bias)
    if flip:
        kernels = np.flip(kernels, tuple(range(2, kernels.ndim)))
    dtype = layer_dtype(x, kernels, offset)
    weight6 = layer.in_three(
        np.ascontiguousarray(kernels, dtype), layer.groups, layer.outputs // layer.groups, kernels.shape[1]
    )
    out = _empty_output(layer, dtype)
    correlate_layer(_batched(layer, x), weight6, layer.windows, out, _grouped(layer, offset, dtype), boundary)
    return out.reshape(layer.output_shape)


def _batched(layer: Layer, x: Array) -> Array:
    return layer.in_three(x, 1 if layer.batch is None else layer.batch, layer.channels)


def _empty_output(layer: Layer, dtype: np.dtype[Any]) -> Array:
    batch = 1 if layer.batch is None else layer.batch
    return np.empty((batch, layer.groups, layer.outputs // layer.groups, *layer.lead, *layer.out), dtype)


def _grouped(layer: Layer, bias: Array | None, dtype: np.dtype[Any]) -> Array | None:
    return None if bias is None else bias.astype(dtype).reshape(layer.groups, -1)


def conv_transpose1d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Array:
    """Apply the transpose of a convolution's matrix: the shape goes back, the values do not.

    Parameters
    ----------
    input
        (N, C_in, L) or (C_in, L).
    weight
        (C_in, C_out/groups, kL).
    bias
        (C_out,), added to the output.
    stride, padding, dilation
        Those of the convolution of which this is the transpose; padding as ints or (low, high) pairs.
    output_padding
        Samples more at the far end, fewer than the stride or the dilation.
    groups
        Divides both numbers of channels.

    Returns
    -------
    ndarray
        (N, C_out, L_out), or without N; ``L_out = s(L − 1) + d(k − 1) + 1 − 2p + a``.

    Examples
    --------
    >>> conv_transpose1d([[1.0, 2.0]], [[[1.0, 3.0, 4.0]]], stride=2)
    array([[1., 3., 6., 6., 8.]])
    """
    layer_arguments = (input, weight, bias, stride, padding, output_padding, groups, dilation)
    return _conv_transpose("conv_transpose1d", *layer_arguments)


def conv_transpose2d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Array:
    """Apply the transpose of a two-dimensional convolution's matrix.

    Parameters
    ----------
    input
        (N, C_in, H, W) or (C_in, H, W).
    weight
        (C_in, C_out/groups, kH, kW).
    bias, stride, padding, output_padding, groups, dilation
        As in :func:`conv_transpose1d`, tuples with one entry per axis.

    Returns
    -------
    ndarray
        (N, C_out, H_out, W_out), or without N.

    Examples
    --------
    >>> conv_transpose2d([[[1, 0], [2, 1]]], [[[[1, 0, 1], [0, 1, 1], [1, 0, 0]]]])
    array([[[1., 0., 1., 0.],
            [2., 2., 3., 1.],
            [1., 2., 3., 1.],
            [2., 1., 0., 0.]]])
    """
    layer_arguments = (input, weight, bias, stride, padding, output_padding, groups, dilation)
    return _conv_transpose("conv_transpose2d", *layer_arguments)


def conv_transpose3d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Array:
    """Apply the transpose of a three-dimensional convolution's matrix.

    Parameters
    ----------
    input
        (N, C_in, D, H, W) or (C_in, D, H, W).
    weight
        (C_in, C_out/groups, kD, kH, kW).
    bias, stride, padding, output_padding, groups, dilation
        As in :func:`conv_transpose1d`, tuples with one entry per axis.

    Returns
    -------
    ndarray
        (N, C_out, D_out, H_out, W_out), or without N.

    Examples
    --------
    >>> conv_transpose3d([[[[1.0, 2.0]]]], [[[[[1.0, 3.0]]]]])
    array([[[[1., 5., 6.]]]])
    """
    layer_arguments = (input, weight, bias, stride, padding, output_padding, groups, dilation)
    return _conv_transpose("conv_transpose3d", *layer_arguments)


def _conv_transpose(
    name: str,
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    stride: Size,
    padding: Padding,
    output_padding: Size,
    groups: int,
    dilation: Size,
) -> Array:
    x, kernels = as_signal(input, "input"), as_signal(weight, "weight")
    layer = transposed_layer(name, x.shape, kernels.shape, stride, padding, output_padding, dilation, groups)
    offset = as_bias(layer, bias)
    dtype = layer_dtype(x, kernels, offset)
    weight6 = layer.in_three(
        kernels.astype(dtype), layer.groups, layer.channels // layer.groups, kernels.shape[1]
    )
    out = _empty_output(layer, dtype)
    lows = tuple(low for low, _ in layer.padding)
    filler = (0,) * len(layer.lead)
    transpose_layer(
        _batched(layer, x),
        weight6,
        (*layer.lead, *layer.stride),
        (*layer.lead, *layer.dilation),
        (*filler, *lows),
        out,
        _grouped(layer, offset, dtype),
    )
    return out.reshape(layer.output_shape)


def depthwise_separable_conv2d(
    input: ArrayLike,
    depthwise_weight: ArrayLike,
    pointwise_weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
) -> Array:
    """Correlate every channel with its own kernels, then mix the channels sample by sample.

    Parameters
    ----------
    input
        (N, C, H, W) or (C, H, W).
    depthwise_weight
        (C·m, 1, kH, kW): m kernels for each channel.
    pointwise_weight
        (C_out, C·m, 1, 1).
    bias
        (C_out,), added to the output.
    stride, padding, dilation
        Of the first step, as in :func:`conv2d`.

    Returns
    -------
    ndarray
        (N, C_out, H_out, W_out), or without N.

    Examples
    --------
    >>> pair = np.array([[[1.0, 2.0, 4.0]], [[3.0, 9.0, 27.0]]])
    >>> depthwise_separable_conv2d(pair, [[[[-1, 1]]], [[[1, 0]]]], [[[[10]], [[1]]]])
    array([[[13., 29.]]])
    """
    x, kernels, mixing = (
        as_signal(input, "input"),
        as_signal(depthwise_weight, "depthwise_weight"),
        as_signal(pointwise_weight, "pointwise_weight"),
    )
    channels = x.shape[-3] if x.ndim >= 3 else 0
    if kernels.ndim != 4 or kernels.shape[1] != 1 or channels == 0 or kernels.shape[0] % channels:
        raise ArgumentError(
            f"depthwise_separable_conv2d: `depthwise_weight` must be (C·m, 1, kH, kW) for `input` "
            f"(N, C, H, W) or (C, H, W); got `depthwise_weight` {kernels.shape} and `input` {x.shape}"
        )
    if mixing.ndim != 4 or mixing.shape[1:] != (kernels.shape[0], 1, 1):
        raise ArgumentError(
            f"depthwise_separable_conv2d: `pointwise_weight` must be (C_out, {kernels.shape[0]}, 1, 1) after "
            f"`depthwise_weight` {kernels.shape}; got {mixing.shape}"
        )
    apart = conv2d(x, kernels, None, stride, padding, dilation, channels)
    return conv2d(apart, mixing, bias)
