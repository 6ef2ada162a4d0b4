"""Where the samples of a problem lie: planes of rows of a line, staged a block at a time.

The *line* is the last axis that the kernel lies on together with all that follow it (channels), or
those that follow alone if they are many; the *rows* are the axis before it; all others are *planes*.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import Array
from filterworks.boundaries import source_of
from filterworks.machine import loops
from filterworks.problem import Problem
from filterworks.threads import Scratch, share, usable_threads

# From so many numbers on, what follows the last kernel axis is a line of its own.
_WIDE = 64
# Bytes of staged samples, so that a block stays in the second-level cache.
_STAGED = 3 << 19
# Numbers of a line that are staged at a time.
_CHUNK = 1 << 15
# Multiply-adds (or samples times this) below which a second thread costs more than it brings.
_WORTH_A_THREAD = 4e6
_COPY_WEIGHT = 8.0

_ALIGNMENT = 64

_LOCAL = threading.local()
Table = NDArray[np.int64]


@dataclass(frozen=True)
class Axis:
    """One axis of the problem: how it is read.

    Attributes
    ----------
    size, out
        Samples of the data and of the result.
    low, high
        Padding; negative numbers crop.
    taps, stride, dilation
        Of the kernel; 1 where it has no such axis.
    position
        Among the kernel's axes, or None.
    """

    size: int
    out: int
    low: int = 0
    high: int = 0
    taps: int = 1
    stride: int = 1
    dilation: int = 1
    position: int | None = None

    @property
    def span(self) -> int:
        """Samples from the first tap to the last."""
        return (self.taps - 1) * self.dilation + 1

    def outside(self, start: int, stop: int, boundary: str) -> Table:
        """Return the sources of some positions of the padded axis."""
        places = source_of(np.arange(start - self.low, stop - self.low), self.size, boundary)
        return places.astype(np.int64)


@dataclass(frozen=True)
class Block:
    """A part of the result: a plane, rows of it, and numbers of its lines."""

    plane: tuple[int, ...]
    row: int
    column: int


def axis_of(problem: Problem, axis: int) -> Axis:
    """Return how one axis of the data is read."""
    if axis not in problem.axes:
        return Axis(problem.shape[axis], problem.shape[axis])
    i = problem.axes.index(axis)
    low, high = problem.padding[i]
    return Axis(
        problem.shape[axis],
        problem.output_shape[axis],
        low,
        high,
        problem.weights.shape[i],
        problem.stride[i],
        problem.dilation[i],
        i,
    )


class Field:
    """The layout of a problem, worked out once.

    Parameters
    ----------
    problem
        What to compute; its result is not empty.

    Attributes
    ----------
    outer, rows, line
        The axes, as :class:`Axis`.
    inner
        Numbers that stand together as one sample of the line.
    height, width
        Of a block of the result, in rows and numbers.
    staged_rows, pitch, part
        Rows staged per plane tap, numbers from one to the next, and numbers of one phase of the stride.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.work = problem.work
        last = problem.axes[-1]
        inner = math.prod(problem.shape[last + 1 :])
        wide = self.is_wide(problem)
        self.inner = 1 if wide else inner
        row = last if wide else last - 1
        self.line = Axis(inner, inner) if wide else axis_of(problem, last)
        self.rows = axis_of(problem, row) if row >= 0 else Axis(1, 1)
        self.outer = [axis_of(problem, axis) for axis in range(max(row, 0))]
        self.row_axis = row
        self.plane_taps = math.prod(axis.taps for axis in self.outer)
        self._lay_out()

    @staticmethod
    def is_wide(problem: Problem) -> bool:
        """Return whether what follows the kernel's last axis is a line of its own."""
        return math.prod(problem.shape[problem.axes[-1] + 1 :]) >= _WIDE

    def _lay_out(self) -> None:
        line, rows, lanes = self.line, self.rows, loops.lanes_of(self.work)
        columns = _even(line.out, max(_CHUNK // (line.stride * self.inner), 4 * line.span // line.stride))
        self.columns = columns
        self.width = columns * self.inner
        staged = (columns - 1) * line.stride + line.span
        self.staged = staged * self.inner
        self.part = -(-staged // line.stride) * self.inner
        # Loops may read and write a vector beyond a row, and as many as the stride when they sort it.
        self.pitch = -(-self.part * line.stride // lanes) * lanes + (1 + line.stride) * lanes
        per_row = self.pitch * self.work.itemsize * self.plane_taps
        height = max(_STAGED // per_row - rows.span, 2 * rows.span, 8) // rows.stride
        threads = usable_threads()
        if threads > 1 and self.is_large:
            height = min(height, max(-(-rows.out // (2 * threads)), 8))
        self.height = _even(rows.out, max(height, 1))
        self.staged_rows = (self.height - 1) * rows.stride + rows.span

    @property
    def is_large(self) -> bool:
        """Whether the work is worth a second thread."""
        return math.prod(self.problem.output_shape) * (self.taps + _COPY_WEIGHT) > _WORTH_A_THREAD

    @property
    def taps(self) -> int:
        """Taps of the whole kernel."""
        return math.prod(self.problem.weights.shape)

    @property
    def out_pitch(self) -> int:
        """Numbers from one row of the result to the next."""
        return self.line.out * self.inner

    @property
    def staged_size(self) -> int:
        """Numbers in the staged buffer."""
        return self.plane_taps * self.staged_rows * self.pitch

    @property
    def block_count(self) -> int:
        """How many blocks there are."""
        planes = math.prod(axis.out for axis in self.outer)
        return planes * -(-self.rows.out // self.height) * -(-self.line.out // self.columns)

    @property
    def numbers(self) -> float:
        """Numbers of the result, lanes that stay empty in narrow lines included."""
        lanes = loops.lanes_of(self.work)
        return math.prod(self.problem.output_shape) * max(lanes / self.width, 1.0)

    def bytes_moved(self, out: np.dtype[Any]) -> dict[str, float]:
        """Return how many bytes are staged and written; samples of a stride are sorted one by one."""
        staged = float(self.block_count * self.plane_taps * self.staged_rows * self.staged)
        written = float(math.prod(self.problem.output_shape) * out.itemsize)
        sorted_out = staged if self.line.stride > 1 else 0.0
        return {"read": staged * self.work.itemsize, "write": written, "sort": sorted_out}

    def blocks(self) -> Iterator[Block]:
        """Yield all blocks; the last of each direction overlaps the one before it."""
        planes = itertools.product(*(range(axis.out) for axis in self.outer))
        for plane in planes:
            for row in range(0, self.rows.out, self.height):
                for column in range(0, self.line.out, self.columns):
                    yield Block(
                        plane,
                        min(row, self.rows.out - self.height),
                        min(column, self.line.out - self.columns),
                    )

    def column_offset(self, tap: int) -> int:
        """Return where in a staged row a tap of the line lies."""
        place = tap * self.line.dilation
        phase, index = place % self.line.stride, place // self.line.stride
        return phase * self.part + index * self.inner

    def row_offset(self, plane_tap: int, tap: int) -> int:
        """Return where in the staged buffer a tap of the planes and rows lies."""
        return (plane_tap * self.staged_rows + tap * self.rows.dilation) * self.pitch


def _even(size: int, most: int) -> int:
    """Return the length of equal parts of `size`, none of them longer than `most`."""
    return -(-size // -(-size // max(min(most, size), 1)))


def take(name: str, size: int, dtype: np.dtype[Any]) -> Array:
    """Return this thread's buffer of that name; what it held may be overwritten."""
    if not hasattr(_LOCAL, "scratch"):
        _LOCAL.scratch = Scratch()
    scratch: Scratch = _LOCAL.scratch
    return scratch.take(name, (size,), dtype)


def scratch(name: str, size: int) -> int:
    """Return the address of this thread's buffer of that name and at least so many bytes."""
    held: dict[str, tuple[int, int, Array]] | None = getattr(_LOCAL, "held", None)
    if held is None:
        held = _LOCAL.held = {}
    found = held.get(name)
    if found is None or found[0] < size:
        buffer = np.empty(size + _ALIGNMENT, np.uint8)
        found = held[name] = (size, -(-address(buffer) // _ALIGNMENT) * _ALIGNMENT, buffer)
    return found[1]


def address(array: Array) -> int:
    """Return where an array's numbers begin."""
    pointer: int = array.__array_interface__["data"][0]
    return pointer


class Source:
    """The data of a problem, ready to be staged.

    Parameters
    ----------
    field
        The layout.
    x
        The data; copied only if its lines are not contiguous.
    """

    def __init__(self, field: Field, tables: Tables, x: Array) -> None:
        self._field, self._tables = field, tables
        row_axis = field.row_axis
        if x.dtype == np.float16:
            x = x.astype(np.float32)
        self._x = x if _has_plain_lines(x, row_axis + 1) else np.ascontiguousarray(x)
        self._pointer = address(self._x)
        self._stage = loops.stage(_plain(self._x.dtype), field.work, loops.lanes_of(field.work))
        step = self._x.strides[row_axis] // self._x.itemsize if row_axis >= 0 else 0
        self._rows = tables.rows_of(step)
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
            offset = self._plane_offset(block.plane, tap) if field.outer else 0
            place = staged + tap * self._plane_bytes
            if offset is None:
                self._stage(place, self._pointer, tables.nothing, columns)
            else:
                self._stage(place, self._pointer + offset, rows, columns)
        if strided:
            self._split(buffer, staged, tables.split)

    def _plane_offset(self, plane: tuple[int, ...], tap: int) -> int | None:
        """Return how many bytes into the data a plane begins; None if it lies outside."""
        total = 0
        for index in range(len(plane) - 1, -1, -1):
            axis = self._field.outer[index]
            tap, own = divmod(tap, axis.taps)
            place = self._tables.planes[index][plane[index] * axis.stride + own * axis.dilation]
            if place < 0:
                return None
            total += int(place) * self._x.strides[index]
        return total


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
        if column not in self._columns:
            self._columns[column] = np.array(self._columns_from(column), np.int64)
        return address(self._columns[column])

    def _columns_from(self, column: int) -> tuple[int, ...]:
        """Return how many numbers of a staged row lie before, inside and after the line, and where."""
        field, line = self._field, self._field.line
        start = column * line.stride
        stop = start + field.staged // field.inner
        before = min(max(line.low - start, 0), stop - start)
        first = max(start - line.low, 0)
        inside = max(min(stop - line.low, line.size) - first, 0)
        after = stop - start - before - inside
        skipped = max(start - line.low - line.size, 0)
        inner = field.inner
        return (
            field.pitch,
            field.staged_rows,
            before * inner,
            self._before + 8 * start * inner,
            first * inner,
            inside * inner,
            after * inner,
            self._after + 8 * skipped * inner,
        )

    def rows_of(self, step: int) -> Table:
        """Return the offset of each padded row, -1 outside, for rows that are `step` numbers apart."""
        if step not in self._steps:
            self._steps = {step: np.where(self._rows < 0, -1, self._rows * step)}
        return self._steps[step]


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


def _plain(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype


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
        stage = loops.stage(_plain(dtype), field.work, loops.lanes_of(field.work))
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
        view = out.reshape(*(axis.out for axis in field.outer), field.rows.out, -1)
        strides, start, item = view.strides, address(out), out.itemsize

        def do(_: object, block: Block) -> None:
            staged = scratch("staged", self._staged_bytes)
            source.stage(block, staged)
            place = start + block.row * strides[-2] + block.column * field.inner * item
            place += sum(i * s for i, s in zip(block.plane, strides, strict=False))
            self.filter(staged, place)

        share(do, field.blocks(), usable_threads() if field.is_large else 1)
        return out
