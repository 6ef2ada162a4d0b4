"""Lay arrays out as the images that OpenCV works on: rows, columns and up to four channels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from filterworks.arguments import Array
from filterworks.problem import Problem

_BORDERS = {
    "constant": cv2.BORDER_CONSTANT,
    "omit": cv2.BORDER_CONSTANT,
    "nearest": cv2.BORDER_REPLICATE,
    "symmetric": cv2.BORDER_REFLECT,
    "mirror": cv2.BORDER_REFLECT_101,
}
_CHANNELS = 4
_THIN = 16
_COUNTABLE = 1 << 31
# Bytes between neighbours of a plane beyond which gathering it takes no longer, and those per conversion.
_APART, _CONVERTED = 256, 4


def readable(x: Array, work: np.dtype[Any]) -> Array:
    """Return the data in the dtype in which OpenCV filters it fastest: `work`."""
    return x if x.dtype == work else x.astype(work)


def border(problem: Problem) -> int | None:
    """Return OpenCV's code for the boundary, if its own borders give this problem's padding; else None."""
    exact = all(
        low >= 0 and high >= 0 and low + high == span - 1
        for (low, high), span in zip(problem.padding, problem.spans, strict=True)
    )
    return _BORDERS.get(problem.boundary) if exact else None


def filter_axis(
    x: Array, axis: int, size: int, filter_image: Callable[[Array, bool], Array], dtype: np.dtype[Any]
) -> Array:
    """Return `x` filtered along one axis, which becomes `size` long.

    ``filter_image(image, along_columns)`` is given 2-D images; it filters along the second axis
    if the flag is set, along the first otherwise.
    """
    x = np.ascontiguousarray(x)
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
    if inner == 1:
        return filter_image(x.reshape(outer, -1), True)[:, :size].reshape(shape)
    stack = x.reshape(outer, x.shape[axis], inner)
    if outer == 1:
        return filter_image(stack[0], False)[:size].reshape(shape)
    out = np.empty((outer, size, inner), dtype)
    for image, target in zip(stack, out, strict=True):
        target[...] = filter_image(image, False)[:size]
    return out.reshape(shape)


def filter_planes(
    x: Array,
    axes: tuple[int, int],
    sizes: tuple[int, int],
    filter_image: Callable[[Array], Array],
    dtype: np.dtype[Any],
) -> Array:
    """Return `x` with each plane along the two `axes` filtered; they become `sizes` long."""
    rows, columns = sizes
    if axes == (0, 1) and (x.ndim == 2 or (x.ndim == 3 and 2 <= x.shape[2] <= _CHANNELS)):
        return np.ascontiguousarray(filter_image(np.ascontiguousarray(x))[:rows, :columns])
    planes = np.moveaxis(x, axes, (-2, -1))
    shape = list(x.shape)
    shape[axes[0]], shape[axes[1]] = sizes
    out = np.empty(shape, dtype)
    targets = np.moveaxis(out, axes, (-2, -1))
    for index in np.ndindex(planes.shape[:-2]):
        targets[index] = filter_image(np.ascontiguousarray(planes[index]))[:rows, :columns]
    return out


def gathering(problem: Problem) -> float:
    """Return what gathering planes whose samples lie apart takes, in conversions per sample."""
    inner = math.prod(problem.shape[problem.axes[-1] + 1 :])
    if len(problem.axes) == 1 or inner == 1 or (problem.axes == (0, 1) and inner <= _CHANNELS):
        return 0.0
    return min(inner * problem.work.itemsize, _APART) / _CONVERTED


def too_large(problem: Problem) -> str | None:
    """Return why the data are more than OpenCV can count, or None."""
    if math.prod(problem.padded_shape) < _COUNTABLE:
        return None
    return "OpenCV counts samples with 31 bits, and these are more"


def is_thin(problem: Problem) -> bool:
    """Return whether the images are so thin that OpenCV works on one core and without its vector units."""
    shape, axes = problem.shape, problem.axes
    if len(axes) == 1:
        inner = math.prod(shape[axes[0] + 1 :])
        sides = (math.prod(shape[: axes[0]]), shape[axes[0]]) if inner == 1 else (shape[axes[0]], inner)
    else:
        sides = (shape[axes[0]], shape[axes[-1]])
    return min(sides) < _THIN
