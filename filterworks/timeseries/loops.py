"""The loops over windows that hold a varying number of samples, and over states; compiled by numba.

Without numba the same functions run as they stand, with the same results and slowly. Each fills `out`
from one line of samples; `lows` and `highs` say for each result where its window begins and ends. They
use plain loops, which numba compiles in a fraction of the time of array expressions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from filterworks.timeseries.overflow import LARGEST, SMALLER

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


def by_line(function: Callable[..., None], lines: Lines, count: int, *arguments: Any) -> Lines:
    """Return the `count` results of a loop for each of the lines."""
    out = np.empty((lines.shape[0], count))
    with np.errstate(all="ignore"):  # what is not compiled would warn of infinities
        for line, row in zip(lines, out, strict=True):
            function(np.ascontiguousarray(line), *arguments, row)
    return out


def carried(function: Callable[..., None], lines: Lines, states: Lines, *arguments: Any) -> Lines:
    """Return the results of a loop for each of the lines, each with a state of its own."""
    out = np.empty(lines.shape)
    with np.errstate(all="ignore"):
        for line, state, row in zip(lines, states, out, strict=True):
            function(np.ascontiguousarray(line), *arguments, state, row)
    return out


@compiled
def bounds(
    seconds: Lines, start: int, low: int, back: float, ahead: float, lows: Places, highs: Places
) -> None:
    """Find where the samples begin and end that lie so near in time to those from `start` on.

    `low` is at or before the first of them.
    """
    high = start
    for i in range(lows.size):
        centre = seconds[start + i]
        while seconds[low] < centre - back:
            low += 1
        while high < seconds.size and seconds[high] <= centre + ahead:
            high += 1
        lows[i], highs[i] = low, high


@compiled
def _added(total: float, value: float) -> tuple[float, float]:
    """Return a sum and what rounding loses of it (Knuth's two-sum)."""
    following = total + value
    share = following - total
    return following, (total - (following - share)) + (value - share)


@compiled
def means(line: Lines, lows: Places, highs: Places, omit: bool, out: Lines) -> None:
    """Take the mean of each window; NaN where no sample is left. Windows begin and end in order.

    A window is what lies before a pivot, a sum for each of its beginnings, and what has come since (a
    queue of two stacks): about two additions a sample, and nothing is ever taken away again, so nothing
    drifts and no sample leaves its windows. What rounding loses is summed beside.
    """
    sums, rests = np.empty(line.size + 1), np.empty(line.size + 1)
    gaps = np.zeros(line.size + 1, np.int64)
    for j in range(line.size):
        gaps[j + 1] = gaps[j] + np.isnan(line[j])
    pivot, top, since, rest = 0, 0, 0.0, 0.0
    # The newest sample, its place, and from where on all samples are like it.
    newest, place, alike = np.nan, -1, 0
    for i in range(lows.size):
        low, high = lows[i], highs[i]
        while top < high:
            value = line[top]
            if not np.isnan(value):
                since, lost = _added(since, value)
                rest += lost
                if value != newest:
                    alike = place + 1
                newest, place = value, top
            top += 1
        if low >= pivot:
            since, rest, pivot = 0.0, 0.0, high
            _sum_back(line, low, high, sums, rests)
        missing = gaps[high] - gaps[low]
        count = high - low - missing
        if count == 0 or (missing and not omit):
            out[i] = np.nan
        elif alike <= low:
            out[i] = newest
        else:
            total, lost = _added(sums[low], since)
            lost += rests[low] + rest
            # Of infinities nothing is left over.
            out[i] = (total + lost if np.isfinite(lost) else total) / count


@compiled
def _sum_back(line: Lines, low: int, high: int, sums: Lines, rests: Lines) -> None:
    """Sum what there is from each place to `high`, and what rounding loses of it."""
    total, rest = 0.0, 0.0
    sums[high], rests[high] = total, rest
    for j in range(high - 1, low - 1, -1):
        if not np.isnan(line[j]):
            total, lost = _added(total, line[j])
            rest += lost
        sums[j], rests[j] = total, rest


@compiled
def weighted(
    line: Lines,
    seconds: Lines,
    centres: Lines,
    lows: Places,
    highs: Places,
    width: float,
    triangular: bool,
    omit: bool,
    out: Lines,
) -> None:
    """Take means weighted by the distance in time from `centres`.

    The weights are exp(-dt²/2·width²), or `triangular`: 1 - |dt|/width.
    """
    for i in range(lows.size):
        total, weight = 0.0, 0.0
        for j in range(lows[i], highs[i]):
            value = line[j]
            if not (omit and np.isnan(value)):
                distance = (seconds[j] - centres[i]) / width
                w = max(1.0 - abs(distance), 0.0) if triangular else np.exp(-0.5 * distance * distance)
                total += w * value
                weight += w
        out[i] = total / weight if weight > 0 else np.nan


@compiled
def _fit(work: Lines, slopes: Lines, order: int) -> float:
    """Return the last derivative at 0, as many as `slopes` has, of the polynomial fitted to samples.

    `work` holds their places and values, and room for two polynomials; the recursion is that of
    :func:`~filterworks.timeseries.fitting.fit_weights`.
    """
    places, values, now, before = work[0], work[1], work[2], work[3]
    for j in range(places.size):
        now[j], before[j] = 1.0, 0.0
    slope, slope_before = slopes[0], slopes[1]
    for r in range(slope.size):
        slope[r], slope_before[r] = 0.0, 0.0
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
    out: Lines,
) -> None:
    """Take the polynomial fitted to each window at its centre, or its derivative per `scale`."""
    longest = 1
    for i in range(lows.size):
        longest = max(longest, highs[i] - lows[i])
    work, slopes = np.empty((4, longest)), np.empty((2, derivative + 1))
    for i in range(lows.size):
        count = 0
        for j in range(lows[i], highs[i]):
            if not (omit and np.isnan(line[j])):
                work[0, count] = (seconds[j] - centres[i]) / scale
                work[1, count] = line[j]
                count += 1
        out[i] = _fit(work[:, :count], slopes, order) if count > order else np.nan


@compiled
def exponential(
    line: Lines,
    decay: float,
    gaps: Lines,
    newest: float,
    adjust: bool,
    omit: bool,
    state: Lines,
    out: Lines,
) -> None:
    """Take exponentially weighted means; `state` carries the mean, its weight, and whether it is broken.

    A weight is multiplied by `decay` from row to row, to the power of the row's gap if there are `gaps`.
    Source of the recursion: pandas' ``ewm`` (``ignore_na=False``).
    """
    mean, weight, is_broken = state[0], state[1], state[2] > 0
    for i in range(line.size):
        value = line[i]
        if np.isnan(value) and not omit:
            is_broken = True
        if np.isnan(mean):
            mean = value
        else:
            weight *= decay ** gaps[i] if gaps.size else decay
            if not np.isnan(value):
                # A constant series stays as it is, to the last bit.
                if mean != value:
                    total = weight * mean + newest * value
                    if np.isfinite(mean) and np.isfinite(value) and not np.isfinite(total):
                        total = weight * (mean * SMALLER) + newest * (value * SMALLER)
                        mean = min(max(total / (weight + newest) / SMALLER, -LARGEST), LARGEST)
                    else:
                        mean = total / (weight + newest)
                weight = weight + newest if adjust else 1.0
        out[i] = np.nan if is_broken else mean
    state[0], state[1], state[2] = mean, weight, 1.0 if is_broken else 0.0


@compiled
def cumulative(line: Lines, which: int, omit: bool, state: Lines, out: Lines) -> None:
    """Take the sum (`which` 0), mean, min or max so far.

    `state` carries the total or extreme, what the total could not take up, the count, whether a missing
    sample has broken it, and what the samples are multiplied by: less than 1 once the sum that a mean is
    made of would be too large.
    """
    total, rest, count, is_broken, scale = state[0], state[1], state[2], state[3] > 0, state[4]
    for i in range(line.size):
        value = line[i]
        if not np.isnan(value):
            if which >= 2:
                better = value < total if which == 2 else value > total
                total = value if better or count == 0 else total
            else:
                value *= scale
                following = total + value
                if np.isfinite(following):
                    if abs(total) >= abs(value):
                        rest += (total - following) + value
                    else:
                        rest += (value - following) + total
                elif which == 1 and np.isfinite(total) and np.isfinite(value):
                    scale *= SMALLER
                    following, lost = _added(total * SMALLER, value * SMALLER)
                    rest = rest * SMALLER + lost
                total = following
            count += 1
        elif not omit:
            is_broken = True
        result = total + rest
        if which == 1 and count > 0:
            result /= count
            if scale < 1 and np.isfinite(result):
                # By rounding it may be too large.
                result = min(max(result / scale, -LARGEST), LARGEST)
        out[i] = np.nan if is_broken or count == 0 else result
    state[0], state[1], state[2], state[3], state[4] = total, rest, count, 1.0 if is_broken else 0.0, scale


@compiled
def scores(line: Lines, template: Lines, out: Lines) -> None:
    """Take the correlation coefficient of a template of mean 0 and norm 1 with each whole window.

    By the samples that there are, NaN where these are less than half; 0 where they are flat.
    """
    size = template.size
    for i in range(out.size):
        count, largest, mean, shape_mean = 0, 0.0, 0.0, 0.0
        for j in range(size):
            value = line[i + j]
            if not np.isnan(value):
                count += 1
                mean += value
                shape_mean += template[j]
                largest = max(largest, abs(value))
        if 2 * count < size or largest == 0.0 or np.isinf(largest):
            out[i] = 0.0 if largest == 0.0 and 2 * count >= size else np.nan
            continue
        mean /= count
        shape_mean /= count
        product, square, shape_square = 0.0, 0.0, 0.0
        for j in range(size):
            value = line[i + j]
            if not np.isnan(value):
                # On the scale of the window, so that no square is too large or too small.
                distance, shape = (value - mean) / largest, template[j] - shape_mean
                product += distance * shape
                square += distance * distance
                shape_square += shape * shape
        flat = square <= count * 1e-30 or shape_square <= 1e-24
        out[i] = 0.0 if flat else product / np.sqrt(square * shape_square)
