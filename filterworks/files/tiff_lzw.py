"""Strips and tiles that are packed with LZW, many of them in one call of a compiled loop.

A page may have thousands of strips of a few rows. What the loops do not do, and whatever is wrong with
a strip, is left to :mod:`~filterworks.files.tiff_pixels` and :mod:`~filterworks.files.tiff_writer`, which
do one after the other with imagecodecs: the pixels and the bytes are the same either way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import Array
from filterworks.files.source import Source
from filterworks.files.tiff_layout import LZW, Directory, Run, Segments, Style
from filterworks.machine.compiler import CompilerError, obstacle, start_seconds

# Packed bytes that are held at once, and the room for those that are made, if that is enough for a segment.
_AT_ONCE = 4 << 20
# Bytes between two segments that are read along with them.
_GAP = 4096
# Seconds that the loops save for each byte.
_SAVED = 8e-9
Integers = NDArray[np.int64]


@dataclass
class _Start:
    """How much could have been saved: loading the compiler has to be worth it."""

    seconds: float = 0.0


_START = _Start()


@cache
def _compiled() -> tuple[Any, Any] | None:
    from filterworks.files import lzw

    try:
        return lzw.read_segments.compiled, lzw.write_segments.compiled
    except CompilerError:
        return None


def _loops(size: int) -> tuple[Any, Any] | None:
    """Return the loops that read and write; None where there are none, or for too few bytes so far."""
    if obstacle() is not None:
        return None
    _START.seconds += _SAVED * size
    return None if _START.seconds < start_seconds() else _compiled()


def read_segments(source: Source, directory: Directory, segments: Segments, image: Array) -> list[int]:
    """Decode what can be decoded here into `image`; return which segments of the list are left.

    Parameters
    ----------
    image
        (planes, rows, columns, channels), native byte order.
    """
    style = directory.style
    everything = list(range(len(segments.numbers)))
    is_known = style.predictor != 3 and (style.predictor != 2 or image.dtype.kind in "iu")
    if style.compression != LZW or directory.fill_order == 2 or directory.bits < 8 or not is_known:
        return everything
    loops = _loops(image.nbytes)
    if loops is None:
        return everything
    offsets = np.array([directory.offsets[number] for number in segments.numbers], np.int64)
    counts = np.array([directory.counts[number] for number in segments.numbers], np.int64)
    depth, size = image.shape[-1], image.itemsize
    line = directory.segment[1] * depth * size
    shape = np.array([size, depth, not directory.stored.isnative, style.predictor == 2, line,
                      image.strides[1]], np.int64)  # fmt: skip
    left: list[int] = []
    for first, last in _together(offsets, counts):
        left += _read(source, segments, (first, last), offsets, counts, shape, image, loops[0])
    return left


def _together(offsets: Integers, counts: Integers) -> list[tuple[int, int]]:
    """Return from where to where segments lie one behind the other, not too many bytes in all."""
    gaps = offsets[1:] - (offsets + counts)[:-1]
    parts = np.cumsum(counts) // _AT_ONCE
    starts = np.flatnonzero((gaps < 0) | (gaps > _GAP) | (parts[1:] != parts[:-1])) + 1
    stops = [*starts.tolist(), len(offsets)]
    return list(zip([0, *stops[:-1]], stops, strict=True))


def _read(
    source: Source,
    segments: Segments,
    span: tuple[int, int],
    offsets: Integers,
    counts: Integers,
    shape: Integers,
    image: Array,
    loop: Any,
) -> list[int]:
    """Decode the segments of one span; return those that are left."""
    from filterworks.files.lzw import BEFORE, BEHIND, READ, STRINGS

    first, last = span
    line = int(shape[4])
    needed = segments.stored_rows[first:last] * line
    # What claims to be packed into far too much is refused elsewhere, before it is read.
    if (counts[first:last] > 4 * needed).any():
        return list(range(first, last))
    begin = int(offsets[first])
    data = np.frombuffer(source.at(begin, int(offsets[last - 1] + counts[last - 1]) - begin), np.uint8)
    table = np.empty((last - first, READ), np.int64)
    table[:, 0] = offsets[first:last] - begin
    table[:, 1] = counts[first:last]
    table[:, 2] = needed
    table[:, 3] = BEFORE + segments.skipped[first:last] * line
    table[:, 4] = segments.rows[first:last]
    table[:, 5] = segments.columns[first:last]
    table[:, 6] = (
        segments.planes[first:last] * image.strides[0]
        + segments.tops[first:last] * image.strides[1]
        + segments.lefts[first:last] * image.strides[2]
    )
    strings = np.empty(STRINGS, np.int64)
    room = np.empty(BEFORE + int(needed.max()) + BEHIND, np.uint8)
    left = []
    done = 0
    while done < last - first:
        done = loop(
            data.ctypes.data, data.size, table.ctypes.data, done, last - first, shape.ctypes.data,
            strings.ctypes.data, room.ctypes.data, image.ctypes.data,
        )  # fmt: skip
        if done < last - first:
            left.append(first + done)
            done += 1
    return left


def write_segments(
    image: Array, stored: np.dtype[Any], style: Style, segments: Segments, segment: tuple[int, int]
) -> list[Run] | None:
    """Return segments of an image as they are stored; None where that is left to others.

    Parameters
    ----------
    image
        (rows, columns, channels).
    stored
        The type of the samples in the file.
    segment
        Rows and columns of a tile, which is filled up, or of a strip.
    """
    loops = _loops(image.nbytes)
    if loops is None:
        return None
    from filterworks.files.lzw import WRITE

    if image.strides[2] != image.itemsize or not image.dtype.isnative:
        image = np.ascontiguousarray(image, stored.newbyteorder("="))
    depth, size = 1 if style.planar else image.shape[2], image.itemsize
    down, right = image.strides[:2]
    shape = np.array([size, depth, not stored.isnative, style.predictor == 2, right, down], np.int64)
    places = segments.tops * down + segments.lefts * right + segments.planes * size
    table = np.empty((len(places), WRITE), np.int64)
    table[:, 0] = places
    table[:, 1] = segments.rows
    table[:, 2] = segments.columns
    table[:, 3] = segments.stored_rows
    table[:, 4] = segment[1]
    largest = segment[0] * segment[1] * depth * size
    return list(_write(image, table, segments.numbers, shape, largest, loops[1]))


def _write(
    image: Array, table: Integers, numbers: list[int], shape: Integers, largest: int, loop: Any
) -> Iterator[Run]:
    from filterworks.files.lzw import CODES, SLOTS

    raw, state = np.empty(largest, np.uint8), np.empty(3, np.int64)
    slots, codes = np.empty(SLOTS, np.int32), np.empty(CODES, np.int32)
    ends = np.empty(len(table), np.int64)
    done = 0
    while done < len(table):
        out = np.empty(max(_AT_ONCE, 2 * largest + 64), np.uint8)
        first = done
        done = loop(
            image.ctypes.data, table.ctypes.data, first, len(table), shape.ctypes.data,
            raw.ctypes.data, slots.ctypes.data, codes.ctypes.data, state.ctypes.data, out.ctypes.data,
            out.size, ends.ctypes.data,
        )  # fmt: skip
        sizes = np.diff(ends[first:done], prepend=0).tolist()
        yield Run(numbers[first:done], sizes, out[: ends[done - 1]].data)
