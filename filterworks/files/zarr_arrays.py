"""Zarr arrays as planes of rows and columns, whose chunks are unpacked when rows are asked for."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from filterworks.arguments import Array
from filterworks.files.page import Alpha
from filterworks.files.source import UnnamedFileError, decode_with
from filterworks.files.zarr_codecs import checked, packed_limit
from filterworks.files.zarr_folder import Files, Spool
from filterworks.files.zarr_layout import Layout, places

_CHANNELS = ("c", "channel", "channels", "rgb", "rgba", "band", "s", "sample", "samples")
# Tables of shards that are kept.
_TABLES = 64
# Rows of chunks that are kept unpacked while stacks are read.
_RECENT = 4
_ABSENT = (1 << 64) - 1
Place = tuple[int, ...]


@dataclass(frozen=True)
class Axes:
    """Which axes of an array are rows, columns and colour channels; all others count planes.

    `depth` is the one of those along which they make a volume.
    """

    rows: int
    columns: int
    channels: int | None
    planes: tuple[int, ...]
    depth: int | None = None

    @property
    def order(self) -> tuple[int, ...]:
        """Planes, rows, columns, channels."""
        last = () if self.channels is None else (self.channels,)
        return (*self.planes, self.rows, self.columns, *last)


def axes_of(layout: Layout, names: tuple[str | None, ...]) -> Axes:
    """Return what the axes of an array mean, by their names or else by their place.

    Without names the last two are rows and columns, but in an array of three axes the last of which has 2
    to 4 samples: those are colours.
    """
    rank = len(layout.shape)
    if rank < 2:
        raise UnnamedFileError(
            f"holds an array of {rank} {'axis' if rank == 1 else 'axes'}, which is no picture"
        )
    if 0 in layout.shape:
        raise UnnamedFileError(f"holds no pixel: its shape is {layout.shape}")
    lower = [(name or "").lower() for name in names]
    few = 2 <= layout.shape[-1] <= 4
    if lower.count("y") == lower.count("x") == 1:
        rows, columns = lower.index("y"), lower.index("x")
        has_channels = few and lower[-1] in _CHANNELS
    else:
        has_channels = few and rank >= 3 and (lower[-1] in _CHANNELS or (rank == 3 and not any(lower)))
        rows, columns = (rank - 3, rank - 2) if has_channels else (rank - 2, rank - 1)
    channels = rank - 1 if has_channels else None
    planes = tuple(axis for axis in range(rank) if axis not in (rows, columns, channels))
    deep = lower.index("z") if lower.count("z") == 1 else None
    if deep is None and planes and not any(lower):
        deep = planes[-1]
    return Axes(rows, columns, channels, planes, deep if deep in planes else None)


@dataclass(frozen=True)
class Plan:
    """An array as planes: where each plane, and each part of it that is packed together, is found.

    Attributes
    ----------
    name
        Of the array inside the store; empty for the array that is the store.
    layout, axes
        How it is stored and what its axes mean.
    """

    name: str
    layout: Layout
    axes: Axes

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of a plane: rows, columns and perhaps channels."""
        return tuple(self.layout.shape[axis] for axis in self.axes.order[len(self.axes.planes) :])

    @cached_property
    def cell(self) -> tuple[int, int, int]:
        """Rows, columns and channels of one plane that are packed together."""
        sizes = [self.layout.inner[axis] for axis in self.axes.order[len(self.axes.planes) :]]
        return sizes[0], sizes[1], sizes[2] if len(sizes) == 3 else 1

    @cached_property
    def deep(self) -> tuple[int, ...]:
        """How many planes are packed together, along each of the axes that count them."""
        return tuple(self.layout.inner[axis] for axis in self.axes.planes)

    @cached_property
    def grid(self) -> tuple[int, int, int]:
        """How many cells a plane has along rows, columns and channels."""
        rows, columns, channels = (*self.shape, 1)[:3]
        height, width, depth = self.cell
        return -(-rows // height), -(-columns // width), -(-channels // depth)

    @cached_property
    def depth(self) -> int:
        """How many planes are packed together."""
        return math.prod(self.deep)

    def planes(self) -> Iterator[Place]:
        """Yield the place of every plane, the last axis first."""
        lengths = tuple(self.layout.shape[axis] for axis in self.axes.planes)
        yield from places(lengths, (1,) * len(lengths))

    def stacks(self) -> list[list[int]]:
        """Return the numbers of the planes of each volume."""
        found: dict[Place, list[int]] = {}
        for number, plane in enumerate(self.planes()):
            key = tuple(
                at for axis, at in zip(self.axes.planes, plane, strict=True) if axis != self.axes.depth
            )
            found.setdefault(key, []).append(number)
        return list(found.values())

    @property
    def plane_count(self) -> int:
        """How many planes there are."""
        return math.prod(self.layout.shape[axis] for axis in self.axes.planes)

    def slab(self, plane: Place) -> tuple[Place, int]:
        """Return the place of the planes that are packed with this one, and its number among them."""
        pairs = [divmod(at, size) for at, size in zip(plane, self.deep, strict=True)]
        number = 0
        for (_, at), size in zip(pairs, self.deep, strict=True):
            number = number * size + at
        return tuple(place for place, _ in pairs), number

    def sharing(self, slab: Place) -> int:
        """Return how many planes of the array lie in a slab; those at the end may have fewer."""
        lengths = (self.layout.shape[axis] for axis in self.axes.planes)
        return math.prod(
            min(size, length - place * size)
            for place, size, length in zip(slab, self.deep, lengths, strict=True)
        )

    def place(self, slab: Place, cell: Place) -> Place:
        """Return the place in the grid of chunks: of a slab, and of rows, columns and channels in it."""
        found = [0] * len(self.layout.shape)
        for axis, at in zip(self.axes.order, (*slab, *cell), strict=False):
            found[axis] = at
        return tuple(found)

    def cell_number(self, cell: Place) -> int:
        """Return how many cells of a plane come before this one."""
        _, across, deep = self.grid
        return (cell[0] * across + cell[1]) * deep + cell[2]

    def as_cells(self, chunk: Array) -> Array:
        """Return a chunk as (planes, rows, columns, channels)."""
        return chunk.transpose(self.axes.order).reshape(self.depth, *self.cell)

    def as_chunk(self, cells: Array) -> Array:
        """Return cells, (planes, rows, columns, channels), as a chunk."""
        order = self.axes.order
        chunk = cells.reshape([self.layout.inner[axis] for axis in order])
        return chunk.transpose(np.argsort(order))


class Chunks:
    """The chunks of one array, unpacked one at a time by any thread."""

    def __init__(self, folder: Files, plan: Plan) -> None:
        self._folder, self._plan = folder, plan
        self._tables: OrderedDict[Place, Array | None] = OrderedDict()
        self._turn = threading.Lock()

    def get(self, place: Place) -> Array | None:
        """Return the chunk at a place of the grid; None if it is not stored."""
        layout = self._plan.layout
        size = math.prod(layout.inner) * layout.dtype.itemsize
        if layout.is_sharded:
            data = self._in_shard(place, packed_limit(size))
        else:
            data = self._folder.read(self._name(place), packed_limit(size))
        return None if data is None else layout.packing.unpack(data, layout.inner)

    def _name(self, place: Place) -> str:
        name = self._plan.layout.name(place)
        return f"{self._plan.name}/{name}" if self._plan.name else name

    def _in_shard(self, place: Place, limit: int) -> bytes | None:
        per_shard = self._plan.layout.per_shard
        shard = tuple(at // n for at, n in zip(place, per_shard, strict=True))
        table = self._table(shard)
        if table is None:
            return None
        start, length = map(int, table[tuple(at % n for at, n in zip(place, per_shard, strict=True))])
        if start == length == _ABSENT:
            return None
        return self._folder.read(self._name(shard), limit, start, length)

    def _table(self, shard: Place) -> Array | None:
        with self._turn:
            if shard in self._tables:
                self._tables.move_to_end(shard)
                return self._tables[shard]
        table = self._read_table(shard)
        with self._turn:
            self._tables[shard] = table
            if len(self._tables) > _TABLES:
                self._tables.popitem(last=False)
        return table

    def _read_table(self, shard: Place) -> Array | None:
        layout, name = self._plan.layout, self._name(shard)
        length = 16 * math.prod(layout.per_shard) + 4 * layout.index_checked
        size = self._folder.size(name)
        if size is None:
            return None
        data = self._folder.read(name, length, 0 if layout.index_first else size - length, length)
        plain = decode_with(checked, data) if layout.index_checked else data
        return np.frombuffer(plain, "<u8").reshape(*layout.per_shard, 2)  # type: ignore[arg-type]  # bytes


@dataclass
class _Slab:
    """Planes that share their chunks, on their way through the spool."""

    first: int
    remaining: int
    stored: dict[Place, bool] = field(default_factory=dict)


class ArrayReader:
    """The planes of an array."""

    def __init__(self, folder: Files, plan: Plan, scratch: Path | None) -> None:
        self.plan, self._chunks, self._scratch = plan, Chunks(folder, plan), scratch
        self._spool: Spool | None = None
        self._slabs: dict[Place, _Slab] = {}
        # One chunk is unpacked by one thread, different ones by several.
        self._turns = [threading.Lock() for _ in range(16)]
        # Of planes that are asked for again when they are done with: a few rows of chunks.
        self._recent: OrderedDict[Place, Array | None] = OrderedDict()

    def planes(self) -> Iterator[ZarrPage]:
        """Yield one plane after the other; a plane is done with when the next one is asked for."""
        try:
            for plane in self.plan.planes():
                yield self.page(plane)
                self.done(plane)
        finally:
            self.close()

    def close(self) -> None:
        """Give the room of the spool back."""
        if self._spool is not None:
            self._spool.close()

    def page(self, plane: Place) -> ZarrPage:
        """Return a plane, which is read fastest until it is :meth:`done` with."""
        plan = self.plan
        if plan.depth > 1:
            self._begin(plane)
        return ZarrPage(self, plane)

    def _begin(self, plane: Place) -> None:
        plan = self.plan
        if self._spool is None:
            cell = math.prod(plan.cell) * plan.layout.dtype.itemsize
            self._spool = Spool(self._scratch, cell, math.prod(plan.grid) * plan.depth)
        place, _ = plan.slab(plane)
        if place not in self._slabs:
            self._slabs[place] = _Slab(self._spool.take(), plan.sharing(place))

    def done(self, plane: Place) -> None:
        """Forget a plane, which is seldom read again."""
        place, _ = self.plan.slab(plane)
        slab = self._slabs.get(place)
        if slab is None or self._spool is None:
            return
        slab.remaining -= 1
        if slab.remaining == 0:
            self._spool.give_back(slab.first)
            del self._slabs[place]

    def rows(self, plane: Place, start: int, stop: int) -> Array:
        """Return some rows of a plane."""
        plan = self.plan
        height, width, depth = plan.cell
        columns, channels = (*plan.shape, 1)[1:3]
        slab, number = plan.slab(plane)
        image = np.empty((stop - start, columns, channels), plan.layout.dtype)
        for level in range(start // height, -(-stop // height)):
            top = level * height
            band = image[max(top - start, 0) : top + height - start]
            skipped = max(start - top, 0)
            for j in range(plan.grid[1]):
                for k in range(plan.grid[2]):
                    target = band[:, j * width : (j + 1) * width, k * depth : (k + 1) * depth]
                    cell = self._cell(slab, number, (level, j, k))
                    if cell is None:
                        target[...] = plan.layout.fill or 0
                    else:
                        part = cell[skipped : skipped + len(target)]
                        target[...] = part[:, : target.shape[1], : target.shape[2]]
        return image.reshape(stop - start, *plan.shape[1:])

    def _cell(self, place: Place, number: int, cell: Place) -> Array | None:
        """Return the part of a plane of a slab that lies in a chunk; None if the chunk is not stored."""
        plan = self.plan
        if plan.depth == 1:
            chunk = self._chunks.get(plan.place(place, cell))
            return None if chunk is None else plan.as_cells(chunk)[0]
        if place not in self._slabs:
            chunk = self._again(plan.place(place, cell))
            return None if chunk is None else plan.as_cells(chunk)[number]
        slab, spool = self._slabs[place], self._spool
        assert spool is not None  # noqa: S101  # as there is a slab
        first = slab.first + plan.cell_number(cell) * plan.depth
        with self._turns[hash(cell) % len(self._turns)]:
            if cell not in slab.stored:
                chunk = self._chunks.get(plan.place(place, cell))
                if chunk is not None:
                    spool.write(first, plan.as_cells(chunk))
                slab.stored[cell] = chunk is not None
        return spool.read(first + number, plan.cell, plan.layout.dtype) if slab.stored[cell] else None

    def _again(self, place: Place) -> Array | None:
        """Return a chunk, unpacked once for the planes in it if they are read one after the other."""
        with self._turns[hash(place) % len(self._turns)]:
            chunk = self._recent.get(place)
            if chunk is not None:
                return chunk
            chunk = self._recent[place] = self._chunks.get(place)
            if len(self._recent) > _RECENT * self.plan.grid[1] * self.plan.grid[2]:
                self._recent.popitem(last=False)
            return chunk


@dataclass(frozen=True)
class ZarrPage:
    """A plane whose chunks are unpacked when rows are asked for."""

    reader: ArrayReader
    plane: Place

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, columns and perhaps channels."""
        return self.reader.plan.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the samples."""
        return self.reader.plan.layout.dtype

    @property
    def alpha(self) -> Alpha:
        """Zarr says nothing of opacity."""
        return "none"

    @property
    def unit(self) -> int:
        """Rows of a chunk."""
        return min(self.reader.plan.cell[0], self.shape[0])

    def rows(self, start: int, stop: int) -> Array:
        """Return some rows."""
        return self.reader.rows(self.plane, start, stop)
