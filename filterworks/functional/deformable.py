"""Deformable convolution: every tap is read at its own fractional offset.

After Dai et al., "Deformable convolutional networks" (2017), and Zhu et al., "Deformable ConvNets v2" (2019)
for the mask; layout and treatment of the outside as in torchvision.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import ArrayLike

from filterworks.arguments import Array, compute_dtype
from filterworks.errors import ArgumentError
from filterworks.functional.columns import LARGE_TILE_BYTES, place
from filterworks.functional.geometry import Layer, as_bias, as_real, direct_layer
from filterworks.shapes import Padding, Size
from filterworks.threads import Scratch
from filterworks.tiles import Box, boxes, within


def deform_conv2d(
    input: ArrayLike,
    offset: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    mask: ArrayLike | None = None,
) -> Array:
    """Correlate images with kernels whose taps are moved by `offset`, read bilinearly, and weighed by `mask`.

    Parameters
    ----------
    input
        (N, C_in, H, W) or (C_in, H, W).
    offset
        (N, 2·G·kH·kW, H_out, W_out): for each of G offset groups and each tap, rows down and columns to
        the right. G divides C_in: each offset group moves C_in/G neighbouring channels.
    weight
        (C_out, C_in/groups, kH, kW); the number of groups follows from its shape.
    bias
        (C_out,), added to the output.
    stride, padding, dilation
        As in :func:`conv2d`; outside the image are zeros.
    mask
        (N, G·kH·kW, H_out, W_out), factors of the samples read; None for ones.

    Returns
    -------
    ndarray
        (N, C_out, H_out, W_out), or without N.

    Examples
    --------
    >>> image = np.array([[[1.0, 3.0, 9.0, 27.0]]])
    >>> offset = np.array([[[0.0, 0.0, 0.0, 0.0]], [[0.0, 0.5, 1.0, 1.0]]])
    >>> deform_conv2d(image, offset, [[[[2.0]]]])
    array([[[ 2., 12., 54.,  0.]]])
    """
    x, kernels, moves = as_real(input, "input"), as_real(weight, "weight"), as_real(offset, "offset")
    per_group = kernels.shape[1] if kernels.ndim == 4 else 0
    channels = x.shape[-3] if x.ndim >= 3 else 0
    groups = max(channels // per_group, 1) if per_group else 1
    layer = direct_layer("deform_conv2d", x.shape, kernels.shape, stride, padding, dilation, groups)
    factors = None if mask is None else as_real(mask, "mask")
    offset_groups = _check_offsets(layer, moves, factors)
    shift = as_bias(layer, bias)
    dtype = compute_dtype(x.dtype)
    batch, rows = 1 if layer.batch is None else layer.batch, layer.outputs // groups
    out = np.empty((batch, groups, rows, 1, *layer.out), dtype)
    taps = prod(layer.kernel)
    sampler = _Sampler(
        layer,
        x.reshape(batch, layer.channels, *layer.spatial),
        moves.reshape(batch, offset_groups, taps, 2, *layer.out),
        None if factors is None else factors.reshape(batch, offset_groups, taps, *layer.out),
        dtype,
    )
    matrix = kernels.astype(dtype).reshape(groups, rows, -1)
    _fill(sampler, matrix, out, None if shift is None else shift.astype(dtype).reshape(groups, rows))
    return out.reshape(layer.output_shape)


def _check_offsets(layer: Layer, offset: Array, mask: Array | None) -> int:
    """Return the number of offset groups."""
    taps, front = prod(layer.kernel), () if layer.batch is None else (layer.batch,)
    plane = offset.shape[len(front)] if offset.ndim == len(front) + 3 else 0
    groups = plane // (2 * taps)
    expected = (*front, 2 * taps * max(groups, 1), *layer.out)
    if offset.shape != expected or not groups or layer.channels % groups:
        raise ArgumentError(
            f"deform_conv2d: `offset` must be {(*front, f'2·G·{taps}', *layer.out)} with G dividing the "
            f"{layer.channels} channels; got {offset.shape}. The output would be {layer.output_shape}"
        )
    expected = (*front, taps * groups, *layer.out)
    if mask is not None and mask.shape != expected:
        raise ArgumentError(
            f"deform_conv2d: `mask` must be {expected}, one factor per tap; got {mask.shape}. "
            f"The output would be {layer.output_shape}"
        )
    return groups


def _fill(sampler: _Sampler, matrix: Array, out: Array, bias: Array | None) -> None:
    if out.size == 0:
        return
    groups, rows, length = matrix.shape
    # Besides the columns a tile holds one corner's samples of some channels, and a few arrays per tap.
    each = (2 * groups * length + groups * rows + 16 * sampler.taps) * matrix.itemsize
    tiles = list(boxes((1, out.shape[4], out.shape[5]), max(LARGE_TILE_BYTES // each, 16)))
    scratch = Scratch()
    for sample in range(len(out)):
        for box in tiles:
            z, y, x = within(box)
            columns = sampler.columns(sample, box, scratch).reshape(groups, length, -1)
            result = scratch.take("result", (groups, rows, columns.shape[2]), matrix.dtype)
            with np.errstate(all="ignore"):
                np.matmul(matrix, columns, out=result)
            place(result, out[sample, :, :, z, y, x], bias)


@dataclass(frozen=True)
class _Sampler:
    """Reads the moved samples of one box.

    `image` is (batch, channel, H, W), `offset` (batch, group, tap, 2, *out), `mask` the same without the 2.
    """

    layer: Layer
    image: Array
    offset: Array
    mask: Array | None
    dtype: np.dtype[np.floating]

    @property
    def taps(self) -> int:
        return int(self.offset.shape[2])

    def columns(self, sample: int, box: Box, scratch: Scratch) -> Array:
        """Return (channel, tap, output) of a box."""
        _, y, x = within(box)
        size = (y.stop - y.start) * (x.stop - x.start)
        channels, groups = self.image.shape[1], self.offset.shape[1]
        columns = scratch.take("columns", (groups, channels // groups, self.taps, size), self.dtype)
        for group in range(groups):
            factor: Array | float = 1.0
            if self.mask is not None:
                factor = self.mask[sample, group, :, y, x].reshape(self.taps, size)
            rows, cols = self._positions(self.offset[sample, group, :, :, y, x], box)
            first = group * (channels // groups)
            planes = self.image[sample, first : first + channels // groups]
            with np.errstate(all="ignore"):
                _interpolate(planes, rows, cols, factor, columns[group])
        return columns

    def _positions(self, offset: Array, box: Box) -> tuple[Array, Array]:
        """Return the row and the column that each (tap, output) reads."""
        found = []
        taps = np.indices(self.layer.kernel).reshape(2, -1)
        for axis, window in enumerate(self.layer.windows[1:]):
            low, high = box[axis + 1]
            start = np.arange(low, high) * window.stride - window.low
            grid = start.reshape((-1, 1) if axis == 0 else (1, -1))
            base = taps[axis][:, None, None] * window.dilation + grid
            position = (base + offset[:, axis].astype(np.float64)).reshape(self.taps, -1)
            # Beyond one sample outside everything is zero, also where a neighbour inside would get weight 0.
            position[position <= -1] = -2
            found.append(np.minimum(position, window.size + 1))
        return found[0], found[1]


def _interpolate(planes: Array, rows: Array, columns: Array, factor: Array | float, out: Array) -> None:
    """Write into `out` (channel, tap, output) the planes at fractional places, times `factor`."""
    height, width = planes.shape[1:]
    flat = planes.reshape(len(planes), height * width)
    top, left = np.floor(np.nan_to_num(rows)), np.floor(np.nan_to_num(columns))
    down, right = rows - top, columns - left
    out[...] = 0
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        y, x = (top + dy).astype(np.intp), (left + dx).astype(np.intp)
        share = (down if dy else 1 - down) * (right if dx else 1 - right)
        # A neighbour of share 0 is not read: its NaN is not the output's.
        unread = (y < 0) | (y >= height) | (x < 0) | (x >= width) | (share == 0)
        index = np.where(unread, 0, y * width + x)
        values = np.take(flat, index, axis=1).astype(out.dtype, copy=False)
        if unread.any():
            values[:, unread] = 0
        values *= (share * factor).astype(out.dtype)
        out += values
