"""Write TIFF pages one after the other: pixels first, their directory behind them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, BinaryIO

import numpy as np

from filterworks.arguments import Array
from filterworks.files.exif import ICC
from filterworks.files.ifd import LONG, LONG8, SHORT, Entry, entry, pack_ifd
from filterworks.files.page import ImageInfo, Page, icc_for, layout_of
from filterworks.files.source import UnnamedFileError, encode_with
from filterworks.files.tiff_layout import (
    ADOBE_DEFLATE,
    BASE_SAMPLES,
    DEFLATE,
    JPEG,
    LZMA,
    LZW,
    MIN_IS_BLACK,
    NONE,
    PACKBITS,
    RGB,
    SEPARATED,
    YCBCR,
    ZSTD,
    Style,
)  # fmt: skip
from filterworks.files.tiff_pixels import is_inverted

_STRIP_BYTES = 256 << 10
_SAMPLE_FORMATS = {"u": 1, "i": 2, "f": 3}
# Those that libjpeg writes; files may say what they like.
_SUBSAMPLINGS = frozenset(((1, 1), (2, 1), (1, 2), (2, 2), (4, 1)))
_ALPHA_CODES = {"none": (), "premultiplied": (1,), "straight": (2,)}
# Levels near the libraries' defaults in size and above them in speed.
_PACKERS: dict[int, tuple[str, dict[str, Any]]] = {
    LZW: ("lzw_encode", {}),
    DEFLATE: ("deflate_encode", {"level": 4}),
    ADOBE_DEFLATE: ("deflate_encode", {"level": 4}),
    PACKBITS: ("packbits_encode", {}),
    LZMA: ("lzma_encode", {}),
    ZSTD: ("zstd_encode", {"level": 3}),
}


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


class TiffWriter:
    """Appends pages to `file`; nothing but the links between directories is written twice."""

    def __init__(self, file: BinaryIO, form: Form, like: ImageInfo, quality: int) -> None:
        self._file = file
        self._form = form
        self._like = like
        self._quality = quality
        start = (
            struct.pack(form.order + "HHHQ", 43, 8, 0, 0)
            if form.big
            else struct.pack(form.order + "HI", 42, 0)
        )
        self._position = 2 + len(start)
        self._link = 8 if form.big else 4
        file.write((b"II" if form.order == "<" else b"MM") + start)

    def add(self, page: Page, stored: StoredPage) -> None:
        """Write the pixels of a page and its directory, and link it to the one before."""
        layout = layout_of(page, self._like)
        style = _style_for(page, stored.style, cmyk=layout.kind == "cmyk")
        tags = {tag.tag: tag for tag in stored.tags}
        if ICC in tags and icc_for(self._like, layout.kind) is None:
            del tags[ICC]
        offsets, counts = [], []
        for segment in _segments(page.pixels, style, self._form.order, self._quality):
            offsets.append(self._position)
            counts.append(len(segment))
            self._append(segment)
        tags.update((tag.tag, tag) for tag in _structure(page.pixels, style, offsets, counts, self._form.big))
        self._append_directory(list(tags.values()))

    def _append(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._position += len(data)
        if not self._form.big and self._position > 0xFFFFFFFF:
            raise UnnamedFileError(
                "would grow beyond the 4 GiB that its kind of TIFF can hold; write fewer pages or a BigTIFF"
            )

    def _append_directory(self, tags: list[Entry]) -> None:
        self._append(bytes(-self._position % 8))
        pointer = self._form.order + ("Q" if self._form.big else "I")
        place = self._position
        self._append(pack_ifd(tags, place, self._form.order, big=self._form.big))
        self._file.seek(self._link)
        self._file.write(struct.pack(pointer, place))
        self._file.seek(self._position)
        self._link = place + (8 + 20 * len(tags) if self._form.big else 2 + 12 * len(tags))


def _style_for(page: Page, style: Style, *, cmyk: bool) -> Style:
    """Return `style` with what the pixels do not allow replaced."""
    pixels = page.pixels
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    alpha = _ALPHA_CODES[page.alpha]
    if samples != style.samples or style.alpha != page.alpha:
        colours = samples - len(alpha)
        photometric = RGB if colours == 3 else SEPARATED if cmyk and colours == 4 else MIN_IS_BLACK
        extra = (0,) * (colours - BASE_SAMPLES[photometric]) + alpha
        style = replace(style, photometric=photometric, samples=samples, extra=extra)
    compression = style.compression
    fits_jpeg = pixels.dtype == np.uint8 and not style.extra
    if compression not in (NONE, JPEG, *_PACKERS) or (compression == JPEG and not fits_jpeg):
        compression = ADOBE_DEFLATE
    photometric = style.photometric
    if photometric == YCBCR and compression != JPEG:
        photometric = RGB
    predictor = 3 if pixels.dtype.kind == "f" else 2
    if style.predictor == 1 or compression not in (LZW, DEFLATE, ADOBE_DEFLATE, ZSTD, LZMA):
        predictor = 1
    planar = style.planar and samples > 1
    if style.subsampling not in _SUBSAMPLINGS:
        style = replace(style, subsampling=(2, 2))
    return replace(
        style, compression=compression, photometric=photometric, predictor=predictor, planar=planar
    )


def _segment_shape(pixels: Array, style: Style) -> tuple[int, int]:
    rows, columns = pixels.shape[:2]
    if style.tile:
        return style.tile
    row_bytes = columns * pixels.dtype.itemsize * (1 if style.planar else style.samples)
    chosen = style.strip_rows or max(1, _STRIP_BYTES // row_bytes)
    return min(chosen, rows), columns


def _segments(pixels: Array, style: Style, order: str, quality: int) -> Iterator[bytes | memoryview]:
    """Yield the packed strips or tiles in the order of their offsets."""
    pack = _packer(pixels.dtype, style, order, quality)
    image = pixels[..., None] if pixels.ndim == 2 else pixels
    if is_inverted(style.photometric, pixels.dtype):
        image = np.invert(image)
    height, width = _segment_shape(pixels, style)
    planes = [image[..., i : i + 1] for i in range(style.samples)] if style.planar else [image]
    for plane in planes:
        for row in range(0, image.shape[0], height):
            for column in range(0, image.shape[1], width):
                part = plane[row : row + height, column : column + width]
                if style.tile and part.shape[:2] != (height, width):
                    part = np.pad(
                        part, ((0, height - part.shape[0]), (0, width - part.shape[1]), (0, 0)), "edge"
                    )
                yield pack(np.ascontiguousarray(part))


def _packer(
    dtype: np.dtype[Any], style: Style, order: str, quality: int
) -> Callable[[Array], bytes | memoryview]:
    stored = dtype.newbyteorder(order)  # type: ignore[arg-type]  # "<" or ">"
    if style.compression == JPEG:
        return partial(_pack_jpeg, style=style, quality=quality)
    if style.compression == NONE:
        return lambda part: np.ascontiguousarray(part, stored).reshape(-1).view(np.uint8).data
    return partial(_pack, style=style, stored=stored)


def _pack(part: Array, style: Style, stored: np.dtype[Any]) -> bytes:
    import imagecodecs

    if style.predictor == 2:
        part = encode_with(imagecodecs.delta_encode, part, axis=-2)
    elif style.predictor == 3:
        part = encode_with(imagecodecs.floatpred_encode, part, axis=-2)
        # Its most significant bytes come first, whatever the file's byte order.
        stored = part.dtype
    name, options = _PACKERS[style.compression]
    lines = np.ascontiguousarray(part, stored)
    if style.compression == PACKBITS:
        # PackBits must not run across rows.
        codec = imagecodecs.packbits_encode
        return b"".join(bytes(encode_with(codec, line.tobytes())) for line in lines)
    return bytes(encode_with(getattr(imagecodecs, name), lines.reshape(-1).view(np.uint8), **options))


def _pack_jpeg(part: Array, style: Style, quality: int) -> bytes:
    import imagecodecs

    options: dict[str, Any] = {"colorspace": "GRAYSCALE", "outcolorspace": "GRAYSCALE"}
    if part.shape[2] == 3:
        coded = "YCBCR" if style.photometric == YCBCR else "RGB"
        options = {"colorspace": "RGB", "outcolorspace": coded}
        if coded == "YCBCR":
            options["subsampling"] = style.subsampling
    elif part.shape[2] == 4:
        options = {"colorspace": "CMYK", "outcolorspace": "CMYK"}
    else:
        part = part[..., 0]
    return bytes(encode_with(imagecodecs.jpeg8_encode, part, quality, **options))


def _structure(
    pixels: Array, style: Style, offsets: list[int], counts: list[int], big: bool
) -> Iterator[Entry]:
    """Yield the tags that say how the pixels are stored."""
    rows, columns = pixels.shape[:2]
    bits = 8 * pixels.dtype.itemsize
    wide = LONG8 if big else LONG
    yield entry(256, LONG, columns)
    yield entry(257, LONG, rows)
    yield entry(258, SHORT, *(bits,) * style.samples)
    yield entry(259, SHORT, style.compression)
    yield entry(262, SHORT, style.photometric)
    yield entry(277, SHORT, style.samples)
    yield entry(284, SHORT, 2 if style.planar else 1)
    yield entry(339, SHORT, *(_SAMPLE_FORMATS[pixels.dtype.kind],) * style.samples)
    height, width = _segment_shape(pixels, style)
    if style.tile:
        yield entry(322, LONG, width)
        yield entry(323, LONG, height)
    else:
        yield entry(278, LONG, height)
    yield entry(324 if style.tile else 273, wide, *offsets)
    yield entry(325 if style.tile else 279, wide, *counts)
    if style.predictor != 1:
        yield entry(317, SHORT, style.predictor)
    if style.extra:
        yield entry(338, SHORT, *style.extra)
    if style.photometric == YCBCR:
        yield entry(530, SHORT, *style.subsampling)
