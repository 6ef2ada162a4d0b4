"""Kernels that are one outer product, by both passes at once and from the data as they lie.

Some rows of the data are combined into a few, and those, still in the cache, into rows of the result.
Nothing is copied before. The bits are those of :mod:`~filterworks.engine.separable`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import Array
from filterworks.engine.field import Block, Field, address, even, scratch
from filterworks.engine.staging import Data, Tables, places_in, plain
from filterworks.engine.taps import GROUP, pattern_of
from filterworks.engine.written import MOST, Written
from filterworks.machine import loops, unrolled
from filterworks.machine.compiler import vector_bytes
from filterworks.problem import Problem
from filterworks.threads import share, usable_threads

# Numbers of a line that are filtered at a time: the rows that they need stay in the second-level cache.
_CHUNK = 1 << 13
# Blocks of rows for each thread, and the fewest rows of one.
_SHARES, _LEAST = 4, 32
# Multiply-adds that take as long as the staging of a number, which is saved.
_STAGING = 16

Line = NDArray[np.float64]


class _Field(Field):
    """A layout without a staged buffer: `pitch` is that of the rows between the passes."""

    def _lay_out(self) -> None:
        line, lanes = self.line, loops.lanes_of(self.work)
        self.columns = even(line.out, max(_CHUNK // self.inner, 4 * line.span))
        self.width = self.columns * self.inner
        self.part = self.staged = (self.columns + line.span - 1) * self.inner
        # Loops may read a vector beyond a row.
        self.pitch = -(-self.staged // lanes) * lanes + 2 * lanes
        threads = usable_threads() if self.is_large else 1
        most = self.rows.out if threads == 1 else max(self.rows.out // (_SHARES * threads), _LEAST)
        self.height = even(self.rows.out, most)
        self.staged_rows = self.height + self.rows.span - 1


def _passes(field: Field, taps: tuple[int, int]) -> unrolled.Passes | None:
    """Return how the loop is to be written, if it can be."""
    if field.rows.stride > 1 or field.line.stride > 1 or max(taps) > GROUP:
        return None
    rows, line = pattern_of(field, taps[0], 1), pattern_of(field, 1, taps[1])
    tile, vectors = ((8, 2), 8) if vector_bytes() == 64 else ((4, 2), 6)
    if rows is None or line is None or max(math.prod(tile) * taps[0], vectors * taps[1]) > MOST:
        return None
    return unrolled.Passes(tuple(map(bool, rows)), line[0], tile, vectors)


class Fused:
    """A problem on two neighbouring axes whose kernel is one outer product.

    Parameters
    ----------
    problem
        What to compute; its `work` is the dtype of the sums.
    factors
        Weights of the rows and along the line.
    """

    def __init__(self, problem: Problem, factors: tuple[Line, Line]) -> None:
        self._field = field = _Field(problem, sum(factor.size for factor in factors))
        self._tables = Tables(field)
        self._weights = [factor.astype(field.work) for factor in factors]
        source = np.dtype(np.float32) if problem.dtype == np.float16 else plain(problem.dtype)
        self._zeros = np.zeros(field.staged, source)
        self._constants = {
            column: self._constants_of(column)
            for column in {block.column for block in field.blocks() if not any(block.plane)}
        }
        is_whole = field.block_count == 1 and not field.outer
        self._only = address(self._constants[0]) if is_whole else None
        passes = _passes(field, (factors[0].size, factors[1].size))
        self._written = None
        if passes is not None and self._fits(passes):
            self._room = passes.tile[0] * field.pitch * field.work.itemsize
            key = (source, field.work, problem.out, passes, loops.lanes_of(field.work))
            effort = math.prod(problem.output_shape) * (sum(w.size for w in self._weights) + _STAGING)
            self._written = Written(unrolled.both_passes, key, effort)

    def _constants_of(self, column: int) -> NDArray[np.int64]:
        pitch, _, *columns = self._tables.columns_from(column)
        field, pointers = self._field, [*self._weights, self._zeros]
        sizes = (field.out_pitch, field.height, field.width)
        return np.array([pitch, *columns, *sizes, *map(address, pointers)], np.int64)

    def _fits(self, passes: unrolled.Passes) -> bool:
        """Return whether tiles do, and columns outside are made from those that are there."""
        field, lanes = self._field, loops.lanes_of(self._field.work)
        if field.height < passes.tile[0] or field.width < passes.vectors * lanes:
            return False
        for column, constants in self._constants.items():
            first, inside = constants[3:5].tolist()
            places = self._tables.places_outside(column)
            places = places[places >= 0]
            if inside < passes.tile[1] * lanes or ((places < first) | (places >= first + inside)).any():
                return False
        return True

    @property
    def block_count(self) -> int:
        """How many blocks there are."""
        return self._field.block_count

    @property
    def is_possible(self) -> bool:
        """Whether there can be a loop for this problem."""
        return self._written is not None

    def __call__(self, x: Array) -> Array | None:
        """Return the result; None if the loop is not there, or not yet."""
        loop = self._written.loop() if self._written else None
        if loop is None:
            return None
        field, tables = self._field, self._tables
        data = Data(field, x)
        out = np.empty(field.problem.output_shape, field.problem.out)
        # Kept until the end: another call may have data laid out otherwise.
        rows = tables.rows_of(data.step)
        first_row = address(rows)
        if self._only is not None:
            loop(address(out), data.pointer, first_row, scratch("between", self._room), self._only)
            return out
        place_of = places_in(out, field)

        def do(_: object, block: Block) -> None:
            offset = data.plane_offset(tables, block.plane, 0) if field.outer else 0
            start, rows_from = data.pointer + (offset or 0), first_row + 8 * block.row
            constants = address(self._constants[block.column])
            loop(place_of(block), start, rows_from, scratch("between", self._room), constants)

        share(do, field.blocks(), usable_threads() if field.is_large else 1)
        return out
