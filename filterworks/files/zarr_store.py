"""Zarr: arrays and groups of the versions 2 and 3, OME-Zarr 0.4 and 0.5: folders, and zip files to read.

Sources: https://zarr-specs.readthedocs.io, https://ngff.openmicroscopy.org/specifications.

Every plane of rows and columns is a page. What is no picture (axes, labels, tables) is kept as it is;
the smaller levels of a multiscale image are made anew from the largest one.
"""

from __future__ import annotations

import itertools
import json
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from filterworks.arguments import Array
from filterworks.files.below import make_below
from filterworks.files.formats import STORE_METADATA, is_archive
from filterworks.files.keeping import Keeping
from filterworks.files.page import Described, ImageInfo, Layout, Metadata, Raster
from filterworks.files.source import MAX_PIXELS, UnnamedFileError
from filterworks.files.zarr_arrays import ArrayReader, Axes, Place, Plan, axes_of
from filterworks.files.zarr_folder import Files, Folder, inside
from filterworks.files.zarr_layout import parse_v2, parse_v3
from filterworks.files.zarr_levels import check, rebuild
from filterworks.files.zarr_new import new_image, resolution_of
from filterworks.files.zarr_writer import ArrayWriter, ZarrSheet, check_plane

HOLDS = "any number of pages of integers of 8 to 64 bits or float16, float32 and float64, any channels"
MANY_PAGES = True
_MAX_ARRAYS = 10_000
_MAX_DEPTH = 16
# Samples need not be stored; that so many come of one byte is no real picture.
_MOST_PER_BYTE = 100_000


@dataclass(frozen=True)
class Picture:
    """An array that is filtered, and the smaller levels that are made of it."""

    array: Plan
    levels: tuple[Plan, ...] = ()


@dataclass(frozen=True)
class Zarr:
    """What only another Zarr store can take over: where the original lies, and what in it is filtered."""

    root: Path
    pictures: tuple[Picture, ...]

    def stacks(self) -> list[list[int]]:
        """Return the numbers of the pages of each volume, from its first plane to its last."""
        found: list[list[int]] = []
        first = 0
        for picture in self.pictures:
            found += [[first + number for number in stack] for stack in picture.array.stacks()]
            first += picture.array.plane_count
        return found


def holds(layout: Layout) -> bool:
    """Whether a page of this layout can be written."""
    dtype = np.dtype(layout.dtype)
    return dtype.kind in "iuf" and dtype.itemsize <= 8


def read(root: Path, max_pixels: int, scratch: Path | None) -> tuple[ImageInfo, Any]:
    """Read and check the metadata of all arrays.

    Parameters
    ----------
    root
        The folder, or the zip file.
    max_pixels
        Bounds how many pixels may come of few bytes.
    scratch
        Where planes that share their chunks may wait.
    """
    folder = _opened(root, scratch)
    pictures = tuple(itertools.islice(_pictures(folder, ""), _MAX_ARRAYS + 1))
    if not pictures:
        raise UnnamedFileError("holds no array with rows and columns")
    if len(pictures) > _MAX_ARRAYS:
        raise UnnamedFileError(f"holds more than {_MAX_ARRAYS:,} arrays")
    _refuse_empty_promises(folder, pictures, max_pixels)
    first = pictures[0].array
    metadata = Metadata(
        resolution=resolution_of(_attributes(folder, first.name.rpartition("/")[0])),
        own=Zarr(root, pictures),
    )
    count = sum(picture.array.plane_count for picture in pictures)
    info = ImageInfo("zarr", count, first.shape, first.layout.dtype, "none", metadata)

    def pages() -> Iterator[Raster]:
        for picture in pictures:
            yield from ArrayReader(folder, picture.array, scratch).planes()

    return info, pages


def _opened(root: Path, scratch: Path | None = None) -> Files:
    """Return the files of a store."""
    if is_archive(root.name):
        from filterworks.files.zarr_archive import Archive

        return Archive(root, scratch)
    if not stat.S_ISDIR(root.stat().st_mode):
        raise UnnamedFileError("is a file; a Zarr store is a folder, or a zip file called .zarr.zip")
    return Folder(root)


def _named(name: str, below: str) -> str:
    return f"{name}/{below}" if name else below


def _document(folder: Files, name: str) -> tuple[str, Mapping[str, Any]] | None:
    """Return the kind (``array`` or ``group``, with the version) of a node and its metadata."""
    document = folder.json(_named(name, "zarr.json"))
    if document is not None:
        return f"{document.get('node_type')} 3", document
    for kind in ("array", "group"):
        document = folder.json(_named(name, f".z{kind}"))
        if document is not None:
            return f"{kind} 2", document
    return None


def _attributes(folder: Files, name: str) -> Mapping[str, Any]:
    """Return the attributes of a node."""
    found = _document(folder, name)
    if found is not None and found[0].endswith("3"):
        attributes = found[1].get("attributes")
    else:
        attributes = folder.json(_named(name, ".zattrs"))
    return attributes if isinstance(attributes, Mapping) else {}


def _plan(folder: Files, name: str, axis_names: tuple[str | None, ...] | None = None) -> Plan:
    found = _document(folder, name)
    where = f"{name} in it " if name else ""
    if found is None or not found[0].startswith("array"):
        raise UnnamedFileError(f"is corrupt: there is no array {name!r} in it")
    try:
        if found[0].endswith("3"):
            layout = parse_v3(found[1])
        else:
            layout = parse_v2(found[1], _attributes(folder, name))
        names = axis_names if axis_names and len(axis_names) == len(layout.shape) else layout.names
        return Plan(name, layout, axes_of(layout, names))
    except UnnamedFileError as error:
        raise UnnamedFileError(f"{where}{error}") from None


def _pictures(folder: Files, name: str, depth: int = 0) -> Iterator[Picture]:
    """Yield the arrays in a node and below it that are filtered."""
    found = _document(folder, name)
    if found is None:
        if not name:
            raise UnnamedFileError("is no Zarr store: it holds no zarr.json, .zarray or .zgroup")
        return
    kind = found[0]
    if kind.startswith("array"):
        shape = found[1].get("shape")
        # Coordinates and the like are no pictures; an array by itself has to be one.
        if not name or (isinstance(shape, list) and len(shape) >= 2):
            yield Picture(_plan(folder, name))
        return
    if not kind.startswith("group"):
        raise UnnamedFileError(f"is corrupt: {name or 'it'} is neither an array nor a group")
    if depth == _MAX_DEPTH:
        raise UnnamedFileError(f"holds groups in groups, {_MAX_DEPTH} deep and more")
    scales = _multiscales(folder, name)
    yield from scales
    for below, is_folder in folder.below(name):
        # The images of an OME-Zarr are those that it names; its labels are numbers of things.
        if is_folder and not scales and not below.rpartition("/")[2].startswith("."):
            yield from _pictures(folder, below, depth + 1)


def _multiscales(folder: Files, name: str) -> list[Picture]:
    attributes = _attributes(folder, name)
    ome = attributes.get("ome", attributes)
    scales = ome.get("multiscales") if isinstance(ome, Mapping) else None
    found = []
    for scale in scales if isinstance(scales, list) else ():
        datasets = scale.get("datasets") if isinstance(scale, Mapping) else None
        if not isinstance(datasets, list) or not datasets or len(datasets) > 64:
            raise UnnamedFileError("is corrupt: its multiscales name no datasets")
        names = _axis_names(scale.get("axes"))
        paths = [inside(one.get("path") if isinstance(one, Mapping) else None) for one in datasets]
        plans = [_plan(folder, _named(name, path), names) for path in paths]
        for above, level in itertools.pairwise(plans):
            check(above, level)
        found.append(Picture(plans[0], tuple(plans[1:])))
    return found


def _axis_names(axes: object) -> tuple[str | None, ...]:
    """Return the names of the axes of a multiscale image; some versions say nothing but these."""
    listed = axes if isinstance(axes, list) else []
    names = [axis.get("name") if isinstance(axis, Mapping) else axis for axis in listed]
    return tuple(name if isinstance(name, str) else None for name in names)


def _refuse_empty_promises(folder: Files, pictures: tuple[Picture, ...], max_pixels: int) -> None:
    """Refuse sizes that nothing stored stands for, before years are spent on them."""
    samples = sum(p.array.plane_count * int(np.prod(p.array.shape, dtype=object)) for p in pictures)
    limit = 4 * max(max_pixels, MAX_PIXELS)
    if samples <= limit:
        return
    stored = 0
    for size in folder.stored():
        stored += size
        if samples <= limit + stored * _MOST_PER_BYTE:
            return
    raise UnnamedFileError(
        f"says that it holds {samples:,} samples, of which only {stored:,} bytes are stored; "
        "raise the limit with --max-pixels if it is to be trusted"
    )


class Writer:
    """Writes the pages of a store one after the other, into a folder that is continued or not there yet."""

    def __init__(
        self, root: Path, like: ImageInfo, quality: int, threads: int, keeping: Keeping | None = None
    ) -> None:
        self._root, self._like, self._threads, self._keeping = root, like, threads, keeping
        self._own: Zarr | None = like.metadata.own
        self._planes: Iterator[tuple[ArrayWriter, Place]] | None = None
        self._keeps_open = False
        self._open: list[ArrayWriter] = []
        # What is copied is there before anything is told of.
        self._is_begun = keeping is not None and keeping.is_begun
        if not self._is_begun:
            root.mkdir()
            if self._own is not None:
                self._copy(self._own)

    def _copy(self, original: Zarr) -> None:
        """Copy everything but the chunks that will be written."""
        folder = _opened(original.root)
        made = {plan.name for picture in original.pictures for plan in (picture.array, *picture.levels)}
        waiting = [""]
        while waiting:
            name = waiting.pop()
            for below, is_folder in folder.below(name):
                if is_folder and name not in made:
                    waiting.append(below)
                elif not is_folder and (name not in made or below.rpartition("/")[2] in STORE_METADATA):
                    self._copy_file(folder, below)

    def _copy_file(self, folder: Files, name: str) -> None:
        pieces = folder.pieces(name)
        if pieces is None:
            raise UnnamedFileError(f"changed while it was read: {name} has gone")
        target = self._root / name
        make_below(self._root, target.parent)
        with target.open("xb") as file:
            for data in pieces:
                file.write(data)
            self._tell(name, file.tell())

    def _tell(self, name: str, size: int) -> None:
        if self._keeping is not None:
            self._keeping.stretches.add(name, 0, size)

    def sheet(self, page: Described, room: Array | None = None, *, reserved: bool = False) -> ZarrSheet:
        """Begin a page; `reserved`: others will be begun before it is finished."""
        self._keeps_open = reserved
        if self._planes is None:
            if self._own is None:
                self._own = Zarr(self._root, (self._begin_image(page),))
            self._planes = self._in_turn(self._own)
        writer, plane = next(self._planes, (None, ()))
        if writer is None:
            raise UnnamedFileError("has more pages than its original")
        check_plane(page.shape, page.dtype, writer.plan)
        return writer.sheet(plane)

    def _begin_image(self, page: Described) -> Picture:
        name, documents = new_image(page, self._like)
        for place, document in documents.items() if not self._is_begun else ():
            target, data = self._root / place, json.dumps(document, indent=2).encode()
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(data)
            self._tell(place, len(data))
        rank, has_channels = len(documents[f"{name}/zarr.json"]["shape"]), len(page.shape) == 3
        axes = Axes(rank - 2, rank - 1, 0 if has_channels else None, tuple(range(has_channels, rank - 2)))
        return Picture(Plan(name, parse_v3(documents[f"{name}/zarr.json"]), axes))

    def _in_turn(self, own: Zarr) -> Iterator[tuple[ArrayWriter, Place]]:
        for picture in own.pictures:
            if not self._keeps_open:
                self._finish()
            stretches = self._keeping.stretches if self._keeping else None
            writer = ArrayWriter(self._root, picture.array, self._threads, stretches)
            self._open.append(writer)
            for plane in picture.array.planes():
                yield writer, plane

    def _finish(self) -> None:
        while self._open:
            self._open.pop().close()

    def close(self) -> None:
        """Make the smaller levels."""
        self._finish()
        for picture in self._own.pictures if self._own is not None else ():
            for above, level in itertools.pairwise((picture.array, *picture.levels)):
                rebuild(self._root, above, level, self._threads, self._keeping)
