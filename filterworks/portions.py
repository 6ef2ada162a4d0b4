"""Large problems a band of the first axis at a time, where the way there takes several copies of the data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from filterworks.arguments import Array
from filterworks.boundaries import window
from filterworks.problem import Problem

# Samples of a band, about; a band is at least four windows high.
_BAND = 1 << 20


def is_bulky(problem: Problem) -> bool:
    """Return whether the data are more than a few bands."""
    return math.prod(problem.shape) > 4 * _BAND


def in_bands(problem: Problem, x: Array, compute: Callable[[Problem, Array], Array]) -> Array:
    """Return what `compute` makes of each band of the result and of the data that it is computed from.

    Parameters
    ----------
    problem
        What to compute; its result is not empty.
    x
        The data.
    compute
        Gets the problem of a band and its data.
    """
    per_row = max(math.prod(problem.shape[1:]), 1)
    span, stride = (problem.spans[0], problem.stride[0]) if problem.axes[0] == 0 else (1, 1)
    rows = max(_BAND // per_row, 4 * span) // stride + 1
    height = problem.output_shape[0]
    out: Array | None = None
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        values = compute(*_band(problem, x, start, stop))
        if out is None:
            out = np.empty(problem.output_shape, values.dtype)
        out[start:stop] = values
    return np.asarray(out)


def _band(problem: Problem, x: Array, start: int, stop: int) -> tuple[Problem, Array]:
    """Return the problem and the data of some rows of the result."""
    if problem.axes[0] != 0:
        part = x[start:stop]
        return replace(problem, shape=part.shape), part
    low, span, stride = problem.padding[0][0], problem.spans[0], problem.stride[0]
    first, last = start * stride - low, (stop - 1) * stride + span - low
    if problem.boundary in ("constant", "omit"):
        # What lies outside stays outside; a sample at least is kept, and cropped if nobody reads it.
        begin = min(max(first, 0), len(x) - 1)
        end = max(min(last, len(x)), begin + 1)
        part, padding = x[begin:end], (begin - first, last - end)
    else:
        part, padding = window(x, (0,), ((first, last),), problem.boundary), (0, 0)
    return replace(problem, shape=part.shape, padding=(padding, *problem.padding[1:])), part
