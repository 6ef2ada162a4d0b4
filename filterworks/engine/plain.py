"""The definition, tap by tap: any number of axes, any stride and dilation, added up in float64.

Slow and sure: the engine of last resort, and the yardstick for the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from filterworks.arguments import Array
from filterworks.problem import Problem

IS_LOCAL = True

# One tap touches this many samples at a time, so that they stay in the cache.
_BAND = 1 << 15


def refusal(problem: Problem) -> str | None:
    """Everything can be done."""
    return None


def keeps_nonfinite(problem: Problem) -> bool:
    """Every tap is multiplied, those without weight too."""
    return True


def start_seconds() -> float:
    """Nothing: what it needs is loaded."""
    return 0.0


def work(problem: Problem) -> dict[str, float]:
    """NumPy calls, and taps times samples of the result."""
    samples = math.prod(problem.output_shape)
    taps = math.prod(problem.weights.shape)
    return {"call": 1.0, "tap_call": float(taps * (samples // _BAND + 1)), "tap": float(taps * samples)}


def run(problem: Problem, x: Array) -> Array:
    """Return the sum over taps of weight times shifted data, a band of the result at a time."""
    padded = problem.pad(x)
    out = np.empty(problem.output_shape, problem.work)
    if out.size == 0:
        return out
    # Bands run along the longest axis: a slice of it is still a plain slice of every shifted view.
    axis = int(np.argmax(out.shape))
    rows = max(_BAND * out.shape[axis] // out.size, 1)
    for start in range(0, out.shape[axis], rows):
        band = slice(start, min(start + rows, out.shape[axis]))
        target = out[(slice(None),) * axis + (band,)]
        target[...] = _band(problem, padded, axis, band)
    return out


def _band(problem: Problem, padded: Array, axis: int, band: slice) -> Array:
    where = [slice(0, size) for size in problem.output_shape]
    where[axis] = band
    total = np.zeros([part.stop - part.start for part in where])
    term = np.empty_like(total)
    # An infinity times a weight of zero is NaN by definition, and no news to the caller.
    with np.errstate(invalid="ignore", over="ignore"):
        for index in np.ndindex(problem.weights.shape):
            view = list(where)
            for position, kernel_axis in enumerate(problem.axes):
                step, part = problem.stride[position], where[kernel_axis]
                first = index[position] * problem.dilation[position] + part.start * step
                view[kernel_axis] = slice(first, first + (part.stop - part.start - 1) * step + 1, step)
            np.multiply(padded[tuple(view)], problem.weights.array[index], out=term)
            np.add(total, term, out=total)
    return total


def prepare(problem: Problem) -> Callable[[Array], Array]:
    """Return a function of the data."""
    return partial(run, problem)
