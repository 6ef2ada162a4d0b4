"""Pack pixels for PNG: one filter for the whole image, then deflate.

libpng chooses a filter for every row and packs with zlib, which is most of the time of saving a
photo. One filter per image, applied by NumPy, and libdeflate's first level take half the time of
OpenCV's fast setting for files of the same size, and do not bloat drawings as that does.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

from filterworks.arguments import Array
from filterworks.files.source import encode_with

_NONE, _LEFT, _UP = 0, 1, 2
# libdeflate packs in one call and needs all the filtered bytes at once; above this they are streamed.
_AT_ONCE = 128 << 20
_BAND = 8 << 20
# Packing a small image thrice to see takes longer than reading, filtering and writing it.
_SMALL = 16 << 10
_SAMPLED_ROWS = 16
_SAMPLED_BYTES = 64 << 10


def write_pixels(pixels: Array, write_chunk: Callable[[bytes | bytearray], None]) -> None:
    """Hand `pixels` to `write_chunk`, filtered and packed, in one or more pieces."""
    chosen = _choose_filter(pixels)
    if pixels.nbytes <= _AT_ONCE:
        import imagecodecs

        write_chunk(encode_with(imagecodecs.deflate_encode, _filtered(pixels, 0, len(pixels), chosen), 1))
        return
    packer = zlib.compressobj(1, strategy=zlib.Z_RLE)
    band = max(1, _BAND // pixels[0].nbytes)
    for row in range(0, len(pixels), band):
        packed = packer.compress(_filtered(pixels, row, min(row + band, len(pixels)), chosen).data)
        if packed:
            write_chunk(packed)
    write_chunk(packer.flush())


def _lines(pixels: Array) -> Array:
    """Return the rows as big-endian bytes."""
    stored = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">"))
    return stored.view(np.uint8).reshape(len(pixels), -1)


def _filtered(pixels: Array, first: int, last: int, chosen: int) -> Array:
    """Return rows `first` to `last`, each after the byte that names its filter."""
    lines = _lines(pixels[first:last])
    filtered = np.empty((len(lines), lines.shape[1] + 1), np.uint8)
    filtered[:, 0] = chosen
    body = filtered[:, 1:]
    if chosen == _NONE:
        body[:] = lines
    elif chosen == _LEFT:
        step = _pixel_bytes(pixels)
        body[:, :step] = lines[:, :step]
        np.subtract(lines[:, step:], lines[:, :-step], out=body[:, step:])
    else:
        body[0] = lines[0] - (_lines(pixels[first - 1 : first])[0] if first else np.uint8(0))
        np.subtract(lines[1:], lines[:-1], out=body[1:])
    return filtered


def _pixel_bytes(pixels: Array) -> int:
    return pixels.dtype.itemsize * (pixels.shape[2] if pixels.ndim == 3 else 1)


def _choose_filter(pixels: Array) -> int:
    """Return the filter that packs best over a few pairs of rows."""
    if len(pixels) == 1:
        return _LEFT
    if pixels.nbytes <= _SMALL:
        return min((_UP, _LEFT, _NONE), key=lambda name: _magnitude(_filtered(pixels, 0, len(pixels), name)))
    rows = np.unique(np.linspace(1, len(pixels) - 1, _SAMPLED_ROWS).astype(int))
    width = max(16, _SAMPLED_BYTES // (2 * len(rows) * _pixel_bytes(pixels)))
    start = max(0, (pixels.shape[1] - width) // 2)
    columns = slice(start, start + width)
    sample = np.stack([pixels[rows - 1, columns], pixels[rows, columns]], axis=1)
    sample = sample.reshape(-1, *sample.shape[2:])

    def packed_size(name: int) -> int:
        # Every second row has its true neighbour above it.
        return len(zlib.compress(_filtered(sample, 0, len(sample), name)[1::2].tobytes(), 1))

    return min((_UP, _LEFT, _NONE), key=packed_size)


def _magnitude(filtered: Array) -> int:
    """Return how far the bytes are from zero altogether, as libpng estimates what packs best."""
    return int(np.abs(filtered[:, 1:].view(np.int8)).view(np.uint8).sum())
