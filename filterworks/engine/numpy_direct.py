"""Short signals by numpy.correlate: where the call is the time, the shortest call wins."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from filterworks.arguments import Array
from filterworks.problem import Problem

IS_LOCAL = True

# More terms than this are not added up in single precision: equal samples make rounding systematic.
_TAPS = 127


def refusal(problem: Problem) -> str | None:
    """One axis, zero outside, no holes, no steps."""
    padded = all(0 <= n < problem.spans[0] for n in problem.padding[0])
    plain = len(problem.shape) == 1 and not problem.is_dilated and not problem.is_strided
    zeros = problem.boundary in ("constant", "omit") or problem.padding[0] == (0, 0)
    if plain and padded and zeros and problem.spans[0] <= min(_TAPS, *problem.shape):
        return None
    return f"numpy.correlate takes one axis, zero outside, and at most {_TAPS} taps"


def keeps_nonfinite(problem: Problem) -> bool:
    """It stops at the ends of the data instead of multiplying the zeros beyond them."""
    return True


def start_seconds() -> float:
    """Nothing: what it needs is loaded."""
    return 0.0


def work(problem: Problem) -> dict[str, float]:
    """The call, and multiply-adds."""
    taps = float(problem.shape[0] * problem.spans[0])
    return {"call": 1.0, "sample": float(problem.shape[0]), "tap": taps * problem.work.itemsize / 4}


def run(problem: Problem, x: Array) -> Array:
    """Return the result."""
    return prepare(problem)(x)


def prepare(problem: Problem) -> Callable[[Array], Array]:
    """Return a function of the data."""
    work = problem.work
    kernel = problem.weights.array.astype(work)
    span, (low, high) = problem.spans[0], problem.padding[0]
    if low == (span - 1) // 2 == span - 1 - high and span % 2:
        return lambda x: np.correlate(x.astype(work, copy=False), kernel, "same")
    start, stop = span - 1 - low, problem.shape[0] + high
    return lambda x: np.correlate(x.astype(work, copy=False), kernel, "full")[start:stop]
