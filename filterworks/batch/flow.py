"""A page a band of rows at a time, on several threads: decode, filter and pack in any order, write in order.

The bands depend on the shape of the page, on the chain and on how the page is stored, never on memory or
threads: whatever those are, the result is the same to the last bit.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from filterworks.arguments import Array
from filterworks.threads import Scratch, share

# Rows to read, rows of them to keep, rows to write.
Band = tuple[slice, slice, slice]
# Finished bands that may wait for an earlier one, per thread.
_AHEAD = 2


@dataclass
class Flow:
    """Bands on their way.

    Attributes
    ----------
    bands
        Of the page, in order.
    read
        Returns the rows from the first to the last argument.
    work
        Makes something of a band and the rows that it reads; runs on any thread.
    take
        Takes what `work` made, band after band.
    first
        The number of the band to begin with.
    alone
        Whether each band reads all of its rows by itself: they are at hand, or lie apart.
    """

    bands: Sequence[Band]
    read: Callable[[int, int], Array]
    work: Callable[[Band, Array], Any]
    take: Callable[[Band, Any], None]
    first: int = 0
    alone: bool = False
    _pieces: dict[int, Array] = field(default_factory=dict)
    _uses: Counter[int] = field(default_factory=Counter)
    _made: dict[int, Any] = field(default_factory=dict)
    _next: int = 0
    _is_taking: bool = False
    _has_failed: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def run(self, threads: int) -> None:
        """Do all bands on up to `threads` threads; the first failure ends all and is raised."""
        self._next = self.first
        numbers = range(self.first, len(self.bands))
        self._uses.update(piece for number in numbers for piece in self._needed(number))
        share(lambda scratch, step: self._guarded(scratch, step, threads), self._steps(), threads)

    def _steps(self) -> Iterator[tuple[str, int]]:
        """Yield every decoding before the first work that needs it: in this order nothing waits forever."""
        decoded = -1
        for number in range(self.first, len(self.bands)):
            for piece in self._needed(number):
                if piece > decoded:
                    yield "decode", piece
                    decoded = piece
            yield "work", number

    def _needed(self, number: int) -> range:
        """Return the numbers of the bands whose rows this one reads."""
        if self.alone:
            return range(number, number + 1)
        read, _, write = self.bands[number]
        return range(number - (read.start < write.start), number + 1 + (read.stop > write.stop))

    def _guarded(self, _: Scratch, step: tuple[str, int], threads: int) -> None:
        kind, number = step
        try:
            if kind == "decode":
                self._decode(number)
            else:
                self._work(number, threads)
        except BaseException:
            with self._changed:
                self._has_failed = True
                self._changed.notify_all()
            raise

    def _decode(self, number: int) -> None:
        wanted = self.bands[number][0 if self.alone else 2]
        rows = self.read(wanted.start, wanted.stop)
        with self._changed:
            self._pieces[number] = rows
            self._changed.notify_all()

    def _work(self, number: int, threads: int) -> None:
        needed = self._needed(number)
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._has_failed
                    or (number < self._next + _AHEAD * threads and all(i in self._pieces for i in needed))
                )
            )
            if self._has_failed:
                return
            pieces = [self._pieces[i] for i in needed]
        window = self._window(number, needed, pieces)
        pieces.clear()
        with self._changed:
            self._uses.subtract(needed)
            for i in [i for i in needed if not self._uses[i]]:
                del self._pieces[i]
        made = self.work(self.bands[number], window)
        self._hand_over(number, made)

    def _window(self, number: int, needed: range, pieces: Sequence[Array]) -> Array:
        read = self.bands[number][0]
        if len(pieces) == 1:
            return pieces[0]
        parts = []
        for i, piece in zip(needed, pieces, strict=True):
            start = self.bands[i][2].start
            parts.append(piece[max(read.start - start, 0) : read.stop - start])
        return np.concatenate(parts)

    def _hand_over(self, number: int, made: Any) -> None:
        """Leave what was made to whoever writes at the moment, or be the one."""
        with self._changed:
            self._made[number] = made
            if self._is_taking:
                return
            self._is_taking = True
        while True:
            with self._changed:
                if self._next not in self._made:
                    self._is_taking = False
                    return
                ready = self._made.pop(self._next)
            self.take(self.bands[self._next], ready)
            with self._changed:
                self._next += 1
                self._changed.notify_all()
