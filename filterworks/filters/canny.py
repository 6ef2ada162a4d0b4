"""Canny's edge detector."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Unpack

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from filterworks.arguments import Array, as_number, compute_dtype
from filterworks.bands import bands
from filterworks.boundaries import as_boundary
from filterworks.errors import ArgumentError, ArgumentTypeError, must
from filterworks.filters.edges import sobel
from filterworks.filters.options import Options, check_planar, prepared
from filterworks.filters.smoothing import gaussian
from filterworks.kernels import gaussian_factor

# Without thresholds of the caller's: these shares of the largest gradient.
_LOW, _HIGH = 0.1, 0.2
# Without thresholds, gradients below this share of the largest value are rounding: a flat image has no edges.
_ROUNDING = 1e-5

# A plane's smoothed values and its gradient along rows and columns.
_Slopes = Callable[[Array], tuple[Array, Array, Array]]


def canny(
    x: ArrayLike,
    sigma: float = 1.4,
    low: float | None = None,
    high: float | None = None,
    **options: Unpack[Options],
) -> Array:
    """Return where the edges are, one sample wide, as booleans (two axes).

    Smooth, take the Sobel gradient, keep the maxima across its direction, and of those the ones above
    `high` with everything above `low` that hangs together with them.

    Parameters
    ----------
    x
        Real data; colour channels are searched each by itself.
    sigma
        Width of the Gaussian in samples; 0 does not smooth.
    low, high
        Thresholds for the Sobel magnitude (a unit step gives 4, before smoothing);
        0.1 and 0.2 of the largest magnitude unless given.
    **options
        See :class:`~filterworks.filters.options.Options`; `dtype` is not accepted.

    Notes
    -----
    Canny, "A computational approach to edge detection" (1986). Magnitudes between samples are
    interpolated linearly. The last step looks across the whole image: the reach is unbounded.

    Examples
    --------
    >>> step = np.repeat([[0.0, 0, 0, 0, 1, 1, 1, 1]], 8, axis=0)
    >>> canny(step, 0.5)[4].astype(int)
    array([0, 0, 0, 1, 1, 0, 0, 0])
    """
    array, axes, settings = prepared(x, options)
    check_planar("canny", axes)
    if array.dtype.kind == "c":
        raise ArgumentTypeError(must("x", "real for canny", array.dtype))
    if settings.pop("dtype", None) not in (None, bool):
        raise ArgumentError("canny returns booleans; `dtype` is not accepted")
    if (low is None) != (high is None):
        raise ArgumentError("give both thresholds, `low` and `high`, or neither")
    limits = None
    if low is not None and high is not None:
        limits = as_number("low", low, 0), as_number("high", high, as_number("low", low, 0))
    planes = np.moveaxis(array, axes, (-2, -1))
    edges = np.zeros(array.shape, bool)
    targets = np.moveaxis(edges, axes, (-2, -1))
    # The smoothing, the gradient and the neighbours that a maximum is compared with.
    reach = math.inf if as_boundary(settings["boundary"]) == "wrap" else gaussian_factor(sigma).size // 2 + 2
    for index in np.ndindex(planes.shape[:-2]):
        targets[index] = _edges(planes[index], reach, _slopes(sigma, settings), limits)
    return edges


def _slopes(sigma: float, settings: dict[str, Any]) -> _Slopes:
    options = {**settings, "axes": None}

    def slopes(plane: Array) -> tuple[Array, Array, Array]:
        smooth = gaussian(plane, sigma, **options, dtype=compute_dtype(plane.dtype))
        return smooth, sobel(smooth, axis=0, **options), sobel(smooth, axis=1, **options)

    return slopes


def _edges(
    plane: Array, reach: float, slopes: _Slopes, limits: tuple[float, float] | None
) -> NDArray[np.bool_]:
    if plane.size == 0:
        return np.zeros(plane.shape, bool)
    if limits is None:
        value, peak = _extremes(plane, reach, slopes)
        low, high, floor = _LOW * peak, _HIGH * peak, _ROUNDING * value
    else:
        low, high, floor = *limits, 0.0
    weak, strong = np.zeros((2, *plane.shape), bool)
    for read, keep, write in bands(plane.shape, reach):
        _, rows, columns = slopes(plane[read])
        strength = np.hypot(rows, columns)
        ridge = _ridge(strength, rows, columns) & (strength >= low) & (strength > floor)
        weak[write] = ridge[keep]
        strong[write] = (ridge & (strength >= high))[keep]
    return _joined(weak, strong)


def _joined(weak: NDArray[np.bool_], strong: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the connected parts (8 neighbours) of `weak` that hold a sample of `strong`."""
    count, labels = cv2.connectedComponents(np.ascontiguousarray(weak).view(np.uint8), connectivity=8)
    kept = np.zeros(count, bool)
    kept[labels[strong]] = True
    return np.asarray(kept[labels])


def _extremes(plane: Array, reach: float, slopes: _Slopes) -> tuple[float, float]:
    """Return the largest |value| after smoothing and the largest gradient."""

    def parts() -> Iterator[tuple[float, float]]:
        for read, keep, _ in bands(plane.shape, reach):
            smooth, rows, columns = (part[keep] for part in slopes(plane[read]))
            strength = np.hypot(rows, columns)
            yield float(np.nanmax(np.abs(smooth), initial=0)), float(np.nanmax(strength, initial=0))

    values, peaks = zip(*parts(), strict=True)
    return max(values), max(peaks)


def _ridge(
    strength: NDArray[np.floating], rows: NDArray[np.floating], columns: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Return where the strength is not exceeded by its two neighbours along the gradient."""
    padded = np.pad(strength, 1)

    def neighbour(i: int, j: int) -> NDArray[np.floating]:
        return padded[1 + i : padded.shape[0] - 1 + i, 1 + j : padded.shape[1] - 1 + j]

    down, right = np.abs(rows), np.abs(columns)
    steep = down > right
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(steep, right / down, down / right)
    share = np.nan_to_num(share, copy=False)
    falling = rows * columns >= 0
    ridge = np.ones(strength.shape, bool)
    for sign in (1, -1):
        rising = np.where(steep, neighbour(sign, -sign), neighbour(-sign, sign))
        diagonal = np.where(falling, neighbour(sign, sign), rising)
        straight = np.where(steep, neighbour(sign, 0), neighbour(0, sign))
        between = share * diagonal + (1 - share) * straight
        # A plateau between two samples keeps both: neither side is preferred.
        ridge &= strength >= between * (1 - 1e-6)
    return ridge
