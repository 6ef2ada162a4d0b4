"""One series at work: samples in, results out, and a report of what was missing."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from filterworks.errors import ArgumentError, must
from filterworks.scanning import is_finite
from filterworks.timeseries.parts import Lines, Part, joined
from filterworks.timeseries.sampling import check_order
from filterworks.timeseries.stages import Stage

Marks = NDArray[np.bool_]


class SampleError(ArgumentError):
    """A sample that is not allowed.

    Attributes
    ----------
    index
        Which row of the series, counted from 0.
    column
        Which column, counted from 0.
    why
        What is wrong with it: the message without its place.
    """

    def __init__(self, message: str, index: int, column: int, why: str) -> None:
        self.index, self.column, self.why = index, column, why
        super().__init__(message)

    def __reduce__(self) -> tuple[type[SampleError], tuple[str, int, int, str]]:
        return type(self), (str(self), self.index, self.column, self.why)


class Peak(NamedTuple):
    """Where a template was found.

    Attributes
    ----------
    column, row
        Column and row, counted from 0.
    seconds
        The row's time, if the series has times.
    score
        The normalised cross-correlation there, 1 for a perfect match.
    """

    column: int
    row: int
    seconds: float | None
    score: float


@dataclass
class Report:
    """What a stream has seen.

    Attributes
    ----------
    samples
        Number of rows.
    missing, filled
        Missing samples, and how many of them have a value in the result, per column.
    peaks
        Where matched filters found their template, in order.
    short
        A sentence if a window is longer than the series, else None.
    """

    samples: int = 0
    missing: list[int] = field(default_factory=list)
    filled: list[int] = field(default_factory=list)
    peaks: list[Peak] = field(default_factory=list)
    short: str | None = None


class SeriesStream:
    """A chain at work on one series; made by :meth:`SeriesChain.stream`.

    Parameters
    ----------
    columns
        Number of columns.
    stages
        Each filter's name, and its stage.
    report
        Where the stages report.
    needs_seconds
        Whether each push must bring the times of its samples.
    refuses_missing, refuses_infinite
        Whether NaN and infinities are errors.
    """

    def __init__(
        self,
        columns: int,
        stages: Sequence[tuple[str, Stage]],
        report: Report,
        *,
        needs_seconds: bool,
        refuses_missing: bool,
        refuses_infinite: bool,
    ) -> None:
        self.columns = columns
        self.report = report
        self.report.missing = [0] * columns
        self.report.filled = [0] * columns
        self._stages = list(stages)
        self._needs_seconds = needs_seconds
        self._refuses_missing, self._refuses_infinite = refuses_missing, refuses_infinite
        # For each push still at work: its size, and where samples are missing, if any are.
        self._gaps: deque[tuple[int, Marks | None]] = deque()
        self._finished = self._timed = False
        self._last: float | None = None

    def push(self, values: ArrayLike, seconds: ArrayLike | None = None) -> NDArray[np.float64]:
        """Take rows and return those results that are now determined, in order.

        Parameters
        ----------
        values
            (row, column) numbers, NaN where they are missing.
        seconds
            One time per row, from any fixed origin; needed on uneven times.

        Raises
        ------
        SampleError
            At the first NaN or infinity that is not allowed.
        OrderError
            On uneven times, at the first that is missing or not after the one before it.
        """
        if self._finished:
            raise ArgumentError("the series has ended: nothing can be pushed after `finish`")
        part = self._checked(values, seconds)
        self._look(part)
        for _, stage in self._stages:
            part = stage.push(part)
        return self._delivered(part)

    def finish(self) -> NDArray[np.float64]:
        """Return the results that had to wait for the end of the series."""
        if self._finished:
            raise ArgumentError("the series has ended already")
        part = joined([], self.columns)
        for _, stage in self._stages:
            parts = [stage.push(part), stage.finish()]
            part = joined([one for one in parts if one.size], self.columns)
        self._end()
        return self._delivered(part)

    def _end(self) -> None:
        """Complete the report."""
        self._finished = True
        self.report.peaks.sort(key=lambda peak: (peak.row, peak.column))
        shorts = ((name, stage.short) for name, stage in self._stages)
        self.report.short = next((f"{name}: {short}" for name, short in shorts if short), None)

    def whole(self, rows: NDArray[np.float64], seconds: Lines | None) -> NDArray[np.float64]:
        """Return the results of a whole series that is in memory, in place of `push` and `finish`."""
        part = self._checked(rows, seconds, copy=False)
        self._look(part)
        for _, stage in self._stages:
            part = stage.whole(part)
        self._end()
        return self._delivered(part)

    def _checked(self, values: ArrayLike, seconds: ArrayLike | None, *, copy: bool = True) -> Part:
        rows = np.asarray(values, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.columns:
            raise ArgumentError(must("values", f"rows of {self.columns} columns", rows.shape))
        # A copy in one order of memory: the caller may use its array again.
        lines = np.array(rows.T, order="C", copy=True) if copy else rows.T
        if seconds is None and not self._needs_seconds and not self._timed:
            return Part(lines, None)
        if seconds is None or (self.report.samples and not self._timed):
            raise ArgumentError("the `seconds` of the samples must come with each push, or with none")
        self._timed = True
        when = np.array(seconds, dtype=np.float64, copy=True)
        if when.shape != rows.shape[:1]:
            raise ArgumentError(must("seconds", f"one time for each of the {len(rows)} rows", when.shape))
        if self._needs_seconds and when.size:
            check_order(when, self._last, self.report.samples)
            self._last = float(when[-1])
        return Part(lines, when)

    def _look(self, part: Part) -> None:
        """Refuse what is not allowed, and count what is missing."""
        gaps = None
        if not is_finite(part.lines):
            gaps = np.isnan(part.lines)
            self._refuse(part.lines, gaps)
            _add(self.report.missing, gaps)
        self.report.samples += part.size
        if part.size:
            self._gaps.append((part.size, gaps))

    def _refuse(self, lines: NDArray[np.float64], gaps: Marks) -> None:
        """Raise at the first sample that is not allowed."""
        wrong = np.zeros_like(gaps)
        if self._refuses_missing:
            wrong |= gaps
        if self._refuses_infinite:
            wrong |= np.isinf(lines)
        if not wrong.any():
            return
        row, column = (int(place) for place in np.argwhere(wrong.T)[0])
        index = self.report.samples + row
        why = (
            "is missing, which nan_policy='raise' forbids"
            if gaps[column, row]
            else "is infinite, which only allow_infinite permits"
        )
        raise SampleError(f"row {index} of column {column} {why}", index, column, why)

    def _delivered(self, part: Part) -> NDArray[np.float64]:
        """Return the results as rows, counting the missing samples that now have a value."""
        done = 0
        while done < part.size:
            size, gaps = self._gaps.popleft()
            now = min(size, part.size - done)
            if now < size:
                self._gaps.appendleft((size - now, None if gaps is None else gaps[:, now:]))
            if gaps is not None:
                _add(self.report.filled, gaps[:, :now] & ~np.isnan(part.lines[:, done : done + now]))
            done += now
        return part.lines.T


def _add(counts: list[int], marks: Marks) -> None:
    """Add the marks of each column to its count."""
    for column, count in enumerate(marks.sum(axis=1)):
        counts[column] += int(count)
