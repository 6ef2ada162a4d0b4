"""Direct evaluation by OpenCV's filter2D, for kernels of one or two axes.

filter2D changes silently to a discrete Fourier transform from 130 taps on (50 unless float32 in and
out), which spreads NaN over the picture and loses small values beside large ones. Larger kernels are
therefore cut into blocks below that size, whose results are added.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import Array
from filterworks.engine.planes import (
    border,
    filter_axis,
    filter_planes,
    gathering,
    is_thin,
    readable,
    too_large,
)
from filterworks.problem import Problem

IS_LOCAL = True

_DIRECT_TAPS = {np.dtype(np.float32): 129, np.dtype(np.float64): 49}


def refusal(problem: Problem) -> str | None:
    """OpenCV filters along one or two axes."""
    if len(problem.axes) > 2:
        return f"OpenCV filters along one or two axes, not {len(problem.axes)}"
    return too_large(problem)


def keeps_nonfinite(problem: Problem) -> bool:
    """filter2D leaves out the taps without weight, and with them the NaN under them."""
    return not problem.weights.has_zero


def _images(problem: Problem) -> int:
    if len(problem.axes) == 1:
        axis = problem.axes[0]
        inner = math.prod(problem.shape[axis + 1 :])
        return 1 if inner == 1 else math.prod(problem.shape[:axis])
    rest = [size for axis, size in enumerate(problem.shape) if axis not in problem.axes]
    return 1 if problem.axes == (0, 1) and math.prod(rest) <= 4 and len(rest) <= 1 else math.prod(rest)


def start_seconds() -> float:
    """Nothing: what it needs is loaded."""
    return 0.0


def work(problem: Problem) -> dict[str, float]:
    """Calls, samples and multiply-adds, both by precision."""
    samples = float(math.prod(problem.padded_shape))
    blocks = _block_count(problem.spans, _DIRECT_TAPS[problem.work])
    bits = 8 * problem.work.itemsize
    kind = "thin_" if is_thin(problem) else ""
    return {
        "call": 1.0,
        "image": float(blocks * _images(problem)),
        f"{kind}sample{bits}": samples * blocks,
        f"{kind}tap{bits}": samples * problem.weights.nonzero,
        "convert": samples * ((problem.dtype != problem.work) + gathering(problem)),
    }


def _block_count(shape: tuple[int, ...], taps: int) -> int:
    rows, columns = (1, *shape)[-2:]
    width = min(columns, taps)
    return -(-columns // width) * -(-rows // max(taps // width, 1))


def _blocks(shape: tuple[int, ...], taps: int) -> list[tuple[slice, slice]]:
    rows, columns = (1, *shape)[-2:]
    width = min(columns, taps)
    height = max(taps // width, 1)
    return [
        (slice(row, min(row + height, rows)), slice(column, min(column + width, columns)))
        for row in range(0, rows, height)
        for column in range(0, columns, width)
    ]


def _correlate(image: Array, kernel: NDArray[np.float64], depth: int) -> Array:
    """Valid correlation in the top left corner of an image of the same size (the rest is border)."""
    blocks = [b for b in _blocks(kernel.shape, _DIRECT_TAPS[image.dtype]) if kernel[b].any()]
    if len(blocks) <= 1:
        return np.asarray(cv2.filter2D(image, depth, kernel, anchor=(0, 0)))
    rows, columns = (n - k + 1 for n, k in zip(image.shape, kernel.shape, strict=False))
    total: Array | None = None
    for block in blocks:
        part = kernel[block]
        height, width = part.shape
        row, column = block[0].start, block[1].start
        view = image[row : row + rows + height - 1, column : column + columns + width - 1]
        term = cv2.filter2D(view, depth, part, anchor=(0, 0))[:rows, :columns]
        total = np.ascontiguousarray(term) if total is None else np.add(total, term, out=total)
    return np.asarray(total)


def run(problem: Problem, x: Array) -> Array:
    """Return the result; OpenCV's own border handling saves the padded copy where it can."""
    kernel = problem.spread(problem.weights.array)
    depth = cv2.CV_32F if problem.work == np.float32 else cv2.CV_64F
    x = readable(x, problem.work)
    code = border(problem)
    small = len(_blocks(kernel.shape, _DIRECT_TAPS[problem.work])) == 1
    if not (small and code is not None):
        x, code = problem.pad(x), None
    sizes = tuple(problem.dense_shape[axis] for axis in problem.axes)

    def correlate(image: Array, weights: NDArray[np.float64]) -> Array:
        if code is None:
            return _correlate(image, weights, depth)
        low = [before for before, _ in problem.padding]
        row, column = (0, *low)[-2:] if weights.shape[0] == 1 and len(low) == 1 else (*low, 0)[:2]
        return np.asarray(cv2.filter2D(image, depth, weights, anchor=(column, row), borderType=code))

    if len(problem.axes) == 1:

        def along(image: Array, along_columns: bool) -> Array:
            return correlate(image, kernel[None, :] if along_columns else kernel[:, None])

        return problem.thin(filter_axis(x, problem.axes[0], sizes[0], along, problem.work))
    planes = filter_planes(
        x,
        (problem.axes[0], problem.axes[1]),
        (sizes[0], sizes[1]),
        lambda image: correlate(image, kernel),
        problem.work,
    )
    return problem.thin(planes)


def prepare(problem: Problem) -> Callable[[Array], Array]:
    """Return a function of the data: for a plain image a single call."""
    code = border(problem)
    small = len(_blocks(problem.spans, _DIRECT_TAPS[problem.work])) == 1
    if code is None or not small or problem.axes != (0, 1) or len(problem.shape) != 2 or problem.is_strided:
        return partial(run, problem)
    depth = cv2.CV_32F if problem.work == np.float32 else cv2.CV_64F
    kernel = problem.spread(problem.weights.array).astype(problem.work)
    (row, _), (column, _) = problem.padding
    work, anchor = problem.work, (column, row)

    def once(x: Array) -> Array:
        image = x if x.dtype == work else x.astype(work)
        return np.asarray(cv2.filter2D(image, depth, kernel, None, anchor, 0.0, code))

    return once
