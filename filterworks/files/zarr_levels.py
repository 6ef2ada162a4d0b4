"""The smaller levels of a multiscale image: means of the level above."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from filterworks.arguments import Array
from filterworks.files.keeping import Begun, Keeping, anew
from filterworks.files.source import UnnamedFileError
from filterworks.files.zarr_arrays import ArrayReader, Place, Plan, ZarrPage
from filterworks.files.zarr_folder import Folder
from filterworks.files.zarr_writer import ArrayWriter, in_order

Bins = list[tuple[int, int]]


def bins(length: int, count: int) -> Bins:
    """Return from where to where the samples lie that become one each.

    All have one size where that fits; the last one may be smaller, or samples be left over.

    Examples
    --------
    >>> bins(7, 4), bins(7, 3), bins(5, 4)
    ([(0, 2), (2, 4), (4, 6), (6, 7)], [(0, 2), (2, 4), (4, 6)], [(0, 1), (1, 2), (2, 3), (3, 5)])
    """
    size = round(length / count)
    if count in (-(-length // size), length // size):
        return [(start, min(start + size, length)) for start in range(0, count * size, size)]
    return [(i * length // count, (i + 1) * length // count) for i in range(count)]


def _summed(values: Array, parts: Bins, axis: int) -> Array:
    """Return the sum over each bin along an axis; the first bin begins with the first value."""
    values = np.moveaxis(values, axis, 0)
    size = parts[0][1] - parts[0][0]
    full = sum(stop - start == size for start, stop in parts)
    last = parts[-1][1] - parts[0][0]
    if full < len(parts) - 1:
        sums = np.add.reduceat(values[:last], [start - parts[0][0] for start, _ in parts], axis=0)
        return np.moveaxis(sums, 0, axis)
    end = full * size
    sums = values[0:end:size]
    for i in range(1, size):
        sums = sums + values[i:end:size]
    if full < len(parts):
        sums = np.concatenate([sums, values[end:last].sum(axis=0, keepdims=True, dtype=values.dtype)])
    return np.moveaxis(sums, 0, axis)


def _wide(dtype: np.dtype[Any], count: int) -> np.dtype[Any]:
    """Return a type for the sum of so many samples, exact for integers of up to 32 bits."""
    if dtype.kind == "f" or dtype.itemsize == 8:
        return np.dtype(np.float64)
    return np.dtype(np.int32 if dtype.itemsize < 4 and count <= 1 << 15 else np.int64)


def rebuild(root: Path, above: Plan, level: Plan, threads: int, keeping: Keeping | None = None) -> None:
    """Write a level from the one above it, some rows at a time.

    Parameters
    ----------
    root
        Of the store in which both lie.
    threads
        How many rows of chunks are made at once.
    keeping
        How a store is continued.
    """
    reader = ArrayReader(Folder(root), above, root.parent)
    writer = ArrayWriter(root, level, threads, keeping.stretches if keeping else None)
    begun = keeping.begun if keeping else anew
    groups = [bins(above.layout.shape[axis], level.layout.shape[axis]) for axis in level.axes.planes]
    try:
        for plane in level.planes():
            members = list(
                itertools.product(*(range(*parts[at]) for parts, at in zip(groups, plane, strict=True)))
            )
            _rebuild_plane(reader, writer, plane, members, begun)
            for member in members:
                reader.done(member)
    finally:
        reader.close()
        writer.close()


def _rebuild_plane(
    reader: ArrayReader, writer: ArrayWriter, plane: Place, members: list[Place], begun: Begun
) -> None:
    above, level = reader.plan, writer.plan
    pages = [reader.page(member) for member in members]
    sheet = writer.sheet(plane)
    begin, after = begun(sheet, level.shape[0])
    rows, columns = (bins(above.shape[axis], level.shape[axis]) for axis in (0, 1))
    tall, wide = rows[0][1] - rows[0][0], columns[0][1] - columns[0][0]
    # Rows of the level that one row of chunks of the level above becomes.
    step = max(1, pages[0].unit // tall)
    dtype = _wide(level.layout.dtype, len(pages) * 4 * tall * wide)

    def work(start: int) -> tuple[int, Any]:
        parts = rows[start : start + sheet.unit]
        made = np.empty((len(parts), *level.shape[1:]), level.layout.dtype)
        for first in range(0, len(parts), step):
            some = parts[first : first + step]
            made[first : first + step] = _mean(pages, some, columns, dtype, level.layout.dtype)
        return start + len(parts), sheet.pack(start, made)

    def take(made: tuple[int, Any]) -> None:
        sheet.append(made[1])
        after(made[0])

    in_order(work, take, range(begin, len(rows), sheet.unit), writer.threads)
    sheet.finish()
    after(len(rows))


def _mean(
    pages: list[ZarrPage], rows: Bins, columns: Bins, wide: np.dtype[Any], dtype: np.dtype[Any]
) -> Array:
    """Return the means over bins of rows and columns of some pages."""
    total: Any = 0
    for page in pages:
        values = page.rows(rows[0][0], rows[-1][1]).astype(wide)
        total = total + _summed(_summed(values, rows, 0), columns, 1)
    behind = (1,) * (total.ndim - 2)
    heights = np.array([stop - start for start, stop in rows]).reshape(-1, 1, *behind)
    widths = np.array([stop - start for start, stop in columns]).reshape(-1, *behind)
    mean = total / (heights * widths * len(pages))
    rounded: Array = (np.rint(mean) if dtype.kind in "iu" else mean).astype(dtype)
    return rounded


def check(above: Plan, level: Plan) -> None:
    """Refuse a level that cannot be made from the one above it."""
    same = above.layout.dtype == level.layout.dtype and len(above.layout.shape) == len(level.layout.shape)
    if not same or above.shape[2:] != level.shape[2:]:
        raise UnnamedFileError(
            f"is corrupt: its level {level.name!r} has another type or other axes than the one above it"
        )
    for length, count in zip(above.layout.shape, level.layout.shape, strict=True):
        if count > length:
            raise UnnamedFileError(f"is corrupt: its level {level.name!r} is larger than the one above it")
