"""The image formats: what each is called, which suffixes it has, how it is recognised and what it holds."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from filterworks.arguments import Array
from filterworks.errors import unknown
from filterworks.files.keeping import Keeping
from filterworks.files.page import Described, ImageInfo, Layout, Page, Raster
from filterworks.files.source import Source, UnnamedFileError

Pages = Callable[[], Iterator[Raster]]


class Codec(Protocol):
    """What the module of a format offers."""

    HOLDS: str  # for people: depths, channels, pages
    MANY_PAGES: bool

    def holds(self, layout: Layout) -> bool:
        """Whether a page of this layout can be written."""

    def read(self, source: Source) -> tuple[ImageInfo, Pages]:
        """Read the header; the pages are decoded when they are asked for."""


class PageCodec(Codec, Protocol):
    """A format of one page, which is packed as a whole."""

    def write(self, file: BinaryIO, page: Page, like: ImageInfo, quality: int) -> None:
        """Write the page, which the format :meth:`holds`, with the metadata of `like`."""


class Sheet(Protocol):
    """A page that is being written, some rows at a time.

    Attributes
    ----------
    unit
        How many rows are stored together: all rows that are packed at once, but for the last ones of
        the page, are a multiple of it.
    layers
        How many planes of a volume are stored together.
    """

    unit: int
    layers: int

    def pack(self, start: int, rows: Array) -> Any:
        """Return rows from `start` on as they are stored; any thread may do this."""

    def append(self, packed: Any) -> None:
        """Write what was packed; the rows must come in order."""

    def finish(self) -> None:
        """End the page."""


class RowSheet(Sheet, Protocol):
    """A page of a result that can be continued."""

    @property
    def waits(self) -> bool:
        """Whether rows that were appended are not in the result yet, but wait for those of other pages."""

    def log(self) -> list[Any]:
        """Return what has to be known of what was written since the last call; plain values."""

    def restore(self, log: Iterable[Any]) -> None:
        """Know again what a result that is continued holds."""


class Writer(Protocol):
    """Writes pages, which the format holds, one after the other."""

    def sheet(self, page: Described, room: Array | None, *, reserved: bool = False) -> Sheet:
        """Begin a page; `room` are pixels that are needed no more.

        A place is `reserved` for pages that are written at the same time.
        """

    def close(self) -> None:
        """Finish the file."""


class RowCodec(Codec, Protocol):
    """A format of any number of pages, which are written a few rows at a time."""

    Writer: Callable[[BinaryIO, ImageInfo, int], Writer]


class FolderCodec(Protocol):
    """A format whose images are folders of any number of pages, written a few rows at a time."""

    def read(self, root: Path, max_pixels: int, scratch: Path | None) -> tuple[ImageInfo, Pages]:
        """Read the metadata; the pages are decoded when they are asked for."""

    Writer: Callable[[Path, ImageInfo, int, int, Keeping | None], Writer]


@dataclass(frozen=True)
class Format:
    """One line of the table: the title, the module, the suffixes and how the files begin.

    An image of a format without such a beginning is a folder.
    """

    title: str
    module: str
    suffixes: tuple[str, ...]
    magic: bytes | None

    @property
    def codec(self) -> Codec:
        """The module, imported when it is first asked for."""
        return _codec(self.module)


@cache
def _codec(module: str) -> Codec:
    return cast("Codec", importlib.import_module(f"filterworks.files.{module}"))


FORMATS = {
    "png": Format("PNG", "png", (".png",), rb"\x89PNG\r\n\x1a\n"),
    "jpeg": Format("JPEG", "jpeg", (".jpg", ".jpeg"), rb"\xff\xd8\xff"),
    "webp": Format("WebP", "webp", (".webp",), rb"RIFF....WEBP"),
    "tiff": Format("TIFF", "tiff", (".tif", ".tiff"), rb"II[*+]\x00|MM\x00[*+]"),
    "bmp": Format("BMP", "bmp", (".bmp",), rb"BM.{12}[\x0c-\x7c]\x00\x00\x00"),
    "pnm": Format("PNM", "pnm", (".pgm", ".ppm", ".pnm"), rb"P[1-7][\s#]"),
    "zarr": Format("Zarr", "zarr_store", (".zarr",), None),
}
FOLDER_SUFFIXES = tuple(suffix for form in FORMATS.values() if form.magic is None for suffix in form.suffixes)
# Such a folder in one file; it can be read.
ARCHIVE_SUFFIXES = tuple(f"{suffix}.zip" for suffix in FOLDER_SUFFIXES)
# One of these lies in every folder that is an image.
STORE_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
IMAGE_SUFFIXES = tuple(suffix for form in FORMATS.values() for suffix in form.suffixes)
_BY_CONTENT = tuple(
    (name, re.compile(form.magic, re.DOTALL).match)
    for name, form in FORMATS.items()
    if form.magic is not None
)
_BY_SUFFIX = {suffix: name for name, form in FORMATS.items() for suffix in form.suffixes}


def is_archive(name: str) -> bool:
    """Return whether a file of this name is a folder that is one image, packed into a zip file.

    Examples
    --------
    >>> is_archive("scans/brain.ome.zarr.zip"), is_archive("scans.zip")
    (True, False)
    """
    return name.lower().endswith(ARCHIVE_SUFFIXES)


def is_store(name: str) -> bool:
    """Return whether a folder of this name is one image rather than a folder of images.

    Examples
    --------
    >>> is_store("scans/brain.ome.zarr"), is_store("scans")
    (True, False)
    """
    return name.lower().endswith(FOLDER_SUFFIXES)


def tree_of(name: str) -> str | None:
    """Return the folder in a name that is one image, or None if the object stands for itself.

    Examples
    --------
    >>> tree_of("scans/a.zarr/c/0/0"), tree_of("scans/a.png"), tree_of("scans/a.zarr")
    ('scans/a.zarr', None, None)
    """
    parts = name.split("/")
    first = next((number for number, part in enumerate(parts[:-1], 1) if is_store(part)), None)
    return None if first is None else "/".join(parts[:first])


def format_by_suffix(suffix: str) -> str:
    """Return the name of the format with this suffix.

    Examples
    --------
    >>> format_by_suffix(".JPG")
    'jpeg'
    """
    found = _BY_SUFFIX.get(suffix.lower())
    if found is None:
        raise UnnamedFileError(unknown("image suffix", suffix, IMAGE_SUFFIXES))
    return found


def format_by_content(head: bytes) -> str | None:
    """Return the name of the format that a file with these first bytes has, if it is one of ours.

    Examples
    --------
    >>> format_by_content(b"P5 300 200 255 ")
    'pnm'
    """
    return next((name for name, match in _BY_CONTENT if match(head)), None)


@lru_cache(maxsize=256)
def why_not(name: str, layout: Layout, page_count: int) -> str | None:
    """Return why pages of this layout do not fit the format and which suffixes can take them, or None."""
    form = FORMATS[name]
    if _fits(form, layout, page_count):
        return None
    others = [
        suffix for other in FORMATS.values() if _fits(other, layout, page_count) for suffix in other.suffixes
    ]
    pages = "" if page_count == 1 else f", {page_count} pages"
    advice = f"; use {' or '.join(others)}" if others else "; no image format here can take it"
    return f"{form.title} holds {form.codec.HOLDS}; this image has {layout}{pages}{advice}"


def _fits(form: Format, layout: Layout, page_count: int) -> bool:
    return form.codec.holds(layout) and (page_count == 1 or form.codec.MANY_PAGES)
