"""Smoothing that is no convolution: the median, and the edge-preserving bilateral filter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Unpack

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from filterworks.arguments import (
    NAN_POLICIES,
    Array,
    as_choice,
    as_fill,
    as_number,
    as_output_dtype,
    compute_dtype,
    finish,
    per_axis,
)
from filterworks.boundaries import as_boundary, pad
from filterworks.engine.planes import filter_planes
from filterworks.errors import ArgumentError, ArgumentTypeError, MissingDataError, must
from filterworks.filters.options import Options, check_planar, keeping, prepared

# Samples of window per step where every window is laid out in memory.
_WINDOWS = 1 << 22
# OpenCV takes two channels together in windows up to this size.
_TOGETHER = 5


def _odd_sizes(size: int | Sequence[int], count: int) -> tuple[int, ...]:
    sizes = per_axis("size", size, count, 1, of="axis")
    for item in sizes:
        if item % 2 == 0:
            raise ArgumentError(
                must("size", "odd, so that the window has a middle and the median is a sample", size)
            )
    return sizes


def _holds(dtype: np.dtype[Any], value: float) -> bool:
    if dtype.kind == "f":
        return True
    top = 1 if dtype.kind == "b" else np.iinfo(dtype).max
    low = 0 if dtype.kind == "b" else np.iinfo(dtype).min
    return math.isfinite(value) and low <= value <= top and value == int(value)


def _padded(
    array: Array, axes: tuple[int, ...], radii: Sequence[int], options: dict[str, Any]
) -> tuple[Array, bool]:
    """Return the data with `radii` samples around them, and whether NaN in them are to be left out."""
    if array.dtype.kind == "c":
        raise ArgumentTypeError(must("x", "real: complex numbers have no order", array.dtype))
    policy = as_choice("nan_policy", options.get("nan_policy", "propagate"), NAN_POLICIES)
    boundary = as_boundary(options["boundary"])
    if policy == "raise" and array.dtype.kind == "f" and np.isnan(array).any():
        raise MissingDataError(
            "`x` holds NaN and nan_policy='raise' forbids them; 'propagate' and 'omit' accept them"
        )
    fill = as_fill(options.get("fill_value", 0.0), False).real
    if boundary == "omit" or (boundary == "constant" and not _holds(array.dtype, fill)):
        array = array.astype(compute_dtype(array.dtype), copy=False)
    if boundary == "omit":
        if policy == "propagate" and array.dtype.kind == "f" and np.isnan(array).any():
            raise ArgumentError(
                "boundary='omit' with NaN in `x` needs nan_policy='omit' for a filter by rank"
            )
        policy, fill = "omit", np.nan
    return pad(array, axes, [(r, r) for r in radii], boundary, fill), policy == "omit"


def median(x: ArrayLike, size: int | Sequence[int] = 3, **options: Unpack[Options]) -> Array:
    """Return the median over a window of an odd `size`, one for all axes or one per axis.

    A NaN reaches the outputs whose window holds it; ``nan_policy="omit"`` takes the median of the
    others. Integers keep their dtype.

    Examples
    --------
    >>> median(np.array([1, 9, 2, 3, 0, 4], dtype="uint8"), 3)
    array([1, 2, 3, 2, 3, 4], dtype=uint8)
    """
    array, axes, settings = prepared(x, options)
    sizes = _odd_sizes(size, len(axes))
    wanted = as_output_dtype(keeping(array, settings).get("dtype"))
    if array.size == 0:
        return finish(array.astype(compute_dtype(array.dtype)), wanted)
    bare = _repeats_ends(sizes, settings) and _is_opencvs(array.dtype, sizes)
    if bare and not (array.dtype.kind == "f" and np.isnan(array).any()):
        padded, _ = _padded(array, axes, [0] * len(sizes), settings)
        return finish(_opencv_median(padded, (axes[0], axes[1]), sizes[0]), wanted)
    padded, omit = _padded(array, axes, [n // 2 for n in sizes], settings)
    if padded.dtype.kind == "f" and np.isnan(padded).any():
        result = _nan_median(padded, axes, sizes, omit)
    else:
        result = _median(padded, axes, sizes)
    return finish(result if result.dtype.kind in "iu" else result.astype(compute_dtype(result.dtype)), wanted)


def _repeats_ends(sizes: tuple[int, ...], options: dict[str, Any]) -> bool:
    """Return whether all that lies outside for these windows is the last sample: OpenCV's own border."""
    boundary = as_boundary(options["boundary"])
    return boundary == "nearest" or (boundary == "symmetric" and max(sizes) <= 3)


def _is_opencvs(dtype: np.dtype[Any], sizes: tuple[int, ...]) -> bool:
    """Return whether OpenCV has the median of these windows."""
    square = len(sizes) == 2 and sizes[0] == sizes[1] <= 255
    return square and (dtype == np.uint8 or (dtype in (np.uint16, np.float32) and sizes[0] <= 5))


def _median(padded: Array, axes: tuple[int, ...], sizes: tuple[int, ...]) -> Array:
    """Return the medians of full windows: OpenCV where it has the size and dtype, else scipy.ndimage."""
    inside = [slice(None)] * padded.ndim
    for axis, size in zip(axes, sizes, strict=True):
        inside[axis] = slice(size // 2, padded.shape[axis] - size // 2)
    if _is_opencvs(padded.dtype, sizes):
        found = _opencv_median(padded, (axes[0], axes[1]), sizes[0])
        return np.ascontiguousarray(found[tuple(inside)])
    from scipy import ndimage  # slow to load, seldom needed

    window = [1] * padded.ndim
    for axis, size in zip(axes, sizes, strict=True):
        window[axis] = size
    values = (
        padded if padded.dtype.kind in "iuf" and padded.dtype != np.float16 else padded.astype(np.float32)
    )
    return np.asarray(ndimage.median_filter(values, size=tuple(window), mode="nearest"))[tuple(inside)]


def _opencv_median(x: Array, axes: tuple[int, int], size: int) -> Array:
    """Return the medians, the last sample repeated outside."""
    sizes = (x.shape[axes[0]], x.shape[axes[1]])

    def filtered(image: Array) -> Array:
        if image.ndim == 3 and image.shape[2] == 2 and size > _TOGETHER:
            return np.dstack([cv2.medianBlur(image[..., channel].copy(), size) for channel in range(2)])
        return np.asarray(cv2.medianBlur(image, size))

    return filter_planes(x, axes, sizes, filtered, x.dtype)


def _nan_median(padded: Array, axes: tuple[int, ...], sizes: tuple[int, ...], omit: bool) -> Array:
    """Return the medians where some samples are NaN, a band of windows at a time."""
    windows = np.lib.stride_tricks.sliding_window_view(padded, sizes, axis=axes)
    shape = windows.shape[: padded.ndim]
    out = np.empty(shape, compute_dtype(padded.dtype))
    rows = max(_WINDOWS // max(math.prod(shape[1:]) * math.prod(sizes), 1), 1)
    for start in range(0, shape[0], rows):
        band = windows[start : start + rows].reshape(-1, math.prod(sizes))
        out[start : start + rows] = _row_medians(band, omit).reshape(-1, *shape[1:])
    return out


def _row_medians(rows: Array, omit: bool) -> Array:
    ordered = np.sort(rows.astype(compute_dtype(rows.dtype), copy=False), axis=1)  # NaN sort to the end
    count = rows.shape[1] - np.isnan(rows).sum(axis=1)
    index = np.arange(len(rows))
    upper = ordered[index, np.minimum(count // 2, rows.shape[1] - 1)]
    lower = ordered[index, np.maximum((count - 1) // 2, 0)]
    with np.errstate(invalid="ignore"):  # between -∞ and ∞
        result = np.where(lower == upper, lower, lower / 2 + upper / 2)
    result[count == 0 if omit else count < rows.shape[1]] = np.nan
    return np.asarray(result)


def bilateral(
    x: ArrayLike,
    sigma_color: float,
    sigma_space: float = 2.0,
    *,
    truncate: float = 2.0,
    **options: Unpack[Options],
) -> Array:
    """Smooth, but not across edges: weights fall with distance and with difference in value (two axes).

    Parameters
    ----------
    x
        Real data; colour channels are filtered each by itself.
    sigma_color
        Width of the Gaussian over differences of value, in units of the data.
    sigma_space
        Width of the Gaussian over distance, in samples.
    truncate
        Radius of the (circular) window in units of `sigma_space`.
    **options
        See :class:`~filterworks.filters.options.Options`; a NaN counts for nothing under
        ``nan_policy="omit"``, and otherwise reaches the outputs whose window holds it.

    Notes
    -----
    Tomasi & Manduchi, "Bilateral filtering for gray and color images" (1998). Data of 8 bits go
    through OpenCV, whose weights are those of this definition; other data are added up directly.

    Examples
    --------
    >>> bilateral(np.array([[0.0, 0, 1, 100, 101, 100]]), 5).round(1)
    array([[  0.2,   0.2,   0.4, 100.3, 100.4, 100.3]])
    """
    array, axes, settings = prepared(x, options)
    check_planar("bilateral", axes)
    range_width = as_number("sigma_color", sigma_color, above=0)
    space_width = as_number("sigma_space", sigma_space, above=0)
    radius = max(int(as_number("truncate", truncate, above=0) * space_width + 0.5), 1)
    wanted = as_output_dtype(keeping(array, settings).get("dtype"))
    if array.size == 0:
        return finish(array.astype(compute_dtype(array.dtype)), wanted)
    padded, omit = _padded(array, axes, (radius, radius), settings)
    planes = np.moveaxis(padded, axes, (-2, -1))
    float_wanted = wanted is not None and wanted.kind == "f"
    out = np.empty(array.shape, wanted if float_wanted else compute_dtype(array.dtype))
    targets = np.moveaxis(out, axes, (-2, -1))
    for index in np.ndindex(planes.shape[:-2]):
        targets[index] = _bilateral_plane(planes[index], radius, range_width, space_width, omit)
    return finish(out, wanted)


def _bilateral_plane(
    padded: Array, radius: int, range_width: float, space_width: float, omit: bool
) -> NDArray[np.float64]:
    rows, columns = (n - 2 * radius for n in padded.shape)
    if padded.dtype == np.uint8:
        image = cv2.bilateralFilter(
            padded.astype(np.float32),
            2 * radius + 1,
            range_width,
            space_width,
            borderType=cv2.BORDER_REPLICATE,
        )
        return np.asarray(image[radius : radius + rows, radius : radius + columns], dtype=np.float64)
    out = np.empty((rows, columns))
    step = max((1 << 16) // max(columns, 1), 1)
    for row in range(0, rows, step):
        part = padded[row : row + min(step, rows - row) + 2 * radius]
        out[row : row + step] = _bilateral_band(
            part.astype(np.float64), radius, range_width, space_width, omit
        )
    return out


def _bilateral_band(
    padded: NDArray[np.float64], radius: int, range_width: float, space_width: float, omit: bool
) -> NDArray[np.float64]:
    """Return Σ w·x / Σ w over the disk of offsets, w the product of both Gaussians."""
    rows, columns = (n - 2 * radius for n in padded.shape)
    centre = padded[radius : radius + rows, radius : radius + columns]
    total, weight = np.zeros((2, rows, columns))
    for i in range(-radius, radius + 1):
        for j in range(-radius, radius + 1):
            if i * i + j * j > radius * radius:
                continue
            sample = padded[radius + i : radius + i + rows, radius + j : radius + j + columns]
            near = math.exp(-(i * i + j * j) / (2 * space_width**2))
            with np.errstate(invalid="ignore"):
                w = near * np.exp((sample - centre) ** 2 / (-2 * range_width**2))
                part = w * sample
            if omit:
                w, part = np.nan_to_num(w, copy=False), np.nan_to_num(part, copy=False)
            weight += w
            total += part
    with np.errstate(invalid="ignore"):
        return np.asarray(total / weight)
