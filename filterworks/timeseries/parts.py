"""Consecutive samples: as they came, as they are held, and as a block looks at them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from filterworks.errors import ArgumentError

Lines = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive samples.

    Attributes
    ----------
    lines
        (column, sample) values.
    seconds
        Their times, or None.
    """

    lines: Lines
    seconds: Lines | None

    def __getitem__(self, item: slice) -> Part:
        return Part(self.lines[:, item], None if self.seconds is None else self.seconds[item])

    @property
    def size(self) -> int:
        """Number of samples."""
        return int(self.lines.shape[1])


def joined(parts: list[Part], columns: int) -> Part:
    """Return the parts as one."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return Part(np.empty((columns, 0)), None)
    times = [part.seconds for part in parts if part.seconds is not None]
    lines = np.concatenate([part.lines for part in parts], axis=1)
    return Part(lines, np.concatenate(times) if times else None)


def times(part: Part) -> Lines:
    """Return the times of samples that need them."""
    if part.seconds is None:
        raise ArgumentError("an uneven series needs the `seconds` of its samples with each push")
    return part.seconds


@dataclass(frozen=True)
class Window:
    """A block with all the samples that its results look at.

    Attributes
    ----------
    pieces
        The samples, one piece after the other: those of the series, and those outside of it, which have
        no time (NaN).
    before, after
        How many of them come before and after the block.
    left, right
        How many of those lie outside of the series, before its first and after its last sample.
    first
        Place of the block's first sample in the series.
    """

    pieces: tuple[Part, ...]
    before: int
    after: int
    left: int
    right: int
    first: int

    @cached_property
    def part(self) -> Part:
        """The samples as one piece."""
        return joined(list(self.pieces), self.pieces[0].lines.shape[0])

    @property
    def size(self) -> int:
        """Number of samples."""
        return sum(piece.size for piece in self.pieces)

    @property
    def inside(self) -> slice:
        """Where the block itself lies."""
        return slice(self.before, self.size - self.after)


class History:
    """The samples of a series from some place on.

    Attributes
    ----------
    columns
        Number of columns.
    base, count
        The place of the first that is held, and of the first that has not come yet.
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.base = self.count = 0
        self._parts: deque[Part] = deque()

    @property
    def is_timed(self) -> bool:
        """Whether the samples have times."""
        return any(part.seconds is not None for part in self._parts)

    def add(self, part: Part) -> None:
        """Append samples."""
        if part.size:
            self._parts.append(part)
            self.count += part.size

    def whole(self) -> Part:
        """Return everything that is held; it starts at `base`."""
        if len(self._parts) > 1:
            self._parts = deque([joined(list(self._parts), self.columns)])
        return self._parts[0]

    def cut(self, low: int, high: int) -> Part:
        """Return the samples at `low` to `high`, laid out alike however they came; not to be written to."""
        if len(self._parts) == 1 and self._parts[0].lines.flags.c_contiguous and self.columns == 1:
            return self._parts[0][low - self.base : high - self.base]
        lines, times, start = np.empty((self.columns, high - low)), [], self.base
        for part in self._parts:
            if start + part.size > low and start < high:
                piece = part[max(low - start, 0) : high - start]
                place = max(start - low, 0)
                lines[:, place : place + piece.size] = piece.lines
                times.append(piece.seconds)
            start += part.size
        known = [seconds for seconds in times if seconds is not None]
        return Part(lines, np.concatenate(known) if known else None)

    def drop(self, start: int) -> None:
        """Forget what lies before `start`."""
        while self._parts and self.base + self._parts[0].size <= start:
            self.base += self._parts.popleft().size
        if self._parts and 2 * (start - self.base) > self._parts[0].size:
            kept = self._parts[0][start - self.base :]
            # A copy, so that the samples before it are given back.
            seconds = None if kept.seconds is None else kept.seconds.copy()
            self._parts[0] = Part(kept.lines.copy(), seconds)
            self.base = start
