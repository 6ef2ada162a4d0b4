"""The loops over windows that hold a varying number of samples, compiled by numba where it is there.

Without numba the same functions run as they stand, with the same results and slowly. Values are
(column, sample); `lows` and `highs` say for each result where its window begins and ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Lines = NDArray[np.float64]
Places = NDArray[np.int64]
Function = TypeVar("Function", bound=Callable[..., Any])

try:
    import numba
except ImportError:

    def compiled(function: Function) -> Function:
        """Return the function as it is: there is no compiler."""
        return function

else:

    def compiled(function: Function) -> Function:
        """Return the function, compiled when it is first called and remembered on disk."""
        loop: Function = numba.njit(cache=True, nogil=True)(function)
        return loop


@compiled
def means(lines: Lines, lows: Places, highs: Places, omit: bool) -> Lines:
    """Return the mean of each window; NaN where no sample is left."""
    out = np.empty((lines.shape[0], lows.size))
    for column in range(lines.shape[0]):
        values = lines[column]
        for i in range(lows.size):
            total, count = 0.0, 0
            for j in range(lows[i], highs[i]):
                value = values[j]
                if not (omit and np.isnan(value)):
                    total += value
                    count += 1
            out[column, i] = total / count if count else np.nan
    return out


@compiled
def gaussians(
    lines: Lines,
    seconds: Lines,
    start: int,
    lows: Places,
    highs: Places,
    sigma: float,
    delay: float,
    omit: bool,
) -> Lines:
    """Return means weighted by exp(-dt²/2σ²), dt the distance from `delay` seconds before the sample."""
    out = np.empty((lines.shape[0], lows.size))
    for i in range(lows.size):
        centre = seconds[start + i] - delay
        for column in range(lines.shape[0]):
            total, weight = 0.0, 0.0
            for j in range(lows[i], highs[i]):
                value = lines[column, j]
                if not (omit and np.isnan(value)):
                    distance = (seconds[j] - centre) / sigma
                    w = np.exp(-0.5 * distance * distance)
                    total += w * value
                    weight += w
            out[column, i] = total / weight if weight > 0 else np.nan
    return out
