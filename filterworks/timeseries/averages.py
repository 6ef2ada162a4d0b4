"""Moving means that do not drift: each from sums of its own samples alone, nothing ever taken away.

A window reaches from somewhere in one stretch of samples, as long as itself, into the next one: its sum is
one from the end of the first stretch and one from the beginning of the second. Sums carry what rounding
left over, so a mean of equal samples is that sample.

Sources: van Herk, Pattern Recognition Letters 13 (1992); Neumaier, ZAMM 54 (1974).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from filterworks.machine.compiler import CompilerError, obstacle
from filterworks.machine.translation import Doubles, as_double, bits_of, double_of, fused, translated
from filterworks.timeseries.stages import Lines, Window

_NAN = 0x7FF8000000000000
_INFINITE = 0x7FF0000000000000
_UNSIGNED = 0x7FFFFFFFFFFFFFFF


@translated
def _overflowing_mean(line: Doubles, start: int, stop: int) -> float:
    """Return the mean of samples whose sum is no longer a number, though each of them is."""
    total = 0.0
    count = 0.0
    least = double_of(_INFINITE)
    most = 0.0 - least
    for i in range(start, stop):
        if line[i] == line[i]:
            total = total + line[i] * 0.000000059604644775390625
            count = count + 1.0
            least = line[i] if line[i] < least else least
            most = line[i] if line[i] > most else most
    mean = total / count * 16777216.0
    mean = mean if mean < most else most
    return mean if mean > least else least


@translated
def moving_means(
    line: Doubles,
    size: int,
    window: int,
    first: int,
    last: int,
    omit: int,
    restored: int,
    sums: Doubles,
    out: Doubles,
) -> None:
    """Write the mean of every whole window of a line.

    Parameters
    ----------
    line, size, window
        Samples, how many, and how many a window holds.
    first, last
        Samples that are not there before `first` and from `last` on are outside of the series, not missing.
    omit
        1: the mean of those that are there; 0: missing where one is missing.
    restored
        Place in the window of the sample whose result is missing if it is; -1: none.
    sums
        Two numbers for each sample of a window, to work with.
    """
    count = size - window + 1
    full = as_double(window)
    share = 1.0 / full
    absent = 0
    missing = 0
    infinite = 0
    for i in range(window - 1):
        bits = bits_of(line[i]) & _UNSIGNED
        if bits >= _INFINITE:
            if bits == _INFINITE:
                infinite = infinite + 1
            else:
                absent = absent + 1
                if i >= first and i < last:
                    missing = missing + 1
    start = 0
    while start < count:
        high = 0.0
        low = 0.0
        j = window - 1
        while j >= 0:
            x = line[start + j]
            x = x if x == x else 0.0
            total = high + x
            part = total - high
            low = low + ((high - (total - part)) + (x - part))
            high = total
            sums[2 * j] = high
            sums[2 * j + 1] = low
            j = j - 1
        high = 0.0
        low = 0.0
        stop = window if window < count - start else count - start
        for j in range(stop):
            place = start + j
            x = line[place + window - 1]
            bits = bits_of(x) & _UNSIGNED
            if bits >= _INFINITE:
                if bits == _INFINITE:
                    infinite = infinite + 1
                else:
                    x = 0.0
                    absent = absent + 1
                    if place + window - 1 >= first and place + window - 1 < last:
                        missing = missing + 1
            if j > 0:
                total = high + x
                part = total - high
                low = low + ((high - (total - part)) + (x - part))
                high = total
            end = sums[2 * j]
            total = end + high
            part = total - end
            rest = ((end - (total - part)) + (high - part)) + (low + sums[2 * j + 1])
            there = full
            portion = share
            if absent > 0:
                there = as_double(window - absent)
                portion = 1.0 / there
            mean = total * portion
            if bits_of(total) & _INFINITE != _INFINITE:
                mean = fused(fused(0.0 - mean, there, total) + rest, portion, mean)
            elif infinite == 0:
                mean = _overflowing_mean(line, place, place + window)
            if absent > 0:
                if absent == window or (omit == 0 and missing > 0):
                    mean = double_of(_NAN)
                if restored >= 0 and line[place + restored] != line[place + restored]:
                    mean = double_of(_NAN)
            out[place] = mean
            bits = bits_of(line[place]) & _UNSIGNED
            if bits >= _INFINITE:
                if bits == _INFINITE:
                    infinite = infinite - 1
                else:
                    absent = absent - 1
                    if place >= first and place < last:
                        missing = missing - 1
        start = start + window


class _Sums(threading.local):
    """Numbers to work with, of each thread its own."""

    held: Lines = np.empty(0)

    def take(self, size: int) -> Lines:
        """Return at least so many."""
        if self.held.size < size:
            self.held = np.empty(size)
        return self.held


_SUMS = _Sums()


def can_average() -> bool:
    """Return whether means can be compiled here."""
    if obstacle() is not None:
        return False
    try:
        moving_means.compiled  # noqa: B018  # what it is asked for is kept
    except CompilerError:
        return False
    return True


@dataclass(frozen=True)
class MovingMean:
    """The means of a block.

    Attributes
    ----------
    count
        Samples of a window.
    before
        How many of them come before the sample of the result.
    omit, restores
        Whether missing samples are left out, and are missing in the result.
    outside
        Whether samples outside of the series are not there.
    """

    count: int
    before: int
    omit: bool
    restores: bool
    outside: bool

    def __call__(self, window: Window) -> Lines:
        """Return the means."""
        lines = np.ascontiguousarray(window.part.lines)
        columns, size = lines.shape
        out = np.empty((columns, size - self.count + 1))
        sums = _SUMS.take(2 * self.count)
        first, last = (window.left, size - window.right) if self.outside else (0, size)
        for line, row in zip(lines, out, strict=True):
            moving_means.compiled(
                line.ctypes.data, size, self.count, first, last, int(self.omit),
                self.before if self.restores else -1, sums.ctypes.data, row.ctypes.data,
            )  # fmt: skip
        return out
