"""Fill a block's buffer with everything that it reads, and filter block after block."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from filterworks.arguments import Array
from filterworks.engine.field import Block, Field, Table, address, scratch
from filterworks.machine import loops
from filterworks.threads import share, usable_threads


class Data:
    """The data of a problem, where loops can read them.

    Parameters
    ----------
    field
        The layout.
    x
        The data; copied only if its lines are not contiguous.

    Attributes
    ----------
    x
        The data.
    pointer
        Their address.
    step
        Numbers from one row to the next.
    """

    def __init__(self, field: Field, x: Array) -> None:
        self._field, row_axis = field, field.row_axis
        if x.dtype == np.float16:
            x = x.astype(np.float32)
        self.x = x if _has_plain_lines(x, row_axis + 1) else np.ascontiguousarray(x)
        self.pointer = address(self.x)
        self.step = self.x.strides[row_axis] // self.x.itemsize if row_axis >= 0 else 0

    def plane_offset(self, tables: Tables, plane: tuple[int, ...], tap: int) -> int | None:
        """Return how many bytes into the data a plane begins; None if it lies outside."""
        total = 0
        for index in range(len(plane) - 1, -1, -1):
            axis = self._field.outer[index]
            tap, own = divmod(tap, axis.taps)
            place = tables.planes[index][plane[index] * axis.stride + own * axis.dilation]
            if place < 0:
                return None
            total += int(place) * self.x.strides[index]
        return total


class Source:
    """The data of a problem, ready to be staged."""

    def __init__(self, field: Field, tables: Tables, x: Array) -> None:
        self._field, self._tables = field, tables
        self._data = data = Data(field, x)
        self._stage = loops.stage(plain(data.x.dtype), field.work, loops.lanes_of(field.work))
        self._rows = tables.rows_of(data.step)
        self._row_table = address(self._rows)
        if field.line.stride > 1:
            self._split = loops.split(field.work, field.line.stride, loops.lanes_of(field.work))
        self._plane_bytes = field.staged_rows * field.pitch * field.work.itemsize

    def stage(self, block: Block, buffer: int) -> None:
        """Fill the buffer at an address with everything that a block of the result reads."""
        field, tables = self._field, self._tables
        columns = tables.columns_of(block.column)
        strided = field.line.stride > 1
        staged = scratch("unsplit", field.staged_size * field.work.itemsize) if strided else buffer
        rows = self._row_table + block.row * field.rows.stride * 8
        for tap in range(field.plane_taps):
            offset = self._data.plane_offset(tables, block.plane, tap) if field.outer else 0
            place = staged + tap * self._plane_bytes
            if offset is None:
                self._stage(place, self._data.pointer, tables.nothing, columns)
            else:
                self._stage(place, self._data.pointer + offset, rows, columns)
        if strided:
            self._split(buffer, staged, tables.split)


class Tables:
    """The places of samples outside of the data, as tables that compiled loops read."""

    def __init__(self, field: Field) -> None:
        problem, line, rows = field.problem, field.line, field.rows
        boundary = problem.boundary
        self._field = field
        ends = (0, max(line.low, 0)), (line.low + line.size, line.low + line.size + max(line.high, 0))
        self._kept = [_with_inner(line.outside(*end, boundary), field.inner) for end in ends]
        self._nothing = np.full(field.staged_rows, -1, np.int64)
        self._before, self._after = (address(table) for table in self._kept)
        self.nothing = address(self._nothing)
        self.planes = [axis.outside(0, axis.size + axis.low + axis.high, boundary) for axis in field.outer]
        self._rows = rows.outside(0, rows.size + rows.low + rows.high, boundary)
        self._steps: dict[int, Table] = {}
        self._columns: dict[int, Table] = {}
        count = field.plane_taps * field.staged_rows
        self._split = np.array([field.pitch, count, field.part, field.inner], np.int64)
        self.split = address(self._split)

    def columns_of(self, column: int) -> int:
        """Return where the constants of the loop that stages from a column on stand."""
        found = self._columns.get(column)
        if found is None:
            # Of two threads that come here at once, both must use the table that is kept.
            found = self._columns.setdefault(column, np.array(self.columns_from(column), np.int64))
        return address(found)

    def columns_from(self, column: int) -> tuple[int, ...]:
        """Return pitch and rows; how many numbers of a row lie before, in and after the line, and where."""
        start, before, first, inside, after, skipped = self._cut(column)
        return (
            self._field.pitch,
            self._field.staged_rows,
            before,
            self._before + 8 * start,
            first,
            inside,
            after,
            self._after + 8 * skipped,
        )

    def places_outside(self, column: int) -> Table:
        """Return the places in the line of the numbers that lie before and after it; -1 where zero does."""
        start, before, _, _, after, skipped = self._cut(column)
        left, right = self._kept
        return np.concatenate([left[start : start + before], right[skipped : skipped + after]])

    def _cut(self, column: int) -> list[int]:
        """Return, in numbers, where a row starts, how it is divided, and what it leaves out behind."""
        field, line = self._field, self._field.line
        start = column * line.stride
        stop = start + field.staged // field.inner
        before = min(max(line.low - start, 0), stop - start)
        first = max(start - line.low, 0)
        inside = max(min(stop - line.low, line.size) - first, 0)
        after = stop - start - before - inside
        skipped = max(start - line.low - line.size, 0)
        return [size * field.inner for size in (start, before, first, inside, after, skipped)]

    def rows_of(self, step: int) -> Table:
        """Return the offset of each padded row, -1 outside, for rows that are `step` numbers apart."""
        found = self._steps.get(step)
        if found is None:
            found = np.where(self._rows < 0, -1, self._rows * step)
            self._steps = {step: found}
        return found


def _with_inner(places: Table, inner: int) -> Table:
    spread = np.where(places[:, None] < 0, -1, places[:, None] * inner + np.arange(inner))
    return np.ascontiguousarray(spread.ravel(), dtype=np.int64)


def _has_plain_lines(x: Array, first: int) -> bool:
    """Return whether the axes from `first` on are contiguous and no axis runs backwards."""
    expected = x.itemsize
    for axis in range(x.ndim - 1, first - 1, -1):
        if x.strides[axis] != expected and x.shape[axis] > 1:
            return False
        expected *= x.shape[axis]
    return all(step >= 0 and step % x.itemsize == 0 for step in x.strides[:first])


def plain(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that loops read: booleans are bytes."""
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype


def places_in(out: Array, field: Field) -> Callable[[Block], int]:
    """Return what tells the address of a block of the result."""
    strides = out.reshape(*(axis.out for axis in field.outer), field.rows.out, -1).strides
    start, number = address(out), field.inner * out.itemsize

    def place(block: Block) -> int:
        within = sum(i * step for i, step in zip(block.plane, strides, strict=False))
        return start + within + block.row * strides[-2] + block.column * number

    return place


class Staged:
    """A problem, ready to be run on data of its kind: stage a block, filter it, go on to the next.

    Parameters
    ----------
    field
        The layout.
    out
        Dtype of the result.

    Attributes
    ----------
    filter
        Filters the samples staged at one address into the result at another.
    """

    filter: Callable[[int, int], None]

    def __init__(self, field: Field, out: np.dtype[Any]) -> None:
        self._field, self._out = field, out
        self._shape = field.problem.output_shape
        self._tables = Tables(field)
        self._staged_bytes = field.staged_size * field.work.itemsize
        self._once = self._one_block()

    def _one_block(self) -> tuple[loops.Loop, int, int] | None:
        """Return the loop that stages everything, its rows and its constants; None if that takes more."""
        field = self._field
        dtype = field.problem.dtype
        if field.block_count > 1 or field.line.stride > 1 or field.outer or dtype == np.float16:
            return None
        stage = loops.stage(plain(dtype), field.work, loops.lanes_of(field.work))
        step = math.prod(field.problem.shape[field.row_axis + 1 :])
        self._all_rows = self._tables.rows_of(step)
        return stage, address(self._all_rows), self._tables.columns_of(0)

    def __call__(self, x: Array) -> Array:
        """Return the result."""
        out = np.empty(self._shape, self._out)
        if self._once and x.flags.c_contiguous:
            stage, rows, constants = self._once
            staged = scratch("staged", self._staged_bytes)
            stage(staged, address(x), rows, constants)
            self.filter(staged, address(out))
            return out
        field = self._field
        source = Source(field, self._tables, x)
        place_of = places_in(out, field)

        def do(_: object, block: Block) -> None:
            staged = scratch("staged", self._staged_bytes)
            source.stage(block, staged)
            self.filter(staged, place_of(block))

        share(do, field.blocks(), usable_threads() if field.is_large else 1)
        return out
