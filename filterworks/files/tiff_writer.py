"""Write TIFF pages a few rows at a time: all pixels first, all directories behind them."""

from __future__ import annotations

import itertools
import math
import struct
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import numpy as np

from filterworks.arguments import Array
from filterworks.files.exif import ICC
from filterworks.files.ifd import LONG, LONG8, SHORT, Entry, entry, pack_ifd
from filterworks.files.page import Described, ImageInfo, icc_for, layout_of
from filterworks.files.source import UnnamedFileError
from filterworks.files.tiff_layout import (
    ADOBE_DEFLATE,
    BASE_SAMPLES,
    DEFLATE,
    JPEG,
    LZMA,
    LZW,
    MIN_IS_BLACK,
    NONE,
    RGB,
    SEPARATED,
    YCBCR,
    ZSTD,
    Run,
    Style,
    segments_with,
)  # fmt: skip
from filterworks.files.tiff_packing import PACKERS, packed_segments
from filterworks.files.tiff_pixels import is_inverted

SUBFILE, SUB_IFDS = 254, 330
# What a file begins with, and the only bytes that are written when all others are.
HEAD = 16
_STRIP_BYTES = 256 << 10
_MAX_STRIP = 8 << 20
_BLOCK = 32
DESCRIPTION = 270
# How tifffile begins to tell what shape all pages make, which no longer holds with overviews among them.
_SHAPED = b'{"shape": ['
_SAMPLE_FORMATS = {"u": 1, "i": 2, "f": 3}
# Those that libjpeg writes; files may say what they like.
_SUBSAMPLINGS = frozenset(((1, 1), (2, 1), (1, 2), (2, 2), (4, 1)))
_ALPHA_CODES = {"none": (), "premultiplied": (1,), "straight": (2,)}


@dataclass(frozen=True)
class Form:
    """The byte order (``<`` or ``>``) and whether offsets have 64 bits."""

    order: str
    big: bool


@dataclass(frozen=True)
class StoredPage:
    """How a page of the input was stored, and its tags that stay true when its pixels change."""

    style: Style
    tags: tuple[Entry, ...]


@dataclass(frozen=True)
class Written:
    """A page whose pixels are in the file, and what its directory will say."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    style: Style
    tags: tuple[Entry, ...]
    offsets: array[int]
    counts: array[int]
    overviews: list[Written] = field(default_factory=list)


class TiffWriter:
    """Writes the pixels of one page after the other, then the directories of all of them.

    Nothing is written twice but the first `HEAD` bytes, which point to the first directory: what is
    behind them can be hashed as it is written, and a file that was left unfinished can be continued.
    """

    def __init__(self, file: BinaryIO, form: Form, like: ImageInfo, quality: int) -> None:
        self.file, self.form, self.like, self.quality = file, form, like, quality
        # A file that is continued has its first bytes.
        self.position = file.tell()
        self._reserved = HEAD
        self._pages: list[Written] = []
        if self.position == 0:
            self.append(self._head(0))

    def _head(self, place: int) -> bytes:
        form = self.form
        start = (43, 8, 0, place) if form.big else (42, place)
        packed = struct.pack(form.order + ("HHHQ" if form.big else "HI"), *start)
        return ((b"II" if form.order == "<" else b"MM") + packed).ljust(HEAD, b"\0")

    def append(self, data: bytes | memoryview) -> None:
        """Write at the end of the file."""
        if self._reserved > HEAD:
            self.file.seek(self.position)
        self.file.write(data)
        self.grow(len(data))

    def reserve(self, size: int) -> int:
        """Return where so many bytes will be written; all such places lie before what is appended."""
        start = self._reserved
        self._reserved += size
        self.grow(max(self._reserved - self.position, 0))
        return start

    def grow(self, size: int) -> None:
        """Count so many bytes at the end of the file."""
        self.position += size
        if not self.form.big and self.position > 0xFFFFFFFF:
            raise UnnamedFileError(
                "would grow beyond the 4 GiB that its kind of TIFF can hold; write fewer pages or a BigTIFF"
            )

    def sheet(self, page: Described, stored: StoredPage, *, reserved: bool = False) -> TiffSheet:
        """Begin a page that is stored as much like `stored` as its pixels allow.

        Parameters
        ----------
        reserved
            Whether the pixels get their place now if they are not packed: ImageJ finds the planes of a
            stack by counting bytes, in whatever order they are written.
        """
        written = self._begun(page, stored)
        self._pages.append(written)
        return TiffSheet(self, written, reserved and written.style.compression == NONE)

    def overview(self, page: Described, of: Written) -> TiffSheet:
        """Begin a smaller copy of a page."""
        tags = (entry(SUBFILE, LONG, 1), *(tag for tag in of.tags if tag.tag == ICC))
        written = self._begun(page, StoredPage(of.style, tags))
        of.overviews.append(written)
        return TiffSheet(self, written, False)

    def _begun(self, page: Described, stored: StoredPage) -> Written:
        kind = layout_of(page, self.like).kind
        style = _style_for(page, stored.style, cmyk=kind == "cmyk")
        tags = tuple(tag for tag in stored.tags if tag.tag != ICC or icc_for(self.like, kind))
        empty = bytes(8 * math.prod(_grid(page.shape, page.dtype, style)))
        return Written(page.shape, page.dtype, style, tags, array("Q", empty), array("Q", empty))

    def close(self) -> None:
        """Write all directories and let the file begin with the first."""
        self.file.seek(0, 2)
        self.append(bytes(-self.position % 8))
        # Overviews of one page follow it, as GDAL has them; of many, each page points to its own, as in OME.
        chained = len(self._pages) == 1
        ordered = [one for page in self._pages for one in (page, *page.overviews)]
        rooms = [self._room(one, chained) for one in ordered]
        starts = itertools.accumulate(rooms, initial=self.position)
        places = {id(one): start for one, start in zip(ordered, starts, strict=False)}
        main = ordered if chained else self._pages
        following = {id(one): places[id(after)] for one, after in itertools.pairwise(main)}
        head = self.position
        for one, room in zip(ordered, rooms, strict=True):
            hidden = [] if chained else [places[id(overview)] for overview in one.overviews]
            packed = self._directory(one, places[id(one)], following.get(id(one), 0), hidden)
            self.append(packed.ljust(room, b"\0"))
        self.file.seek(0)
        self.file.write(self._head(head))
        self.file.seek(0, 2)

    def _room(self, page: Written, chained: bool) -> int:
        """Return how many bytes the directory of a page takes, up to a place that fits any number."""
        size = len(self._directory(page, 0, 0, [] if chained else [0] * len(page.overviews)))
        return size + -size % 8

    def _directory(self, page: Written, place: int, following: int, hidden: list[int]) -> bytes:
        tags = {tag.tag: tag for tag in page.tags}
        if page.overviews and DESCRIPTION in tags and tags[DESCRIPTION].data.startswith(_SHAPED):
            del tags[DESCRIPTION]
        tags.update((tag.tag, tag) for tag in structure(page, self.form.big))
        if hidden:
            tags[SUB_IFDS] = entry(SUB_IFDS, LONG8 if self.form.big else LONG, *hidden)
        return pack_ifd(tags.values(), place, self.form.order, big=self.form.big, following=following)


class TiffSheet:
    """A page that is being written, some whole units of rows at a time.

    Attributes
    ----------
    unit
        Rows of its strips or tiles.
    layers, waits
        Nothing is stored together with other pages.
    """

    layers = 1
    waits = False

    def __init__(self, writer: TiffWriter, page: Written, reserved: bool) -> None:
        self._writer, self._page, self._reserved = writer, page, reserved
        self._log: list[tuple[int, int, int]] = []
        self._segment = _segment_shape(page.shape, page.dtype, page.style)
        self._planes = _grid(page.shape, page.dtype, page.style)[0]
        self.unit = self._segment[0]
        if reserved:
            self._reserve()

    def _reserve(self) -> None:
        page = self._page
        height, width = _segment_shape(page.shape, page.dtype, page.style)
        planes, down, across = _grid(page.shape, page.dtype, page.style)
        pixel = page.dtype.itemsize * (1 if page.style.planar else page.style.samples)
        for index in range(planes * down * across):
            top = index // across % down * height
            rows = height if page.style.tile else min(height, page.shape[0] - top)
            page.counts[index] = rows * width * pixel
            page.offsets[index] = self._writer.reserve(page.counts[index])

    def pack(self, start: int, rows: Array) -> list[Run]:
        """Return rows from `start`, the first of a unit, as they are stored; any thread may do this."""
        style = self._page.style
        image = rows[..., None] if rows.ndim == 2 else rows
        if is_inverted(style.photometric, rows.dtype):
            image = np.invert(image)
        height, width = self._page.shape[:2]
        segments = segments_with(
            start, start + len(rows), (height, width), self._segment, self._planes, style.tile is not None
        )
        stored = self._page.dtype.newbyteorder(self._writer.form.order)  # type: ignore[arg-type]  # "<" or ">"
        return packed_segments(image, segments, self._segment, stored, style, self._writer.quality)

    def append(self, packed: list[Run]) -> None:
        """Write what was packed; the rows of a page must come in order."""
        for run in packed:
            ends = list(itertools.accumulate(run.sizes, initial=0))
            if self._reserved:
                for number, begin, end in zip(run.numbers, ends, ends[1:], strict=False):
                    self._writer.file.seek(self._page.offsets[number])
                    self._writer.file.write(run.data[begin:end])
                continue
            start = self._writer.position
            for number, begin, size in zip(run.numbers, ends, run.sizes, strict=False):
                self._page.offsets[number], self._page.counts[number] = start + begin, size
                self._log.append((number, start + begin, size))
            self._writer.append(run.data)

    def log(self) -> list[tuple[int, int, int]]:
        """Return number, place and length of the strips or tiles that were written since the last call."""
        found, self._log = self._log, []
        return found

    def restore(self, log: Iterable[tuple[int, int, int]]) -> None:
        """Know again what a file that is continued holds."""
        for index, position, count in log:
            self._page.offsets[index], self._page.counts[index] = position, count

    def finish(self) -> None:
        """End the page: there is nothing left to do."""

    def overview(self, page: Described) -> TiffSheet:
        """Begin a smaller copy of the page."""
        return self._writer.overview(page, self._page)

    @property
    def file(self) -> BinaryIO:
        """The file."""
        return self._writer.file

    @property
    def end(self) -> int:
        """How long the file is by now."""
        return self._writer.position

    def tags(self) -> tuple[dict[int, Entry], str]:
        """Return what the directory will say of the pixels, and the byte order."""
        found = {tag.tag: tag for tag in structure(self._page, self._writer.form.big)}
        return found, self._writer.form.order


def _style_for(page: Described, style: Style, *, cmyk: bool) -> Style:
    """Return `style` with what the pixels do not allow replaced."""
    samples = page.shape[2] if len(page.shape) == 3 else 1
    codes = _ALPHA_CODES[page.alpha]
    if samples != style.samples or style.alpha != page.alpha:
        colours = samples - len(codes)
        photometric = RGB if colours == 3 else SEPARATED if cmyk and colours == 4 else MIN_IS_BLACK
        extra = (0,) * (colours - BASE_SAMPLES[photometric]) + codes
        style = replace(style, photometric=photometric, samples=samples, extra=extra)
    compression = style.compression
    fits_jpeg = page.dtype == np.uint8 and not style.extra
    if compression not in (NONE, JPEG, *PACKERS) or (compression == JPEG and not fits_jpeg):
        compression = ADOBE_DEFLATE
    photometric = style.photometric
    if photometric == YCBCR and compression != JPEG:
        photometric = RGB
    predictor = 3 if page.dtype.kind == "f" else 2
    if style.predictor == 1 or compression not in (LZW, DEFLATE, ADOBE_DEFLATE, ZSTD, LZMA):
        predictor = 1
    planar = style.planar and samples > 1
    if style.subsampling not in _SUBSAMPLINGS:
        style = replace(style, subsampling=(2, 2))
    return replace(
        style, compression=compression, photometric=photometric, predictor=predictor, planar=planar
    )


def _segment_shape(shape: tuple[int, ...], dtype: np.dtype[Any], style: Style) -> tuple[int, int]:
    rows, columns = shape[:2]
    if style.tile:
        return style.tile
    row_bytes = columns * dtype.itemsize * (1 if style.planar else style.samples)
    chosen = min(style.strip_rows or rows, rows)
    # A strip is written as a whole; some files have all of a large image in one.
    if style.strip_rows is None or chosen * row_bytes > _MAX_STRIP:
        chosen = max(1, _STRIP_BYTES // row_bytes)
        if style.compression == JPEG:
            # Whole blocks, also where colours have half the rows.
            chosen = max(chosen // _BLOCK, 1) * _BLOCK
    return min(chosen, rows), columns


def _grid(shape: tuple[int, ...], dtype: np.dtype[Any], style: Style) -> tuple[int, int, int]:
    """Return planes, segments down and segments across."""
    height, width = _segment_shape(shape, dtype, style)
    return style.samples if style.planar else 1, -(-shape[0] // height), -(-shape[1] // width)


def structure(page: Written, big: bool) -> Iterator[Entry]:
    """Yield the tags that say how the pixels are stored."""
    style, (rows, columns) = page.style, page.shape[:2]
    bits = 8 * page.dtype.itemsize
    yield entry(256, LONG, columns)
    yield entry(257, LONG, rows)
    yield entry(258, SHORT, *(bits,) * style.samples)
    yield entry(259, SHORT, style.compression)
    yield entry(262, SHORT, style.photometric)
    yield entry(277, SHORT, style.samples)
    yield entry(284, SHORT, 2 if style.planar else 1)
    yield entry(339, SHORT, *(_SAMPLE_FORMATS[page.dtype.kind],) * style.samples)
    height, width = _segment_shape(page.shape, page.dtype, style)
    if style.tile:
        yield entry(322, LONG, width)
        yield entry(323, LONG, height)
    else:
        yield entry(278, LONG, height)
    wide = LONG8 if big else LONG
    yield entry(324 if style.tile else 273, wide, *page.offsets)
    yield entry(325 if style.tile else 279, wide, *page.counts)
    if style.predictor != 1:
        yield entry(317, SHORT, style.predictor)
    if style.extra:
        yield entry(338, SHORT, *style.extra)
    if style.photometric == YCBCR:
        yield entry(530, SHORT, *style.subsampling)
