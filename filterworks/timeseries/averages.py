"""Moving means that do not drift: each from sums of its own samples alone, nothing ever taken away.

A window reaches from somewhere in one stretch of samples, as long as itself, into the next one: its sum is
one from the end of the first stretch and one from the beginning of the second. Stretches are summed chunk by
chunk, and what rounding leaves over from chunk to chunk is carried, so the length of a window costs nothing.

Sources: van Herk, Pattern Recognition Letters 13 (1992); Neumaier, ZAMM 54 (1974).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterworks.machine.compiler import CompilerError, obstacle
from filterworks.machine.intrinsics import (
    Doubles,
    as_double,
    bits_of,
    double_of,
)
from filterworks.machine.translation import translated
from filterworks.timeseries.overflow import SMALLER, enlarge
from filterworks.timeseries.parts import Lines, Window
from filterworks.timeseries.steady import CHUNK, FEW, seams_of, steady_means

_NAN = 0x7FF8000000000000
_INFINITE = 0x7FF0000000000000
_UNSIGNED = 0x7FFFFFFFFFFFFFFF


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
) -> int:
    """Write the mean of every whole window of a line; that of equal samples is that sample.

    Returns 0 where samples add up to no number though each of them is one: their means are infinite.

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
    fine = 1
    count = size - window + 1
    chunks = (window + CHUNK - 1) // CHUNK
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
            begin = chunk * CHUNK
            j = window if window < begin + CHUNK else begin + CHUNK
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
            end = stop if stop < begin + CHUNK else begin + CHUNK
            place = window + 2 * (begin // CHUNK)
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
                    mean = double_of(_INFINITE)
                    fine = 0
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
            begin = begin + CHUNK
        start = start + window
    return fine


def room_for(window: int) -> int:
    """Return how many numbers the means of so many samples need to work with."""
    return CHUNK + window + 3 * (window // CHUNK + 1)


def in_lines(lines: Lines) -> Lines:
    """Return lines that are each in one piece of memory, copied only if they are not."""
    plain = lines.flags.aligned and (lines.strides[1] == lines.itemsize or lines.shape[1] < 2)
    return lines if plain else np.ascontiguousarray(lines)


def addresses(lines: NDArray[Any]) -> list[int]:
    """Return where each of the lines begins."""
    first, apart = lines.ctypes.data, lines.strides[0]
    return [first + line * apart for line in range(len(lines))]


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
        size, sums = window.size, _SUMS.take(room_for(self.count)).ctypes.data
        # Many are summed where they lie.
        together = self.count <= FEW or len(window.pieces) == 1
        pieces = [in_lines(piece.lines) for piece in ([window.part] if together else window.pieces)]
        seams = seams_of(pieces)
        places = zip(*(addresses(array) for array in (pieces[0], seams, out)), strict=True)
        done = [
            steady_means.compiled(line, seam, size, self.count, sums, target) for line, seam, target in places
        ]
        left = [column for column, fine in enumerate(done) if not fine]
        if left:
            self._into(window, left, out)

    def _into(self, window: Window, columns: list[int], out: Lines) -> None:
        """Write the means of lines that hold something special."""
        lines, sums = in_lines(window.part.lines), _SUMS.take(room_for(self.count)).ctypes.data
        first, last = (window.left, window.size - window.right) if self.outside else (0, window.size)
        restored = self.before if self.restores else -1

        def means(line: int, target: int) -> bool:
            given = window.size, self.count, first, last, int(self.omit), restored, sums
            return bool(moving_means.compiled(line, *given, target))

        sources, targets = addresses(lines), addresses(out)
        for column in columns:
            if not means(sources[column], targets[column]):
                smaller = lines[column] * SMALLER
                again = np.empty(out.shape[1])
                means(smaller.ctypes.data, again.ctypes.data)
                enlarge(again, lines[column], out[column])
