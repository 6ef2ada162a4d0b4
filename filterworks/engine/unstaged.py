"""Two neighbouring axes, filtered from the data as they lie: nothing is copied before.

The loops are begun by :func:`~filterworks.machine.loops.unstaged`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import Array
from filterworks.engine.field import Block, Field, address, even, scratch
from filterworks.engine.staging import Data, Tables, places_in, plain
from filterworks.machine import loops
from filterworks.problem import Problem
from filterworks.threads import share, usable_threads

# Numbers of a line that are filtered at a time: the rows that they need stay in the second-level cache.
_CHUNK = 1 << 13
# Blocks of rows for each thread, and the fewest rows of one.
_SHARES, _LEAST = 4, 32


class _Field(Field):
    """A layout without a staged buffer: `pitch` is that of the rows that are kept."""

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


class Unstaged:
    """A problem without strides on two neighbouring axes, and the tables of a loop for it.

    Parameters
    ----------
    problem
        What to compute; its `work` is the dtype of the rows that are kept.
    effort
        Multiply-adds per number.
    own
        The loop's own constants; of arrays, which are kept, the addresses.

    Attributes
    ----------
    field
        The layout.
    source
        Dtype of the data as the loop reads them.
    room
        Bytes for the rows that are kept.
    """

    def __init__(self, problem: Problem, effort: int, own: Iterable[NDArray[np.generic] | int] = ()) -> None:
        self.field = field = _Field(problem, effort)
        self.source = np.dtype(np.float32) if problem.dtype == np.float16 else plain(problem.dtype)
        self.room = 0
        self._tables = Tables(field)
        self._kept = [np.zeros(field.staged, self.source), *own]
        self._constants = {
            column: self._constants_of(column)
            for column in {block.column for block in field.blocks() if not any(block.plane)}
        }
        is_whole = field.block_count == 1 and not field.outer
        self._only = address(self._constants[0]) if is_whole else None

    def _constants_of(self, column: int) -> NDArray[np.int64]:
        pitch, _, *columns = self._tables.columns_from(column)
        sizes = (self.field.out_pitch, self.field.height, self.field.width)
        own = (address(one) if isinstance(one, np.ndarray) else one for one in self._kept)
        return np.array([pitch, *columns, *sizes, *own], np.int64)

    def mirrors_inside(self) -> bool:
        """Return whether every number outside of a block's line is one of those inside, or zero."""
        for column, constants in self._constants.items():
            first, inside = constants[3:5].tolist()
            places = self._tables.places_outside(column)
            places = places[places >= 0]
            if ((places < first) | (places >= first + inside)).any():
                return False
        return True

    @property
    def least_inside(self) -> int:
        """The fewest numbers of a line that a block has without those outside."""
        return int(min(constants[4] for constants in self._constants.values()))

    @property
    def block_count(self) -> int:
        """How many blocks there are."""
        return self.field.block_count

    def run(self, loop: loops.Loop, x: Array, tally: list[int] | None = None) -> Array:
        """Return what the loop makes of the data, block after block, and put into `tally` what it counts.

        The room of such a loop begins with three integers: what it has counted, and how many rows and numbers
        at the beginning of the block belong to the one before.
        """
        field, tables = self.field, self._tables
        data = Data(field, x)
        out = np.empty(field.problem.output_shape, field.problem.out)
        # Kept until the end: another call may have data laid out otherwise.
        rows = tables.rows_of(data.step)
        first_row = address(rows)
        place_of = places_in(out, field)

        def do(_: object, block: Block) -> None:
            offset = data.plane_offset(tables, block.plane, 0) if field.outer else 0
            start, rows_from = data.pointer + (offset or 0), first_row + 8 * block.row
            room, constants = scratch("between", self.room), address(self._constants[block.column])
            if tally is None:
                loop(place_of(block), start, rows_from, room, constants)
                return
            head = (ctypes.c_int64 * 3).from_address(room)
            head[1] = -block.row % field.height
            head[2] = -block.column % field.columns * field.inner
            loop(place_of(block), start, rows_from, room, constants)
            tally.append(head[0])

        if self._only is not None and tally is None:
            loop(address(out), data.pointer, first_row, scratch("between", self.room), self._only)
        else:
            share(do, field.blocks(), usable_threads() if field.is_large else 1)
        return out
