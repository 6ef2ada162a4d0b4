"""Convolution as a sparse matrix."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from filterworks.arguments import Array, as_int, as_signal, compute_dtype, per_axis
from filterworks.errors import ArgumentError, ArgumentTypeError, must
from filterworks.shapes import Padding, Pair, Size, as_padding, conv_output_size, is_per_axis


def conv_matrix(
    weight: ArrayLike,
    input_shape: Size,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
) -> sparse.csr_array:
    """Return the matrix C of a correlation: ``y.ravel() = C @ x.ravel()``.

    Parameters
    ----------
    weight
        A kernel with as many axes as the input, or a layer's weight (C_out, C_in, *kernel).
    input_shape
        The input's shape: spatial for a plain kernel, (C_in, *spatial) for a layer's weight.
    stride, dilation
        Positive ints, or one per spatial axis.
    padding
        Zeros outside: an int, one per spatial axis, (low, high) pairs, ``"same"`` (stride 1) or ``"valid"``.

    Returns
    -------
    scipy.sparse.csr_array
        One row per output sample, one column per input sample, both in row-major order. Entries that a tap of
        weight zero puts there are stored. The dtype follows the package's rule for the weight.

    Raises
    ------
    ArgumentError
        If the shapes do not fit.

    See Also
    --------
    filterworks.functional.conv_transpose2d : ``C.T @ y.ravel()``, up to the shape.

    Examples
    --------
    >>> print(conv_matrix([3.0, 1.0], 4).toarray())
    [[3. 1. 0. 0.]
     [0. 3. 1. 0.]
     [0. 0. 3. 1.]]
    >>> conv_matrix([[1, 2, 3], [4, 5, 6], [7, 8, 9]], (5, 5)).shape
    (9, 25)
    """
    kernels = as_signal(weight, "weight")
    shape = _as_shape(input_shape)
    if kernels.ndim == len(shape):
        kernels, shape = kernels[None, None], (1, *shape)
    elif kernels.ndim != len(shape) + 1 or kernels.ndim < 3 or kernels.shape[1] != shape[0]:
        raise ArgumentError(
            f"`weight` must have as many axes as `input_shape`, or be (C_out, C_in, *kernel) for an input "
            f"(C_in, *spatial); got `weight` {kernels.shape} and `input_shape` {shape}"
        )
    if kernels.size == 0:
        raise ArgumentError(f"`weight` must hold at least one number; got shape {kernels.shape}")
    kernel, spatial = kernels.shape[2:], shape[1:]
    ndim = len(kernel)
    steps, holes = per_axis("stride", stride, ndim, 1), per_axis("dilation", dilation, ndim, 1)
    pairs = as_padding(padding, kernel, steps, holes)
    out = conv_output_size(spatial, kernel, stride=steps, padding=pairs, dilation=holes)
    return _assemble(kernels, spatial, out, steps, pairs, holes)


def _as_shape(input_shape: Any) -> tuple[int, ...]:
    if not is_per_axis(input_shape):
        return (as_int("input_shape", input_shape, 1),)
    if not len(input_shape):
        raise ArgumentTypeError(
            must("input_shape", "an integer or a non-empty sequence of sizes", input_shape)
        )
    return tuple(as_int("input_shape", size, 1) for size in input_shape)


def _assemble(
    kernels: Array,
    spatial: tuple[int, ...],
    out: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[Pair, ...],
    dilation: tuple[int, ...],
) -> sparse.csr_array:
    outputs, channels = kernels.shape[:2]
    samples, positions = prod(spatial), prod(out)
    pattern = _pattern(kernels.shape[2:], spatial, out, stride, padding, dilation)
    taps = np.concatenate([np.full(len(rows), tap) for tap, (rows, _) in enumerate(pattern)])
    rows = np.concatenate([rows for rows, _ in pattern])
    columns = np.concatenate([columns for _, columns in pattern])
    values = kernels.astype(np.result_type(compute_dtype(kernels.dtype), kernels.dtype)).reshape(
        outputs, channels, -1
    )
    shape = (outputs, channels, len(rows))
    all_rows = np.broadcast_to(np.arange(outputs)[:, None, None] * positions + rows, shape)
    all_columns = np.broadcast_to(np.arange(channels)[:, None] * samples + columns, shape)
    coordinates = (all_rows.ravel(), all_columns.ravel())
    total = (outputs * positions, channels * samples)
    return sparse.csr_array((values[:, :, taps].ravel(), coordinates), shape=total)


def _pattern(
    kernel: tuple[int, ...],
    spatial: tuple[int, ...],
    out: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[Pair, ...],
    dilation: tuple[int, ...],
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return for each tap the outputs that see it inside the input, and the input samples they see."""
    pattern = []
    for tap in product(*map(range, kernel)):
        rows, columns = np.zeros(1, np.intp), np.zeros(1, np.intp)
        for axis, place in enumerate(tap):
            index = np.arange(out[axis])
            source = index * stride[axis] - padding[axis][0] + place * dilation[axis]
            inside = (source >= 0) & (source < spatial[axis])
            rows = (rows[:, None] * out[axis] + index[inside]).ravel()
            columns = (columns[:, None] * spatial[axis] + source[inside]).ravel()
        pattern.append((rows, columns))
    return pattern
