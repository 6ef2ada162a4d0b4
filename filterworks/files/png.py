"""PNG: pixels by libpng on the way in and libdeflate on the way out, all other chunks copied as bytes.

Source: W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", https://www.w3.org/TR/png-3/.
Palettes become RGB, 1, 2 and 4 bits become 8, transparent colours (tRNS) become an alpha channel.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from filterworks.arguments import Array
from filterworks.files.page import Alpha, ImageInfo, Layout, Metadata, Page, icc_for, layout_of
from filterworks.files.png_pixels import packed_pixels
from filterworks.files.source import Source, UnnamedFileError, decode_with

HOLDS = "one page of uint8 or uint16, grey or RGB, with or without alpha"
MANY_PAGES = False
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_UINT8, _UINT16 = np.dtype(np.uint8), np.dtype(np.uint16)
_HEADER, _START, _CHECKSUM = struct.Struct(">8xI4sIIBBBBB"), struct.Struct(">I4s"), struct.Struct(">I")
_IHDR = struct.Struct(">IIBBBBB")
_INCH = 0.0254
_XMP = b"XML:com.adobe.xmp"
_MAX_PROFILE = 4 << 20
# Packed pixels may be longer than the pixels by this: headers, and the chunks around small parts.
_MAX_PADDING = 64 << 10
# Longer parts are written as they are, shorter ones together.
_AT_ONCE = 1 << 20
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_COLOURS = {"grey": 0, "rgb": 2, "grey+alpha": 4, "rgb+alpha": 6}
# Chunks whose fourth letter is small may be copied by programs that do not know them (14.2 of the
# specification); these are known to stay true although the pixels change.
_KEPT = frozenset((b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"tIME", b"sPLT"))
# These describe samples of one colour type and depth.
_KEPT_WITH_LAYOUT = frozenset((b"sBIT", b"bKGD"))
_NEVER_KEPT = frozenset((b"tRNS", b"hIST", b"iDOT", b"acTL", b"fcTL", b"fdAT", b"caBX"))


@dataclass(frozen=True)
class Chunks:
    """The chunks to copy, before and after the pixels, and the colour type and depth of their file."""

    before: tuple[tuple[bytes, bytes], ...] = ()
    after: tuple[tuple[bytes, bytes], ...] = ()
    stored_as: tuple[int, int] = (0, 0)


def holds(layout: Layout) -> bool:
    """Whether a page of this layout can be written."""
    return layout.dtype in ("uint8", "uint16") and layout.kind in ("grey", "grey+alpha", "rgb", "rgb+alpha")


def read(source: Source) -> tuple[ImageInfo, Any]:
    """Read and check every chunk; the pixels wait."""
    rows, columns, depth, colour = _header(source)
    dtype = _UINT16 if depth == 16 else _UINT8
    source.check_pixels(rows, columns, 4 * dtype.itemsize)
    data = source.whole(rows * columns * 4 * dtype.itemsize)
    chunks, pixel_data, transparent = _chunks(data, (colour, depth))
    del data
    packed_limit = 2 * rows * (4 * columns * dtype.itemsize + 1) + _MAX_PADDING
    if len(pixel_data) > packed_limit:
        # libpng would inflate all of it, gigabytes perhaps, to throw it away.
        raise UnnamedFileError(
            f"is corrupt: {len(pixel_data):,} bytes are far too many for {columns} × {rows} packed pixels"
        )
    channels = _CHANNELS[colour] + transparent
    alpha: Alpha = "straight" if channels in (2, 4) else "none"
    shape = (rows, columns) if channels == 1 else (rows, columns, channels)
    info = ImageInfo("png", 1, shape, dtype, alpha, _metadata(chunks))

    def pages() -> Iterator[Page]:
        import imagecodecs

        pixels: Array = decode_with(imagecodecs.png_decode, pixel_data)
        if pixels.shape != shape or pixels.dtype != dtype:
            raise UnnamedFileError(
                f"is corrupt: it decodes to {pixels.dtype} {pixels.shape}, not to {dtype} {shape}"
            )
        yield Page(pixels, alpha)

    return info, pages


def _header(source: Source) -> tuple[int, int, int, int]:
    length, name, columns, rows, depth, colour, *methods = _HEADER.unpack(source.at(0, 29))
    if name != b"IHDR" or length != 13 or depth not in _DEPTHS.get(colour, ()):
        raise UnnamedFileError(f"is corrupt: its header {name!r} says colour type {colour} with {depth} bits")
    # libpng would write to the terminal.
    if methods not in ([0, 0, 0], [0, 0, 1]):
        raise UnnamedFileError(
            "is corrupt: its header names an unknown compression, filter or interlace method"
        )
    return rows, columns, depth, colour


def _chunks(data: bytes, stored_as: tuple[int, int]) -> tuple[Chunks, bytes, bool]:
    """Check the checksum of every chunk; sort them.

    Returns
    -------
    chunks
        Those to copy.
    pixel_data
        A PNG file without all that is not pixels: libpng would inflate packed profiles and texts.
    transparent
        Whether colours or palette entries are transparent.
    """
    pixel_data = [memoryview(_SIGNATURE)]
    sides: tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]] = ([], [])
    view = memoryview(data)
    position, seen_pixels, transparent = len(_SIGNATURE), False, False
    while True:
        start = position
        name, content, position = _next_chunk(view, start)
        if name == b"tRNS" or not name[0] & 0x20:
            pixel_data.append(view[start:position])
        if name == b"IEND":
            break
        if name == b"acTL":
            _refuse_animation(content)
        seen_pixels |= name == b"IDAT"
        transparent |= name == b"tRNS"
        if _is_kept(name):
            sides[seen_pixels].append((name, bytes(content)))
    if not seen_pixels:
        raise UnnamedFileError("is corrupt: it holds no pixels (no IDAT chunk)")
    chunks = Chunks(tuple(sides[0]), tuple(sides[1]), stored_as)
    return chunks, b"".join(pixel_data), transparent and stored_as[0] in (0, 2, 3)


def _next_chunk(view: memoryview, position: int) -> tuple[bytes, memoryview, int]:
    if position + 12 > len(view):
        raise UnnamedFileError(f"is truncated: it ends at byte {len(view)} without an end chunk (IEND)")
    length, name = _START.unpack_from(view, position)
    end = position + 12 + length
    if end > len(view):
        raise UnnamedFileError(f"is truncated: it ends at byte {len(view)}, inside the chunk {name!r}")
    if zlib.crc32(view[position + 4 : end - 4]) != _CHECKSUM.unpack_from(view, end - 4)[0]:
        raise UnnamedFileError(f"is corrupt: the checksum of chunk {name!r} at byte {position} is wrong")
    return name, view[position + 8 : end - 4], end


def _refuse_animation(content: memoryview) -> None:
    frames = int.from_bytes(content[:4], "big")
    if frames > 1:
        raise UnnamedFileError(
            f"is an animation of {frames} frames, which is not supported; extract its frames first"
        )


def _is_kept(name: bytes) -> bool:
    if name in _NEVER_KEPT or not name[0] & 0x20:
        return False
    return name in _KEPT or name in _KEPT_WITH_LAYOUT or bool(name[3] & 0x20)


def _metadata(chunks: Chunks) -> Metadata:
    if not (chunks.before or chunks.after):
        return Metadata(own=chunks)
    found = dict(reversed(chunks.before + chunks.after))
    density = found.get(b"pHYs", b"")
    resolution = None
    if len(density) == 9 and density[8] == 1:
        x, y = struct.unpack(">II", density[:8])
        resolution = (x * _INCH, y * _INCH) if x and y else None
    return Metadata(
        found.get(b"eXIf"), _inflate_profile(found.get(b"iCCP")), _xmp(chunks), resolution, own=chunks
    )


def _inflate_profile(content: bytes | None) -> bytes | None:
    """Return the profile for files of other formats, unless it is damaged or absurdly long."""
    if content is None:
        return None
    packed = content.partition(b"\0")[2][1:]
    try:
        inflater = zlib.decompressobj()
        profile = inflater.decompress(packed, _MAX_PROFILE)
    except zlib.error:
        return None
    return profile if inflater.eof else None


def _xmp(chunks: Chunks) -> bytes | None:
    for name, content in chunks.before + chunks.after:
        # Keyword, compression flag and method, language, translated keyword, text (11.3.3.4).
        if name == b"iTXt" and content.startswith(_XMP + b"\0\0\0"):
            return content[len(_XMP) + 3 :].split(b"\0", 2)[-1]
    return None


def write(file: BinaryIO, page: Page, like: ImageInfo, quality: int) -> None:
    """Write the chunks of `like`, or new ones from the metadata of another format, and the pixels."""
    del quality
    kind = layout_of(page, like).kind
    colour = _COLOURS[kind]
    depth = 8 * page.pixels.dtype.itemsize
    rows, columns = page.pixels.shape[:2]
    chunks = like.metadata.own or _translated(like, kind)
    header = _IHDR.pack(columns, rows, depth, colour, 0, 0, 0)
    parts: list[bytes | bytearray] = [_SIGNATURE, *_chunk(b"IHDR", header)]
    dropped = set() if chunks.stored_as == (colour, depth) else set(_KEPT_WITH_LAYOUT)
    if icc_for(like, kind) is None and like.metadata.icc is not None:
        dropped.add(b"iCCP")
    for name, content in chunks.before:
        if name not in dropped:
            parts += _chunk(name, content)
    # Few long writes: a small image is one.
    for packed in packed_pixels(page.pixels):
        parts += _chunk(b"IDAT", packed)
        if sum(map(len, parts)) >= _AT_ONCE:
            file.writelines(parts)
            parts = []
    for name, content in chunks.after:
        parts += _chunk(name, content)
    file.write(b"".join((*parts, *_chunk(b"IEND", b""))))


def _translated(like: ImageInfo, kind: str) -> Chunks:
    """Return chunks with the metadata of a file of another format."""
    metadata = like.metadata
    found: list[tuple[bytes, bytes]] = []
    profile = icc_for(like, kind)
    if profile:
        found.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile)))
    if metadata.resolution:
        x, y = (min(max(round(value / _INCH), 1), 2**31 - 1) for value in metadata.resolution)
        found.append((b"pHYs", struct.pack(">IIB", x, y, 1)))
    if metadata.exif:
        found.append((b"eXIf", metadata.exif))
    if metadata.xmp:
        found.append((b"iTXt", _XMP + b"\0\0\0\0\0" + metadata.xmp))
    return Chunks(tuple(found))


def _chunk(name: bytes, content: bytes | bytearray) -> tuple[bytes, bytes | bytearray, bytes]:
    checksum = zlib.crc32(content, zlib.crc32(name))
    return _START.pack(len(content), name), content, _CHECKSUM.pack(checksum)
