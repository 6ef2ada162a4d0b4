"""The loops over windows that hold a varying number of samples, and over states; compiled by numba.

Without numba the same functions run as they stand, with the same results and slowly. Values are
(column, sample) or one line of samples; `lows` and `highs` say for each result where its window begins
and ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

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
        options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
        try:
            loop = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # no folder to remember it in
            loop = numba.njit(**options)(function)
        return cast("Function", loop)


@compiled
def bounds(seconds: Lines, start: int, stop: int, back: float, ahead: float) -> tuple[Places, Places]:
    """Return where the samples begin and end that lie so near in time to those from `start` to `stop`."""
    lows, highs = np.empty(stop - start, np.int64), np.empty(stop - start, np.int64)
    low, high = np.searchsorted(seconds, seconds[start] - back), start
    for i in range(start, stop):
        while seconds[low] < seconds[i] - back:
            low += 1
        while high < seconds.size and seconds[high] <= seconds[i] + ahead:
            high += 1
        lows[i - start], highs[i - start] = low, high
    return lows, highs


@compiled
def means(lines: Lines, lows: Places, highs: Places, omit: bool) -> Lines:
    """Return the mean of each window; NaN where no sample is left.

    A window of n samples is put together from runs of 1, 2, 4, … samples, as the binary digits of n
    say: log n additions, and nothing is ever taken away again, so nothing drifts.
    """
    out = np.empty((lines.shape[0], lows.size))
    longest = np.max(highs - lows) if lows.size else 0
    for column in range(lines.shape[0]):
        missing = np.isnan(lines[column])
        runs = np.where(missing, 0.0, lines[column])
        seen = np.zeros(runs.size + 1, np.int64)
        seen[1:] = np.cumsum(missing)
        totals, length = np.zeros(lows.size), 1
        while length <= longest:
            for i in range(lows.size):
                count = highs[i] - lows[i]
                # What shorter runs have added already lies before it.
                place = min(lows[i] + (count & (length - 1)), runs.size - 1)
                totals[i] += runs[place] if count & length else 0.0
            for j in range(runs.size - length):
                runs[j] += runs[j + length]
            length *= 2
        for i in range(lows.size):
            gaps = seen[highs[i]] - seen[lows[i]]
            count = highs[i] - lows[i] - gaps
            out[column, i] = totals[i] / count if count and (omit or not gaps) else np.nan
    return out


@compiled
def weighted(
    lines: Lines,
    seconds: Lines,
    centres: Lines,
    lows: Places,
    highs: Places,
    width: float,
    triangular: bool,
    omit: bool,
) -> Lines:
    """Return means weighted by the distance in time from `centres`.

    The weights are exp(-dt²/2·width²), or `triangular`: 1 - |dt|/width.
    """
    out = np.empty((lines.shape[0], lows.size))
    for i in range(lows.size):
        for column in range(lines.shape[0]):
            total, weight = 0.0, 0.0
            for j in range(lows[i], highs[i]):
                value = lines[column, j]
                if not (omit and np.isnan(value)):
                    distance = (seconds[j] - centres[i]) / width
                    w = max(1.0 - abs(distance), 0.0) if triangular else np.exp(-0.5 * distance * distance)
                    total += w * value
                    weight += w
            out[column, i] = total / weight if weight > 0 else np.nan
    return out


@compiled
def _fit(work: Lines, slopes: Lines, order: int) -> float:
    """Return the last derivative at 0, as many as `slopes` has, of the polynomial fitted to samples.

    `work` holds their places and values, and room for two polynomials; the recursion is that of
    :func:`~filterworks.timeseries.fitting.fit_weights`.
    """
    places, values, now, before = work[0], work[1], work[2], work[3]
    now[:], before[:] = 1.0, 0.0
    slope, slope_before = slopes[0], slopes[1]
    slope[:], slope_before[:] = 0.0, 0.0
    slope[0] = 1.0
    total, norm_before = 0.0, 1.0
    for degree in range(order + 1):
        norm, product, moment = 0.0, 0.0, 0.0
        for j in range(places.size):
            square = now[j] * now[j]
            norm += square
            product += now[j] * values[j]
            moment += places[j] * square
        total += product / norm * slope[-1]
        shift, share = moment / norm, norm / norm_before if degree else 0.0
        for j in range(places.size):
            now[j], before[j] = (places[j] - shift) * now[j] - share * before[j], now[j]
        for r in range(slope.size - 1, -1, -1):
            lower = r * slope[r - 1] if r else 0.0
            slope[r], slope_before[r] = lower - shift * slope[r] - share * slope_before[r], slope[r]
        norm_before = norm
    return total


@compiled
def fits(
    line: Lines,
    seconds: Lines,
    centres: Lines,
    lows: Places,
    highs: Places,
    scale: float,
    order: int,
    derivative: int,
    omit: bool,
) -> Lines:
    """Return the polynomial fitted to each window at its centre, or its derivative per `scale`."""
    out = np.empty(lows.size)
    longest = max(np.max(highs - lows), 1) if lows.size else 1
    work = np.empty((4, longest))
    slopes = np.empty((2, derivative + 1))
    for i in range(lows.size):
        count = 0
        for j in range(lows[i], highs[i]):
            if not (omit and np.isnan(line[j])):
                work[0, count] = (seconds[j] - centres[i]) / scale
                work[1, count] = line[j]
                count += 1
        out[i] = _fit(work[:, :count], slopes, order) if count > order else np.nan
    return out


@compiled
def exponential(
    lines: Lines,
    decays: Lines,
    newest: float,
    adjust: bool,
    omit: bool,
    means: Lines,
    weights: Lines,
    broken: NDArray[np.bool_],
) -> Lines:
    """Return exponentially weighted means; `means`, `weights` and `broken` carry the state.

    `decays` holds one factor for all rows, or one for each. Source of the recursion: pandas'
    ``ewm`` (``ignore_na=False``).
    """
    out = np.empty(lines.shape)
    for column in range(lines.shape[0]):
        mean, weight, is_broken = means[column], weights[column], broken[column]
        for i in range(lines.shape[1]):
            value = lines[column, i]
            if np.isnan(value) and not omit:
                is_broken = True
            if np.isnan(mean):
                mean = value
            else:
                weight *= decays[min(i, decays.size - 1)]
                if not np.isnan(value):
                    # A constant series stays as it is, to the last bit.
                    if mean != value:
                        mean = (weight * mean + newest * value) / (weight + newest)
                    weight = weight + newest if adjust else 1.0
            out[column, i] = np.nan if is_broken else mean
        means[column], weights[column], broken[column] = mean, weight, is_broken
    return out


@compiled
def cumulative(lines: Lines, which: int, omit: bool, state: Lines, broken: NDArray[np.bool_]) -> Lines:
    """Return the sum (`which` 0), mean, min or max so far; `state` and `broken` carry the state."""
    out = np.empty(lines.shape)
    for column in range(lines.shape[0]):
        total, rest, count = state[column]
        is_broken = broken[column]
        for i in range(lines.shape[1]):
            value = lines[column, i]
            if not np.isnan(value):
                if which >= 2:
                    better = value < total if which == 2 else value > total
                    total = value if better or count == 0 else total
                else:
                    following = total + value
                    # What the larger of the two could not take up of the smaller.
                    if np.isfinite(following):
                        if abs(total) >= abs(value):
                            rest += (total - following) + value
                        else:
                            rest += (value - following) + total
                    total = following
                count += 1
            elif not omit:
                is_broken = True
            result = total + rest
            if which == 1 and count > 0:
                result /= count
            out[column, i] = np.nan if is_broken or count == 0 else result
        state[column, 0], state[column, 1], state[column, 2] = total, rest, count
        broken[column] = is_broken
    return out


@compiled
def scores(lines: Lines, template: Lines) -> Lines:
    """Return the correlation coefficient of a template of mean 0 and norm 1 with each whole window.

    By the samples that there are, NaN where these are less than half; 0 where they are flat.
    """
    size = template.size
    out = np.empty((lines.shape[0], lines.shape[1] - size + 1))
    for column in range(lines.shape[0]):
        for i in range(out.shape[1]):
            count, largest, mean, shape_mean = 0, 0.0, 0.0, 0.0
            for j in range(size):
                value = lines[column, i + j]
                if not np.isnan(value):
                    count += 1
                    mean += value
                    shape_mean += template[j]
                    largest = max(largest, abs(value))
            if 2 * count < size or largest == 0.0 or np.isinf(largest):
                out[column, i] = 0.0 if largest == 0.0 and 2 * count >= size else np.nan
                continue
            mean /= count
            shape_mean /= count
            product, square, shape_square = 0.0, 0.0, 0.0
            for j in range(size):
                value = lines[column, i + j]
                if not np.isnan(value):
                    # On the scale of the window, so that no square is too large or too small.
                    distance, shape = (value - mean) / largest, template[j] - shape_mean
                    product += distance * shape
                    square += distance * distance
                    shape_square += shape * shape
            flat = square <= count * 1e-30 or shape_square <= 1e-24
            out[column, i] = 0.0 if flat else product / np.sqrt(square * shape_square)
    return out
