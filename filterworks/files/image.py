"""Open images by their suffix."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import numpy as np

from filterworks.arguments import Array
from filterworks.errors import FileError
from filterworks.files.formats import (
    FORMATS,
    FolderCodec,
    Pages,
    format_by_content,
    format_by_suffix,
    is_archive,
)
from filterworks.files.page import Alpha, ImageInfo, Page, Raster
from filterworks.files.source import MAX_PIXELS, Source, UnnamedFileError, open_source, system_reason


class ImageReader:
    """An open image: what it is, and its pages one at a time; closed at the end of a ``with`` block."""

    def __init__(self, path: str, file: BinaryIO | None, info: ImageInfo, pages: Pages) -> None:
        self.info = info
        self._path, self._file = path, file
        self._pages = pages

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def is_small(self) -> bool:
        """Whether the file is so small that all of it is in memory."""
        return isinstance(self._file, io.BytesIO)

    def pages(self) -> Iterator[Page]:
        """Decode and yield one page after the other; only the one that is yielded is in memory.

        Raises
        ------
        FileError
            If a page is damaged, truncated or too large; the pages before it were good.
        """
        yield from map(whole, self.rasters())

    def rasters(self) -> Iterator[Raster]:
        """Yield one page after the other; the formats that can leave the pixels where they are do so.

        Raises
        ------
        FileError
            As :meth:`pages`; also when rows are asked for later.
        """
        try:
            for page in self._pages():
                yield page if isinstance(page, Page) else _Named(page, self._path)
        except FAILURES as error:
            raise named(self._path, error) from error


@dataclass(frozen=True)
class _Named:
    """A page whose failures begin with the path of its file."""

    page: Raster
    path: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.page.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.page.dtype

    @property
    def alpha(self) -> Alpha:
        return self.page.alpha

    @property
    def unit(self) -> int:
        return self.page.unit

    def rows(self, start: int, stop: int) -> Array:
        with naming(self.path):
            return self.page.rows(start, stop)


def whole(raster: Raster) -> Page:
    """Return a page with all of its pixels."""
    return raster if isinstance(raster, Page) else Page(raster.rows(0, raster.shape[0]), raster.alpha)


def suffix_of(path: str) -> str:
    """Return ``Path(path).suffix``.

    Examples
    --------
    >>> suffix_of("a.b/scan.tar.TIF"), suffix_of(".png"), suffix_of("a.")
    ('.TIF', '', '')
    """
    stem, dot, suffix = os.path.basename(path).rpartition(".")  # noqa: PTH119  # called for every file of a tree
    return dot + suffix if stem and suffix else ""


def named(path: str | Path, error: Exception) -> FileError:
    """Return a failure of `FAILURES` anew, with the path in front."""
    if isinstance(error, OSError):
        return FileError(f"{path}: {system_reason(error)}")
    if isinstance(error, MemoryError):
        return FileError(f"{path}: there is not enough memory for this image")
    return FileError(f"{path}: {error}")


# What is told with the path of the file in front.
FAILURES = (UnnamedFileError, OSError, MemoryError)


class naming:  # noqa: N801  # used like a function
    """Put the path in front of every failure and turn those of the system into a :class:`FileError`."""

    __slots__ = ("_path",)

    def __init__(self, path: str | Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raise a failure anew, with its path."""
        if isinstance(error, FAILURES):
            raise named(self._path, error) from error


def open_image(path: str | Path, *, max_pixels: int = MAX_PIXELS, scratch: Path | None = None) -> ImageReader:
    """Open the image at `path`; its header is read and checked, its pixels are not.

    Parameters
    ----------
    path
        A file whose suffix is in ``IMAGE_SUFFIXES`` and fits its content.
    max_pixels
        A page with more pixels (rows × columns) is refused before anything is decoded.
    scratch
        A folder for files without a name, if planes have to wait on disk for each other; that of the
        system unless given.

    Raises
    ------
    FileError
        In one line that starts with `path`.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from filterworks.files import write_image
    >>> path = Path(tempfile.mkdtemp()) / "ramp.png"
    >>> ramp = np.arange(6, dtype=np.uint16).reshape(2, 3)
    >>> write_image(path, [Page(ramp)], ImageInfo("png", 1, ramp.shape, ramp.dtype))
    >>> with open_image(path) as image:
    ...     print(image.info.shape, image.info.dtype)
    ...     print(next(image.pages()).pixels)
    (2, 3) uint16
    [[0 1 2]
     [3 4 5]]
    """
    place = os.fspath(path)
    try:
        suffix = suffix_of(place[: -len(".zip")] if is_archive(place) else place)
        expected = format_by_suffix(suffix)
        form = FORMATS[expected]
        if form.magic is None:
            read = cast("FolderCodec", form.codec).read
            return ImageReader(place, None, *read(Path(place), max_pixels, scratch))
        source = open_source(place, max_pixels)
        try:
            _check_content(place, suffix, source, expected)
            return ImageReader(place, source.file, *form.codec.read(source))
        except BaseException:
            source.file.close()
            raise
    except FAILURES as error:
        raise named(path, error) from error


def _check_content(path: str, suffix: str, source: Source, expected: str) -> None:
    """Refuse a file that holds something else than its suffix says."""
    found = format_by_content(source.head(32))
    if found is None:
        raise UnnamedFileError(
            f"is not a {FORMATS[expected].title} file: its first bytes are {source.head(8)!r}"
        )
    if found != expected:
        raise UnnamedFileError(
            f"is named {suffix} ({FORMATS[expected].title}) but holds {FORMATS[found].title} data; "
            f"rename it to {Path(path).stem}{FORMATS[found].suffixes[0]}"
        )
