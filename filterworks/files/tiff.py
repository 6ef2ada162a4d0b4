"""TIFF: page by page, with the tags, the compression and the layout of every page.

Sources: Adobe, TIFF Revision 6.0; the BigTIFF design, http://bigtiff.org.
"""

from __future__ import annotations

import io
import math
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np

from filterworks.arguments import Array
from filterworks.files import exif
from filterworks.files.ifd import Entry, read_ifd
from filterworks.files.page import Alpha, Described, ImageInfo, Layout, Metadata, Raster
from filterworks.files.source import Source, UnnamedFileError
from filterworks.files.tiff_layout import PALETTE, RGB, SEPARATED, YCBCR, Directory, Style, parse
from filterworks.files.tiff_pixels import decode
from filterworks.files.tiff_writer import (
    DESCRIPTION,
    SUB_IFDS,
    SUBFILE,
    Form,
    StoredPage,
    TiffSheet,
    TiffWriter,
)

HOLDS = "any number of pages of integers of 8 to 64 bits or float16, float32 and float64, any channels"
MANY_PAGES = True
_MAX_PAGES = 100_000
_MAX_TAGS = 256 << 20
# Tags that describe how the pixels of the input were stored, or point into it: sizes, strips and
# tiles, colour maps, extremes, sub-images, JPEG tables.
_NOT_COPIED = frozenset((
    256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 280, 281, 284, *range(288, 294), 317, 320,
    *range(321, 329), 330, 338, 339, 340, 341, 347, *range(512, 522), 529, 530, 531, 532, 559,
))  # fmt: skip


@dataclass(frozen=True)
class Tiff:
    """What only another TIFF can take over.

    Parameters
    ----------
    form
        Byte order, and whether offsets have 64 bits.
    pages
        Style and tags of every page.
    overviews
        How many smaller copies a page had at most; they are not among the pages.
    """

    form: Form
    pages: tuple[StoredPage, ...]
    overviews: int = 0


def holds(layout: Layout) -> bool:
    """Whether a page of this layout can be written."""
    dtype = np.dtype(layout.dtype)
    return dtype.kind in "iuf" and dtype.itemsize <= 8


def read(source: Source) -> tuple[ImageInfo, Any]:
    """Read and check the directories of all pages."""
    form, position = _header(source)
    offsets: list[int] = []
    stored: list[StoredPage] = []
    shared: dict[Any, Any] = {}
    first: tuple[Directory, dict[int, Entry]] | None = None
    size = 0
    overviews = behind = 0
    for offset, tags in _chain(source, form, position):
        is_smaller = bool(offsets) and SUBFILE in tags and tags[SUBFILE].values()[0] == 1
        behind = behind + 1 if is_smaller else 0
        overviews = max(overviews, behind, tags[SUB_IFDS].count if SUB_IFDS in tags else 0)
        if is_smaller:
            continue
        directory = parse(tags, form.order, source)
        first = first or (directory, tags)
        page = StoredPage(_style_to_write(directory), tuple(e for t, e in tags.items() if _is_copied(t, e)))
        # The pages of a stack mostly look alike: equal values are kept once.
        size += 0 if page in shared else sum(len(entry.data) for entry in page.tags)
        if size > _MAX_TAGS:
            raise UnnamedFileError(f"has more than {_MAX_TAGS >> 20} MiB of tags")
        offsets.append(offset)
        stored.append(shared.setdefault(page, page))
    if first is None:
        raise UnnamedFileError("is corrupt: it holds no page")
    directory, tags = first
    _refuse_hidden_pages(tags, len(offsets), directory, source)
    metadata = _metadata(tags, directory, Tiff(form, tuple(stored), overviews))
    alpha = stored[0].style.alpha
    info = ImageInfo("tiff", len(offsets), directory.shape, directory.dtype, alpha, metadata)

    def pages() -> Iterator[Raster]:
        for offset in offsets:
            tags, _ = read_ifd(source.at, offset, form.order, big=form.big)
            yield TiffPage(source, parse(tags, form.order, source))

    return info, pages


@dataclass(frozen=True)
class TiffPage:
    """A page whose strips or tiles are decoded when they are asked for."""

    source: Source
    directory: Directory

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the decoded page."""
        return self.directory.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the decoded samples."""
        return self.directory.dtype

    @property
    def alpha(self) -> Alpha:
        """What the last channel means."""
        return self.directory.style.alpha

    @property
    def unit(self) -> int:
        """Rows of a strip or tile; an uncompressed strip can be read in parts."""
        return 1 if self.directory.is_plain else self.directory.segment[0]

    def rows(self, start: int, stop: int) -> Array:
        """Decode some rows."""
        pixel_bytes = self.directory.channels * self.directory.dtype.itemsize
        self.source.check_pixels(stop - start, self.directory.columns, pixel_bytes)
        return decode(self.source, self.directory, start, stop)


def _header(source: Source) -> tuple[Form, int]:
    order = "<" if source.at(0, 2) == b"II" else ">"
    (version,) = struct.unpack(order + "H", source.at(2, 2))
    if version == 42:
        return Form(order, big=False), struct.unpack(order + "I", source.at(4, 4))[0]
    return Form(order, big=True), struct.unpack(order + "Q", source.at(8, 8))[0]


def _chain(source: Source, form: Form, position: int) -> Iterator[tuple[int, dict[int, Entry]]]:
    """Yield offset and tags of every directory; end chains that run in circles or without end."""
    seen: set[int] = set()
    while position:
        if position in seen:
            raise UnnamedFileError(
                f"is corrupt: its pages run in a circle (back to byte {position} after {len(seen)} pages)"
            )
        if len(seen) == _MAX_PAGES:
            raise UnnamedFileError(f"has more than {_MAX_PAGES:,} pages, which no real stack has")
        seen.add(position)
        tags, following = read_ifd(source.at, position, form.order, big=form.big)
        yield position, tags
        position = following


def _is_copied(tag: int, entry: Entry) -> bool:
    # Kinds 13 and 18 are offsets of directories inside the input.
    return tag not in _NOT_COPIED and entry.kind not in (13, 18)


def _style_to_write(directory: Directory) -> Style:
    """Return the style of a page after decoding: palettes have become RGB."""
    style = directory.style
    if style.photometric == PALETTE:
        return replace(style, photometric=RGB, samples=3)
    if style.photometric == YCBCR and directory.channels < 3:
        return replace(style, photometric=RGB)
    return style


def _refuse_hidden_pages(tags: dict[int, Entry], count: int, directory: Directory, source: Source) -> None:
    """ImageJ writes stacks above 4 GB with one directory, and the other pages behind its pixels."""
    description = tags[DESCRIPTION].data if DESCRIPTION in tags else b""
    found = re.search(rb"^ImageJ=.*?^images=(\d+)", description, re.DOTALL | re.MULTILINE)
    if not found or count > 1 or int(found[1]) < 2:
        return
    one = directory.rows * directory.columns * directory.style.samples * directory.dtype.itemsize
    if directory.offsets[0] + one * int(found[1]) <= source.size:
        raise UnnamedFileError(
            f"is an ImageJ stack whose {int(found[1])} pages share one directory, "
            "which is not supported; save it as BigTIFF or OME-TIFF"
        )


def _metadata(tags: dict[int, Entry], directory: Directory, own: Tiff) -> Metadata:
    return Metadata(
        exif.pack(tags.values()),
        tags[exif.ICC].data if exif.ICC in tags else None,
        tags[exif.XMP].data if exif.XMP in tags else None,
        exif.resolution_in(tags),
        directory.style.photometric == SEPARATED and directory.style.samples == 4,
        own,
    )


class Writer:
    """Writes pages one after the other, each like the page of `like` with the same number."""

    def __init__(self, file: BinaryIO, like: ImageInfo, quality: int) -> None:
        self._file, self._like, self._quality = file, like, quality
        self._own = like.metadata.own or Tiff(Form("<", big=False), (_translated(like),))
        self._tiff: TiffWriter | None = None
        self._count = 0

    def sheet(self, page: Described, room: Array | None = None, *, reserved: bool = False) -> TiffSheet:
        """Begin a page like this one; its place is `reserved` where others are written with it."""
        if self._tiff is None:
            # Whether 32 bits are enough for the offsets has to be known before the first byte.
            size = math.prod(page.shape) * page.dtype.itemsize * max(1, self._like.page_count)
            form = replace(self._own.form, big=self._own.form.big or size > 1 << 31)
            self._tiff = TiffWriter(self._file, form, self._like, self._quality)
        stored = self._own.pages[min(self._count, len(self._own.pages) - 1)]
        self._count += 1
        return self._tiff.sheet(page, stored, reserved=reserved)

    def close(self) -> None:
        """Finish the file."""
        if self._tiff is not None:
            self._tiff.close()


@contextmanager
def reopened(sheet: TiffSheet) -> Iterator[Raster]:
    """Read a page that has just been written, while its file is still being written."""
    written = sheet.file
    written.flush()
    tags, order = sheet.tags()
    in_memory = io.BytesIO(written.getvalue()) if isinstance(written, io.BytesIO) else None
    with in_memory or open(written.name, "rb") as file:  # noqa: PTH123  # the name of an open file
        source = Source(file, sheet.end)
        yield TiffPage(source, parse(tags, order, source))


def _translated(like: ImageInfo) -> StoredPage:
    """Return tags with the metadata of a file of another format."""
    metadata = like.metadata
    tags = {tag: e for tag, e in exif.unpack(metadata.exif or b"").items() if tag in exif.COMMON}
    if metadata.resolution:
        tags.update((entry.tag, entry) for entry in exif.resolution_entries(metadata.resolution))
    if metadata.xmp:
        tags[exif.XMP] = Entry(exif.XMP, 1, len(metadata.xmp), metadata.xmp)
    if metadata.icc:
        tags[exif.ICC] = Entry(exif.ICC, 7, len(metadata.icc), metadata.icc)
    return StoredPage(Style(photometric=-1, samples=0), tuple(tags.values()))
