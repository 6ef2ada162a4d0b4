"""Correlation row by row: only the taps along x are unrolled, those along y overlap in memory.

After Cho and Brand, "MEC: memory-efficient convolution for deep neural network" (2017): with the
input rows unrolled as (row, channel · z · x tap, x), the columns of output row y are the
rows ``y·stride … y·stride + kernel − 1``, which lie side by side and need no copy of their own.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.lib.stride_tricks import as_strided

from filterworks.arguments import Array
from filterworks.functional.columns import SMALL_PRODUCT, THREAD_WORK, round_up
from filterworks.threads import Scratch, share, usable_threads
from filterworks.tiles import Box, Patch, Windows, boxes, read_patch, within

TILE_BYTES = 1 << 21
# Rows shorter than this leave too many vector lanes empty.
MIN_ROW = 32
# Fewer columns per product than this are slower than unrolling everything.
MIN_BLOCK = 48


def rows_can(weight: Array, windows: Windows, out: Array) -> bool:
    """Return whether it pays: rows are long, taps along y overlap, and `out` is written in whole rows."""
    wy, wx = windows[1:]
    return (
        wy.kernel > 1
        and wy.dilation == 1
        and wx.out >= MIN_ROW
        and _block(weight) >= MIN_BLOCK
        and out.strides[-1] == out.itemsize
    )


def _block(weight: Array) -> int:
    """Return how many columns to multiply at once: the product stays below what BLAS does without threads."""
    return SMALL_PRODUCT // prod(weight.shape[1:]) // 16 * 16


def correlate_by_rows(
    x: Array, weight: Array, windows: Windows, out: Array, bias: Array | None, boundary: str | None
) -> None:
    """Do what :func:`~filterworks.functional.direct.correlate_layer` does, where `rows_can`."""
    groups, rows, channels, depth, _, width = weight.shape
    matrix = weight.transpose(0, 1, 4, 2, 3, 5).reshape(groups, rows, -1)
    wy = windows[1]
    unrolled = channels * depth * width * min(wy.stride, wy.kernel) + channels * wy.stride * windows[2].stride
    limit = max(TILE_BYTES // ((unrolled + rows) * matrix.itemsize), MIN_ROW)
    shape = (out.shape[3], out.shape[4], out.shape[5])
    threads = usable_threads() if prod(out.shape[3:]) * len(x) * matrix.size > THREAD_WORK else 1
    pieces = -(-2 * threads // (len(x) * groups)) if threads > 1 else 1
    tiles = list(boxes(shape, min(limit, -(-prod(shape) // pieces))))

    def one(scratch: Scratch, task: tuple[int, int, Box]) -> None:
        sample, group, box = task
        part = x[sample, group * channels : (group + 1) * channels]
        patch = read_patch(part, windows, box, scratch, matrix.dtype, boundary=boundary)
        z, y, row = within(box)
        target = out[sample, group, :, z, y, row]
        _multiply(
            matrix[group], _unroll(patch, scratch), target.transpose(1, 2, 0, 3), _block(weight), scratch
        )
        if bias is not None:
            target += bias[group][:, None, None, None]

    tasks = [(n, g, box) for n in range(len(x)) for g in range(groups) for box in tiles]
    share(one, tasks, threads)


def _unroll(patch: Patch, scratch: Scratch) -> Array:
    """Return the columns (z, y, all taps, x) of a patch; those of neighbouring y share memory."""
    wz, wy, wx = patch.windows
    channels, height = len(patch.data), patch.data.shape[3]
    depth, out_rows, width = patch.counts
    taps = channels * wz.kernel * wx.kernel
    buffer = scratch.take("rows", (depth, height, taps, round_up(width)), patch.data.dtype)
    view = buffer[..., :width].reshape(depth, height, channels, wz.kernel, wx.kernel, width)
    sc, sz, _, sy, sx = patch.data.strides
    for x in range(wx.kernel):
        plane = patch.plane(x)
        shape = (depth, height, channels, wz.kernel, width)
        strides = (sz * wz.stride, sy, sc, sz * wz.dilation, sx)
        np.copyto(view[:, :, :, :, x], as_strided(plane, shape, strides))
    shape4 = (depth, out_rows, wy.kernel * taps, buffer.shape[3])
    step = buffer.strides[1]
    return as_strided(buffer, shape4, (buffer.strides[0], step * wy.stride, *buffer.strides[2:]))


def _multiply(matrix: Array, columns: Array, target: Array, block: int, scratch: Scratch) -> None:
    """Write ``matrix @ columns`` into `target` (z, y, output, x), a few whole vectors at a time."""
    width = target.shape[3]
    whole = width // 16 * 16
    for low in range(0, whole, block):
        part = slice(low, min(low + block, whole))
        np.matmul(matrix, columns[..., part], out=target[..., part])
    if whole < width:
        tail = scratch.take("tail", (*target.shape[:3], 16), matrix.dtype)
        np.matmul(matrix, columns[..., whole:], out=tail)
        target[..., whole:] = tail[..., : width - whole]
