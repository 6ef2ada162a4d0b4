"""Stages that look back and ahead in time rather than by a number of samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filterworks.threads import Scratch, share, usable_threads
from filterworks.timeseries import stages
from filterworks.timeseries.parts import History, Lines, Part, joined, times


@dataclass(frozen=True)
class Neighbours:
    """A block of unevenly spaced samples with all those in reach.

    Attributes
    ----------
    lines, seconds
        (column, sample) values, and their times.
    start
        Where the block itself begins.
    lows, highs
        For each sample of the block, where those in reach begin and end.
    """

    lines: Lines
    seconds: Lines
    start: int
    lows: NDArray[np.int64]
    highs: NDArray[np.int64]


class Nearby:
    """A stage whose results look back and ahead in time; beyond the ends there is nothing.

    Parameters
    ----------
    columns
        Number of columns.
    back, ahead
        How many seconds a result looks back and ahead.
    function
        Neighbours → the block's results.
    restores
        Whether missing samples become missing again.
    """

    def __init__(
        self,
        columns: int,
        back: float,
        ahead: float,
        function: Callable[[Neighbours], Lines],
        *,
        restores: bool = False,
    ) -> None:
        self._back, self._ahead = back, ahead
        self._function, self._restores = function, restores
        self._history = History(columns)
        self._start = 0
        self._first = self._last = self._due = np.nan
        self._size = stages.BLOCK

    def whole(self, part: Part) -> Part:
        """Return all results of a series that is all there, blocks side by side in threads."""
        if not part.size:
            return part
        self._history.add(part)
        seconds, lines = times(part), np.empty(part.lines.shape)
        self._first, self._last = float(seconds[0]), float(seconds[-1])

        def compute(_: Scratch, start: int) -> None:
            stop = min(start + self._size, part.size)
            lines[:, start:stop] = self._results(part, slice(start, stop))

        starts = range(0, part.size, self._size)
        share(compute, starts, usable_threads() if part.lines.size > stages.BLOCK else 1)
        return Part(lines, part.seconds)

    def limit(self, block: int) -> None:
        """Compute so many results at once; before the first samples only."""
        self._size = block

    def push(self, part: Part) -> Part:
        """Take samples and return the results that are now determined."""
        if part.size:
            self._history.add(part)
            seconds = times(part)
            if np.isnan(self._first):
                self._first = float(seconds[0])
            self._last = float(seconds[-1])
        done: list[Part] = []
        while self._is_ready():
            done.append(self._block(self._start + self._size))
        if done:
            self._forget()
        return joined(done, self._history.columns)

    def finish(self) -> Part:
        """Return the results that had to wait for the end."""
        done: list[Part] = []
        while self._start < self._history.count:
            done.append(self._block(min(self._start + self._size, self._history.count)))
        return joined(done, self._history.columns)

    @property
    def short(self) -> str | None:
        """What to say of a window that is longer than the series, once that has ended."""
        window, lasts = self._back + self._ahead, self._last - self._first
        if self._history.count and window > lasts:
            return f"its window of {window:g} s is longer than the series, which lasts {lasts:g} s"
        return None

    def _is_ready(self) -> bool:
        if self._history.count <= self._start + self._size:
            return False
        if np.isnan(self._due):
            last = self._start + self._size - 1 - self._history.base
            self._due = float(times(self._history.whole())[last]) + self._ahead
        return self._last > self._due

    def _block(self, stop: int) -> Part:
        held, base = self._history.whole(), self._history.base
        inside = slice(self._start - base, stop - base)
        self._start, self._due = stop, np.nan
        return Part(self._results(held, inside), held[inside].seconds)

    def _results(self, held: Part, inside: slice) -> Lines:
        """Return the results of the samples `inside` what is held."""
        from filterworks.timeseries import loops  # compiled when first needed

        seconds = times(held)
        lows, highs = np.empty((2, inside.stop - inside.start), np.int64)
        low = int(np.searchsorted(seconds, seconds[inside.start] - self._back))
        loops.bounds(seconds, inside.start, low, self._back, self._ahead, lows, highs)
        near = slice(lows[0], highs[-1])
        lines = self._function(
            Neighbours(
                held.lines[:, near],
                seconds[near],
                inside.start - near.start,
                lows - near.start,
                highs - near.start,
            )
        )
        if self._restores:
            missing = np.isnan(held.lines[:, inside])
            if missing.any():
                lines[missing] = np.nan
        return lines

    def _forget(self) -> None:
        seconds, base = times(self._history.whole()), self._history.base
        following = seconds[min(self._start - base, seconds.size - 1)]
        self._history.drop(base + int(np.searchsorted(seconds, following - self._back, "left")))
