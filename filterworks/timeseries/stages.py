"""From samples that arrive in parts of any size to blocks that do not depend on them.

A stage is one filter at work on one series. It computes blocks that begin at absolute multiples of a
fixed number of samples, each by the same call however the samples came, so the bits of a result do not
depend on how the series was cut. A chain is one stage after the other, each with its own blocks and
its own ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np

from filterworks.boundaries import source_of
from filterworks.errors import ArgumentError
from filterworks.threads import Scratch, share, usable_threads
from filterworks.timeseries import lengths
from filterworks.timeseries.parts import History, Lines, Part, Window, joined

# Samples that go through a stage at once where all of them are there.
_SLICE = 1 << 17
# Samples of a block; more only where a window is longer.
BLOCK = 1 << 17
# Beyond, half a window is enough: blocks go side by side, and few series have many of these.
_LONG = 1 << 21


class Stage(Protocol):
    """One filter at work on one series."""

    def whole(self, part: Part) -> Part:
        """Return all results of a series that is all there, instead of `push` and `finish`."""

    def limit(self, block: int) -> None:
        """Compute so many results at once; before the first samples only."""

    def push(self, part: Part) -> Part:
        """Take samples and return the results that are now determined."""

    def finish(self) -> Part:
        """Return the results that had to wait for the end."""

    @property
    def short(self) -> str | None:
        """What to say of a window that is longer than the series, once that has ended."""


def in_slices(stage: Stage, part: Part) -> Part:
    """Return all results of a series that is all there, a few blocks at a time: they stay in the cache."""
    columns, size = part.lines.shape
    lines, done = np.empty((columns, size)), 0
    slices = (part[start : start + _SLICE] for start in range(0, size, _SLICE))
    for results in (*map(stage.push, slices), stage.finish()):
        lines[:, done : done + results.size] = results.lines
        done += results.size
    return Part(lines, part.seconds)


@runtime_checkable
class Writing(Protocol):
    """A function of a block that can put its results where they belong."""

    def into(self, window: Window, out: Lines) -> None:
        """Write the block's results."""


class Blocks:
    """A stage whose results look a fixed number of samples back and ahead.

    Parameters
    ----------
    columns
        Number of columns.
    before, after
        How many samples a result looks back and ahead.
    boundary
        What lies outside; under ``omit`` it is NaN. ``wrap`` waits for the end of the series.
    function
        Window → the block's results.
    restores
        Whether missing samples become missing again.
    """

    def __init__(
        self,
        columns: int,
        before: int,
        after: int,
        boundary: str,
        function: Callable[[Window], Lines],
        *,
        restores: bool = False,
    ) -> None:
        self._span = before + after + 1
        if self._span > 2 * lengths.LONGEST:
            raise ArgumentError(f"its window of {self._span} samples is longer than {2 * lengths.LONGEST}")
        self._before, self._after = before, after
        self._boundary, self._function, self._restores = boundary, function, restores
        self._history = History(columns)
        self._start = 0
        window = 1 << (self._span - 1).bit_length()
        self._size = max(BLOCK, window if window <= _LONG else window // 2)

    def limit(self, block: int) -> None:
        """Compute so many results at once, at least a window; before the first samples only."""
        self._size = max(block, 1 << (self._span - 1).bit_length())

    def push(self, part: Part) -> Part:
        """Take samples and return the results that are now determined."""
        self._history.add(part)
        return self._computed(self._is_ready, final=False)

    def finish(self) -> Part:
        """Return the results that had to wait for the end."""
        return self._computed(lambda: self._start < self._history.count, final=True)

    @property
    def short(self) -> str | None:
        """What to say of a window that is longer than the series, once that has ended."""
        if 0 < self._history.count < self._span:
            return f"its window of {self._span} samples is longer than the series of {self._history.count}"
        return None

    def whole(self, part: Part) -> Part:
        """Return all results of a series that is all there, blocks side by side in threads."""
        self._history.add(part)
        lines, size = np.empty(part.lines.shape), part.size

        def compute(_: Scratch, start: int) -> None:
            stop = min(start + self._size, size)
            window, out = self._window(start, stop), lines[:, start:stop]
            if isinstance(self._function, Writing) and not self._restores:
                self._function.into(window, out)
            else:
                out[:] = self._results(window)

        starts = range(0, size, self._size)
        share(compute, starts, usable_threads() if part.lines.size > BLOCK else 1)
        return Part(lines, part.seconds)

    def _is_ready(self) -> bool:
        if self._boundary == "wrap":
            return False
        mirrored = self._before + 1 if self._start < self._before else 0
        return self._history.count >= max(self._start + self._size + self._after, mirrored)

    def _computed(self, is_ready: Callable[[], bool], *, final: bool) -> Part:
        done: list[Part] = []
        while is_ready():
            done.append(self._block(min(self._start + self._size, self._history.count)))
        if done and not final:
            # The end may be mirrored as far back as the windows look ahead.
            self._history.drop(self._start - max(self._before, self._after + 1))
        return joined(done, self._history.columns)

    def _block(self, stop: int) -> Part:
        start, self._start = self._start, stop
        window = self._window(start, stop)
        seconds = window.part.seconds
        return Part(self._results(window), None if seconds is None else seconds[window.inside])

    def _results(self, window: Window) -> Lines:
        lines = self._function(window)
        if self._restores:
            missing = np.isnan(window.part.lines[:, window.inside])
            if missing.any():
                lines = np.where(missing, np.nan, lines)
        return lines

    def _window(self, start: int, stop: int) -> Window:
        count = self._history.count
        low, high = start - self._before, stop + self._after
        inner = self._history.cut(max(low, 0), min(high, count))
        left, right = max(-low, 0), max(high - count, 0)
        pieces = [self._outside(low, left)] if left else []
        pieces.append(inner)
        if right:
            pieces.append(self._outside(count, right))
        return Window(tuple(pieces), self._before, self._after, left, right, start)

    def _outside(self, low: int, size: int) -> Part:
        """Return the samples that stand from place `low` on, all outside of the series."""
        count = self._history.count
        lines = np.empty((self._history.columns, size))
        seconds = np.full(size, np.nan) if self._history.is_timed else None
        if self._boundary in ("constant", "omit"):
            lines[:] = 0.0 if self._boundary == "constant" else np.nan
        elif self._boundary == "symmetric" and size <= count:
            # The usual case, without an index as large as the samples.
            first = 0 if low < 0 else count - size
            lines[:] = self._history.cut(first, first + size).lines[:, ::-1]
        else:
            index = source_of(np.arange(low, low + size), count, self._boundary)
            first = int(index.min())
            source = self._history.cut(first, int(index.max()) + 1)
            np.take(source.lines, index - first, axis=1, out=lines, mode="clip")
        return Part(lines, seconds)


class Running:
    """A stage that carries a state from sample to sample.

    Parameters
    ----------
    function
        Samples → results; it keeps what it needs of them.
    restores
        Whether missing samples become missing again.
    """

    def __init__(self, columns: int, function: Callable[[Part], Lines], *, restores: bool = False) -> None:
        self._columns, self._function, self._restores = columns, function, restores

    def limit(self, block: int) -> None:
        """Nothing is held back, so nothing changes."""

    def whole(self, part: Part) -> Part:
        """Return all results of a series that is all there."""
        return in_slices(self, part)

    def push(self, part: Part) -> Part:
        """Take samples and return the results that are now determined."""
        if not part.size:
            return part
        lines = self._function(part)
        if self._restores:
            lines = np.where(np.isnan(part.lines), np.nan, lines)
        return Part(lines, part.seconds)

    def finish(self) -> Part:
        """Return the results that had to wait for the end: none."""
        return Part(np.empty((self._columns, 0)), None)

    @property
    def short(self) -> str | None:
        """Nothing: there is no window."""
        return None


class InTurn:
    """Two stages, one after the other."""

    def __init__(self, first: Stage, second: Stage) -> None:
        self._first, self._second = first, second

    def whole(self, part: Part) -> Part:
        """Return all results of a series that is all there."""
        return self._second.whole(self._first.whole(part))

    def limit(self, block: int) -> None:
        """Compute so many results at once; before the first samples only."""
        self._first.limit(block)
        self._second.limit(block)

    def push(self, part: Part) -> Part:
        """Take samples and return the results that are now determined."""
        return self._second.push(self._first.push(part))

    def finish(self) -> Part:
        """Return the results that had to wait for the end."""
        rest = self._first.finish()
        parts = [self._second.push(rest), self._second.finish()]
        return joined([part for part in parts if part.size], rest.lines.shape[0])

    @property
    def short(self) -> str | None:
        """What to say of a window that is longer than the series, once that has ended."""
        return self._first.short
