"""Strips and tiles of a TIFF, many of them in one call of a compiled loop.

A page may have thousands of strips of a few rows. What the loops do not do, and whatever is wrong with
a strip, is left to :mod:`~filterworks.files.tiff_pixels` and :mod:`~filterworks.files.tiff_writer`, which
do one after the other with imagecodecs: the pixels and the bytes are the same either way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import Array
from filterworks.files.source import Source, UnnamedFileError, decode_with
from filterworks.files.tiff_layout import LZW, Directory, Run, Segments, Style
from filterworks.machine.compiler import CompilerError, obstacle, start_seconds

# Bytes of segments that are held at once, packed and unpacked, if that is enough for one.
_AT_ONCE = 4 << 20
# Bytes between two segments that are read along with them.
_GAP = 4096
# Seconds that the loops save for each byte that LZW packs, and for each other segment.
_SAVED_BY_BYTE, _SAVED_BY_SEGMENT = 8e-9, 1e-5
# Segments shorter than this many bytes are restored together; of longer ones NumPy does each as fast.
_SHORT = 32 << 10
# More packed bytes than this for an unpacked one, and besides, are no real segment. LZW has no tables of its
# own, and many segments may claim the same bytes.
_LARGEST_RATIO, _LARGEST_REST, _LARGEST_REST_OF_LZW = 4, 1 << 20, 1 << 12
WRONG_CODES = "is corrupt: a strip or tile holds LZW codes that there cannot be"
# Kinds of samples that each predictor is for.
_PREDICTED = {1: "iuf", 2: "iu", 3: "f"}
Integers = NDArray[np.int64]
Decoder = Callable[..., Any]
Sizes = TypeVar("Sizes", int, Integers)


def largest(needed: Sizes, compression: int) -> Sizes:
    """Return into how many bytes so many may be said to be packed."""
    return _LARGEST_RATIO * needed + (_LARGEST_REST_OF_LZW if compression == LZW else _LARGEST_REST)


@dataclass
class _Start:
    """How much could have been saved so far: loading the compiler has to be worth it."""

    seconds: float = 0.0


_START = _Start()


@cache
def _compiled() -> ModuleType | None:
    from filterworks.files import tiff_loops

    try:
        _ = tiff_loops.read_lzw.compiled
    except CompilerError:
        return None
    return tiff_loops


def _loops(saved: float) -> ModuleType | None:
    """Return the loops; None where there are none, or for too little that they save, in seconds, so far."""
    if obstacle() is not None:
        return None
    _START.seconds += saved
    return None if _START.seconds < start_seconds() else _compiled()


def read_segments(
    source: Source, directory: Directory, segments: Segments, image: Array, decoder: Decoder | None
) -> list[int]:
    """Decode what can be decoded here into `image`; return which segments of the list are left.

    Parameters
    ----------
    image
        (planes, rows, columns, channels), native byte order.
    decoder
        What unpacks bytes, unless that is LZW.
    """
    style = directory.style
    everything = list(range(len(segments.numbers)))
    is_known = image.dtype.kind in _PREDICTED.get(style.predictor, "") and directory.bits >= 8
    if not is_known or (decoder is None and style.compression != LZW):
        return everything
    if decoder is None:
        loops = lzw_loops()
    else:
        is_short = image.nbytes < _SHORT * len(everything) or style.predictor == 3
        loops = _loops(_SAVED_BY_SEGMENT * len(everything)) if is_short else None
    if loops is None:
        return everything
    return _Reader(source, directory, segments, image, decoder, loops).read()


def lzw_loops() -> ModuleType | None:
    """Return the loops that unpack LZW, however little there is: corrupt codes can crash imagecodecs."""
    return None if obstacle() is not None else _compiled()


def unpacked_lzw(data: bytes, needed: int, loops: ModuleType) -> Array:
    """Return the first `needed` bytes of what is packed."""
    given = np.frombuffer(data, np.uint8)
    out = np.empty(needed, np.uint8)
    table = np.array([[0, len(given), needed, 0, 1, needed, 0]], np.int64)
    _read_lzw(loops, given, table, np.array([1, 1, 0, 1, needed, 0, needed], np.int64), out)
    return out


def _read_lzw(loops: ModuleType, given: Array, table: Integers, shape: Integers, out: Array) -> None:
    from filterworks.files.lzw import BEFORE, BEHIND, SHORT, STRINGS

    table[:, 3] += BEFORE
    strings, found = np.empty(STRINGS, np.int64), np.zeros(2, np.int64)
    room = np.empty(BEFORE + int(table[:, 2].max()) + BEHIND, np.uint8)
    done = loops.read_lzw.compiled(
        given.ctypes.data, given.size, table.ctypes.data, len(table), shape.ctypes.data,
        strings.ctypes.data, room.ctypes.data, room.size, out.ctypes.data, found.ctypes.data,
    )  # fmt: skip
    if done == len(table):
        return
    if found[1] == SHORT:
        raise UnnamedFileError(f"is corrupt: a strip or tile holds {found[0]} of {table[done, 2]} bytes")
    raise UnnamedFileError(WRONG_CODES)


class _Reader:
    """Reads segments of one page."""

    def __init__(
        self,
        source: Source,
        directory: Directory,
        segments: Segments,
        image: Array,
        decoder: Decoder | None,
        loops: ModuleType,
    ) -> None:
        self._source, self._segments, self._image = source, segments, image
        self._decoder, self._loops, self._is_reversed = decoder, loops, directory.fill_order == 2
        self._offsets = np.array([directory.offsets[number] for number in segments.numbers], np.int64)
        self._counts = np.array([directory.counts[number] for number in segments.numbers], np.int64)
        self._line = directory.segment[1] * image.strides[2]
        self._needed = segments.stored_rows * self._line
        style = directory.style
        self._compression = style.compression
        # Predicted floating-point numbers begin with their most significant bytes, whatever the byte order.
        is_swapped = not directory.stored.isnative and style.predictor != 3
        self._shape = np.array(
            [image.itemsize, image.shape[-1], is_swapped, style.predictor, self._line, 0, image.strides[1]],
            np.int64,
        )

    def read(self) -> list[int]:
        """Read all; return what is left."""
        left: list[int] = []
        for span in self._spans():
            # What claims to be packed into far too much is refused elsewhere, before it is read.
            if (self._counts[span] > largest(self._needed[span], self._compression)).any():
                left += range(span.start, span.stop)
            else:
                left += self._read(span)
        return left

    def _spans(self) -> Iterator[slice]:
        """Yield where segments lie one behind the other, not too many bytes in all."""
        gaps = self._offsets[1:] - (self._offsets + self._counts)[:-1]
        parts = np.cumsum(self._counts + self._needed) // _AT_ONCE
        starts = np.flatnonzero((gaps < 0) | (gaps > _GAP) | (parts[1:] != parts[:-1])) + 1
        bounds = [0, *starts.tolist(), len(self._offsets)]
        return map(slice, bounds[:-1], bounds[1:])

    def _read(self, span: slice) -> list[int]:
        begin = int(self._offsets[span.start])
        size = int(self._offsets[span.stop - 1] + self._counts[span.stop - 1]) - begin
        data = self._source.at(begin, size)
        if self._is_reversed:
            import imagecodecs

            data = bytes(decode_with(imagecodecs.bitorder_decode, data))
        table = np.empty((span.stop - span.start, self._loops.READ), np.int64)
        table[:, 0] = self._offsets[span] - begin
        table[:, 1] = self._counts[span]
        table[:, 2] = self._needed[span]
        table[:, 3] = self._segments.skipped[span] * self._line
        table[:, 4] = self._segments.rows[span]
        table[:, 5] = self._segments.columns[span]
        planes, down, right = self._image.strides[:3]
        table[:, 6] = self._segments.planes[span] * planes
        table[:, 6] += self._segments.tops[span] * down + self._segments.lefts[span] * right
        if self._decoder is None:
            _read_lzw(self._loops, np.frombuffer(data, np.uint8), table, self._shape, self._image)
            return []
        return [span.start + place for place in self._unpack(data, table, self._decoder)]

    def _unpack(self, data: bytes, table: Integers, decoder: Decoder) -> list[int]:
        view = memoryview(data)
        ends = np.cumsum(table[:, 2])
        table[:, 3] += ends - table[:, 2]
        room = np.empty(ends[-1], np.uint8)
        left = []
        for place, (start, count, needed) in enumerate(table[:, :3].tolist()):
            target = room[ends[place] - needed : ends[place]]
            try:
                found = decode_with(decoder, view[start : start + count], out=target)
            except UnnamedFileError:
                left.append(place)
                continue
            if len(found) < needed:
                left.append(place)
        table = np.delete(table, left, axis=0)
        self._loops.restore_segments.compiled(
            room.ctypes.data, table.ctypes.data, len(table), self._shape.ctypes.data, self._image.ctypes.data
        )
        return left


class LzwWriter:
    """Packs strips or tiles of an image.

    Parameters
    ----------
    image
        (rows, columns, channels).
    stored
        The type of the samples in the file.
    segments, segment
        Where they are; rows and columns of a tile, which is filled up, or of a strip.
    """

    def __init__(
        self, image: Array, stored: np.dtype[Any], style: Style, segments: Segments, segment: tuple[int, int]
    ) -> None:
        if not style.planar and (image.strides[2] != image.itemsize or not image.dtype.isnative):
            image = np.ascontiguousarray(image, stored.newbyteorder("="))
        self._image, self._segments = image, segments
        depth = 1 if style.planar else image.shape[2]
        down, right, across = image.strides
        self._line = segment[1] * depth * image.itemsize
        is_swapped = not stored.isnative and style.predictor != 3
        self._shape = np.array(
            [image.itemsize, depth, is_swapped, style.predictor, self._line, right, down], np.int64
        )
        self._table = np.stack(
            [
                segments.tops * down + segments.lefts * right + segments.planes * across,
                segments.rows,
                segments.columns,
                segments.stored_rows,
                np.full(len(segments.rows), segment[1]),
            ],
            axis=1,
        )
        self._loops = _loops(_SAVED_BY_BYTE * image.nbytes)

    @property
    def is_able(self) -> bool:
        """Whether it can do that; otherwise others must."""
        return self._loops is not None

    def packed(self) -> Iterator[Run]:
        """Yield all, packed."""
        from filterworks.files.lzw import CODES, SLOTS

        assert self._loops is not None  # noqa: S101  # is_able
        table, image, shape = self._table, self._image, self._shape
        largest = int(table[:, 3].max()) * self._line
        raw, state = np.empty(largest, np.uint8), np.empty(3, np.int64)
        slots, codes = np.empty(SLOTS, np.int32), np.empty(CODES, np.int32)
        ends = np.empty(len(table), np.int64)
        done = 0
        while done < len(table):
            out = np.empty(max(_AT_ONCE, 2 * largest + 64), np.uint8)
            first = done
            done = self._loops.write_lzw.compiled(
                image.ctypes.data, table.ctypes.data, first, len(table), shape.ctypes.data, raw.ctypes.data,
                slots.ctypes.data, codes.ctypes.data, state.ctypes.data, out.ctypes.data, out.size,
                ends.ctypes.data,
            )  # fmt: skip
            sizes = np.diff(ends[first:done], prepend=0).tolist()
            used = out[: ends[done - 1]]
            # What is far smaller than its room does not keep that.
            data = used.copy() if 2 * used.size < out.size else used
            yield Run(self._segments.numbers[first:done], sizes, data.data)
