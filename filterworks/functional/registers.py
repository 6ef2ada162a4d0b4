"""Layers by compiled loops: tiles of output channels × samples stay in registers while all taps are added."""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from filterworks import planner
from filterworks.arguments import Array
from filterworks.engine.field import address
from filterworks.machine import loops
from filterworks.machine.compiler import obstacle, vector_bytes
from filterworks.threads import Scratch, share, usable_threads
from filterworks.tiles import Box, Patch, Windows, boxes, read_patch, within

# Bytes of the samples and results of one box, so that they stay in the second-level cache.
_BOX_BYTES = 3 << 18
# Multiply-adds of one task that are worth a hand-over between threads.
_THREAD_WORK = 1 << 21
# What a multiply-add costs more elsewhere, in seconds: what starting the compiler has to be weighed against.
_SAVED = 1e-11
# Outputs of a box at least.
_LEAST = 512
# So many terms are added up in single precision before their sum joins the others.
_GROUP = 128


def registers_can(weight: Array, windows: Windows, out: Array) -> bool:
    """Return whether compiled loops can do a layer, and are ready or worth being made ready."""
    if weight.dtype.kind != "f" or obstacle() or windows[2].out < 2 * loops.lanes_of(weight.dtype):
        return False
    work = prod(weight.shape[2:]) * out.size
    return work > _THREAD_WORK and planner.is_worth_starting("direct", work * _SAVED)


class _Taps:
    """The weights in the order in which the loop reads them.

    Parameters
    ----------
    weight
        (group, output channels, input channels, *kernel).
    """

    def __init__(self, weight: Array) -> None:
        self.groups, self.outputs = weight.shape[:2]
        self.length = prod(weight.shape[2:])
        self.rows = 4 if self.outputs >= 4 else 2 if self.outputs >= 2 else 1
        self.vectors = {4: 4, 2: 6, 1: 8}[self.rows] if vector_bytes() == 64 else 8 // self.rows
        matrix = weight.reshape(self.groups, self.outputs, self.length)
        firsts = [min(i, self.outputs - self.rows) for i in range(0, self.outputs, self.rows)]
        tiles = [matrix[:, first : first + self.rows].swapaxes(1, 2) for first in firsts]
        self.weights = np.ascontiguousarray(np.stack(tiles, axis=1))
        most = _GROUP if weight.dtype.itemsize == 4 else self.length
        counts = [min(most, self.length - start) for start in range(0, self.length, most)]
        self.counts = np.zeros((len(counts), 2 * self.rows + 1), np.int64)
        self.counts[:, self.rows] = counts

    def constants(self, group: int, offsets: NDArray[np.int64], width: int, pitch: int) -> NDArray[np.int64]:
        """Return what the loop reads for one group: all its output channels, `width` samples of each."""
        weights = address(self.weights) + group * self.weights[0].nbytes
        tables = (len(self.counts), address(self.counts), address(offsets), weights)
        return np.array([pitch, 0, self.outputs, width, *tables, self.length * self.rows], np.int64)


def correlate_by_registers(
    x: Array, weight: Array, windows: Windows, out: Array, bias: Array | None, boundary: str | None
) -> None:
    """Do what :func:`~filterworks.functional.direct.correlate_layer` does."""
    taps = _Taps(weight)
    channels = weight.shape[2]
    parts = _cut(windows, out, channels, len(x) * taps.groups)

    def one(buffers: Scratch, task: tuple[int, int, Box]) -> None:
        sample, group, box = task
        part = x[sample, group * channels : (group + 1) * channels]
        patch = read_patch(part, windows, box, buffers, weight.dtype, boundary=boundary)
        values = _sums(patch, taps, group, buffers)
        z, y, row = within(box)
        target = out[sample, group, :, z, y, row]
        if bias is None:
            target[...] = values
        else:
            np.add(values, bias[group, :, None, None, None], out=target)

    tasks = [(n, g, box) for n in range(len(x)) for g in range(taps.groups) for box in parts]
    heavy = out.size * taps.length > 2 * _THREAD_WORK
    share(one, tasks, usable_threads() if heavy else 1)


def _cut(windows: Windows, out: Array, channels: int, arrays: int) -> list[Box]:
    """Return boxes of outputs whose samples and sums fit the cache, and enough of them for all threads."""
    wz, wy, wx = windows
    bytes_each = (channels * wz.stride * wy.stride * wx.stride + out.shape[2]) * out.itemsize
    total = prod(out.shape[3:])
    pieces = max(2 * usable_threads() // arrays, 1)
    limit = max(min(_BOX_BYTES // bytes_each, -(-total // pieces)), _LEAST)
    return list(boxes((out.shape[3], out.shape[4], out.shape[5]), limit))


def _offsets(patch: Patch) -> NDArray[np.int64]:
    """Return where the sample under each tap of the first output stands: by channel, z, y, x."""
    item = patch.data.itemsize
    channel, plane, slot, line, _ = (stride // item for stride in patch.data.strides)
    wz, wy, wx = patch.windows
    across = np.arange(wx.kernel) * wx.dilation
    shifts = across // wx.stride + np.array([patch.slots[int(p)] for p in across % wx.stride]) * slot
    axes = [np.arange(len(patch.data)) * channel, np.arange(wz.kernel) * wz.dilation * plane]
    axes += [np.arange(wy.kernel) * wy.dilation * line, shifts]
    a, b, c, d = axes
    return np.asarray((a[:, None, None, None] + b[:, None, None] + c[:, None] + d).ravel(), np.int64)


def _sums(patch: Patch, taps: _Taps, group: int, buffers: Scratch) -> Array:
    """Return the sums for one patch: (output channel, z, y, x), a view that holds until the next call."""
    (nz, ny, nx), (wz, wy, _) = patch.counts, patch.windows
    dtype, item = patch.data.dtype, patch.data.itemsize
    line = patch.data.shape[4]
    # Rows that follow each other are one run; what it computes between their ends is left out afterwards.
    joined = wy.stride == 1
    runs, length = (1, (ny - 1) * line + nx) if joined else (ny, nx)
    lanes = loops.lanes_of(dtype)
    vectors = max(min(taps.vectors, length // lanes), 1)
    width = max(length, vectors * lanes)
    if width > length or not patch.data.flags.c_contiguous:
        patch = _with_room(patch, width - length, buffers)
    plane, pitch = patch.data.strides[1] // item, nz * runs * width
    result = buffers.take("result", (taps.outputs * pitch,), dtype)
    offsets = _offsets(patch)
    constants = taps.constants(group, offsets, width, pitch)
    loop = loops.correlate(dtype, dtype, taps.rows, vectors, lanes)
    source, target, places = address(patch.data), address(result), address(constants)
    for z, y in product(range(nz), range(runs)):
        start = z * wz.stride * plane + y * wy.stride * line
        loop(target + (z * runs + y) * width * item, source + start * item, places)
    rows = (line if joined else width) * item
    return as_strided(result, (taps.outputs, nz, ny, nx), (pitch * item, runs * width * item, rows, item))


def _with_room(patch: Patch, room: int, buffers: Scratch) -> Patch:
    """Return the patch in one piece, with memory behind it that may be read."""
    size = patch.data.size
    held = buffers.take("room", (size + room,), patch.data.dtype)
    whole = held[:size].reshape(patch.data.shape)
    whole[...] = patch.data
    return Patch(whole, patch.windows, patch.counts, patch.slots)
