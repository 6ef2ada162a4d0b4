"""WebP: lossy stays lossy, lossless stays lossless.

Source: Google, "WebP Container Specification", https://developers.google.com/speed/webp/docs/riff_container.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from filterworks.arguments import Array
from filterworks.files.exif import resolution_of
from filterworks.files.page import Alpha, ImageInfo, Layout, Metadata, Page, icc_for, layout_of
from filterworks.files.source import Source, UnnamedFileError, decode_with, encode_with

HOLDS = "one page of uint8, RGB with or without alpha"
MANY_PAGES = False
_MAX_SIDE = 16383
_ALPHA_FLAG = 0x10


def holds(layout: Layout) -> bool:
    """Whether a page of this layout can be written."""
    return layout.dtype == "uint8" and layout.kind in ("rgb", "rgb+alpha")


def read(source: Source) -> tuple[ImageInfo, Any]:
    """Read the chunks of the container."""
    chunks = _chunks(source)
    if b"ANMF" in chunks or b"ANIM" in chunks:
        frames = chunks[b"ANMF"][2] if b"ANMF" in chunks else 0
        raise UnnamedFileError(
            f"is an animation of {frames} frames, which is not supported; extract its frames first"
        )
    lossless = b"VP8L" in chunks
    rows, columns, has_alpha = _lossless_size(source, chunks) if lossless else _lossy_size(source, chunks)
    source.check_pixels(rows, columns, 4)
    shape = (rows, columns, 4 if has_alpha else 3)
    alpha: Alpha = "straight" if has_alpha else "none"
    metadata = _metadata(source, chunks, lossless)
    info = ImageInfo("webp", 1, shape, np.dtype(np.uint8), alpha, metadata)

    def pages() -> Iterator[Page]:
        import imagecodecs

        data = source.whole(rows * columns * 4)
        pixels: Array = decode_with(imagecodecs.webp_decode, data, hasalpha=has_alpha)
        if pixels.shape != shape:
            raise UnnamedFileError(f"is corrupt: it decodes to shape {pixels.shape}, not {shape}")
        yield Page(pixels, alpha)

    return info, pages


def _chunks(source: Source) -> dict[bytes, tuple[int, int, int]]:
    """Return offset, length and number of the chunks by name; the first of each name counts."""
    end = 8 + struct.unpack("<I", source.at(4, 4))[0]
    if end > source.size:
        raise UnnamedFileError(f"is truncated: it is {source.size} bytes long and says that it has {end}")
    found: dict[bytes, tuple[int, int, int]] = {}
    position = 12
    while position + 8 <= end:
        name, length = struct.unpack("<4sI", source.at(position, 8))
        if position + 8 + length > end:
            raise UnnamedFileError(f"is truncated: its chunk {name!r} goes on behind the end of the file")
        first, size, count = found.get(name, (position + 8, length, 0))
        found[name] = (first, size, count + 1)
        position += 8 + length + length % 2
    if b"VP8 " not in found and b"VP8L" not in found and b"ANMF" not in found:
        raise UnnamedFileError("is corrupt: it holds no image (no VP8 or VP8L chunk)")
    return found


def _lossless_size(source: Source, chunks: dict[bytes, tuple[int, int, int]]) -> tuple[int, int, bool]:
    signature, bits = struct.unpack("<BI", source.at(chunks[b"VP8L"][0], 5))
    if signature != 0x2F:
        raise UnnamedFileError("is corrupt: its lossless image has a wrong signature")
    return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1, bool(bits >> 28 & 1)


def _lossy_size(source: Source, chunks: dict[bytes, tuple[int, int, int]]) -> tuple[int, int, bool]:
    start, columns, rows = struct.unpack("<3x3sHH", source.at(chunks[b"VP8 "][0], 10))
    if start != b"\x9d\x01\x2a":
        raise UnnamedFileError("is corrupt: its lossy image has a wrong start code")
    return rows & 0x3FFF, columns & 0x3FFF, b"ALPH" in chunks


def _metadata(source: Source, chunks: dict[bytes, tuple[int, int, int]], lossless: bool) -> Metadata:
    def content(name: bytes) -> bytes | None:
        return source.at(*chunks[name][:2]) if name in chunks else None

    # Some programs write the prefix of JPEG's Exif segment here too.
    exif = (content(b"EXIF") or b"").removeprefix(b"Exif\0\0") or None
    return Metadata(exif, content(b"ICCP"), content(b"XMP "), resolution_of(exif), own=lossless)


def write(file: BinaryIO, page: Page, like: ImageInfo, quality: int) -> None:
    """Write lossy WebP, or lossless where `like` is lossless WebP or another lossless format."""
    from PIL import Image, WebPImagePlugin  # noqa: F401  # the plugin registers itself

    rows, columns = page.pixels.shape[:2]
    if max(rows, columns) > _MAX_SIDE:
        raise UnnamedFileError(
            f"WebP holds up to {_MAX_SIDE} rows and columns; this image has {columns} × {rows}; "
            "use .png or .tif"
        )
    metadata = like.metadata
    lossless = like.format != "jpeg" if metadata.own is None else bool(metadata.own)
    options: dict[str, Any] = {
        "lossless": lossless,
        # `quality` of lossless files is effort; method 2 is twice as fast as the default for 2 % more bytes.
        "quality": 50 if lossless else quality,
        "method": 1 if lossless else 2,
        "exact": True,
        "icc_profile": icc_for(like, layout_of(page, like).kind) or b"",
        "exif": metadata.exif or b"",
        "xmp": metadata.xmp or b"",
    }
    packed = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(page.pixels))
    encode_with(image.save, packed, "WEBP", **options)
    file.write(packed.getbuffer())
