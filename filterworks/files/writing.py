"""Write images by their suffix."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Self, cast

import numpy as np

from filterworks.arguments import Array
from filterworks.errors import FileError
from filterworks.files.formats import (
    FORMATS,
    FolderCodec,
    PageCodec,
    RowCodec,
    Sheet,
    Writer,
    format_by_suffix,
    why_not,
)
from filterworks.files.image import FAILURES, named, suffix_of
from filterworks.files.keeping import Keeping
from filterworks.files.page import Described, ImageInfo, Layout, Page, layout_of
from filterworks.files.source import UnnamedFileError


def check_writable(suffix: str, layout: Layout, page_count: int = 1) -> str | None:
    """Return why an image of this layout cannot be written with `suffix`, or None if it can.

    Examples
    --------
    >>> check_writable(".jpg", Layout("uint16", 1))
    'JPEG holds one page of uint8, grey, RGB or CMYK; this image has uint16, 1 channel; \
use .png or .tif or .tiff or .pgm or .ppm or .pnm or .zarr'
    """
    try:
        return why_not(format_by_suffix(suffix), layout, page_count)
    except UnnamedFileError as error:
        return str(error)


class ImageWriter:
    """An image that is being written, page after page; finished at the end of a ``with`` block."""

    def __init__(self, path: str, name: str, like: ImageInfo, file: BinaryIO | None, writer: Writer) -> None:
        self._path, self._name, self._like, self._file, self._writer = path, name, like, file, writer
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # What failed inside and has no name yet is about this file too.
        try:
            with self._file or nullcontext():
                if error is not None:
                    raise error
                if self.count == 0:
                    raise FileError(f"{self._path}: there is no page to write")
                self._writer.close()
        except FAILURES as failure:
            raise named(self._path, failure) from failure

    def sheet(self, page: Described, room: Array | None = None) -> Sheet:
        """Begin a page of this shape, dtype and alpha.

        Parameters
        ----------
        room
            Pixels of this shape and dtype that are needed no more and may hold the result, row by row.

        Raises
        ------
        FileError
            If the format cannot hold it; the message starts with the path.
        """
        return self._writer.sheet(self._checked(page), room)

    def sheets(self, pages: Iterable[Described]) -> list[Sheet]:
        """Begin pages that will be written at the same time.

        Raises
        ------
        FileError
            As :meth:`sheet`.
        """
        return [self._writer.sheet(self._checked(page), None, reserved=True) for page in pages]

    def _checked(self, page: Described) -> Described:
        self.count += 1
        layout = layout_of(page, self._like)
        problem = why_not(self._name, layout, 1 if FORMATS[self._name].codec.MANY_PAGES else self.count)
        if len(page.shape) not in (2, 3) or 0 in page.shape:
            problem = f"an image has rows, columns and perhaps channels; got shape {page.shape}"
        if problem:
            raise FileError(f"{self._path}: {problem}")
        return page


class _OnePage:
    """Writes a format that is packed as a whole."""

    def __init__(self, write: Callable[[Page], None]) -> None:
        self._write = write

    def sheet(self, page: Described, room: Array | None, *, reserved: bool = False) -> _WholeSheet:
        return _WholeSheet(page, room, self._write)

    def close(self) -> None:
        """Do nothing: the page was all."""


class _WholeSheet:
    unit = layers = 1

    def __init__(self, page: Described, room: Array | None, write: Callable[[Page], None]) -> None:
        self._page, self._pixels, self._write = page, room, write

    def pack(self, start: int, rows: Array) -> tuple[int, Array]:
        return start, rows

    def append(self, packed: tuple[int, Array]) -> None:
        start, rows = packed
        if len(rows) == self._page.shape[0]:
            self._pixels = rows
            return
        if self._pixels is None:
            self._pixels = np.empty(self._page.shape, self._page.dtype)
        self._pixels[start : start + len(rows)] = rows

    def finish(self) -> None:
        assert self._pixels is not None  # noqa: S101  # rows were appended
        self._write(Page(self._pixels, self._page.alpha))


def create_image(
    path: str | Path,
    like: ImageInfo,
    *,
    quality: int = 95,
    threads: int = 1,
    file: BinaryIO | None = None,
    keeping: Keeping | None = None,
) -> ImageWriter:
    """Write an image to `path` in the format of its suffix, with the metadata of `like`.

    A file that could not be finished stays as it is: write to a temporary name and rename it.

    Parameters
    ----------
    path
        Where to; an existing file is replaced, an existing folder refused.
    like
        The input that the result should resemble; everything it has besides pixels is kept
        as far as the format can hold it.
    quality
        1 to 100, of JPEG and lossy WebP.
    threads
        How many may finish what is left to do when all rows are there.
    file
        Where to write instead; left open. A TIFF is continued where it stands.
    keeping
        How a folder is continued where it stands.

    Raises
    ------
    FileError
        In one line that starts with `path`.
    """
    place = os.fspath(path)
    try:
        name = format_by_suffix(suffix_of(place))
        own = _owned(like, name)
        if FORMATS[name].magic is None:
            codec = cast("FolderCodec", FORMATS[name].codec)
            return ImageWriter(
                place, name, own, None, codec.Writer(Path(place), own, quality, threads, keeping)
            )
        if file is not None:
            return ImageWriter(place, name, own, None, _writer(name, file, own, quality))
        opened = Path(place).open("wb")  # noqa: SIM115  # the writer closes it
        try:
            return ImageWriter(place, name, own, opened, _writer(name, opened, own, quality))
        except BaseException:
            opened.close()
            raise
    except FAILURES as error:
        raise named(path, error) from error


def _writer(name: str, file: BinaryIO, like: ImageInfo, quality: int) -> Writer:
    codec = FORMATS[name].codec
    if codec.MANY_PAGES:
        return cast("RowCodec", codec).Writer(file, like, quality)
    write = cast("PageCodec", codec).write
    return _OnePage(lambda page: write(file, page, like, quality))


def write_image(path: Path, pages: Iterable[Page], like: ImageInfo, *, quality: int = 95) -> None:
    """Write `pages`, which are taken one at a time, as :func:`create_image` does."""
    with create_image(path, like, quality=quality) as writer:
        for page in pages:
            sheet = writer.sheet(page)
            sheet.append(sheet.pack(0, page.pixels))
            sheet.finish()


def _owned(like: ImageInfo, name: str) -> ImageInfo:
    """Leave out what only the format of the input understands."""
    if like.format == name:
        return like
    return replace(like, metadata=replace(like.metadata, own=None))
