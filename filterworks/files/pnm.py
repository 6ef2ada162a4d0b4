"""PGM and PPM (netpbm): binary and plain text in, binary out.

Source: https://netpbm.sourceforge.net/doc/ (pbm, pgm, ppm). Samples are kept as they are stored,
with their ``maxval``; results above it are cut to it, since it is this file's white.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from filterworks.arguments import Array
from filterworks.files.page import ImageInfo, Layout, Metadata, Page
from filterworks.files.source import Source, UnnamedFileError

HOLDS = "one page of uint8 or uint16, grey or RGB"
MANY_PAGES = False
_HEADER_BYTES = 64 << 10
# A comment runs from # to the end of its line and may stand wherever blanks may.
_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"


def holds(layout: Layout) -> bool:
    """Whether a page of this layout can be written."""
    return layout.dtype in ("uint8", "uint16") and layout.kind in ("grey", "rgb")


def read(source: Source) -> tuple[ImageInfo, Any]:
    """Read the header."""
    kind, columns, rows, maxval, start = _header(source.head(_HEADER_BYTES))
    channels = 3 if kind in (3, 6) else 1
    dtype = np.dtype(np.uint8 if maxval < 256 else np.uint16)
    source.check_pixels(rows, columns, channels * dtype.itemsize)
    shape = (rows, columns, 3) if channels == 3 else (rows, columns)
    info = ImageInfo("pnm", 1, shape, dtype, metadata=Metadata(own=255 if kind in (1, 4) else maxval))

    def pages() -> Iterator[Page]:
        if kind in (1, 4):
            yield Page(_bitmap(source, start, rows, columns, plain=kind == 1))
        elif kind in (2, 3):
            yield Page(_plain(source, start, shape, dtype, maxval))
        else:
            yield Page(_binary(source, start, shape, dtype, maxval))

    return info, pages


def _header(head: bytes) -> tuple[int, int, int, int, int]:
    """Return the kind (the digit after P), columns, rows, maxval and where the samples begin."""
    kind = int(head[1:2])
    if kind == 7:
        raise UnnamedFileError("holds PAM data (P7), which is not supported; convert it to PNG, PGM or PPM")
    numbers = 2 if kind in (1, 4) else 3
    found = re.match(rb"P\d" + (_GAP + rb"(\d{1,10})") * numbers + rb"(?:#[^\r\n]*)?\s", head)
    if found is None:
        raise UnnamedFileError(
            "is truncated or corrupt: its header does not name columns, rows and the largest value"
        )
    columns, rows, *rest = (int(number) for number in found.groups())
    maxval = rest[0] if rest else 1
    if not 1 <= maxval <= 65535:
        raise UnnamedFileError(f"is corrupt: its largest value must be 1 to 65535; got {maxval}")
    return kind, columns, rows, maxval, found.end()


def _binary(source: Source, start: int, shape: tuple[int, ...], dtype: np.dtype[Any], maxval: int) -> Array:
    pixels = np.empty(shape, dtype)
    source.read_into(start, pixels)
    if dtype.itemsize == 2 and sys.byteorder == "little":
        pixels.byteswap(inplace=True)
    return _within(pixels, maxval)


def _bitmap(source: Source, start: int, rows: int, columns: int, *, plain: bool) -> Array:
    """Return black (1) as 0 and white (0) as 255."""
    if plain:
        digits = _text(source, start, rows * columns)
        bits = np.frombuffer(re.sub(rb"\s+", b"", digits), np.uint8) - ord("0")
        if bits.size < rows * columns:
            raise UnnamedFileError(f"is truncated: it holds {bits.size} of {rows * columns} samples")
        bits = bits[: rows * columns].reshape(rows, columns)
        if bits.max() > 1:
            raise UnnamedFileError("is corrupt: a bitmap holds only 0 and 1")
    else:
        width = -(-columns // 8)
        _need(source, start, rows * width)
        packed = np.frombuffer(source.at(start, rows * width), np.uint8).reshape(rows, width)
        bits = np.unpackbits(packed, axis=1, count=columns)
    return (1 - bits) * np.uint8(255)


def _plain(source: Source, start: int, shape: tuple[int, ...], dtype: np.dtype[Any], maxval: int) -> Array:
    count = int(np.prod(shape))
    words = _text(source, start, count).split(None, count)[:count]
    if len(words) < count:
        raise UnnamedFileError(f"is truncated: it holds {len(words)} of {count} samples")
    try:
        samples = np.array(words).astype(np.int64)
    except (ValueError, OverflowError):
        raise UnnamedFileError("is corrupt: a sample is not a number") from None
    if samples.min() < 0:
        raise UnnamedFileError("is corrupt: a sample is negative")
    return _within(samples, maxval).astype(dtype).reshape(shape)


def _text(source: Source, start: int, count: int) -> bytes:
    """Return the samples of a plain file without comments."""
    if source.size - start > 64 * count + (1 << 20):
        raise UnnamedFileError(
            f"is {source.size:,} bytes long, too long for the {count:,} samples that its header names"
        )
    data = source.at(start, source.size - start)
    return re.sub(rb"#[^\r\n]*", b"", data) if b"#" in data else data


def _need(source: Source, start: int, length: int) -> None:
    if start + length > source.size:
        raise UnnamedFileError(f"is truncated: it holds {source.size - start} of {length} bytes of samples")


def _within(samples: Array, maxval: int) -> Array:
    if maxval not in (255, 65535) and samples.max() > maxval:
        raise UnnamedFileError(f"is corrupt: a sample is {samples.max()}, above the largest value {maxval}")
    return samples


def write(file: BinaryIO, page: Page, like: ImageInfo, quality: int) -> None:
    """Write P5 or P6."""
    del quality
    pixels = page.pixels
    top = np.iinfo(pixels.dtype).max
    # The maxval of the input says how many bytes a sample has, so it cannot serve another depth.
    own = like.metadata.own
    maxval = own if own is not None and pixels.dtype == like.dtype else top
    rows, columns = pixels.shape[:2]
    file.write(f"P{5 if pixels.ndim == 2 else 6}\n{columns} {rows}\n{maxval}\n".encode())
    band = max(1, (1 << 24) // max(1, pixels[0].nbytes))
    for row in range(0, rows, band):
        samples = pixels[row : row + band]
        if maxval != top:
            samples = np.minimum(samples, maxval)
        file.write(np.ascontiguousarray(samples, samples.dtype.newbyteorder(">")).data)
