"""From the pixels of an image to those of its result: colour, alpha, bands, and the range of pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np

from filterworks.arguments import Array, compute_dtype
from filterworks.bands import BAND, bands
from filterworks.batch.flow import Band, Flow
from filterworks.batch.pixels import Apply, Limits, premultiplied, to_pixels
from filterworks.boundaries import as_boundary
from filterworks.chains import Chain
from filterworks.engine import stencil
from filterworks.files import Alpha, Page, Raster, Sheet, whole
from filterworks.machine.compiler import obstacle

# A band has as many rows as reaches, or as the samples allow, before they are filtered twice too often.
_REACHES = 16
_WIDE = 8 << 20
# Where rows are stored together in more samples than these, a page is decoded as a whole.
_APART = 32 << 20
# A page of no more samples that is held anyway is filtered in one piece where the chain needs nothing in
# between, and no result looks farther than so many rows and columns, and colours are few.
_WHOLE, _NEAR, _CHANNELS = 1 << 26, 16, 8
# From so many samples on it is sure that no floats are needed.
_LARGE = 1 << 24
# Bytes that one sample takes while it is filtered: the pixel, floats, a result.
WORK_BYTES = 16


@dataclass(frozen=True, eq=False)  # known by identity: comparing chains takes long
class Rendering:
    """How the pixels of an image become those of its result.

    Parameters
    ----------
    chain
        The operations.
    range_
        ``auto``, ``clip``, ``abs``, ``stretch`` or ``offset``: how values become pixels.
    limits
        The least and the greatest value of the whole result, for ``stretch``.
    apply
        What computes the chain on an array, unless it is the chain itself.
    axes
        Those that are filtered: rows and columns, or planes, rows and columns.
    """

    chain: Chain
    range_: str
    limits: Limits | None = None
    apply: Apply | None = None
    axes: tuple[int, ...] = (0, 1)

    @cached_property
    def how(self) -> str:
        """The range, chosen by the chain for ``auto``."""
        return self.range_ if self.range_ != "auto" else ("abs" if self.chain.is_signed else "clip")

    @cached_property
    def boundaries(self) -> set[str]:
        """What lies outside, for each operation."""
        return {as_boundary(dict(one.parameters).get("boundary", "symmetric")) for one in self.chain.steps}

    @cached_property
    def wraps(self) -> bool:
        """Whether the outside is found at the other end of the image, beyond the reach."""
        return "wrap" in self.boundaries

    def at_once(self, pixels: Array, keep: tuple[slice, slice], alpha: Alpha) -> tuple[Array, int] | None:
        """Return the part of the result to be kept, and how many of it were cut; None: not without values."""
        if alpha != "none" or not self._gives_pixels:
            return None
        middle = 1 << (8 * pixels.dtype.itemsize - 1)
        is_magnitude, offset = self.how == "abs", middle if self.how == "offset" else 0
        return self.chain.pixels(pixels, (0, 1), keep, absolute=is_magnitude, offset=offset)

    @cached_property
    def _gives_pixels(self) -> bool:
        """Whether the pixels of unsigned integers may be had without values in between."""
        is_plain = self.apply is None and self.axes == (0, 1) and self.how != "stretch"
        return is_plain and self.chain.gives_pixels

    def is_light(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        """Return whether the chain is one step of little work and, compiled, no memory but for its result."""
        is_stencil = self._gives_pixels and self.chain.is_stencil and "wrap" not in self.boundaries
        is_stencil = is_stencil and stencil.is_large(shape[0], math.prod(shape[1:]))
        return self.is_smooth or (is_stencil and dtype.kind == "u" and obstacle() is None)

    @cached_property
    def is_smooth(self) -> bool:
        """Whether the chain is one separable step that stays in the range of the data."""
        steps = self.chain.steps
        is_one = len(steps) == 1 and steps[0].operation.is_separable and self.apply is None
        scales = self.how == "clip" and not self.chain.may_exceed and not self.chain.is_signed
        # To leave samples out takes the sums of weights besides.
        omits = "omit" in self.boundaries or dict(steps[0].parameters).get("nan_policy") == "omit"
        return is_one and scales and not omits and max(self.chain.reach) <= _NEAR

    @cached_property
    def _reads_integers(self) -> bool:
        """Whether the chain gives the floats of integers without their being made floats before."""
        leaves = self.chain.is_signed or self.chain.may_exceed
        return self.apply is None and len(self.chain.steps) == 1 and leaves

    @cached_property
    def _compute(self) -> Apply:
        return self.apply or partial(self.chain, axes=self.axes)

    def pixels(self, values: Array, opacity: Array | None, dtype: np.dtype[Any]) -> tuple[Array, int]:
        """Return values as pixels, and how many of them were cut to the range of their dtype."""
        shown, clipped = to_pixels(values, dtype, self.how, self.limits)
        if opacity is not None:
            shown = np.concatenate([shown, opacity[..., None]], axis=-1)
        return shown, clipped

    def values(self, pixels: Array, alpha: Alpha) -> tuple[Array, Array | None]:
        """Return the values of the result, and the pixels of its alpha channel where that is apart."""
        compute = self._compute
        if alpha != "none" and self.chain.is_signed:
            return compute(np.ascontiguousarray(pixels[..., :-1])), pixels[..., -1]
        if alpha == "straight":
            return premultiplied(pixels, compute)
        if pixels.dtype.kind in "iu" and (self.how != "clip" or self.chain.may_exceed):
            # Integers would come back rounded and saturated before their range is looked at.
            if self._reads_integers:
                return self.chain(pixels, axes=self.axes, floats=True), None
            pixels = pixels.astype(compute_dtype(pixels.dtype))
        return compute(pixels), None


@dataclass(frozen=True)
class Grid:
    """How a page is cut: bands of rows, and each of them into blocks of columns.

    Attributes
    ----------
    rows, columns
        What is read, kept and written, one after the other.
    wrapped
        How many columns lie around a block that wraps around; its rows to read are then counted without
        end. None where the boundary is local.
    work_bytes
        What one sample takes while it is filtered.
    """

    rows: tuple[Band, ...]
    columns: tuple[Band, ...]
    wrapped: int | None = None
    work_bytes: int = WORK_BYTES

    def memory(self, shape: tuple[int, ...], dtype: np.dtype[Any], threads: int) -> int:
        """Return about how many bytes are held at once while the page is filtered."""
        per_pixel: int = shape[2] if len(shape) == 3 else 1
        band, block = self._largest
        work: int = band * (block + 2 * (self.wrapped or 0)) * per_pixel * self.work_bytes
        held: int = band * shape[1] * per_pixel * dtype.itemsize
        return threads * work + (3 + 2 * threads if self.work_bytes else 1) * held

    @cached_property
    def is_whole(self) -> bool:
        """Whether the page is one block."""
        return len(self.rows) == len(self.columns) == 1 and self.wrapped is None

    @cached_property
    def _largest(self) -> tuple[int, int]:
        """How many rows and columns are read at once."""
        tall, wide = (max(read.stop - read.start for read, _, _ in cut) for cut in (self.rows, self.columns))
        return tall, wide


def plain(page: Raster) -> np.dtype[Any] | None:
    """Return the dtype of a page that is held in memory and whose colours are filtered together, as they are.

    None where that is not so.
    """
    is_read = page.dtype.itemsize >= 4 if page.dtype.kind == "f" else page.dtype.itemsize <= 2
    is_narrow = math.prod(page.shape[2:]) < _CHANNELS
    is_plain = isinstance(page, Page) and page.alpha == "none" and is_read and is_narrow
    return page.dtype if is_plain else None


def grid(
    shape: tuple[int, ...],
    stored: int,
    rendering: Rendering,
    unit: int = 1,
    held: np.dtype[Any] | None = None,
) -> Grid:
    """Return how to cut a page of which so many rows are `stored` together, and of its result `unit`.

    `held`: the dtype of a :func:`plain` page.
    """
    if held is not None and rendering.is_light(shape, held) and math.prod(shape) <= _WHOLE:
        rows, columns = (slice(0, size) for size in shape[:2])
        # A loop that is written once it repays is there for large ones.
        is_bare = obstacle() is None and (rendering.is_smooth or math.prod(shape) >= _LARGE)
        work_bytes = 0 if is_bare else WORK_BYTES
        return Grid(((rows, rows, rows),), ((columns, columns, columns),), work_bytes=work_bytes)
    reach: tuple[float, ...] = rendering.chain.reach
    if rendering.wraps and (len(rendering.boundaries) > 1 or math.isinf(max(reach))):
        # What lies outside for one operation is found at the other end of the result of another.
        reach = (math.inf, math.inf)
    return _cut(shape, stored, unit, reach, rendering.wraps)


@lru_cache(maxsize=64)
def _cut(shape: tuple[int, ...], stored: int, unit: int, reach: tuple[float, ...], wraps: bool) -> Grid:
    rows, columns = shape[:2]
    per_pixel = shape[2] if len(shape) == 3 else 1
    per_row = columns * per_pixel
    wanted = max(BAND, min(_REACHES * reach[0] * per_row, _WIDE))
    # Whole units of what is written, as high as those that are read.
    unit *= -(-stored // unit)
    down = tuple(bands((rows, per_row), reach[0], int(min(wanted, rows * per_row)), unit=unit))
    tall = max(read.stop - read.start for read, _, _ in down)
    across = tuple(bands((columns, tall * per_pixel), reach[1], _WIDE))
    if not wraps or (len(down) == 1 and len(across) == 1):
        return Grid(down, across)
    height, width = int(reach[0]), int(reach[1])
    down = tuple(
        (slice(w.start - height, w.stop + height), slice(height, height + w.stop - w.start), w)
        for _, _, w in down
    )
    return Grid(down, across, width)


def render(
    page: Raster,
    sheet: Sheet,
    rendering: Rendering,
    *,
    cut: Grid | None = None,
    threads: int = 1,
    start: int = 0,
    overwritten: bool = False,
    check: Callable[[Band, Array, Limits | None], None] | None = None,
    after: Callable[[int, int], None] | None = None,
) -> int:
    """Filter a page along rows and columns onto a sheet of its shape and dtype.

    Parameters
    ----------
    page
        Pixels, and what their last channel means.
    sheet
        Where to.
    rendering
        The chain, and how values become pixels.
    cut
        The :func:`grid` of the page, if it is known.
    threads
        How many bands are filtered at once.
    start
        The first row that is not on the sheet yet.
    overwritten
        Whether the sheet holds the pixels of the page itself.
    check
        Hears of every band, its pixels, and the limits of the result.
    after
        Hears, when rows have been written, how many there are and how many samples were cut.

    Returns
    -------
    int
        How many samples were cut to the range of their dtype.

    Raises
    ------
    MissingDataError
        If NaN would have to become an integer.
    """
    cut = cut or grid(page.shape, page.unit, rendering, sheet.unit, plain(page))
    if rendering.how == "stretch" and rendering.limits is None:
        rendering = replace(rendering, limits=_limits(page, rendering, cut, threads))
    clipped = 0

    def work(band: Band, window: Array) -> tuple[Any, int]:
        shown, count = _shown(page, rendering, cut, band, window)
        if check is not None:
            check(band, shown, rendering.limits)
        return sheet.pack(band[2].start, shown), count

    def take(band: Band, made: tuple[Any, int]) -> None:
        nonlocal clipped
        clipped += made[1]
        sheet.append(made[0])
        if after is not None:
            after(band[2].stop, clipped)

    _flow(page, cut, work, take, threads, start=start, overwritten=overwritten)
    sheet.finish()
    return clipped


def loosened(page: Raster) -> Raster:
    """Return the page, decoded as a whole where too many of its rows are stored together for bands."""
    if isinstance(page, Page):
        return page
    return whole(page) if page.unit * math.prod(page.shape[1:]) > _APART else page


def _flow(
    page: Raster,
    cut: Grid,
    work: Callable[[Band, Array], Any],
    take: Callable[[Band, Any], None],
    threads: int,
    *,
    start: int = 0,
    overwritten: bool = False,
) -> None:
    if cut.is_whole and not start:
        # Nothing to wait for: most images of a folder are one band.
        (band,) = cut.rows
        with np.errstate(all="ignore"):
            take(band, work(band, page.rows(band[0].start, band[0].stop)))
        return
    first = sum(write.start < start for _, _, write in cut.rows)
    if cut.wrapped is not None:
        flow = Flow(cut.rows, partial(_periodic, page), work, take, first, alone=True)
    elif overwritten and len(cut.rows) > 1:
        # Rows that are read must keep their values while those of the result take their place.
        flow = Flow(cut.rows, lambda start, stop: page.rows(start, stop).copy(), work, take, first)
    else:
        flow = Flow(cut.rows, page.rows, work, take, first, alone=isinstance(page, Page))
    flow.run(threads)


def _shown(page: Raster, rendering: Rendering, cut: Grid, band: Band, window: Array) -> tuple[Array, int]:
    """Return the pixels of one band of the result, and how many were cut."""
    parts, clipped = [], 0
    for part, keep in _parts(cut, band, window):
        made = rendering.at_once(part, keep, page.alpha)
        shown, count = made or rendering.pixels(*_values(rendering, part, keep, page.alpha), page.dtype)
        parts.append(shown)
        clipped += count
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1), clipped


def _limits(page: Raster, rendering: Rendering, cut: Grid, threads: int) -> Limits | None:
    """Return the least and the greatest finite value of the result."""
    found: list[float] = []

    def work(band: Band, window: Array) -> list[float]:
        extremes = []
        for part, keep in _parts(cut, band, window):
            values, _ = _values(rendering, part, keep, page.alpha)
            finite = values[np.isfinite(values)]
            if finite.size:
                extremes += [float(finite.min()), float(finite.max())]
        return extremes

    _flow(page, cut, work, lambda _, extremes: found.extend(extremes), threads)
    return (min(found), max(found)) if found else None


def _values(
    rendering: Rendering, part: Array, keep: tuple[slice, slice], alpha: Alpha
) -> tuple[Array, Array | None]:
    """Return the values of the part to be kept, and the pixels of its alpha channel if that is apart."""
    values, opacity = rendering.values(part, alpha)
    return values[keep], None if opacity is None else opacity[keep]


def _parts(cut: Grid, band: Band, window: Array) -> Iterator[tuple[Array, tuple[slice, slice]]]:
    """Yield the blocks of a band, and which rows and columns of their results are kept."""
    for read, keep, columns in cut.columns:
        part, inside = window, keep
        if cut.wrapped is not None:
            places = np.arange(columns.start - cut.wrapped, columns.stop + cut.wrapped)
            part = np.take(window, places, axis=1, mode="wrap")
            inside = slice(cut.wrapped, part.shape[1] - cut.wrapped)
        elif len(cut.columns) > 1:
            part = np.ascontiguousarray(window[:, read])
        yield part, (band[1], inside)


def _periodic(page: Raster, start: int, stop: int) -> Array:
    """Return rows of the page repeated without end."""
    parts = []
    while start < stop:
        first = start % page.shape[0]
        count = min(page.shape[0] - first, stop - start)
        parts.append(page.rows(first, first + count))
        start += count
    return np.concatenate(parts)
