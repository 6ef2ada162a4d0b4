"""Kernels that are an outer product: one 1-D pass per axis, by OpenCV's sepFilter2D.

The number of multiply-adds per sample falls from the product of the kernel's sides to their sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import Array
from filterworks.engine.planes import border, filter_axis, filter_planes, is_thin, readable, too_large
from filterworks.problem import Problem

IS_LOCAL = True

# More taps than this are added up in double precision: equal samples make rounding systematic.
_SINGLE_TAPS = 127
_ONE = np.ones(1)


def refusal(problem: Problem) -> str | None:
    """The kernel must be an outer product of one factor per axis."""
    if problem.weights.factors is None:
        return "the kernel is not an outer product of 1-D factors"
    return too_large(problem)


def keeps_nonfinite(problem: Problem) -> bool:
    """Zeros, in the kernel or in the holes of a dilation, would meet NaN as 0 · NaN."""
    return not (problem.weights.has_zero or problem.is_dilated)


def _precision(problem: Problem) -> np.dtype[Any]:
    long = max(problem.weights.shape) > _SINGLE_TAPS
    return np.dtype(np.float64 if long else problem.work)


def start_seconds() -> float:
    """Nothing: what it needs is loaded."""
    return 0.0


def work(problem: Problem) -> dict[str, float]:
    """Calls, samples and multiply-adds along each axis, both by precision."""
    bits = 8 * _precision(problem).itemsize
    samples = float(math.prod(problem.padded_shape))
    images = 1
    if not _is_image(problem):
        images = sum(
            math.prod(problem.shape[:axis]) if axis < len(problem.shape) - 1 else 1 for axis in problem.axes
        )
    kind = "thin_" if is_thin(problem) else ""
    return {
        "call": 1.0,
        "image": float(images),
        f"{kind}sample{bits}": samples * (1 if _is_image(problem) else len(problem.axes)),
        f"{kind}tap{bits}": samples * sum(problem.spans),
        "convert": 0.0 if problem.dtype in (problem.work, np.dtype(np.uint8)) else samples,
    }


def _is_image(problem: Problem) -> bool:
    planar = len(problem.shape) == 2 or (len(problem.shape) == 3 and problem.shape[2] <= 4)
    return problem.axes == (0, 1) and planar


def run(problem: Problem, x: Array) -> Array:
    """Return the result: one call for images, one pass per axis for everything else."""
    factors = problem.weights.factors
    if factors is None:
        raise ValueError("not an outer product")
    spread = [problem.spread(factor, axis) for axis, factor in enumerate(factors)]
    precision = _precision(problem)
    x = x if x.dtype == np.uint8 and _is_image(problem) else readable(x, precision)
    code = border(problem)
    anchors = [low for low, _ in problem.padding]
    if code is None:
        x, anchors = problem.pad(x), [0] * len(spread)
    depth = cv2.CV_32F if precision == np.float32 else cv2.CV_64F
    if _is_image(problem):
        rows, columns = problem.dense_shape[:2]
        image = filter_planes(
            x, (0, 1), (rows, columns), lambda image: _passes(image, depth, spread, anchors, code), precision
        )
        return problem.thin(image).astype(problem.work, copy=False)
    for position, axis in enumerate(problem.axes):
        x = _pass(problem, x, position, axis, spread[position], anchors[position], code)
    return x.astype(problem.work, copy=False)


def _passes(
    image: Array, depth: int, factors: list[NDArray[np.float64]], anchors: list[int], code: int | None
) -> Array:
    row, column = anchors
    kind = cv2.BORDER_DEFAULT if code is None else code
    return np.asarray(
        cv2.sepFilter2D(image, depth, factors[1], factors[0], anchor=(column, row), borderType=kind)
    )


def _pass(
    problem: Problem,
    x: Array,
    position: int,
    axis: int,
    factor: NDArray[np.float64],
    anchor: int,
    code: int | None,
) -> Array:
    depth = cv2.CV_32F if x.dtype == np.float32 else cv2.CV_64F

    def along(image: Array, along_columns: bool) -> Array:
        factors, anchors = ([_ONE, factor], [0, anchor]) if along_columns else ([factor, _ONE], [anchor, 0])
        return _passes(image, depth, factors, anchors, code)

    size = problem.dense_shape[axis]
    x = filter_axis(x, axis, size, along, x.dtype)
    step = problem.stride[position]
    return x if step == 1 else x[(slice(None),) * axis + (slice(None, None, step),)]


def prepare(problem: Problem) -> Callable[[Array], Array]:
    """Return a function of the data."""
    return partial(run, problem)
