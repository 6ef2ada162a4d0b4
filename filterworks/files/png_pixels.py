"""Pack pixels for PNG: one filter for the whole image, then deflate.

libpng chooses a filter for every row and packs with zlib, which is most of the time of saving a
photo. One filter per image, applied by NumPy, and libdeflate's first level take half the time of
OpenCV's fast setting for files of the same size, and do not bloat drawings as that does.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np

from filterworks.arguments import Array
from filterworks.files.source import encode_with

_NONE, _LEFT, _UP = 0, 1, 2
# In this order: of two that leave bytes as small as each other, the first one is taken.
_TRIED = np.array([[_UP], [_LEFT], [_NONE]], np.uint8)
# libdeflate packs in one call and needs all the filtered bytes at once; above this they are streamed.
_AT_ONCE = 128 << 20
_BAND = 8 << 20
# Packing a small image thrice to see takes longer than reading, filtering and writing it.
_SMALL = 16 << 10
_SAMPLED_ROWS = 16
_SAMPLED_BYTES = 64 << 10


def packed_pixels(pixels: Array) -> Iterator[bytes | bytearray]:
    """Yield `pixels`, filtered and packed, in one or more pieces."""
    if pixels.nbytes <= _AT_ONCE:
        import imagecodecs

        is_small = len(pixels) > 1 and pixels.nbytes <= _SMALL
        filtered = _best(pixels) if is_small else _filtered(pixels, 0, len(pixels), _choose_filter(pixels))
        yield encode_with(imagecodecs.deflate_encode, filtered, 1)
        return
    chosen = _choose_filter(pixels)
    packer = zlib.compressobj(1, strategy=zlib.Z_RLE)
    band = max(1, _BAND // pixels[0].nbytes)
    for row in range(0, len(pixels), band):
        packed = packer.compress(_filtered(pixels, row, min(row + band, len(pixels)), chosen).data)
        if packed:
            yield packed
    yield packer.flush()


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


def _best(pixels: Array) -> Array:
    """Return the rows of a small image with the filter that leaves the smallest bytes.

    So libpng estimates what packs best.
    """
    lines, step = _lines(pixels), _pixel_bytes(pixels)
    rows, width = lines.shape
    # Outside there are zeros.
    around = np.zeros((rows + 1, width + step), np.uint8)
    around[1:, step:] = lines
    tried = np.empty((3, rows, width + 1), np.uint8)
    tried[:, :, 0] = _TRIED
    np.subtract(lines, around[:-1, step:], out=tried[0, :, 1:])
    np.subtract(lines, around[1:, :-step], out=tried[1, :, 1:])
    tried[2, :, 1:] = lines
    sizes = np.abs(tried[:, :, 1:].view(np.int8)).view(np.uint8).reshape(3, -1).sum(axis=1, dtype=np.uint32)
    return np.asarray(tried[sizes.argmin()])


def _pixel_bytes(pixels: Array) -> int:
    return pixels.dtype.itemsize * (pixels.shape[2] if pixels.ndim == 3 else 1)


def _choose_filter(pixels: Array) -> int:
    """Return the filter that packs best over a few pairs of rows."""
    if len(pixels) == 1:
        return _LEFT
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
