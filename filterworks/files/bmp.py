"""Windows bitmaps: uncompressed, 1 to 32 bits.

Source: Microsoft, "Bitmap Storage" (BITMAPINFOHEADER, BITMAPV4HEADER). Palettes of greys give a grey
image, others RGB. Alpha is read where the header has a mask for it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from filterworks.arguments import Array
from filterworks.files.page import ImageInfo, Layout, Metadata, Page
from filterworks.files.source import Source, UnnamedFileError

HOLDS = "one page of uint8, grey, RGB or RGB with alpha"
MANY_PAGES = False
_INCH = 0.0254
_BAND = 4 << 20
# Where grey, RGB and RGBA stand in a stored pixel, by the number of channels.
_PLACES = {1: (0,), 3: (2, 1, 0), 4: (2, 1, 0, 3)}
_RGB, _BITFIELDS, _ALPHABITFIELDS = 0, 3, 6
_MASKS_16 = (0x7C00, 0x03E0, 0x001F, 0)
_MASKS_32 = (0xFF0000, 0x00FF00, 0x0000FF, 0)
_MASKS_ALPHA = (0xFF0000, 0x00FF00, 0x0000FF, 0xFF000000)


def holds(layout: Layout) -> bool:
    """Whether a page of this layout can be written."""
    return layout.dtype == "uint8" and layout.kind in ("grey", "rgb", "rgb+alpha")


@dataclass(frozen=True)
class _Header:
    columns: int
    rows: int
    top_down: bool
    bits: int
    masks: tuple[int, ...]
    palette: Array | None  # (entries, 3) RGB
    start: int
    resolution: tuple[float, float] | None

    @property
    def channels(self) -> int:
        if self.palette is not None:
            return 1 if _is_grey(self.palette) else 3
        return 4 if self.masks[3] else 3

    @property
    def row_bytes(self) -> int:
        return (self.columns * self.bits + 31) // 32 * 4


def _is_grey(palette: Array) -> bool:
    return bool((palette[:, 0] == palette[:, 1]).all() and (palette[:, 1] == palette[:, 2]).all())


def _parse(source: Source) -> _Header:
    start, size = struct.unpack("<10xII", source.at(0, 18))
    if size == 12:
        columns, rows, planes, bits = struct.unpack("<HHHH", source.at(18, 8))
        compression = colours = x_per_metre = y_per_metre = 0
    else:
        columns, rows, planes, bits, compression, x_per_metre, y_per_metre, colours = struct.unpack(
            "<iiHHI4xiiI", source.at(18, 32)
        )
    if bits not in (1, 4, 8, 16, 24, 32) or planes != 1 or columns < 1 or rows == 0:
        raise UnnamedFileError(
            f"is corrupt: its header says {columns} × {rows} pixels of {bits} bits in {planes} planes"
        )
    if compression not in (_RGB, _BITFIELDS, _ALPHABITFIELDS):
        raise UnnamedFileError(
            f"is compressed (BMP method {compression}), not supported; save it uncompressed or as PNG"
        )
    palette = _palette(source, size, bits, colours) if bits <= 8 else None
    resolution = (x_per_metre * _INCH, y_per_metre * _INCH) if min(x_per_metre, y_per_metre) > 0 else None
    return _Header(
        columns,
        abs(rows),
        rows < 0,
        bits,
        _masks(source, size, bits, compression),
        palette,
        start,
        resolution,
    )


def _masks(source: Source, size: int, bits: int, compression: int) -> tuple[int, ...]:
    if compression == _RGB:
        return _MASKS_16 if bits == 16 else _MASKS_32
    if bits not in (16, 32):
        raise UnnamedFileError(f"is corrupt: colour masks with {bits} bits per pixel")
    has_alpha = size >= 56 or compression == _ALPHABITFIELDS
    masks = struct.unpack("<4I" if has_alpha else "<3I", source.at(54, 16 if has_alpha else 12))
    return masks if has_alpha else (*masks, 0)


def _palette(source: Source, size: int, bits: int, colours: int) -> Array:
    width = 3 if size == 12 else 4
    count = min(colours or 1 << bits, 1 << bits)
    entries = np.frombuffer(source.at(14 + size, count * width), np.uint8).reshape(count, width)
    return entries[:, 2::-1].copy()


def read(source: Source) -> tuple[ImageInfo, Any]:
    """Read the header and the palette."""
    header = _parse(source)
    source.check_pixels(header.rows, header.columns, 4)
    needed = header.start + header.rows * header.row_bytes
    if needed > source.size:
        raise UnnamedFileError(
            f"is truncated: it is {source.size} bytes long and its pixels end at byte {needed}"
        )
    channels = header.channels
    shape = (header.rows, header.columns) if channels == 1 else (header.rows, header.columns, channels)
    alpha = "straight" if channels == 4 else "none"
    metadata = Metadata(resolution=header.resolution)
    info = ImageInfo("bmp", 1, shape, np.dtype(np.uint8), alpha, metadata)  # type: ignore[arg-type]

    def pages() -> Iterator[Page]:
        yield Page(_pixels(source, header), info.alpha)

    return info, pages


def _pixels(source: Source, header: _Header) -> Array:
    """Read and decode a band of rows at a time: the file is never in memory beside the image."""
    shape = (header.rows, header.columns, header.channels)
    pixels = np.empty(shape[:2] if header.channels == 1 else shape, np.uint8)
    target = pixels if header.top_down else pixels[::-1]
    band = max(1, _BAND // header.row_bytes)
    for row in range(0, header.rows, band):
        count = min(band, header.rows - row)
        data = source.at(header.start + row * header.row_bytes, count * header.row_bytes)
        lines = np.frombuffer(data, np.uint8).reshape(count, header.row_bytes)
        target[row : row + count] = _decoded(lines, header)
    return pixels


def _decoded(lines: Array, header: _Header) -> Array:
    columns = header.columns
    if header.palette is not None:
        return _from_palette(_indices(lines, header.bits, columns), header.palette)
    if header.bits == 24:
        return _reversed(lines[:, : 3 * columns].reshape(len(lines), columns, 3))
    word = np.dtype("<u2" if header.bits == 16 else "<u4")
    words = np.ascontiguousarray(lines).view(word)[:, :columns]
    return np.stack([_field(words, mask) for mask in header.masks[: header.channels]], axis=-1)


def _reversed(samples: Array) -> Array:
    """Turn BGR into RGB; one channel at a time is four times as fast as a reversed copy."""
    pixels = np.empty(samples.shape, np.uint8)
    for channel in range(3):
        pixels[..., channel] = samples[..., 2 - channel]
    return pixels


def _indices(lines: Array, bits: int, columns: int) -> Array:
    if bits == 8:
        return lines[:, :columns]
    if bits == 4:
        return np.stack([lines >> 4, lines & 15], axis=-1).reshape(len(lines), -1)[:, :columns]
    return np.unpackbits(lines, axis=1, count=columns)


def _from_palette(indices: Array, palette: Array) -> Array:
    if int(indices.max()) >= len(palette):
        raise UnnamedFileError(f"is corrupt: colour {indices.max()} is not in its palette of {len(palette)}")
    return np.ascontiguousarray(palette[:, 0][indices] if _is_grey(palette) else palette[indices])


def _field(words: Array, mask: int) -> Array:
    """Return the bits under `mask`, scaled to 0..255."""
    if mask == 0:
        return np.zeros(words.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    top = mask >> shift
    values = (words & mask) >> shift
    if top == 255:
        return values.astype(np.uint8)
    scaled: Array = np.rint(values * (255 / top)).astype(np.uint8)
    return scaled


def write(file: BinaryIO, page: Page, like: ImageInfo, quality: int) -> None:
    """Write 8 bits with a grey palette, 24 bits, or 32 bits with masks (V4 header)."""
    del quality
    pixels = page.pixels
    rows, columns = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    row_bytes = (columns * channels * 8 + 31) // 32 * 4
    file.write(_header_bytes(rows, columns, channels, row_bytes, like.metadata.resolution))
    band = max(1, _BAND // row_bytes)
    for last in range(rows, 0, -band):
        part = pixels[max(0, last - band) : last][::-1]
        lines = np.zeros((len(part), row_bytes), np.uint8)
        stored = lines[:, : columns * channels].reshape(len(part), columns, channels)
        for channel, place in enumerate(_PLACES[channels]):
            stored[..., place] = part[..., channel] if channels > 1 else part
        file.write(lines.data)


def _header_bytes(
    rows: int, columns: int, channels: int, row_bytes: int, resolution: tuple[float, float] | None
) -> bytes:
    palette = np.repeat(np.arange(256, dtype=np.uint8), 4).reshape(256, 4)
    palette[:, 3] = 0
    extra = palette.tobytes() if channels == 1 else b""
    size = 108 if channels == 4 else 40
    x, y = (max(0, round(value / _INCH)) for value in resolution or (0, 0))
    start = 14 + size + len(extra)
    length = start + rows * row_bytes
    if length >= 1 << 32:
        raise UnnamedFileError("would be longer than the 4 GiB that BMP can hold; use .png or .tif")
    header = struct.pack("<2sIIIIiiHH", b"BM", length, 0, start, size, columns, rows, 1, 8 * channels)
    method = _BITFIELDS if channels == 4 else _RGB
    header += struct.pack("<IIiiII", method, rows * row_bytes, min(x, 2**31 - 1), min(y, 2**31 - 1), 0, 0)
    if channels == 4:
        header += struct.pack("<4I4s48x", *_MASKS_ALPHA, b"BGRs")
    return header + extra
