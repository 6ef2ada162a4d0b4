"""Where the samples of a problem lie: planes of rows of a line, staged a block at a time.

The *line* is the last axis that the kernel lies on together with all that follow it (channels), or
those that follow alone if they are many; the *rows* are the axis before it; all others are *planes*.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import Array
from filterworks.boundaries import source_of
from filterworks.machine import loops
from filterworks.problem import Problem
from filterworks.threads import usable_threads

# From so many numbers on, what follows the last kernel axis is a line of its own.
_WIDE = 64
# Bytes of staged samples, so that a block and what is made of it stay in the second-level cache.
_STAGED = 3 << 18
# What a block for a high kernel may grow to, as it repeats less: then the memory is what takes the time.
_STAGED_HIGH = 6 << 20
# Windows that a block is high and wide at least.
_HIGH = 4
# Numbers of a line that are staged at a time: small integers grow when they are staged, and tall blocks
# repeat less; of wider numbers whole lines are read and written faster than parts.
_CHUNK_OF_SMALL, _CHUNK, _LEAST_CHUNK = 1 << 11, 1 << 16, 1 << 8
# Multiply-adds (or samples times this) below which a second thread costs more than it brings.
_WORTH_A_THREAD, _WORTH_A_BLOCK = 4e6, 1.5e6
_COPY_WEIGHT = 8.0

_ALIGNMENT = 64
# Bytes that a buffer may keep although a quarter of them would do.
_KEPT = 1 << 24

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
    effort
        Multiply-adds per number of the result; as many as the kernel has taps unless given.

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

    def __init__(self, problem: Problem, effort: int | None = None) -> None:
        self.problem = problem
        self._effort = self.taps if effort is None else effort
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
        high = _STAGED_HIGH // (_HIGH + 1) // rows.span // self.work.itemsize
        chunk = min(_CHUNK, max(high, _LEAST_CHUNK))
        if self.problem.dtype.itemsize <= 2:
            chunk = min(max(_STAGED // (rows.out + rows.span) // self.work.itemsize, _CHUNK_OF_SMALL), chunk)
        columns = even(line.out, max(chunk // (line.stride * self.inner), _HIGH * line.span // line.stride))
        self.columns = columns
        self.width = columns * self.inner
        staged = (columns - 1) * line.stride + line.span
        self.staged = staged * self.inner
        self.part = -(-staged // line.stride) * self.inner
        # Loops may read and write a vector beyond a row, and as many as the stride when they sort it.
        self.pitch = -(-self.part * line.stride // lanes) * lanes + (1 + line.stride) * lanes
        per_row = self.pitch * self.work.itemsize * self.plane_taps
        height = max(_STAGED // per_row - rows.span, _HIGH * rows.span, 8) // rows.stride
        threads = usable_threads()
        if threads > 1 and self.is_large:
            height = min(height, max(-(-rows.out // (2 * threads)), 8))
        self.height = even(rows.out, max(height, 1))
        self.staged_rows = (self.height - 1) * rows.stride + rows.span

    @property
    def is_large(self) -> bool:
        """Whether the work is worth a second thread: all of it, and each plane's.

        Threads that have little to do per block wait for the interpreter's lock, and for each other.
        """
        per_number = self._effort + _COPY_WEIGHT
        plane = self.rows.out * self.line.out * self.inner * per_number
        return plane > _WORTH_A_BLOCK and plane * math.prod(a.out for a in self.outer) > _WORTH_A_THREAD

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


def even(size: int, most: int) -> int:
    """Return the length of equal parts of `size`, none of them longer than `most`."""
    return -(-size // -(-size // max(min(most, size), 1)))


def scratch(name: str, size: int) -> int:
    """Return the address of this thread's buffer of that name and at least so many bytes."""
    held: dict[str, tuple[int, int, Array]] | None = getattr(_LOCAL, "held", None)
    if held is None:
        held = _LOCAL.held = {}
    found = held.get(name)
    if found is None or found[0] < size or found[0] > max(_KEPT, 4 * size):
        buffer = np.empty(size + _ALIGNMENT, np.uint8)
        found = held[name] = (size, -(-address(buffer) // _ALIGNMENT) * _ALIGNMENT, buffer)
    return found[1]


def address(array: Array) -> int:
    """Return where an array's numbers begin."""
    pointer: int = array.__array_interface__["data"][0]
    return pointer
