"""Smaller copies of a large page, each half as high and wide as the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np

from filterworks.arguments import Array, saturate
from filterworks.bands import BAND, bands
from filterworks.batch.flow import Flow
from filterworks.batch.pixels import premultiplied, to_pixels
from filterworks.files import Page, Raster, Sheet
from filterworks.files.tiff import reopened
from filterworks.files.tiff_writer import TiffSheet

# The smallest copy has at most so many rows and columns, where the input has no smaller one.
_SMALLEST = 512
_RESIZED = ("uint8", "uint16", "int16", "float32", "float64")


def halved(pixels: Array) -> Array:
    """Return the means of 2 × 2 pixels; an odd last row or column counts twice.

    Examples
    --------
    >>> halved(np.array([[1, 3, 9], [5, 7, 9]], dtype=np.uint8))
    array([[4, 9]], dtype=uint8)
    """
    odd = [(0, size % 2) for size in pixels.shape[:2]] + [(0, 0)] * (pixels.ndim - 2)
    even = np.pad(pixels, odd, "edge") if pixels.shape[0] % 2 or pixels.shape[1] % 2 else pixels
    rows, columns = even.shape[0] // 2, even.shape[1] // 2
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.dtype.name in _RESIZED and channels <= 4:
        small = cv2.resize(np.ascontiguousarray(even), (columns, rows), interpolation=cv2.INTER_AREA)
        return np.asarray(small).reshape(rows, columns, *pixels.shape[2:])
    means = even.reshape(rows, 2, columns, 2, *pixels.shape[2:]).mean(axis=(1, 3), dtype=np.float64)
    return saturate(means, pixels.dtype) if pixels.dtype.kind in "iu" else means.astype(pixels.dtype)


def overviews(
    page: Raster,
    sheet: TiffSheet,
    least: int | None,
    threads: int,
    begun: Callable[[Sheet, int], tuple[int, Callable[[int], None]]],
) -> None:
    """Add the overviews of a page to its file, each made from the one before.

    Parameters
    ----------
    page
        What was written to the sheet: its shape, dtype and alpha.
    least
        How many there are to be at least, if the page has so many halves; None: no overviews.
    begun
        Hears of each overview before it is made.
    """
    last = sheet
    for shape in [] if least is None else _shapes(page.shape, least):
        with reopened(last) as source:
            small = sheet.overview(Page(np.broadcast_to(page.dtype.type(0), shape), page.alpha))
            start, after = begun(small, shape[0])
            _halve(source, small, threads, start, after)
        last = small


def _shapes(shape: tuple[int, ...], least: int) -> Iterator[tuple[int, ...]]:
    made = 0
    while max(shape[:2]) > (_SMALLEST if made >= least else 1):
        shape, made = (-(-shape[0] // 2), -(-shape[1] // 2), *shape[2:]), made + 1
        yield shape


def _halve(source: Raster, sheet: TiffSheet, threads: int, start: int, after: Callable[[int], None]) -> None:
    per_row = int(np.prod(source.shape[1:]))
    steps = list(bands((source.shape[0], per_row), 0, BAND, unit=2 * sheet.unit))
    first = next(
        (number for number, (_, _, write) in enumerate(steps) if write.start >= 2 * start), len(steps)
    )

    def work(band: tuple[slice, slice, slice], window: Array) -> object:
        if source.alpha != "straight":
            return sheet.pack(band[2].start // 2, halved(window))
        colours, opacity = premultiplied(window, halved)
        shown, _ = to_pixels(colours, window.dtype, "clip")
        return sheet.pack(band[2].start // 2, np.concatenate([shown, opacity[..., None]], axis=-1))

    def take(band: tuple[slice, slice, slice], packed: object) -> None:
        sheet.append(packed)  # type: ignore[arg-type]  # what `work` made
        after(-(-band[2].stop // 2))

    Flow(steps, source.rows, work, take, first).run(threads)
