"""Pack strips and tiles of a TIFF."""

from __future__ import annotations

from typing import Any

import numpy as np

from filterworks.arguments import Array
from filterworks.files.source import encode_with
from filterworks.files.tiff_batches import LzwWriter
from filterworks.files.tiff_layout import (
    ADOBE_DEFLATE,
    DEFLATE,
    JPEG,
    LZMA,
    LZW,
    NONE,
    PACKBITS,
    YCBCR,
    ZSTD,
    Run,
    Segments,
    Style,
)  # fmt: skip

# Strips and tiles shorter than this are written several at once.
_SHORT = 32 << 10
# Levels near the libraries' defaults in size and above them in speed.
PACKERS: dict[int, tuple[str, dict[str, Any]]] = {
    LZW: ("lzw_encode", {}),
    DEFLATE: ("deflate_encode", {"level": 4}),
    ADOBE_DEFLATE: ("deflate_encode", {"level": 4}),
    PACKBITS: ("packbits_encode", {}),
    LZMA: ("lzma_encode", {}),
    ZSTD: ("zstd_encode", {"level": 3}),
}


def packed_segments(  # all that decides the bytes
    image: Array,
    segments: Segments,
    segment: tuple[int, int],
    stored: np.dtype[Any],
    style: Style,
    quality: int,
) -> list[Run]:
    """Return strips or tiles of an image as they are stored.

    Parameters
    ----------
    image
        (rows, columns, channels), from the first row of a strip or tile on.
    segment
        Rows and columns of a tile, which is filled up, or of a full strip.
    stored
        The type of the samples in the file.
    quality
        1 to 100, of JPEG.
    """
    if style.compression == NONE and style.tile is None:
        # They lie one behind the other as it is.
        planes = np.moveaxis(image, -1, 0) if style.planar else image
        pixel = stored.itemsize * (1 if style.planar else style.samples)
        data = np.ascontiguousarray(planes, stored).reshape(-1).view(np.uint8).data
        return [Run(segments.numbers, (segments.rows * segments.columns * pixel).tolist(), data)]
    if style.compression == LZW:
        writer = LzwWriter(image, stored, style, segments, segment)
        if writer.is_able:
            return list(writer.packed())
    packed = []
    for place, plane in enumerate(segments.planes):
        top, left = segments.tops[place], segments.lefts[place]
        part = image[top : top + segments.rows[place], left : left + segments.columns[place]]
        part = _filled(part[..., plane : plane + 1] if style.planar else part, style)
        packed.append(_packed(part, stored, style, quality))
    return _joined(segments.numbers, packed)


def _joined(numbers: list[int], segments: list[bytes | memoryview]) -> list[Run]:
    """Return segments in few runs if they are small; large ones are not copied once more."""
    sizes = [len(segment) for segment in segments]
    if sum(sizes) < _SHORT * len(segments):
        return [Run(numbers, sizes, b"".join(segments))]
    return [Run([number], [size], data) for number, size, data in zip(numbers, sizes, segments, strict=True)]


def _filled(part: Array, style: Style) -> Array:
    """Return a contiguous part; a tile at the edge of the image is filled up."""
    if style.tile and part.shape[:2] != style.tile:
        height, width = style.tile
        part = np.pad(part, ((0, height - part.shape[0]), (0, width - part.shape[1]), (0, 0)), "edge")
    return np.ascontiguousarray(part)


def _packed(part: Array, stored: np.dtype[Any], style: Style, quality: int) -> bytes | memoryview:
    if style.compression == JPEG:
        return _pack_jpeg(part, style, quality)
    if style.compression == NONE:
        return np.ascontiguousarray(part, stored).reshape(-1).view(np.uint8).data
    return _pack(part, style, stored)


def _pack(part: Array, style: Style, stored: np.dtype[Any]) -> bytes:
    import imagecodecs

    if style.predictor == 2:
        part = encode_with(imagecodecs.delta_encode, part, axis=-2)
    elif style.predictor == 3:
        part = encode_with(imagecodecs.floatpred_encode, part, axis=-2)
        # Its most significant bytes come first, whatever the file's byte order.
        stored = part.dtype
    name, options = PACKERS[style.compression]
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
