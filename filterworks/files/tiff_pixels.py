"""Decode the strips and tiles of a TIFF page."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from filterworks.arguments import Array
from filterworks.files import jpeg
from filterworks.files.lzw_check import clears_well
from filterworks.files.source import Source, UnnamedFileError, decode_with
from filterworks.files.tiff_batches import (
    WRONG_CODES,
    largest,
    lzw_loops,
    read_segments,
    unpacked_lzw,
)
from filterworks.files.tiff_layout import (
    ADOBE_DEFLATE,
    CCITT_3,
    CCITT_4,
    CCITT_RLE,
    DEFLATE,
    JPEG,
    LZMA,
    LZW,
    MIN_IS_BLACK,
    MIN_IS_WHITE,
    NONE,
    PACKBITS,
    RGB,
    SEPARATED,
    YCBCR,
    ZSTD,
    Directory,
    Segments,
    segments_with,
)  # fmt: skip

_CODECS = {
    LZW: "lzw_decode",
    DEFLATE: "deflate_decode",
    ADOBE_DEFLATE: "deflate_decode",
    PACKBITS: "packbits_decode",
    LZMA: "lzma_decode",
    ZSTD: "zstd_decode",
}
_FAX = {CCITT_RLE: "ccittrle_decode", CCITT_3: "ccittfax3_decode", CCITT_4: "ccittfax4_decode"}
_JPEG_COLOURS = {
    MIN_IS_WHITE: ("GRAYSCALE", "GRAYSCALE"),
    MIN_IS_BLACK: ("GRAYSCALE", "GRAYSCALE"),
    RGB: ("RGB", "RGB"),
    SEPARATED: ("CMYK", "CMYK"),
    YCBCR: ("YCBCR", "RGB"),
}


def decode(source: Source, directory: Directory, start: int, stop: int) -> Array:
    """Return some rows: (rows, columns) or (rows, columns, channels), native byte order."""
    style = directory.style
    planes = directory.grid[0]
    depth = 1 if style.planar else style.samples
    shape = (directory.rows, directory.columns)
    image = np.empty((planes, stop - start, directory.columns, depth), directory.dtype)
    segments = segments_with(start, stop, shape, directory.segment, planes, style.tile is not None)
    if directory.is_plain:
        _read_plain(source, directory, segments, image)
    else:
        decoder = _decoder(directory)
        for place in read_segments(source, directory, segments, image, decoder):
            _decode_one(source, directory, segments, place, image)
    return _meaning(image, directory)


def _decoder(directory: Directory) -> Callable[..., Any] | None:
    """Return what unpacks the strips or tiles one by one, if that does not depend on what they hold."""
    name = _CODECS.get(directory.style.compression)
    if name is None or directory.style.compression == LZW:
        return None
    import imagecodecs

    decoder: Callable[..., Any] = getattr(imagecodecs, name)
    return decoder


def _decode_one(source: Source, directory: Directory, segments: Segments, place: int, image: Array) -> None:
    """Decode one of the strips or tiles to where it belongs."""
    top, left = segments.tops[place], segments.lefts[place]
    rows, columns = segments.rows[place], segments.columns[place]
    shape = (int(segments.stored_rows[place]), directory.segment[1], image.shape[-1])
    part = _segment(source, directory, segments.numbers[place], shape)
    skipped = segments.skipped[place]
    part = part[skipped : skipped + rows, :columns]
    if part.shape[:2] != (rows, columns):
        raise UnnamedFileError(f"is corrupt: a strip or tile has {len(part)} of {rows} rows")
    image[segments.planes[place], top : top + rows, left : left + columns] = part


def _read_plain(source: Source, directory: Directory, segments: Segments, image: Array) -> None:
    """Read uncompressed strips to where they belong: no copy is made, and neighbours are read at once."""
    line = image[0, 0].nbytes
    sizes = segments.rows * line
    ends = segments.skipped * line + sizes
    if directory.counts:
        for place in np.flatnonzero([directory.counts[number] for number in segments.numbers] < ends)[:1]:
            count = directory.counts[segments.numbers[place]]
            raise UnnamedFileError(f"is corrupt: a strip holds {count} of {ends[place]} bytes")
    offsets = [directory.offsets[number] for number in segments.numbers] + ends - sizes
    follow = np.flatnonzero(offsets[1:] != (offsets + sizes)[:-1]) + 1
    bounds = np.cumsum(sizes)
    stored = image.reshape(-1).view(np.uint8)
    for first, last in itertools.pairwise([0, *follow.tolist(), len(offsets)]):
        source.read_into(int(offsets[first]), stored[bounds[first] - sizes[first] : bounds[last - 1]])
    if directory.fill_order == 2:
        import imagecodecs

        for stop, size in zip(bounds, sizes, strict=True):
            stored[stop - size : stop] = decode_with(imagecodecs.bitorder_decode, stored[stop - size : stop])
    if not directory.stored.isnative:
        image.byteswap(inplace=True)


def _segment(source: Source, directory: Directory, index: int, shape: tuple[int, int, int]) -> Array:
    """Return one strip or tile of this shape (rows, columns, channels)."""
    needed = _packed_bytes(shape, directory)
    count = directory.counts[index] if directory.counts else needed
    if count > largest(needed, directory.style.compression):
        raise UnnamedFileError(
            f"is corrupt: a strip or tile of {needed} bytes is said to be packed into {count}"
        )
    data = source.at(directory.offsets[index], count)
    if directory.style.compression == JPEG:
        return _jpeg(data, directory, shape)
    samples = _unpacked(data, directory, shape, needed)
    if directory.style.predictor not in (2, 3) or directory.style.compression == NONE:
        return samples
    import imagecodecs

    undo = imagecodecs.delta_decode if directory.style.predictor == 2 else imagecodecs.floatpred_decode
    restored: Array = decode_with(undo, samples, axis=-2)
    return restored


def _packed_bytes(shape: tuple[int, int, int], directory: Directory) -> int:
    rows, columns, depth = shape
    return rows * -(-columns * depth * directory.bits // 8)


def _unpacked(data: bytes, directory: Directory, shape: tuple[int, int, int], needed: int) -> Array:
    """Decompress, and spread samples of fewer than 8 bits."""
    import imagecodecs

    if directory.fill_order == 2:
        data = bytes(decode_with(imagecodecs.bitorder_decode, data))
    compression = directory.style.compression
    if compression in _FAX:
        return _fax(data, directory, shape)
    loops = lzw_loops() if compression == LZW else None
    if loops is not None:
        data = unpacked_lzw(data, needed, loops).tobytes()
    elif compression == LZW and not clears_well(data, needed):
        raise UnnamedFileError(WRONG_CODES)
    elif compression != NONE:
        # A last strip may be packed as if it were full.
        room = max(needed, _packed_bytes((*directory.segment, shape[2]), directory))
        data = decode_with(getattr(imagecodecs, _CODECS[compression]), data, out=room)
    if len(data) < needed:
        raise UnnamedFileError(f"is corrupt: a strip or tile holds {len(data)} of {needed} bytes")
    if directory.bits < 8:
        return _spread(np.frombuffer(data, np.uint8, needed), directory.bits, shape)
    # The floating-point predictor stores the most significant bytes first, whatever the file's byte order.
    stored = directory.dtype if directory.style.predictor == 3 and compression != NONE else directory.stored
    samples = np.frombuffer(data, stored, needed // stored.itemsize)
    return samples.astype(directory.dtype).reshape(shape)


def _spread(packed: Array, bits: int, shape: tuple[int, int, int]) -> Array:
    lines = packed.reshape(shape[0], -1)
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    samples = (lines[..., None] >> shifts) & np.uint8((1 << bits) - 1)
    return samples.reshape(shape[0], -1)[:, : shape[1], None]


def _fax(data: bytes, directory: Directory, shape: tuple[int, int, int]) -> Array:
    import imagecodecs

    if directory.bits != 1:
        raise UnnamedFileError("is corrupt: fax compression of more than 1 bit")
    options = {"t4options": directory.fax_options} if directory.style.compression == CCITT_3 else {}
    codec = getattr(imagecodecs, _FAX[directory.style.compression])
    pixels: Array = decode_with(codec, data, height=shape[0], width=shape[1], **options)
    if pixels.size != shape[0] * shape[1]:
        raise UnnamedFileError("is corrupt: a fax strip has a wrong size")
    return pixels.reshape(shape).astype(np.uint8)


def _jpeg(data: bytes, directory: Directory, shape: tuple[int, int, int]) -> Array:
    if directory.bits != 8 or directory.stored.kind != "u":
        raise UnnamedFileError(f"has JPEG strips of {directory.bits} bits, and only 8 are supported")
    packed = Source(io.BytesIO(data), len(data))
    rows, columns = jpeg.size_of(packed)
    if rows > directory.segment[0] or columns > directory.segment[1]:
        raise UnnamedFileError(
            f"is corrupt: a JPEG of {columns} × {rows} pixels is larger than its strip or tile"
        )
    data = data[: jpeg.end_of(data)]
    import imagecodecs

    colours, wanted = _JPEG_COLOURS.get(directory.style.photometric, (None, None))
    if shape[2] not in (3, 4):
        colours, wanted = "GRAYSCALE", "GRAYSCALE"
    options: dict[str, Any] = {
        "tables": directory.jpeg_tables,
        "colorspace": colours,
        "outcolorspace": wanted,
    }
    pixels: Array = decode_with(imagecodecs.jpeg8_decode, data, **options)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.shape[2] != shape[2]:
        raise UnnamedFileError(
            f"is corrupt: a JPEG strip has {pixels.shape[2]} channels instead of {shape[2]}"
        )
    return pixels


def _meaning(image: Array, directory: Directory) -> Array:
    """Return (rows, columns[, channels]) with palettes applied, white as the largest value, 8 bits."""
    pixels = np.moveaxis(image[..., 0], 0, -1) if directory.style.planar else image[0]
    if directory.palette is not None:
        return directory.palette[pixels[..., 0]]
    if directory.bits < 8:
        pixels = pixels * np.uint8(255 // ((1 << directory.bits) - 1))
    if is_inverted(directory.style.photometric, directory.dtype):
        pixels = np.invert(pixels)
    return pixels[..., 0] if directory.channels == 1 else pixels


def is_inverted(photometric: int, dtype: np.dtype[Any]) -> bool:
    """Whether 0 means white: pages hold the opposite, as in all other formats."""
    return photometric == MIN_IS_WHITE and dtype.kind == "u"
