"""Exif blocks: small TIFF files inside JPEG, PNG and WebP."""

from __future__ import annotations

from collections.abc import Iterable

from filterworks.files.ifd import EXIF, GPS, RATIONAL, SHORT, Entry, entry, pack_ifd, read_ifd
from filterworks.files.source import UnnamedFileError

X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, XMP, ICC = 282, 283, 296, 700, 34675
# Description, make, model, orientation, resolution, software, date, artist, copyright: the tags
# that CIPA DC-008 puts into the first directory and that are true for any file format.
COMMON = frozenset(
    (270, 271, 272, 274, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, 305, 306, 315, 33432, EXIF, GPS)
)


def unpack(block: bytes) -> dict[int, Entry]:
    """Return the tags of the first directory of an Exif block; none if it is damaged."""

    def read(offset: int, length: int) -> bytes:
        if offset + length > len(block):
            raise UnnamedFileError("has a damaged Exif block")
        return block[offset : offset + length]

    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return {}
    try:
        return read_ifd(
            read, int.from_bytes(block[4:8], "little" if order == "<" else "big"), order, strict=False
        )[0]
    except UnnamedFileError:
        return {}


def pack(entries: Iterable[Entry]) -> bytes | None:
    """Return an Exif block with the tags that are true for any file format, or None if there are none.

    Examples
    --------
    >>> unpack(pack([entry(274, SHORT, 6)]))[274].values()
    (6,)
    """
    kept = [item for item in entries if item.tag in COMMON]
    return b"II*\0\x08\0\0\0" + pack_ifd(kept, 8, "<") if kept else None


def resolution_of(block: bytes | None) -> tuple[float, float] | None:
    """Return dots per inch along x and y, as an Exif block says."""
    return resolution_in(unpack(block)) if block else None


def resolution_in(tags: dict[int, Entry]) -> tuple[float, float] | None:
    """Return dots per inch along x and y, as these tags say."""
    if not (X_RESOLUTION in tags and Y_RESOLUTION in tags):
        return None
    unit = tags[RESOLUTION_UNIT].values()[:1] if RESOLUTION_UNIT in tags else (2,)
    inches = {(2,): 1.0, (3,): 2.54}.get(unit)
    ratios = [tags[tag].values()[:1] for tag in (X_RESOLUTION, Y_RESOLUTION) if tags[tag].kind == RATIONAL]
    if inches is None or len(ratios) != 2 or not all(ratio and min(ratio[0]) > 0 for ratio in ratios):
        return None
    x, y = (ratio[0][0] / ratio[0][1] * inches for ratio in ratios)
    return x, y


def resolution_entries(resolution: tuple[float, float]) -> list[Entry]:
    """Return the tags for dots per inch along x and y, to a thousandth."""
    x, y = (min(max(round(value * 1000), 1), 2**32 - 1) for value in resolution)
    return [
        entry(X_RESOLUTION, RATIONAL, x, 1000),
        entry(Y_RESOLUTION, RATIONAL, y, 1000),
        entry(RESOLUTION_UNIT, SHORT, 2),
    ]
