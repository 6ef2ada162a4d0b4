"""Write Zarr arrays a plane at a time: every chunk once, as a whole, and shards chunk after chunk."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from filterworks.arguments import Array
from filterworks.files.below import make_below
from filterworks.files.keeping import Stretches
from filterworks.files.source import UnnamedFileError
from filterworks.files.zarr_arrays import Place, Plan
from filterworks.files.zarr_codecs import Bytes, checksum
from filterworks.files.zarr_folder import Spool
from filterworks.files.zarr_layout import Layout, places
from filterworks.threads import share

_Task = TypeVar("_Task")
_Made = TypeVar("_Made")
_ABSENT = (1 << 64) - 1
# A chunk in a shard: its place, where it lies, and its length: none if it holds nothing but `fill`.
_Put = tuple[Place, int, int]
# What belongs into one chunk: its place, and the chunk as it is stored; None for one full of `fill`.
Packed = list[tuple[Place, Bytes | None]]
# Or a cell of the slab in the spool, and the samples of the plane that lie there.
Spooled = list[tuple[int, Array]]


@dataclass
class _Shard:
    """A file of chunks that is being written: where each of them lies, and how many are to come."""

    table: Array
    remaining: int
    position: int
    exists: bool = False


@dataclass
class ChunkWriter:
    """Writes the chunks of one array, each of them once, by any thread.

    Parameters
    ----------
    folder, layout
        Of the array.
    stretches
        To be told of what is written, by names that begin with `name`.
    """

    folder: Path
    layout: Layout
    stretches: Stretches | None = None
    name: str = ""
    _log: list[_Put] = field(default_factory=list)
    _made: set[Path] = field(default_factory=set)
    _shards: dict[Place, _Shard] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def pack(self, chunk: Array) -> Bytes | None:
        """Return a chunk as it is stored; None if there is nothing in it but `fill`."""
        fill = self.layout.fill
        if fill is not None and _is_full_of(chunk, fill):
            return None
        return self.layout.packing.pack(chunk)

    def put(self, place: Place, packed: Bytes | None) -> None:
        """Write what was packed."""
        with self._turn:
            if self.layout.is_sharded:
                self._put_into_shard(place, packed)
            elif packed is not None:
                # A chunk that is there already would be an error of ours: it is never written twice.
                with self._path(place).open("xb") as file:
                    file.write(packed)
                self._tell(place, 0, len(packed))

    def _tell(self, at: Place, start: int, size: int) -> None:
        if self.stretches is not None:
            name = self.layout.name(at)
            self.stretches.add(f"{self.name}/{name}" if self.name else name, start, size)

    def log(self) -> list[_Put]:
        """Return what was put into shards since the last call."""
        found, self._log = self._log, []
        return found

    def restore(self, log: Iterable[_Put]) -> None:
        """Know again what shards hold."""
        for place, position, size in log:
            self._enter(tuple(place), position, size)

    def _path(self, place: Place) -> Path:
        path = self.folder / self.layout.name(place)
        if path.parent not in self._made:
            make_below(self.folder, path.parent)
            self._made.add(path.parent)
        return path

    def _put_into_shard(self, place: Place, packed: Bytes | None) -> None:
        at, shard = self._shard_of(place)
        position, size = shard.position, 0 if packed is None else len(packed)
        if packed is not None:
            with self._path(at).open("r+b" if shard.exists else "xb") as file:
                file.seek(position)
                file.write(packed)
            self._tell(at, position, size)
        if self.stretches is not None:
            self._log.append((place, position, size))
        if self._enter(place, position, size):
            self._finish(at, shard)

    def _shard_of(self, place: Place) -> tuple[Place, _Shard]:
        at = tuple(i // n for i, n in zip(place, self.layout.per_shard, strict=True))
        if at not in self._shards:
            self._shards[at] = self._begin(at)
        return at, self._shards[at]

    def _enter(self, place: Place, position: int, size: int) -> bool:
        """Count a chunk of a shard, and return whether it was the last one."""
        at, shard = self._shard_of(place)
        if size:
            inside = tuple(i % n for i, n in zip(place, self.layout.per_shard, strict=True))
            shard.table[inside] = position, size
            shard.position, shard.exists = position + size, True
        shard.remaining -= 1
        if shard.remaining:
            return False
        del self._shards[at]
        return True

    def _begin(self, at: Place) -> _Shard:
        layout = self.layout
        table = np.full((*layout.per_shard, 2), _ABSENT, "<u8")
        inside = math.prod(
            min(n, -(-length // size) - i * n)
            for i, n, length, size in zip(at, layout.per_shard, layout.shape, layout.inner, strict=True)
        )
        start = table.nbytes + 4 * layout.index_checked if layout.index_first else 0
        return _Shard(table, inside, start)

    def _finish(self, at: Place, shard: _Shard) -> None:
        if not shard.exists:
            return
        data = shard.table.tobytes()
        if self.layout.index_checked:
            data += checksum(data)
        start = 0 if self.layout.index_first else shard.position
        with self._path(at).open("r+b") as file:
            file.seek(start)
            file.write(data)
        self._tell(at, start, len(data))


def _is_full_of(chunk: Array, fill: Any) -> bool:
    """Whether every sample has the very bits of `fill`: -0 is not 0, and NaN is NaN."""
    unsigned = np.dtype(f"u{chunk.dtype.itemsize}")
    wanted = np.asarray(fill, chunk.dtype).view(unsigned)
    bits = chunk.view(unsigned)
    return bool(bits[(0,) * chunk.ndim] == wanted) and bool((bits == wanted).all())


class ArrayWriter:
    """Writes the planes of an array, one after the other.

    Planes that are packed together wait in a spool on disk until the last of them is there.
    """

    def __init__(self, root: Path, plan: Plan, threads: int, stretches: Stretches | None = None) -> None:
        self.plan, self.threads, self._scratch = plan, threads, root.parent
        folder = root / plan.name if plan.name else root
        self.chunks = ChunkWriter(folder, plan.layout, stretches, plan.name)
        self._spool: Spool | None = None
        self._slabs: dict[Place, tuple[int, int]] = {}

    @property
    def waits(self) -> bool:
        """Whether planes are in the spool."""
        return bool(self._slabs)

    def sheet(self, plane: Place) -> ZarrSheet:
        """Begin a plane."""
        return ZarrSheet(self, plane)

    def keep(self, slab: Place, cells: Spooled) -> None:
        """Let the parts of a plane wait for those that share their chunks."""
        plan = self.plan
        if self._spool is None:
            cell = math.prod(plan.cell) * plan.layout.dtype.itemsize
            self._spool = Spool(self._scratch, cell, math.prod(plan.grid) * plan.depth)
        if slab not in self._slabs:
            self._slabs[slab] = self._spool.take(), plan.sharing(slab)
        first = self._slabs[slab][0]
        for cell, values in cells:
            self._spool.write(first + cell, values)

    def finished(self, slab: Place) -> None:
        """Count a plane of a slab, and pack the slab when it was the last; what is packed already stays."""
        if slab not in self._slabs or self._spool is None:
            return
        first, remaining = self._slabs[slab]
        self._slabs[slab] = first, remaining - 1
        if remaining > 1:
            return
        cells = places(self.plan.grid, (1, 1, 1))
        in_order(
            lambda cell: self._packed(slab, first, cell),
            lambda made: self.chunks.put(*made),
            cells,
            self.threads,
        )
        self._spool.give_back(first)
        del self._slabs[slab]

    def _packed(self, slab: Place, first: int, cell: Place) -> tuple[Place, Bytes | None]:
        plan, spool = self.plan, self._spool
        assert spool is not None  # noqa: S101  # the slab lies in it
        number = first + plan.cell_number(cell) * plan.depth
        cells = spool.read(number, (plan.depth, *plan.cell), plan.layout.dtype)
        self._blank_outside(slab, cells)
        return plan.place(slab, cell), self.chunks.pack(plan.as_chunk(cells))

    def _blank_outside(self, slab: Place, cells: Array) -> None:
        """Fill the planes of the last slab that lie behind the array: the spool holds old ones there."""
        plan = self.plan
        view = cells.reshape(*plan.deep, *plan.cell)
        for axis, (place, size) in enumerate(zip(slab, plan.deep, strict=True)):
            inside = plan.layout.shape[plan.axes.planes[axis]] - place * size
            view[(slice(None),) * axis + (slice(inside, None),)] = plan.layout.fill or 0

    def close(self) -> None:
        """Give the room of the spool back."""
        if self._spool is not None:
            self._spool.close()


class ZarrSheet:
    """A plane that is being written, some whole rows of chunks at a time.

    Attributes
    ----------
    unit
        Rows of a chunk.
    layers
        Planes of a chunk, along the axis that makes them a volume.
    """

    def __init__(self, writer: ArrayWriter, plane: Place) -> None:
        self._writer, plan = writer, writer.plan
        self._slab, self._number = plan.slab(plane)
        self.unit = plan.cell[0]
        self.layers = 1 if plan.axes.depth is None else plan.layout.inner[plan.axes.depth]

    @property
    def waits(self) -> bool:
        """Whether planes of the array wait for those that share their chunks."""
        return self._writer.waits

    def pack(self, start: int, rows: Array) -> Packed | Spooled:
        """Return rows from `start`, the first of a chunk, as they are stored; any thread may do this."""
        plan = self._writer.plan
        height, width, depth = plan.cell
        image = rows[..., None] if rows.ndim == 2 else rows
        parts: list[tuple[Place, Array]] = []
        for top in range(0, len(image), height):
            for j in range(plan.grid[1]):
                for k in range(plan.grid[2]):
                    part = image[top : top + height, j * width : (j + 1) * width, k * depth : (k + 1) * depth]
                    parts.append((((start + top) // height, j, k), self._filled(part)))
        if plan.depth == 1:
            chunks = self._writer.chunks
            return [(plan.place(self._slab, cell), chunks.pack(plan.as_chunk(part))) for cell, part in parts]
        return [(self._number + plan.cell_number(cell) * plan.depth, part) for cell, part in parts]

    def _filled(self, part: Array) -> Array:
        """Return a part in a cell of full size; beyond the edge of the array lies `fill`."""
        plan = self._writer.plan
        if part.shape == plan.cell:
            return np.ascontiguousarray(part)
        cell = np.full(plan.cell, plan.layout.fill or 0, plan.layout.dtype)
        cell[: part.shape[0], : part.shape[1], : part.shape[2]] = part
        return cell

    def append(self, packed: Any) -> None:
        """Write what was packed; the rows must come in order."""
        if self._writer.plan.depth > 1:
            self._writer.keep(self._slab, packed)
            return
        for place, data in packed:
            self._writer.chunks.put(place, data)

    def finish(self) -> None:
        """End the plane."""
        self._writer.finished(self._slab)

    def log(self) -> list[_Put]:
        """Return what was put into shards of the array since the last call."""
        return self._writer.chunks.log()

    def restore(self, log: Iterable[_Put]) -> None:
        """Know again what shards of the array hold."""
        self._writer.chunks.restore(log)


def in_order(
    work: Callable[[_Task], _Made], take: Callable[[_Made], None], tasks: Iterable[_Task], threads: int
) -> None:
    """Take what is made of some tasks, on several threads, in their order: some at a time."""
    waiting = iter(tasks)
    made: dict[int, _Made] = {}
    while some := list(enumerate(itertools.islice(waiting, 4 * threads))):
        share(lambda _, task: made.__setitem__(task[0], work(task[1])), some, threads)
        for number, _ in some:
            take(made.pop(number))


def check_plane(shape: tuple[int, ...], dtype: np.dtype[Any], plan: Plan) -> None:
    """Refuse a page that is none of the planes of an array."""
    if shape != plan.shape or dtype != plan.layout.dtype:
        raise UnnamedFileError(
            f"holds pages of one size and type, {plan.shape} of {plan.layout.dtype}; "
            f"got one of {shape} of {dtype}"
        )
