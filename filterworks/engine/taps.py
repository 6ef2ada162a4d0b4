"""Weighted taps as the tables that the compiled loop reads, and the tile that fits a problem."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterworks.engine.field import Field, address, scratch
from filterworks.engine.written import MOST, Written
from filterworks.machine import loops, unrolled
from filterworks.machine.compiler import vector_bytes

# So many terms are added up in single precision before their sum joins the others: equal samples make
# rounding systematic.
GROUP = 128
Tap = tuple[int, float]
Rows = Sequence[Sequence[Tap]]
Tables = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]


@dataclass(frozen=True)
class Tile:
    """Rows and vectors of the result that stay in registers together."""

    rows: int
    vectors: int


def tile_for(size: tuple[int, int], planes: Sequence[Rows], work: np.dtype[Any]) -> Tile:
    """Return the tile that loads each sample least often; small results get small tiles."""
    many = vector_bytes() == 64
    kernel_rows = max(len(rows) for rows in planes)
    kernel_columns = max(len(row) for rows in planes for row in rows)
    if kernel_rows == 1:
        tile = Tile(1, 8 if many else 6)
    elif kernel_columns == 1 and kernel_rows > 3:
        tile = Tile(4, 4 if many else 2)
    else:
        tile = Tile(2, 6 if many else 4)
    height, width = size
    lanes = loops.lanes_of(work)
    vectors = next((v for v in (tile.vectors, 4, 2) if v <= tile.vectors and v * lanes <= width), 1)
    return Tile(tile.rows if height >= tile.rows else 1, vectors)


def written_tile(pattern: unrolled.Pattern) -> Tile:
    """Return the tile of the loop that is written for a kernel."""
    many = vector_bytes() == 64
    if len(pattern) == 1:
        return Tile(1, 6)
    if max(map(len, pattern)) == 1 and len(pattern) > 3:
        return Tile(8, 2) if many else Tile(4, 2)
    return Tile(4, 4) if many else Tile(2, 4)


def pattern_of(field: Field, rows: int, columns: int) -> unrolled.Pattern | None:
    """Return where the taps of a kernel lie, if that does not depend on the size of the data.

    Parameters
    ----------
    field
        The layout.
    rows, columns
        How many taps the kernel has along each.
    """
    if (rows > 1 and field.rows.stride > 1) or (columns > 1 and field.line.stride > 1):
        return None
    line = tuple(tap * field.line.dilation * field.inner for tap in range(columns))
    apart = field.rows.dilation
    if (rows - 1) * apart >= MOST:
        return None
    return tuple(() if row % apart else line for row in range((rows - 1) * apart + 1))


class Correlator:
    """Taps and a compiled loop that sums them up.

    Parameters
    ----------
    planes
        The taps as (offset, weight) pairs: per plane of the kernel its rows.
    shift
        Numbers from one row of the staged buffer to the next that is read.
    size
        Height and width of the result.
    pitch
        Numbers from one row of the result to the next.
    work, out
        Dtypes of the staged buffer and of the result.
    pattern
        Where the taps lie, if that is the same for data of every size.
    """

    def __init__(
        self,
        planes: Sequence[Rows],
        shift: int,
        size: tuple[int, int],
        pitch: int,
        work: np.dtype[Any],
        out: np.dtype[Any],
        pattern: unrolled.Pattern | None = None,
    ) -> None:
        self._size, self._pitch, self._out = size, pitch, out
        tile = tile_for(size, planes, work)
        lanes = loops.lanes_of(work)
        padded = max(size[1], tile.vectors * lanes)
        self._padded = padded if padded > size[1] else 0
        self._tables = _tables(planes, shift, tile.rows, work)
        groups = len(self._tables[0]) // (2 * tile.rows + 1)
        sizes = (self._padded or pitch, shift, size[0], padded, groups)
        self._constants = np.array([*sizes, *map(address, self._tables), 0], np.int64)
        self._loop = loops.correlate(work, out, tile.rows, tile.vectors, lanes), address(self._constants)
        self._written = None if pattern is None else self._to_write(pattern, planes[0], shift, work)

    def _to_write(
        self, pattern: unrolled.Pattern, rows: Rows, shift: int, work: np.dtype[Any]
    ) -> Written | None:
        (height, width), taps, lanes = self._size, sum(map(len, rows)), loops.lanes_of(work)
        tile = written_tile(pattern)
        fits = height >= tile.rows and width >= tile.vectors * lanes
        if not fits or taps > GROUP or tile.rows * tile.vectors * taps > MOST:
            return None
        self._weights = np.array([weight for row in rows for _, weight in row], work)
        sizes = (self._pitch, shift, height, width, address(self._weights))
        self._own_constants = np.array(sizes, np.int64)
        key = (work, self._out, pattern, (tile.rows, tile.vectors), lanes)
        return Written(unrolled.correlate, key, height * width * taps)

    def __call__(self, staged: int, out: int) -> None:
        """Write the sums for the samples staged at one address to another."""
        written = self._written
        if written:
            found = written.loop()
            if found:
                self._loop, self._written = (found, address(self._own_constants)), None
        loop, constants = self._loop
        if not self._padded:
            loop(out, staged, constants)
            return
        (height, width), item = self._size, self._out.itemsize
        held = scratch("narrow", height * self._padded * item)
        loop(held, staged, constants)
        shape = (height, width * item)
        np.copyto(_rows_at(out, shape, self._pitch * item), _rows_at(held, shape, self._padded * item))


def _rows_at(place: int, shape: tuple[int, int], pitch: int) -> NDArray[np.uint8]:
    """Return rows of bytes at an address, `pitch` bytes from one to the next."""
    memory = (ctypes.c_uint8 * ((shape[0] - 1) * pitch + shape[1])).from_address(place)
    return np.ndarray(shape, np.uint8, memoryview(memory).cast("B"), strides=(pitch, 1))


def _groups(rows: Rows, work: np.dtype[Any]) -> Iterator[list[Tap]]:
    """Put whole rows of taps together, as many as single precision can add up."""
    if work.itemsize == 8:
        yield [tap for row in rows for tap in row]
        return
    group: list[Tap] = []
    for row in rows:
        if group and len(group) + len(row) > GROUP:
            yield group
            group = []
        whole = len(row) // GROUP * GROUP
        for start in range(0, whole, GROUP):
            yield list(row[start : start + GROUP])
        group += row[whole:]
    if group:
        yield group


def _tables(planes: Sequence[Rows], shift: int, tile_rows: int, work: np.dtype[Any]) -> Tables:
    """Return counts, offsets and weights in the order in which the loop reads them.

    Per group: what only some rows of the tile use, row by row; then what all of them use, with a
    weight for each; then what is left, row by row. So each row meets its taps in ascending order.
    """
    counts: list[int] = []
    offsets: list[int] = []
    weights: list[float] = []
    for group in (group for rows in planes for group in _groups(rows, work)):
        uses: dict[int, dict[int, float]] = {}
        for offset, weight in group:
            for row in range(tile_rows):
                uses.setdefault(offset + row * shift, {})[row] = weight
        places = sorted(uses)
        common = [place for place in places if len(uses[place]) == tile_rows]
        first = common[0] if common else places[-1] + 1
        partial = [place for place in places if len(uses[place]) < tile_rows]
        sections = [([p for p in partial if p < first and row in uses[p]], [row]) for row in range(tile_rows)]
        sections += [(common, list(range(tile_rows)))]
        sections += [
            ([p for p in partial if p > first and row in uses[p]], [row]) for row in range(tile_rows)
        ]
        for chosen, active in sections:
            counts.append(len(chosen))
            offsets += chosen
            weights += [uses[place][row] for place in chosen for row in active]
    return np.array(counts, np.int64), np.array(offsets, np.int64), np.array(weights, work)
