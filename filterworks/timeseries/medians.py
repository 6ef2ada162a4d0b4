"""Medians of windows that move on, compiled as the other loops are."""

from __future__ import annotations

import numpy as np

from filterworks.timeseries.loops import Lines, Places, by_line, compiled

# From so many samples on, a tree finds a window's median sooner than a sorted list.
LONG_WINDOW = 400


@compiled
def _place(ordered: Lines, count: int, value: float) -> int:
    """Return how many of the first `count` of a sorted list are less than a value."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _insert(ordered: Lines, count: int, value: float) -> int:
    """Put a value into the first `count` of a sorted list; return how many there are now."""
    if np.isnan(value):
        return count
    place = _place(ordered, count, value)
    for k in range(count, place, -1):
        ordered[k] = ordered[k - 1]
    ordered[place] = value
    return count + 1


@compiled
def _remove(ordered: Lines, count: int, value: float) -> int:
    """Take a value out of the first `count` of a sorted list; return how many are left."""
    if np.isnan(value):
        return count
    for k in range(_place(ordered, count, value), count - 1):
        ordered[k] = ordered[k + 1]
    return count - 1


@compiled
def _exchange(ordered: Lines, count: int, old: float, new: float) -> int:
    """Put a value in the place of another; only what lies between them moves."""
    if np.isnan(old) or np.isnan(new):
        return _insert(ordered, _remove(ordered, count, old), new)
    place = _place(ordered, count, old)
    if new > old:
        while place + 1 < count and ordered[place + 1] < new:
            ordered[place] = ordered[place + 1]
            place += 1
    else:
        while place > 0 and ordered[place - 1] > new:
            ordered[place] = ordered[place - 1]
            place -= 1
    ordered[place] = new
    return count


@compiled
def _short_medians(line: Lines, lows: Places, highs: Places, omit: bool, longest: int, out: Lines) -> None:
    """Take the medians from a sorted list of the window's samples."""
    ordered = np.empty(longest)
    count, low, high = 0, 0, 0
    for i in range(lows.size):
        if lows[i] == low + 1 and highs[i] == high + 1 and high > low:
            count = _exchange(ordered, count, line[low], line[high])
            low, high = low + 1, high + 1
        for j in range(low, min(lows[i], high)):
            count = _remove(ordered, count, line[j])
        low = lows[i]
        for j in range(max(high, low), highs[i]):
            count = _insert(ordered, count, line[j])
        high = highs[i]
        if count == 0 or (count < high - low and not omit):
            out[i] = np.nan
        else:
            # Halved first, so that two large values do not overflow.
            out[i] = ordered[(count - 1) // 2] / 2 + ordered[count // 2] / 2


@compiled
def _count(tree: Places, rank: int, change: int) -> None:
    """Change how many samples of a rank are in the window."""
    place = rank + 1
    while place < tree.size:
        tree[place] += change
        place += place & -place


@compiled
def _select(tree: Places, index: int, step: int) -> int:
    """Return the rank of the window's sample number `index`; `step` is the tree's largest power of 2."""
    place = 0
    while step:
        if place + step < tree.size and tree[place + step] <= index:
            place += step
            index -= tree[place]
        step //= 2
    return place


@compiled
def _long_medians(line: Lines, order: Places, lows: Places, highs: Places, omit: bool, out: Lines) -> None:
    """Take the medians from counts of the samples' ranks, kept in a tree of partial sums.

    `order` sorts the line.

    Source: Fenwick, "A new data structure for cumulative frequency tables", Softw. Pract. Exper. 24 (1994).
    """
    ranks, tree = np.empty(line.size, np.int64), np.zeros(line.size + 1, np.int64)
    for rank in range(line.size):
        ranks[order[rank]] = rank
    step = 1
    while 2 * step < tree.size:
        step *= 2
    count, low, high = 0, lows[0], lows[0]
    for i in range(lows.size):
        for j in range(high, highs[i]):
            if not np.isnan(line[j]):
                _count(tree, ranks[j], 1)
                count += 1
        for j in range(low, lows[i]):
            if not np.isnan(line[j]):
                _count(tree, ranks[j], -1)
                count -= 1
        low, high = lows[i], highs[i]
        if count == 0 or (count < high - low and not omit):
            out[i] = np.nan
        else:
            lower = line[order[_select(tree, (count - 1) // 2, step)]]
            upper = lower if count % 2 else line[order[_select(tree, count // 2, step)]]
            out[i] = lower / 2 + upper / 2


def medians(lines: Lines, lows: Places, highs: Places, omit: bool) -> Lines:
    """Return the median of each window of each line; windows only move on, and overlap."""
    longest = int((highs - lows).max(initial=1))
    if longest <= LONG_WINDOW:
        return by_line(_short_medians, lines, lows.size, lows, highs, omit, longest)
    out = np.empty((lines.shape[0], lows.size))
    for line, row in zip(lines, out, strict=True):
        _long_medians(line, np.argsort(line), lows, highs, omit, row)
    return out
