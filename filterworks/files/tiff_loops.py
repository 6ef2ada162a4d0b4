"""Loops over many strips or tiles of a TIFF in one call, to be translated.

See :mod:`~filterworks.machine.translation`. Nothing is read from outside of the bytes that are given,
whatever they say; where the samples go is up to the caller.
"""

from __future__ import annotations

from filterworks.files.lzw import BEFORE, BEHIND, FINE, LITERALS, WRONG, pack, unpack
from filterworks.files.tiff_samples import filter_line, restore_line
from filterworks.machine.intrinsics import Bytes, Integers, Places
from filterworks.machine.translation import translated

# Numbers that describe a segment that is read, and one that is written.
READ, WRITE = 7, 5
_LITERALS, _BEFORE, _AROUND = LITERALS, BEFORE, BEFORE + BEHIND


@translated
def restore_lines(room: Bytes, segments: Integers, at: int, shape: Integers, out: Bytes) -> None:
    """Write the samples of an unpacked segment, whose description begins at `at`."""
    line = segments[at + 3]
    place = segments[at + 6]
    for _row in range(segments[at + 4]):
        restore_line(room, line, segments[at + 5], shape, out, place)
        line = line + shape[4]
        place = place + shape[6]


@translated
def filter_lines(image: Bytes, segments: Integers, at: int, shape: Integers, raw: Bytes) -> None:
    """Write the lines of a segment, whose description begins at `at`, as they are packed."""
    place = segments[at]
    for row in range(segments[at + 3]):
        filter_line(image, place, segments[at + 2], segments[at + 4], shape, raw, row * shape[4])
        place = place + (shape[6] if row + 1 < segments[at + 1] else 0)


@translated
def restore_segments(room: Bytes, segments: Integers, count: int, shape: Integers, out: Bytes) -> None:
    """Write the samples of unpacked segments, as :func:`read_lzw`."""
    for number in range(count):
        restore_lines(room, segments, READ * number, shape, out)


@translated
def read_lzw(
    data: Bytes,
    size: int,
    segments: Integers,
    count: int,
    shape: Integers,
    table: Integers,
    room: Bytes,
    room_size: int,
    out: Bytes,
    found: Integers,
) -> int:
    """Read segments; return the number of one that is corrupt, or `count`.

    Parameters
    ----------
    data, size
        What may be read.
    segments, count
        Of each: start and length in `data`, bytes when unpacked, where in `room` the first line that is
        wanted begins, lines that are wanted, their columns, place in `out`.
    shape
        As for :func:`~filterworks.files.tiff_samples.restore_line`.
    table, room
        As for :func:`~filterworks.files.lzw.unpack`.
    found
        How many bytes that one has, and what else it comes to.
    """
    for code in range(_LITERALS):
        table[code] = (code << 16) | 1
    for value in range(_BEFORE):
        room[value] = value
    for number in range(count):
        at = READ * number
        needed = segments[at + 2]
        found[1] = WRONG
        if needed < 0 or needed > room_size - _AROUND:
            return number
        found[1] = unpack(data, size, segments[at], segments[at + 1], needed, table, room, found)
        if found[1] != FINE:
            return number
        restore_lines(room, segments, at, shape, out)
    return count


@translated
def write_lzw(
    image: Bytes,
    segments: Integers,
    first: int,
    count: int,
    shape: Integers,
    raw: Bytes,
    slots: Places,
    codes: Places,
    state: Integers,
    out: Bytes,
    room: int,
    ends: Integers,
) -> int:
    """Pack segments from the number `first` on as long as `out` has room; return the number of the next.

    Parameters
    ----------
    segments, count
        Of each: place in `image`, lines and columns that are there, lines and columns of the segment.
    shape
        As for :func:`~filterworks.files.tiff_samples.filter_line`.
    raw
        Room for a segment.
    slots, codes, state
        As for :func:`~filterworks.files.lzw.pack`.
    ends
        Where in `out` each segment ends.
    """
    place = 0
    number = first
    while number < count:
        size = segments[WRITE * number + 3] * shape[4]
        if place + 2 * size + 64 > room:
            return number
        filter_lines(image, segments, WRITE * number, shape, raw)
        place = pack(raw, size, slots, codes, state, out, place)
        ends[number] = place
        number = number + 1
    return number
