"""Sums and maxima of windows, and where the maxima stand."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from filterworks.arguments import Array
from filterworks.tiles import Box, Patch, Window, Windows


def combine_windows(data: Array, windows: Windows, combine: Callable[..., Array]) -> Array:
    """Combine all samples of each window, one axis after the other.

    Parameters
    ----------
    data
        (channel, z, y, x), the padded input of all outputs, and nothing before it.
    windows
        How each axis is read; their `out` is the number of outputs.
    combine
        ``numpy.add`` or ``numpy.maximum``, or another binary ufunc that is associative.

    Examples
    --------
    >>> rows = np.array([[[[1.0, 5.0, 2.0, 7.0, 3.0]]]])
    >>> combine_windows(rows, (Window(1, 1), Window(1, 1), Window(5, 2, kernel=3, stride=2)), np.maximum)
    array([[[[5., 7.]]]])
    """
    for axis, window in enumerate(windows, start=1):
        data = _along(data, axis, window, combine)
    return data


def _into(combine: Callable[..., Array], total: Array, values: Array, owned: bool) -> Array:
    # The first operand may be a view of the caller's array, which must stay as it is.
    return combine(total, values, out=total) if owned else combine(total, values)


def _along(array: Array, axis: int, window: Window, combine: Callable[..., Array]) -> Array:
    """Combine the taps of one axis, in about log2(kernel) steps where nothing is left out."""
    moved = np.moveaxis(array, axis, 0)
    end = (window.out - 1) * window.stride + 1
    if window.stride == 1 and window.kernel > 4:
        total = _doubling(moved, window, combine)[: window.out]
    else:
        total = moved[: end : window.stride]
        for tap in range(1, window.kernel):
            start = tap * window.dilation
            total = _into(combine, total, moved[start : start + end : window.stride], tap > 1)
    return np.moveaxis(total, 0, axis)


def _doubling(moved: Array, window: Window, combine: Callable[..., Array]) -> Array:
    """Combine windows from parts of 1, 2, 4, … samples, so that nothing is ever taken away again."""
    part, size, start = moved, 1, 0
    total: Array | None = None
    while True:
        if window.kernel & size:
            piece = part[start * window.dilation :]
            total = piece if total is None else combine(total[: len(piece)], piece)
            start += size
        size *= 2
        if size > window.kernel:
            return total if total is not None else part
        shift = size // 2 * window.dilation
        part = combine(part[:-shift], part[shift:])


def argmax_windows(patch: Patch, box: Box) -> tuple[Array, Array]:
    """Return the maxima and their flat indices; of equal ones the first, of NaN the last, as in torch."""
    best = np.full((len(patch.data), *patch.counts), -np.inf, patch.data.dtype)
    index = np.empty(best.shape, np.int64)
    index[...] = _flat_index(patch.windows, box, None)
    for tap in product(*(range(w.kernel) for w in patch.windows)):
        values = patch.tap(*tap)
        better = (values > best) | np.isnan(values)
        np.copyto(best, values, where=better)
        np.copyto(index, _flat_index(patch.windows, box, tap), where=better)
    return best, index


def _flat_index(windows: Windows, box: Box, tap: tuple[int, ...] | None) -> Array:
    """Return the flat input index under one tap for every output of a box; None: the first tap inside."""
    axes = []
    for axis, (window, part) in enumerate(zip(windows, box, strict=True)):
        start = np.arange(*part, dtype=np.int64) * window.stride - window.low
        if tap is None:
            start += np.maximum(-(start // window.dilation), 0) * window.dilation
        else:
            start += tap[axis] * window.dilation
        axes.append(start)
    _, height, width = (w.size for w in windows)
    return (axes[0][:, None, None] * height + axes[1][:, None]) * width + axes[2]
