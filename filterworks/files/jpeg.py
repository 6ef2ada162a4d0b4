"""JPEG: pixels by libjpeg-turbo, all other segments copied as bytes.

Sources: ITU-T T.81 (the format), T.871 (JFIF), CIPA DC-008 (Exif). Baseline and progressive files of
8 bits are read; baseline is written, with the chroma subsampling of the input.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np

from filterworks.arguments import Array
from filterworks.files.exif import resolution_of
from filterworks.files.page import ImageInfo, Layout, Metadata, Page, icc_for, layout_of
from filterworks.files.source import Source, UnnamedFileError, decode_with, encode_with

HOLDS = "one page of uint8, grey, RGB or CMYK"
MANY_PAGES = False
_SOF, _SOS, _EOI, _APP0, _APP1, _APP2, _APP14, _COM = 0xC0, 0xDA, 0xD9, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE
_FRAMES = frozenset((*range(0xC0, 0xD0),)) - {0xC4, 0xC8, 0xCC}
_READABLE_FRAMES = {0xC0: "baseline", 0xC1: "extended", 0xC2: "progressive"}
_EXIF, _XMP, _ICC = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"
_MAX_SIDE = 65500
_MAX_SEGMENT = 65533
# A progressive file of a few kilobytes can ask for thousands of passes over a huge image.
_MAX_SCANS = 100
# 0xFF is data where 0 or a restart marker follows; it begins with a literal so that `re` skips with memchr.
_NEXT_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_SUBSAMPLINGS = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (1, 2): "440", (4, 1): "411"}


@dataclass(frozen=True)
class Segments:
    """What only another JPEG can take over.

    Parameters
    ----------
    kept
        Marker and content of the APPn and COM segments, in their order.
    subsampling
        How the colours are thinned: ``444``, ``422``, ``420``, ``440`` or ``411``.
    colours
        How the channels are coded: ``GRAYSCALE``, ``YCBCR``, ``RGB``, ``CMYK`` or ``YCCK``.
    """

    kept: tuple[tuple[int, bytes], ...] = ()
    subsampling: str = "420"
    colours: str = "YCBCR"


@dataclass(frozen=True)
class _Frame:
    rows: int
    columns: int
    factors: tuple[tuple[int, int], ...]  # horizontal and vertical, per channel
    identifiers: bytes
    progressive: bool
    # Where a scan that holds all channels begins; 0 if there are several.
    only_scan: int = 0


def holds(layout: Layout) -> bool:
    """Whether a page of this layout can be written."""
    return layout.dtype == "uint8" and layout.kind in ("grey", "rgb", "cmyk")


def read(source: Source) -> tuple[ImageInfo, Any]:
    """Read all segments before the pixels."""
    kept, frame = _head(source)
    channels = len(frame.factors)
    # A progressive image is held twice: as 16-bit coefficients and as samples.
    source.check_pixels(frame.rows, frame.columns, channels * (3 if frame.progressive else 1))
    if not frame.progressive and 4 * source.size < _blocks(frame):
        # Each block takes two codes of a bit at least; libjpeg would fill the rest with grey.
        raise UnnamedFileError(
            f"is truncated: {source.size:,} bytes are too few for {frame.columns} × {frame.rows} pixels"
        )
    colours, inverted = _colours(kept, frame)
    shape = (frame.rows, frame.columns) if channels == 1 else (frame.rows, frame.columns, channels)
    own = Segments(kept, _subsampling(frame), colours)
    info = ImageInfo("jpeg", 1, shape, np.dtype(np.uint8), metadata=_metadata(own))

    def pages() -> Iterator[Page]:
        data = source.whole(frame.rows * frame.columns * channels)
        yield Page(_decode(_complete(data, frame.only_scan), shape, inverted))

    return info, pages


def _blocks(frame: _Frame) -> int:
    """Return of how many blocks of 8 × 8 samples the finest channel consists."""
    across = max(h for h, _ in frame.factors) or 1
    down = max(v for _, v in frame.factors) or 1
    return max((frame.columns * h // across // 8) * (frame.rows * v // down // 8) for h, v in frame.factors)


def _head(source: Source) -> tuple[tuple[tuple[int, bytes], ...], _Frame]:
    """Return the segments worth keeping and the frame; stop at the first scan."""
    kept, frame, position = [], None, 2
    while True:
        marker, position = _marker(source, position)
        if marker == _EOI:
            raise UnnamedFileError("is corrupt: it ends before its pixels begin")
        length = struct.unpack(">H", source.at(position, 2))[0]
        if length < 2:
            raise UnnamedFileError(
                f"is corrupt: a segment at byte {position} says that it is {length} bytes long"
            )
        if marker in _FRAMES and frame is None:
            frame = _frame(marker, source.at(position + 2, length - 2))
        elif _APP0 <= marker <= 0xEF or marker == _COM:
            kept.append((marker, source.at(position + 2, length - 2)))
        elif marker == _SOS:
            break
        position += length
    if frame is None:
        raise UnnamedFileError("is corrupt: its pixels begin before its size is named")
    is_only = source.at(position + 2, 1)[0] == len(frame.factors) and not frame.progressive
    return tuple(kept), replace(frame, only_scan=position + length if is_only else 0)


def size_of(source: Source) -> tuple[int, int]:
    """Return the rows and columns of a JPEG stream, as inside TIFF, before it is decoded."""
    frame = _head(source)[1]
    return frame.rows, frame.columns


def _marker(source: Source, position: int) -> tuple[int, int]:
    """Return the marker at `position`, which any number of 0xFF may precede, and where its content begins."""
    if source.at(position, 1) != b"\xff":
        raise UnnamedFileError(f"is corrupt: there is no marker at byte {position}")
    while (code := source.at(position, 1)[0]) == 0xFF:
        position += 1
    return code, position + 1


def _frame(marker: int, content: bytes) -> _Frame:
    if marker not in _READABLE_FRAMES:
        raise UnnamedFileError(
            f"uses a JPEG process (SOF{marker - _SOF}: lossless or arithmetic) that is not supported"
        )
    if len(content) < 6:
        raise UnnamedFileError("is corrupt: its frame header is too short")
    bits, rows, columns, channels = struct.unpack_from(">BHHB", content)
    if bits != 8:
        raise UnnamedFileError(f"has {bits} bits per sample, and only JPEG files of 8 bits are supported")
    if channels not in (1, 3, 4) or len(content) < 6 + 3 * channels:
        raise UnnamedFileError(f"is corrupt: its frame header says {channels} channels")
    factors = tuple((content[7 + 3 * i] >> 4, content[7 + 3 * i] & 15) for i in range(channels))
    return _Frame(rows, columns, factors, content[6 : 6 + 3 * channels : 3], marker == 0xC2)


def _subsampling(frame: _Frame) -> str:
    if len(frame.factors) == 1:
        return "444"
    (h, v), (chroma_h, chroma_v) = frame.factors[:2]
    if not (chroma_h and chroma_v):
        raise UnnamedFileError("is corrupt: a subsampling factor is 0")
    return _SUBSAMPLINGS.get((h // chroma_h, v // chroma_v), "420")


def _colours(kept: tuple[tuple[int, bytes], ...], frame: _Frame) -> tuple[str, bool]:
    """Return how the channels are coded and whether they are stored inverted, by libjpeg's rules."""
    adobe = next((c for m, c in kept if m == _APP14 and c.startswith(b"Adobe") and len(c) >= 12), None)
    channels = len(frame.factors)
    if channels == 1:
        return "GRAYSCALE", False
    if channels == 4:
        return ("YCCK" if adobe and adobe[11] == 2 else "CMYK"), adobe is not None
    jfif = any(m == _APP0 and c.startswith(b"JFIF\0") for m, c in kept)
    if jfif:
        return "YCBCR", False
    if adobe:
        return ("RGB" if adobe[11] == 0 else "YCBCR"), False
    return ("RGB" if frame.identifiers == b"RGB" else "YCBCR"), False


def _complete(data: bytes, only_scan: int) -> bytes:
    """Return the data up to the end of the image.

    A single scan is looked at near its end only, if that is an end marker: inside, nothing looks like one.
    """
    if only_scan and data.endswith(bytes((0xFF, _EOI))):
        with suppress(UnnamedFileError):  # another image may be behind it
            end_of(data, max(only_scan, len(data) - _MAX_SEGMENT - 4))
            return data
    return data[: end_of(data)]


def end_of(data: bytes, start: int = 2) -> int:
    """Return where the image ends: behind the end marker that is no part of a thumbnail or a scan.

    libjpeg fills what is missing with grey and calls it a warning, so this is what finds truncated files.
    """
    position, scans = start, 0
    while True:
        found = _NEXT_MARKER.search(data, position)
        if found is None:
            raise UnnamedFileError(f"is truncated: it ends at byte {len(data)} without an end marker")
        marker, position = found[1][0], found.end()
        if marker == _EOI:
            return position
        if marker in (0x01, 0xD8) or 0xD0 <= marker <= 0xD7:
            continue
        if position + 2 > len(data):
            raise UnnamedFileError(f"is truncated: it ends at byte {len(data)}, inside a segment")
        scans += marker == _SOS
        if scans > _MAX_SCANS:
            raise UnnamedFileError(
                f"is refused: it has more than {_MAX_SCANS} scans, which no real picture has"
            )
        position += struct.unpack_from(">H", data, position)[0]


def _decode(data: bytes, shape: tuple[int, ...], inverted: bool) -> Array:
    import imagecodecs

    pixels: Array = decode_with(imagecodecs.jpeg8_decode, data)
    if pixels.shape != shape or pixels.dtype != np.uint8:
        raise UnnamedFileError(
            f"is corrupt: it decodes to {pixels.dtype} {pixels.shape}, not to uint8 {shape}"
        )
    # Adobe stores ink as 255 - ink.
    return np.invert(pixels, out=pixels) if inverted else pixels


def _metadata(own: Segments) -> Metadata:
    exif = next((c[len(_EXIF) :] for m, c in own.kept if m == _APP1 and c.startswith(_EXIF)), None)
    xmp = next((c[len(_XMP) :] for m, c in own.kept if m == _APP1 and c.startswith(_XMP)), None)
    parts = sorted((c[12], c[14:]) for m, c in own.kept if m == _APP2 and c.startswith(_ICC) and len(c) > 14)
    icc = b"".join(part for _, part in parts) or None
    resolution = _density(own.kept) or resolution_of(exif)
    return Metadata(exif, icc, xmp, resolution, own.colours in ("CMYK", "YCCK"), own)


def _density(kept: tuple[tuple[int, bytes], ...]) -> tuple[float, float] | None:
    for marker, content in kept:
        if marker == _APP0 and content.startswith(b"JFIF\0") and len(content) >= 12:
            unit, x, y = struct.unpack_from(">BHH", content, 7)
            inches = {1: 1.0, 2: 2.54}.get(unit)
            if inches and x and y:
                return x * inches, y * inches
    return None


def write(file: BinaryIO, page: Page, like: ImageInfo, quality: int) -> None:
    """Encode, and put the segments of `like` in the place of libjpeg's own."""
    rows, columns = page.pixels.shape[:2]
    if max(rows, columns) > _MAX_SIDE:
        raise UnnamedFileError(
            f"JPEG holds up to {_MAX_SIDE} rows and columns; this image has {columns} × {rows}; "
            "use .png or .tif"
        )
    kind = layout_of(page, like).kind
    own = like.metadata.own or _translated(like)
    encoded = _encode(page.pixels, kind, own, quality)
    position = 2
    file.write(encoded[:2])
    if encoded[2:4] == bytes((0xFF, _APP0)):
        position += 2 + struct.unpack_from(">H", encoded, 4)[0]
        # JFIF says YCbCr or grey; without it libjpeg's Adobe marker says RGB or CMYK.
        file.write(_jfif(own, encoded[2:position]))
    for marker, content in own.kept:
        if _goes_along(marker, content, icc_for(like, kind) is not None):
            _write_segment(file, marker, content)
    file.write(memoryview(encoded)[position:])


def _encode(pixels: Array, kind: str, own: Segments, quality: int) -> bytes:
    import imagecodecs

    colours = own.colours
    if kind == "grey":
        options = {"colorspace": "GRAYSCALE", "outcolorspace": "GRAYSCALE"}
    elif kind == "cmyk":
        options = {"colorspace": "CMYK", "outcolorspace": colours if colours in ("CMYK", "YCCK") else "CMYK"}
        pixels = np.invert(pixels)
    else:
        options = {"colorspace": "RGB", "outcolorspace": "RGB" if colours == "RGB" else "YCBCR"}
    if kind != "grey" and options["outcolorspace"] not in ("RGB", "CMYK"):
        options["subsampling"] = own.subsampling
    return bytes(encode_with(imagecodecs.jpeg8_encode, np.ascontiguousarray(pixels), quality, **options))


def _jfif(own: Segments, default: bytes) -> bytes:
    for marker, content in own.kept:
        if marker == _APP0 and content.startswith(b"JFIF\0") and len(content) >= 14:
            # Without the thumbnail, which would show the unfiltered image.
            plain = content[:12] + b"\0\0"
            return struct.pack(">BBH", 0xFF, _APP0, len(plain) + 2) + plain
    return default


def _goes_along(marker: int, content: bytes, with_profile: bool) -> bool:
    if marker == _APP0 and content.startswith((b"JFIF\0", b"JFXX\0")):
        return False
    if marker == _APP2 and content.startswith(_ICC):
        return with_profile
    # The table of a multi-picture file points to pictures that are not written.
    multi_picture = marker == _APP2 and content.startswith(b"MPF\0")
    adobe = marker == _APP14 and content.startswith(b"Adobe")
    return not (multi_picture or adobe)


def _write_segment(file: BinaryIO, marker: int, content: bytes) -> None:
    file.write(struct.pack(">BBH", 0xFF, marker, len(content) + 2))
    file.write(content)


def _translated(like: ImageInfo) -> Segments:
    """Return segments with the metadata of a file of another format."""
    metadata = like.metadata
    found: list[tuple[int, bytes]] = []
    if metadata.resolution:
        x, y = (min(max(round(value), 1), 65535) for value in metadata.resolution)
        found.append((_APP0, b"JFIF\0\1\1" + struct.pack(">BHHBB", 1, x, y, 0, 0)))
    for marker, prefix, content in ((_APP1, _EXIF, metadata.exif), (_APP1, _XMP, metadata.xmp)):
        if content and len(prefix) + len(content) <= _MAX_SEGMENT:
            found.append((marker, prefix + content))
    profile = metadata.icc or b""
    step = _MAX_SEGMENT - 14
    parts = [profile[start : start + step] for start in range(0, len(profile), step)]
    if len(parts) < 256:
        found += [(_APP2, _ICC + bytes((i + 1, len(parts))) + part) for i, part in enumerate(parts)]
    return Segments(tuple(found), colours="CMYK" if metadata.cmyk else "YCBCR")
