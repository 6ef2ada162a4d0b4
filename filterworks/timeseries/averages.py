"""Moving means that do not drift: each from sums of its own samples alone, nothing ever taken away.

A window reaches from somewhere in one stretch of samples, as long as itself, into the next one: its sum is
one from the end of the first stretch and one from the beginning of the second. Stretches are summed chunk by
chunk, and what rounding leaves over from chunk to chunk is carried, so the length of a window costs nothing.

Sources: van Herk, Pattern Recognition Letters 13 (1992); Neumaier, ZAMM 54 (1974).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from filterworks.machine.compiler import CompilerError, obstacle
from filterworks.machine.intrinsics import (
    Doubles,
    as_double,
    bits_of,
    double_of,
    eight_at,
    eight_of,
    equal_lanes,
    first_of,
    last_of,
    one_on,
    put_eight,
    running_sums,
    running_sums_back,
)
from filterworks.machine.translation import rarely_translated, translated
from filterworks.timeseries.stages import Lines, Window

# Samples that are summed before what is left over is looked at.
_CHUNK = 64
# Samples of a window that are summed anew for each result.
_FEW = 24
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
def moving_means(  # noqa: C901  # one pass, one state
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
    """Write the mean of every whole window of a line; that of equal samples is that sample.

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
        A number for each sample of a window, and two for each of its chunks, to work with.
    """
    count = size - window + 1
    chunks = (window + _CHUNK - 1) // _CHUNK
    absent = 0
    missing = 0
    infinite = 0
    rising = 0
    held = line[0]
    alike = 0
    gap = 0
    for i in range(window - 1):
        x = line[i]
        bits = bits_of(x) & _UNSIGNED
        if bits > _INFINITE:
            absent = absent + 1
            gap = gap + 1
            missing = missing + (1 if i >= first and i < last else 0)
            x = held
        infinite = infinite + (1 if bits == _INFINITE else 0)
        rising = rising + (1 if bits_of(x) == _INFINITE and bits == _INFINITE else 0)
        held = held if held == held else x
        # Samples that are missing are like those that follow, too.
        alike = alike + 1 if x == held or held != held else 1 + gap
        gap = gap if bits > _INFINITE else 0
        held = x
    start = 0
    while start < count:
        high = 0.0
        low = 0.0
        chunk = chunks - 1
        while chunk >= 0:
            sums[window + 2 * chunk] = high
            sums[window + 2 * chunk + 1] = low
            begin = chunk * _CHUNK
            j = window if window < begin + _CHUNK else begin + _CHUNK
            part = 0.0
            while j > begin:
                j = j - 1
                x = line[start + j]
                part = part + (x if x == x else 0.0)
                sums[j] = part
            total = high + part
            rest = total - high
            low = low + ((high - (total - rest)) + (part - rest))
            # Of infinities nothing is left over.
            low = low if low == low else 0.0
            high = total
            chunk = chunk - 1
        high = 0.0
        low = 0.0
        stop = window if window < count - start else count - start
        begin = 0
        while begin < stop:
            end = stop if stop < begin + _CHUNK else begin + _CHUNK
            place = window + 2 * (begin // _CHUNK)
            other = sums[place]
            base = high + other
            rest = base - high
            lower = ((high - (base - rest)) + (other - rest)) + (low + sums[place + 1])
            lower = lower if lower == lower else 0.0
            part = 0.0
            for j in range(begin, end):
                place = start + j
                x = line[place + window - 1]
                bits = bits_of(x) & _UNSIGNED
                if bits > _INFINITE:
                    absent = absent + 1
                    gap = gap + 1
                    inside = place + window - 1 >= first and place + window - 1 < last
                    missing = missing + (1 if inside else 0)
                    x = held
                infinite = infinite + (1 if bits == _INFINITE else 0)
                rising = rising + (1 if bits_of(x) == _INFINITE and bits == _INFINITE else 0)
                held = held if held == held else x
                there = as_double(window - absent)
                alike = alike + 1 if x == held or held != held else 1 + gap
                gap = gap if bits > _INFINITE else 0
                held = x
                mean = (base + (lower + (sums[j] + part))) / there
                if alike >= window:
                    mean = held
                elif infinite > 0:
                    # Whatever the finite ones add up to.
                    mean = double_of(_INFINITE)
                    mean = 0.0 - mean if rising == 0 else mean
                    mean = mean if rising == 0 or rising == infinite else double_of(_NAN)
                elif bits_of(mean) & _INFINITE == _INFINITE:
                    mean = _overflowing_mean(line, place, place + window)
                if absent > 0:
                    if absent == window or (omit == 0 and missing > 0):
                        mean = double_of(_NAN)
                    if restored >= 0 and line[place + restored] != line[place + restored]:
                        mean = double_of(_NAN)
                bits = bits_of(line[place]) & _UNSIGNED
                if bits > _INFINITE:
                    absent = absent - 1
                    missing = missing - (1 if place >= first and place < last else 0)
                infinite = infinite - (1 if bits == _INFINITE else 0)
                rising = rising - (1 if bits_of(line[place]) == _INFINITE else 0)
                out[place] = mean
                if j + 1 < window and place + window < size:
                    x = line[place + window]
                    part = part + (x if x == x else 0.0)
            total = high + part
            rest = total - high
            low = low + ((high - (total - rest)) + (part - rest))
            # Of infinities nothing is left over.
            low = low if low == low else 0.0
            high = total
            begin = begin + _CHUNK
        start = start + window


@rarely_translated
def _mended(line: Doubles, start: int, stop: int, window: int, out: Doubles) -> int:
    """Write the means of samples whose sums are no longer numbers; 0 if a sample itself is none."""
    for place in range(start, stop):
        if bits_of(out[place]) & _INFINITE == _INFINITE:
            for i in range(place, place + window):
                if bits_of(line[i]) & _INFINITE == _INFINITE:
                    return 0
            out[place] = _overflowing_mean(line, place, place + window)
    return 1


@translated
def _means_of_few(line: Doubles, count: int, window: int, out: Doubles) -> int:
    """Write means, each from the sum of its own samples, in order; 0 if a sample is no number."""
    full = as_double(window)
    place = 0
    while place + 8 <= count:
        sums = eight_at(line, place)
        for k in range(1, window):
            sums = sums + eight_at(line, place + k)
        means = sums / eight_of(full)
        put_eight(out, place, means)
        is_whole = equal_lanes(means - means, eight_of(0.0)) == 255
        if not is_whole and _mended(line, place, place + 8, window, out) == 0:
            return 0
        place = place + 8
    while place < count:
        total = line[place]
        for k in range(1, window):
            total = total + line[place + k]
        out[place] = total / full
        if _mended(line, place, place + 1, window, out) == 0:
            return 0
        place = place + 1
    return 1


@translated
def _level(line: Doubles, size: int, window: int, out: Doubles) -> None:
    """Write over the means of windows whose samples are all equal: they are that sample.

    Two samples that differ rule out every window that holds both, so few samples are looked at.
    """
    first = 0
    # The samples from `first` to this one are equal.
    known = 0
    while first + window <= size:
        end = first + window - 1
        place = end
        while place > known and line[place - 1] == line[place]:
            place = place - 1
        if place > known:
            first = place
        else:
            out[first] = line[first]
            first = first + 1
        known = end


@translated
def steady_means(line: Doubles, size: int, window: int, sums: Doubles, out: Doubles) -> int:
    """Write what :func:`moving_means` does where all samples are numbers, eight at once; else return 0.

    The last bits may be others: sums of eight are made in another order.

    Parameters
    ----------
    line, size, window, out
        As there.
    sums
        The numbers of :func:`room_for`, to work with.
    """
    count = size - window + 1
    fine = 1
    if window <= _FEW:
        fine = _means_of_few(line, count, window, out)
    else:
        fine = _means_of_many(line, size, window, sums, out)
    if fine == 1 and window > 1:
        _level(line, size, window, out)
    return fine


@translated
def _sum(line: Doubles, start: int, stop: int) -> float:
    eights = eight_of(0.0)
    while start + 8 <= stop:
        eights = eights + eight_at(line, start)
        start = start + 8
    total = last_of(running_sums(eights))
    while start < stop:
        total = total + line[start]
        start = start + 1
    return total


@translated
def _sums_behind(window: int, sums: Doubles) -> None:
    """Write for each chunk of a stretch what those behind it sum to, and what rounding leaves over."""
    high = 0.0
    low = 0.0
    chunk = (window + _CHUNK - 1) // _CHUNK - 1
    while chunk >= 0:
        place = _CHUNK + 3 * chunk
        part = sums[place]
        sums[place + 1] = high
        sums[place + 2] = low
        total = high + part
        rest = total - high
        low = low + ((high - (total - rest)) + (part - rest))
        # Of infinities nothing is left over.
        low = low if low == low else 0.0
        high = total
        chunk = chunk - 1


@translated
def _sums_to_the_end(line: Doubles, start: int, size: int, sums: Doubles) -> None:
    """Write the sums from each sample of a chunk to its last."""
    part = 0.0
    j = size
    while j >= 8:
        j = j - 8
        leaving = running_sums_back(eight_at(line, start + j))
        put_eight(sums, j, leaving + eight_of(part))
        part = part + first_of(leaving)
    while j > 0:
        j = j - 1
        part = part + line[start + j]
        sums[j] = part


@translated
def _means_of_many(line: Doubles, size: int, window: int, sums: Doubles, out: Doubles) -> int:
    """Write means; 0 if a sample is no number.

    A chunk enters the windows of one stretch, which sums it up, and leaves those of the next.
    """
    count = size - window + 1
    full = as_double(window)
    begin = 0
    while begin < window:
        end = window if window < begin + _CHUNK else begin + _CHUNK
        sums[_CHUNK + 3 * (begin // _CHUNK)] = _sum(line, begin, end)
        begin = end
    start = 0
    while start < count:
        _sums_behind(window, sums)
        high = 0.0
        low = 0.0
        begin = 0
        while begin < window and start + begin < count:
            size_of_chunk = _CHUNK if begin + _CHUNK < window else window - begin
            _sums_to_the_end(line, start + begin, size_of_chunk, sums)
            chunk = _CHUNK + 3 * (begin // _CHUNK)
            other = sums[chunk + 1]
            base = high + other
            rest = base - high
            lower = ((high - (base - rest)) + (other - rest)) + (low + sums[chunk + 2])
            lower = lower if lower == lower else 0.0
            part = 0.0
            place = start + begin
            stop = place + size_of_chunk if place + size_of_chunk < count else count
            while place + 8 <= stop and place + window + 8 <= size:
                entering = running_sums(eight_at(line, place + window))
                parts = eight_at(sums, place - start - begin) + (one_on(entering) + eight_of(part))
                means = (eight_of(base) + (eight_of(lower) + parts)) / eight_of(full)
                put_eight(out, place, means)
                is_whole = equal_lanes(means - means, eight_of(0.0)) == 255
                if not is_whole and _mended(line, place, place + 8, window, out) == 0:
                    return 0
                part = part + last_of(entering)
                place = place + 8
            while place < stop:
                out[place] = (base + (lower + (sums[place - start - begin] + part))) / full
                if _mended(line, place, place + 1, window, out) == 0:
                    return 0
                if place + window < size:
                    part = part + line[place + window]
                place = place + 1
            sums[chunk] = part
            total = high + part
            rest = total - high
            low = low + ((high - (total - rest)) + (part - rest))
            # Of infinities nothing is left over.
            low = low if low == low else 0.0
            high = total
            begin = begin + _CHUNK
        start = start + window
    return 1


def room_for(window: int) -> int:
    """Return how many numbers the means of so many samples need to work with."""
    return _CHUNK + window + 3 * (window // _CHUNK + 1)


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
        (moving_means.compiled, steady_means.compiled)  # noqa: B018  # what is asked for is kept
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
        lines = window.part.lines
        out = np.empty((len(lines), lines.shape[1] - self.count + 1))
        self.into(window, out)
        return out

    def into(self, window: Window, out: Lines) -> None:
        """Write the means into `out`, whose lines are each in one piece."""
        size = window.part.size
        sums = _SUMS.take(room_for(self.count))
        first, last = (window.left, size - window.right) if self.outside else (0, size)
        for column, row in zip(window.part.lines, out, strict=True):
            line = np.ascontiguousarray(column)
            if steady_means.compiled(line.ctypes.data, size, self.count, sums.ctypes.data, row.ctypes.data):
                continue
            moving_means.compiled(
                line.ctypes.data, size, self.count, first, last, int(self.omit),
                self.before if self.restores else -1, sums.ctypes.data, row.ctypes.data,
            )  # fmt: skip
