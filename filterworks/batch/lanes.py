"""Rows of a table through one stream per group, and back into the order of the table."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from filterworks.arguments import Array
from filterworks.errors import FileError
from filterworks.files.tables import Block
from filterworks.timeseries import SampleError, SeriesStream

Key = tuple[str, ...]
Groups = list[tuple[Key, Array]]


@dataclass
class _Waiting:
    """A block whose results are not all there yet."""

    block: Block
    results: Array
    left: int


@dataclass
class Lane:
    """One group: its stream, and where its results belong.

    Attributes
    ----------
    stream
        The chain at work.
    rows
        How many rows the group has, where that is known: it ends with the last of them.
    lines
        On which line of the table each peak of the stream's report stands.
    """

    stream: SeriesStream
    rows: int | None
    taken: int = 0
    given: int = 0
    places: deque[tuple[_Waiting, Array]] = field(default_factory=deque)
    lines: list[int] = field(default_factory=list)

    def push(self, waiting: _Waiting, rows: Array, seconds: Array | None) -> None:
        """Take rows of a block; results go where their rows stand."""
        self.places.append((waiting, rows))
        self.taken += rows.size
        taken = _run(rows)
        self._deliver(
            self.stream.push(waiting.block.values[taken], None if seconds is None else seconds[taken])
        )
        if self.taken == self.rows:
            self.finish()

    def finish(self) -> None:
        """Take the results that had to wait for the end of the group."""
        self._deliver(self.stream.finish())

    def _deliver(self, results: Array) -> None:
        for peak in self.stream.report.peaks[len(self.lines) :]:
            block, row = self.where(peak.row)
            self.lines.append(block.line(row))
        done = 0
        while done < len(results):
            waiting, rows = self.places.popleft()
            count = min(rows.size, len(results) - done)
            waiting.results[_run(rows[:count])] = results[done : done + count]
            waiting.left -= count
            if count < rows.size:
                self.places.appendleft((waiting, rows[count:]))
            done += count
        self.given += done

    def where(self, index: int) -> tuple[Block, int]:
        """Return the block and the row of a sample whose result is not there yet."""
        index -= self.given
        for waiting, rows in self.places:
            if index < rows.size:
                return waiting.block, int(rows[index])
            index -= rows.size
        raise IndexError(index)


def _run(rows: Array) -> Array | slice:
    """Return rows that follow each other as a slice, which costs no copy."""
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first == rows.size - 1 else rows


class Lanes:
    """All groups of a table.

    Parameters
    ----------
    make
        Key of a group → its lane.
    fault
        (block, row, column, message) → the error that names the place.
    """

    def __init__(
        self, make: Callable[[Key], Lane], fault: Callable[[Block, int, int, str], FileError]
    ) -> None:
        self._make, self._fault = make, fault
        self.lanes: dict[Key, Lane] = {}
        self._blocks: deque[_Waiting] = deque()

    def push(self, block: Block, groups: Groups, seconds: Array | None) -> Iterator[tuple[Block, Array]]:
        """Take a block; yield those blocks, in order, whose results are now complete."""
        waiting = _Waiting(block, np.empty(block.values.shape, order="F"), block.rows)
        self._blocks.append(waiting)
        for key, rows in groups:
            lane = self.lanes.get(key)
            if lane is None:
                lane = self.lanes[key] = self._make(key)
            with self._located(lane):
                lane.push(waiting, rows, seconds)
        yield from self._complete()

    def finish(self) -> Iterator[tuple[Block, Array]]:
        """End all groups; yield the blocks that are left."""
        for lane in self.lanes.values():
            if lane.taken != lane.rows:
                with self._located(lane):
                    lane.finish()
        yield from self._complete()

    def _complete(self) -> Iterator[tuple[Block, Array]]:
        while self._blocks and not self._blocks[0].left:
            waiting = self._blocks.popleft()
            yield waiting.block, waiting.results

    def _located(self, lane: Lane) -> _Located:
        return _Located(lane, self._fault)


@dataclass
class _Located:
    """Turns a bad sample into an error that names its place in the table."""

    lane: Lane
    fault: Callable[[Block, int, int, str], FileError]

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SampleError):
            block, row = self.lane.where(error.index)
            missing = np.isnan(block.values[row, error.column])
            why = (
                "the value is missing, which nan_policy raise forbids"
                if missing
                else "the value is infinite; --allow-infinite lets it pass"
            )
            raise self.fault(block, row, error.column, why) from None


def grouped(block: Block, positions: list[int]) -> Groups:
    """Return the keys of a block's groups in order of appearance, each with its rows.

    Without `positions` all rows are one group.
    """
    if not positions:
        return [((), np.arange(block.rows))]
    names = [str(position) for position in positions]
    assert block.frame is not None  # noqa: S101  # the groups' columns were asked for
    frame = block.frame.select(names).with_row_index("row")
    parts = frame.group_by(names, maintain_order=True).agg("row")
    keys = parts.select(names).rows()
    groups: dict[Key, Array] = {}
    for texts, rows in zip(keys, parts["row"], strict=True):
        key = tuple("" if text is None else block.bare(str(text)) for text in texts)
        found = rows.to_numpy()
        # With its quotes and without them it is the same key.
        groups[key] = np.sort(np.concatenate([groups[key], found])) if key in groups else found
    return list(groups.items())
