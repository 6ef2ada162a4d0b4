"""A stack of pages filtered in 3-D, some planes at a time, each of them a band of rows at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from filterworks.arguments import Array
from filterworks.bands import BAND, bands
from filterworks.batch.check import difference
from filterworks.batch.flow import Band, Flow
from filterworks.batch.pixels import Limits
from filterworks.batch.render import WORK_BYTES, Rendering
from filterworks.errors import FilterworksError
from filterworks.files import Raster, Sheet

# Samples that are filtered at once, about.
_BLOCK = 32 << 20
# The planes around those that are written are read again for the next ones: not more than once on the mean.
_REACHES = 2


@dataclass(frozen=True)
class Volume:
    """The planes of one volume, and the sheets of their results.

    Parameters
    ----------
    pages, sheets
        From the first plane to the last.
    rendering
        The chain, and how values become pixels; along planes, rows and columns.

    Raises
    ------
    FilterworksError
        If the pages differ in size or type.
    """

    pages: Sequence[Raster]
    sheets: Sequence[Sheet]
    rendering: Rendering

    def __post_init__(self) -> None:
        first = self.pages[0]
        for number, page in enumerate(self.pages, 1):
            if (page.shape, page.dtype, page.alpha) != (first.shape, first.dtype, first.alpha):
                raise FilterworksError(
                    f"--volume needs pages of one size and type; the first has {first.dtype} {first.shape}, "
                    f"page {number} of the stack {page.dtype} {page.shape}"
                )

    @cached_property
    def _cut(self) -> tuple[tuple[Band, ...], tuple[Band, ...]]:
        """How the planes, and the rows of each, are cut."""
        page = self.pages[0]
        deep, tall, _ = self.rendering.chain.reach_along(3)
        if self.rendering.wraps:
            deep = tall = math.inf
        per_row = math.prod(page.shape[1:])
        # The pages of a file may be stored in different ways.
        stored = math.lcm(*{one.unit for one in self.sheets})
        unit = stored * -(-page.unit // stored)
        down = tuple(bands((page.shape[0], per_row), tall, BAND, unit=unit))
        window = max(read.stop - read.start for read, _, _ in down) * per_row
        if math.isinf(deep):
            return ((slice(0, count := len(self.pages)), slice(0, count), slice(0, count)),), down
        depth = int(max(_BLOCK // window - 2 * deep, _REACHES * deep, 1))
        return tuple(_slabs(len(self.pages), depth, int(deep), self.sheets[0].layers)), down

    def memory(self, threads: int) -> int:
        """Return about how many bytes are held at once."""
        slabs, down = self._cut
        planes = max(read.stop - read.start for read, _, _ in slabs)
        rows = max(read.stop - read.start for read, _, _ in down)
        samples: int = planes * rows * math.prod(self.pages[0].shape[1:])
        return samples * (threads * WORK_BYTES + (3 + 2 * threads) * self.pages[0].dtype.itemsize)

    def render(
        self,
        threads: int,
        settled: Callable[[float], None] | None,
        begun: Callable[[int], tuple[int, Callable[[int], None]]],
        cut: Callable[[int], None],
    ) -> None:
        """Filter all planes.

        Parameters
        ----------
        settled
            Hears how far each block is from scipy's result, in units of what is allowed.
        begun
            Hears how many rows some planes have, before they are filtered; returns the first row that is not
            written yet, and who hears of rows that are.
        cut
            Hears how many samples of a block were cut to the range of their dtype.
        """
        rendering = self.rendering
        if rendering.how == "stretch":
            rendering = replace(rendering, limits=self._limits(threads))
        for slab in self._cut[0]:
            rows = self.pages[0].shape[0]
            start, after = begun(rows)
            work = partial(self._packed, rendering, settled, slab)
            self._flow(slab, work, partial(self._append, slab, cut, after), threads, start)
            for sheet in self.sheets[slab[2]]:
                sheet.finish()
            after(rows)

    def _flow(
        self,
        slab: Band,
        work: Callable[[Band, Array], Any],
        take: Callable[[Band, Any], None],
        threads: int,
        start: int = 0,
    ) -> None:
        """Filter bands from the row `start` on, which one of them begins with, or none."""
        first = sum(write.start < start for _, _, write in self._cut[1])
        pages = self.pages[slab[0]]
        # Rows come first, since bands are put together along them.
        Flow(
            self._cut[1],
            lambda first, last: np.stack([page.rows(first, last) for page in pages], axis=1),
            work,
            take,
            first,
        ).run(threads)

    def _values(
        self, rendering: Rendering, slab: Band, band: Band, window: Array
    ) -> tuple[Array, Array | None]:
        planes = np.ascontiguousarray(np.swapaxes(window, 0, 1))
        values, opacity = rendering.values(planes, self.pages[0].alpha)
        return values[slab[1], band[1]], None if opacity is None else opacity[slab[1], band[1]]

    def _packed(
        self,
        rendering: Rendering,
        settled: Callable[[float], None] | None,
        slab: Band,
        band: Band,
        window: Array,
    ) -> tuple[list[Any], int]:
        dtype = self.pages[0].dtype
        shown, clipped = rendering.pixels(*self._values(rendering, slab, band, window), dtype)
        if settled is not None:
            settled(self._difference(rendering, slab, band, window, shown))
        sheets = self.sheets[slab[2]]
        return [sheet.pack(band[2].start, plane) for sheet, plane in zip(sheets, shown, strict=True)], clipped

    def _append(
        self,
        slab: Band,
        cut: Callable[[int], None],
        after: Callable[[int], None],
        band: Band,
        made: tuple[list[Any], int],
    ) -> None:
        for sheet, packed in zip(self.sheets[slab[2]], made[0], strict=True):
            sheet.append(packed)
        cut(made[1])
        after(band[2].stop)

    def _difference(self, rendering: Rendering, slab: Band, band: Band, window: Array, shown: Array) -> float:
        from filterworks.verification import reference_chain  # scipy.signal is slow to load

        exact = window.astype(np.float64) if window.dtype.kind == "f" else window
        reference = replace(rendering, apply=reference_chain(rendering.chain, rendering.axes))
        expected, _ = reference.pixels(*self._values(reference, slab, band, exact), exact.dtype)
        return difference(rendering.chain, self.pages[0].dtype, shown, expected)

    def _limits(self, threads: int) -> Limits | None:
        """Return the least and the greatest finite value of the result."""
        found: list[float] = []

        def work(slab: Band, band: Band, window: Array) -> list[float]:
            values, _ = self._values(self.rendering, slab, band, window)
            finite = values[np.isfinite(values)]
            return [float(finite.min()), float(finite.max())] if finite.size else []

        for slab in self._cut[0]:
            self._flow(slab, partial(work, slab), lambda _, extremes: found.extend(extremes), threads)
        return (min(found), max(found)) if found else None


def _slabs(count: int, depth: int, reach: int, layers: int) -> list[Band]:
    """Return planes to read, to keep of them and to write.

    `layers` planes are stored together: they all lie among those that are written at once, or the other way
    round, so that no more of them than need be wait for each other.
    """
    outer = count if depth >= count else max(depth - depth % layers, layers)
    found = []
    for start in itertools.chain(*(range(i, min(i + outer, count), depth) for i in range(0, count, outer))):
        stop = min(start + min(depth, outer), start - start % outer + outer, count)
        first, last = max(start - reach, 0), min(stop + reach, count)
        found.append((slice(first, last), slice(start - first, stop - first), slice(start, stop)))
    return found
