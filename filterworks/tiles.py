"""Boxes of a padded, strided array, read piece by piece so that no padded copy of the whole is made.

A *window* says how one spatial axis is read; a *box* is a range of outputs on three axes (two- and one-
dimensional data have leading axes of length one); a *patch* is the input that a box needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from filterworks.arguments import Array
from filterworks.boundaries import source_index
from filterworks.shapes import spread_size
from filterworks.threads import Scratch

# Rows are cut at multiples of this many samples: a few whole vectors.
VECTOR = 64

Range = tuple[int, int]
Box = tuple[Range, Range, Range]
Source = slice | NDArray[np.intp] | None


class Window(NamedTuple):
    """How one axis is read: output o, tap t stand at input ``o·stride + t·dilation − low``."""

    size: int
    out: int
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    low: int = 0


Windows = tuple[Window, Window, Window]


def boxes(out: tuple[int, int, int], limit: int) -> Iterator[Box]:
    """Cut `out` outputs into boxes of about equal size, of at most `limit` outputs each.

    Whole rows stay together where they fit, for the sake of long runs in memory.

    Examples
    --------
    >>> list(boxes((1, 3, 4), 8))
    [((0, 1), (0, 2), (0, 4)), ((0, 1), (2, 3), (0, 4))]
    """
    steps: list[int] = []
    for size in reversed(out):
        parts = -(-size // max(min(size, limit), 1))
        step = max(-(-size // max(parts, 1)), 1)
        if not steps and parts > 1 and limit >= VECTOR:
            step = -(-step // VECTOR) * VECTOR
        steps.insert(0, step)
        limit = max(limit // step, 1)
    ranges = [
        [(start, min(start + step, size)) for start in range(0, size, step)]
        for size, step in zip(out, steps, strict=True)
    ]
    yield from product(ranges[0], ranges[1], ranges[2])


def dense_window(window: Window) -> Window:
    """Return the window that computes every output, also those between the strides."""
    return window._replace(stride=1, out=(window.out - 1) * window.stride + 1)


def dense_range(part: Range, window: Window) -> Range:
    """Return which outputs of the dense window hold a range of the strided one's."""
    return part[0] * window.stride, (part[1] - 1) * window.stride + 1


def within(box: Box) -> tuple[slice, slice, slice]:
    """Return the place of a box among all outputs."""
    z, y, x = (slice(*part) for part in box)
    return z, y, x


@dataclass(frozen=True)
class Patch:
    """The input of one box.

    `data` has the axes (channel, z, phase, y, x): along x, samples that are a stride apart lie
    side by side, one plane per phase, so that every tap reads contiguous runs.
    """

    data: Array
    windows: Windows
    counts: tuple[int, int, int]
    slots: dict[int, int]

    def tap(self, z: int, y: int, x: int) -> Array:
        """Return the samples under one tap: (channel, *outputs)."""
        slot, shift = self._place(x)
        return self.data[:, self._along(0, z), slot, self._along(1, y), shift : shift + self.counts[2]]

    def copy_columns(self, columns: Array) -> None:
        """Write every tap into `columns`: (channel, *kernel, *outputs)."""
        wz, wy, wx = self.windows
        sc, sz, _, sy, sx = self.data.strides
        rows = (sc, sz * wz.dilation, sy * wy.dilation)
        outs = (sz * wz.stride, sy * wy.stride, sx)
        if len(self.slots) == 1:
            step = sx * (wx.dilation // wx.stride if wx.kernel > 1 else 1)
            np.copyto(columns, as_strided(self.data, columns.shape, (*rows, step, *outs)))
            return
        for x in range(wx.kernel):
            target = columns[:, :, :, x]
            np.copyto(target, as_strided(self.plane(x), target.shape, (*rows, *outs)))

    def plane(self, x: int) -> Array:
        """Return (channel, z, y, x) from the first sample under one tap along x on."""
        slot, shift = self._place(x)
        return self.data[:, :, slot, :, shift:]

    def _place(self, x: int) -> tuple[int, int]:
        window = self.windows[2]
        shift, phase = divmod(x * window.dilation, window.stride)
        return self.slots[phase], shift

    def _along(self, axis: int, tap: int) -> slice:
        window, start = self.windows[axis], tap * self.windows[axis].dilation
        return slice(start, start + (self.counts[axis] - 1) * window.stride + 1, window.stride)


def read_patch(
    x: Array,
    windows: Windows,
    box: Box,
    scratch: Scratch,
    dtype: np.dtype[Any],
    *,
    boundary: str | None = None,
    fill: float = 0.0,
) -> Patch:
    """Return the patch that `box` reads from `x`, of shape (channel, z, y, x).

    Parameters
    ----------
    x
        One sample, any numeric dtype.
    boundary
        A name of :mod:`filterworks.boundaries` for what lies outside; None puts `fill` there.

    Notes
    -----
    Where nothing has to be padded, converted or re-ordered the patch is a view of `x`.
    """
    starts = [low * w.stride - w.low for w, (low, _) in zip(windows, box, strict=True)]
    counts = (box[0][1] - box[0][0], box[1][1] - box[1][0], box[2][1] - box[2][0])
    spans = [
        (n - 1) * w.stride + spread_size(w.kernel, w.dilation) for n, w in zip(counts, windows, strict=True)
    ]
    wx = windows[2]
    slots: dict[int, int] = {}
    for tap in range(wx.kernel):
        slots.setdefault(tap * wx.dilation % wx.stride, len(slots))
    inside = all(
        start >= 0 and start + span <= w.size for start, span, w in zip(starts, spans, windows, strict=True)
    )
    if inside and wx.stride == 1 and x.dtype == dtype:
        z, y, row = (slice(start, start + span) for start, span in zip(starts, spans, strict=True))
        return Patch(x[:, z, None, y, row], windows, counts, slots)
    width = -(-spans[2] // wx.stride)
    data = scratch.take("patch", (x.shape[0], spans[0], len(slots), spans[1], width), dtype)
    planes = [_pieces(w.size, starts[i], spans[i], 1, boundary) for i, w in enumerate(windows[:2])]
    for phase, slot in slots.items():
        runs = _pieces(wx.size, starts[2] + phase, width, wx.stride, boundary)
        for (tz, z_from), (ty, y_from), (tx, x_from) in product(*planes, runs):
            target = data[:, tz, slot, ty, tx]
            if z_from is None or y_from is None or x_from is None:
                target[...] = fill
            else:
                target[...] = _pick(x, (z_from, y_from, x_from))
    return Patch(data, windows, counts, slots)


def _pick(x: Array, sources: tuple[slice | NDArray[np.intp], ...]) -> Array:
    # Slices first: they are views, and what the index arrays then copy is small.
    picked = x[(slice(None), *(s if isinstance(s, slice) else slice(None) for s in sources))]
    for axis, source in enumerate(sources, start=1):
        if not isinstance(source, slice):
            picked = np.take(picked, source, axis=axis)
    return picked


def _pieces(size: int, start: int, count: int, step: int, boundary: str | None) -> list[tuple[slice, Source]]:
    """Return (place in the patch, place in the input) of the part before, inside and after the data."""
    first = min(max(-(start // step), 0), count)
    last = max(min(-((start - size) // step), count), first)
    found: list[tuple[slice, Source]] = []
    if last > first:
        begin = start + first * step
        found.append((slice(first, last), slice(begin, start + (last - 1) * step + 1, step)))
    for low, high in ((0, first), (last, count)):
        if high > low:
            found.append((slice(low, high), _outside(size, start + low * step, high - low, step, boundary)))
    return found


def _outside(size: int, start: int, count: int, step: int, boundary: str | None) -> Source:
    if boundary is None:
        return None
    end = start + (count - 1) * step
    before, after = max(-start, 0), max(end - size + 1, 0)
    index = source_index(size, before, after, boundary)
    return index[start + before : end + before + 1 : step]
