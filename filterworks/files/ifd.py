"""Image file directories: the tagged lists of TIFF and Exif, read and written without loss.

Sources: Adobe, TIFF Revision 6.0; the BigTIFF design, http://bigtiff.org; CIPA DC-008 (Exif).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from filterworks.files.source import UnnamedFileError

# Bytes per value, and bytes per unit that has a byte order (a rational is two of them).
_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_UNITS = {**_SIZES, 5: 4, 10: 4}
_CODES = {
    1: "B",
    2: "s",
    3: "H",
    4: "I",
    6: "b",
    7: "s",
    8: "h",
    9: "i",
    11: "f",
    12: "d",
    13: "I",
    16: "Q",
    17: "q",
    18: "Q",
}
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, LONG8 = 1, 2, 3, 4, 5, 7, 16
EXIF, GPS, INTEROPERABILITY = 34665, 34853, 40965
_CHILDREN = frozenset((EXIF, GPS, INTEROPERABILITY))
_MAX_ENTRIES = 4096
_MAX_VALUE = 64 << 20

Read = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Entry:
    """One tag: its values as bytes in the byte order ``order`` (< or >), or the directory it points to."""

    tag: int
    kind: int
    count: int
    data: bytes
    order: str = "<"
    children: tuple[Entry, ...] | None = None

    def values(self) -> tuple[Any, ...]:
        """Return the values as numbers; rationals as pairs, text as one bytes object.

        Examples
        --------
        >>> Entry(282, RATIONAL, 1, bytes((72, 0, 0, 0, 1, 0, 0, 0))).values()
        ((72, 1),)
        """
        if self.kind in (ASCII, UNDEFINED):
            return (self.data,)
        if self.kind in (5, 10):
            flat = struct.unpack(f"{self.order}{2 * self.count}{'I' if self.kind == 5 else 'i'}", self.data)
            return tuple(zip(flat[::2], flat[1::2], strict=True))
        return struct.unpack(f"{self.order}{self.count}{_CODES[self.kind]}", self.data)

    def in_order(self, order: str) -> bytes:
        """Return the values as bytes in this byte order."""
        unit = _UNITS[self.kind]
        if order == self.order or unit == 1:
            return self.data
        return b"".join(self.data[i : i + unit][::-1] for i in range(0, len(self.data), unit))


def entry(tag: int, kind: int, *values: int) -> Entry:
    """Return a tag with whole numbers; a rational takes two for each value."""
    code = "I" if kind == RATIONAL else _CODES[kind]
    count = len(values) // 2 if kind == RATIONAL else len(values)
    return Entry(tag, kind, count, struct.pack(f"<{len(values)}{code}", *values))


def read_ifd(
    read: Read, offset: int, order: str, *, big: bool = False, strict: bool = True, depth: int = 0
) -> tuple[dict[int, Entry], int]:
    """Return the tags of the directory at `offset`, and the offset of the next directory (0: none).

    Parameters
    ----------
    read
        Returns the bytes at an offset; raises where there are none.
    strict
        Whether a tag whose values lie outside the file is an error; Exif blocks of real cameras have some.
    """
    count_code, size, pointer = ("Q", 20, "Q") if big else ("H", 12, "I")
    head = struct.calcsize(count_code)
    (count,) = struct.unpack(order + count_code, read(offset, head))
    if not 0 < count <= _MAX_ENTRIES:
        raise UnnamedFileError(f"is corrupt: a directory at byte {offset} says that it has {count} tags")
    table = read(offset + head, count * size + struct.calcsize(pointer))
    tags: dict[int, Entry] = {}
    for start in range(0, count * size, size):
        found = _entry(read, table[start : start + size], order, big, strict, depth)
        if found is not None:
            tags.setdefault(found.tag, found)
    return tags, struct.unpack_from(order + pointer, table, count * size)[0]


def _entry(read: Read, packed: bytes, order: str, big: bool, strict: bool, depth: int) -> Entry | None:
    tag, kind, count = struct.unpack_from(order + ("HHQ" if big else "HHI"), packed)
    if kind not in _SIZES:
        return None
    length = count * _SIZES[kind]
    room = packed[12:] if big else packed[8:]
    if tag in _CHILDREN:
        return _child(read, tag, struct.unpack(order + ("Q" if big else "I"), room)[0], order, big, depth)
    if length <= len(room):
        return Entry(tag, kind, count, room[:length], order)
    if length > _MAX_VALUE:
        if strict:
            raise UnnamedFileError(f"is corrupt: its tag {tag} says that it has {length:,} bytes")
        return None
    try:
        data = read(struct.unpack(order + ("Q" if big else "I"), room)[0], length)
    except UnnamedFileError:
        if strict:
            raise
        return None
    return Entry(tag, kind, count, data, order)


def _child(read: Read, tag: int, offset: int, order: str, big: bool, depth: int) -> Entry | None:
    """Read the directory that a tag points to; a damaged one is left out, since no pixel depends on it."""
    if depth > 2:
        return None
    try:
        tags, _ = read_ifd(read, offset, order, big=big, strict=False, depth=depth + 1)
    except UnnamedFileError:
        return None
    return Entry(tag, LONG, 1, b"", order, tuple(tags.values()))


def pack_ifd(
    entries: Iterable[Entry], offset: int, order: str, *, big: bool = False, following: int = 0
) -> bytes:
    """Return a directory that is to stand at `offset`, with its values and child directories behind it.

    Parameters
    ----------
    following
        The offset of the next directory.
    """
    ordered = sorted(entries, key=lambda item: item.tag)
    count_code, size, pointer = ("Q", 20, "Q") if big else ("H", 12, "I")
    head, room = struct.calcsize(count_code), struct.calcsize(pointer)
    behind = bytearray()
    start = offset + head + len(ordered) * size + room
    table = bytearray(struct.pack(order + count_code, len(ordered)))
    for item in ordered:
        kind, count, data = item.kind, item.count, item.in_order(order)
        place = start + len(behind)
        if item.children is not None:
            behind += pack_ifd(item.children, place, order, big=big)
            data = struct.pack(order + pointer, place)
            kind = LONG8 if big else LONG
        elif len(data) > room:
            behind += data
            data = struct.pack(order + pointer, place)
        if len(behind) % 2:
            behind += b"\0"
        table += struct.pack(order + ("HHQ" if big else "HHI"), item.tag, kind, count) + data.ljust(
            room, b"\0"
        )
    return bytes(table + struct.pack(order + pointer, following) + behind)
