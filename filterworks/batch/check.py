"""Recompute results with scipy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from filterworks.arguments import Array, compute_dtype
from filterworks.batch.flow import Band
from filterworks.batch.pixels import Limits
from filterworks.batch.render import Rendering
from filterworks.chains import Chain
from filterworks.files import Raster

# A page of more samples is compared in part.
_COMPARED = 64 << 20


class Check:
    """Compares bands of the result with scipy: all of a page of usual size, some of a large one.

    Allowed are one grey level for integers (a tie may round either way; more where double precision
    cannot tell neighbours apart), and for floats the contract's share of the largest value or the
    precision of the file. Where the result is a decision (canny), one pixel in 500 may differ.

    Parameters
    ----------
    page, rendering
        What is filtered, and how.
    settled
        Hears of the largest difference of each band, in units of what is allowed; from any thread.
    """

    def __init__(self, page: Raster, rendering: Rendering, settled: Callable[[float], None]) -> None:
        from filterworks.verification import reference_chain  # scipy.signal is slow to load

        self._page, self._settled = page, settled
        self._rendering = replace(rendering, apply=reference_chain(rendering.chain))

    def __call__(self, band: Band, shown: Array, limits: Limits | None) -> None:
        """Compare one band, on rows twice as far around it as the result should look."""
        write = band[2]
        if (write.start // (write.stop - write.start)) % _stride(self._page):
            return
        reach = self._rendering.chain.reach[0]
        margin = self._page.shape[0] if self._rendering.wraps or math.isinf(reach) else 2 * int(reach) + 2
        first, last = max(write.start - margin, 0), min(write.stop + margin, self._page.shape[0])
        pixels = self._page.rows(first, last)
        exact = pixels.astype(np.float64) if pixels.dtype.kind == "f" else pixels
        values, opacity = self._rendering.values(exact, self._page.alpha)
        rendering = replace(self._rendering, limits=limits)
        expected, _ = rendering.pixels(values, opacity, exact.dtype)
        expected = expected[write.start - first : write.stop - first]
        self._settled(difference(rendering.chain, self._page.dtype, shown, expected))


def difference(chain: Chain, dtype: np.dtype[Any], got: Array, expected: Array) -> float:
    """Return the largest difference of pixels of a dtype, in units of what is allowed."""
    error = np.abs(got.astype(np.float64) - expected)
    if chain.steps[-1].name == "canny":
        return float((error > 0).mean()) * 500
    scale = float(np.abs(expected).max(initial=0.0)) or 1.0
    if dtype.kind in "iu":
        return float(error.max(initial=0.0)) / max(1.0, scale * 1e-12)
    share = 1e-5 if compute_dtype(dtype) == np.float32 else 1e-12
    return float(error.max(initial=0.0)) / (scale * max(share, float(np.finfo(dtype).eps)))


def _stride(page: Raster) -> int:
    """Return which share of the bands is compared: one in so many."""
    return 1 + math.prod(page.shape) // _COMPARED
