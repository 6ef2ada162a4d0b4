"""Weighted sums of many lines at once, each to the last bit as if it were alone.

The engine is that of a line by itself. Those that sum up line by line are given all lines together; with the
others each line is a convolution of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import NanPolicy
from filterworks.machine.compiler import CompilerError
from filterworks.problem import Problem, Weights, weights
from filterworks.threads import Scratch, share, usable_threads
from filterworks.timeseries.parts import Lines

# Samples that numpy.correlate is given at once: they stay in the cache.
_GROUP = 1 << 15

# Lines, and weights drawn as they slide → sums.
Sums = Callable[[Lines, Weights], Lines]


def weighted_sums(
    lines: Lines, taps: NDArray[np.float64], out: Lines, nan_policy: NanPolicy = "propagate"
) -> None:
    """Write the sums of each whole window of a block.

    The engine is the same, and so are the bits, in the first block of a process and in its last, and
    for a column by itself and beside others, whatever these hold.

    Examples
    --------
    >>> out = np.empty((1, 2))
    >>> weighted_sums(np.array([[1.0, 2, 4, 8]]), np.array([1.0, 0, 2]), out)
    >>> out
    array([[ 9., 18.]])
    """
    # The engines are for those who need them.
    from filterworks.convolution import correlate
    from filterworks.planner import expecting_many

    with expecting_many("alike"), np.errstate(over="ignore", invalid="ignore"):
        sums = _sums_of(lines.shape[1], taps, nan_policy)
        if sums is None:
            for line, row in zip(lines, out, strict=True):
                row[:] = correlate(line, taps, mode="valid", nan_policy=nan_policy)
        elif nan_policy == "omit":
            _omitting(sums, lines, weights(taps), out)
        else:
            out[:] = sums(lines, weights(taps))


def _omitting(sums: Sums, lines: Lines, kernel: Weights, out: Lines) -> None:
    """Write sums × Σk / Σk over the samples that are there, in the lines where some are missing."""
    from filterworks.evaluation import share_of

    missing = np.isnan(lines)
    gappy = missing.any(axis=1)
    if not gappy.any():
        out[:] = sums(lines, kernel)
        return
    if not gappy.all():
        out[~gappy] = sums(lines[~gappy], kernel)
    missing = missing[gappy]
    present = (~missing).astype(np.float64)
    total = sums(np.where(missing, 0.0, lines[gappy]), kernel)
    out[gappy] = total * share_of(kernel, lambda some: sums(present, some))


def _sums_of(size: int, taps: NDArray[np.float64], nan_policy: NanPolicy) -> Sums | None:
    """Return what sums up lines of a size all at once by the engine of one of them; None if nothing does."""
    from filterworks import evaluation, planner
    from filterworks.request import DEFAULTS, make_request

    line = np.empty(size)
    request, _ = make_request(line, taps, False, {**DEFAULTS, "mode": "valid", "nan_policy": nan_policy})
    evaluation.check_missing(request, line)
    engine = planner.fastest(request.problem)
    if engine == "numpy":
        return _by_numpy
    if engine not in ("direct", "separable") or (engine == "separable" and _is_level(taps)):
        return None
    try:
        return _by_loops(engine, request.problem)
    except CompilerError:
        planner.forget_estimates()
        return None


def _is_level(taps: NDArray[np.float64]) -> bool:
    """Return whether the sums may be moving ones, whose bits depend on where blocks begin."""
    return bool((taps == taps[0]).all())


def _by_loops(engine: str, problem: Problem) -> Sums:
    """Return what sums up by compiled loops: every sum is of its own samples, in their order."""
    from filterworks.engine import ENGINES

    def sums(lines: Lines, kernel: Weights) -> Lines:
        many = replace(problem, weights=kernel, shape=lines.shape, axes=(1,))
        return np.asarray(ENGINES[engine].prepare(many)(lines))

    # Where a loop cannot be compiled it is found out here.
    ENGINES[engine].prepare(problem)
    return sums


def _by_numpy(lines: Lines, kernel: Weights) -> Lines:
    """Sum up by numpy.correlate, as if the lines were one; sums across their ends are dropped."""
    (count, size), taps = lines.shape, kernel.array
    out = np.empty((count, size - taps.size + 1))
    step = max(_GROUP // size, 1)

    def compute(_: Scratch, start: int) -> None:
        group = lines[start : start + step]
        sums = np.empty(group.size)
        sums[: group.size - taps.size + 1] = np.correlate(group.ravel(), taps, "valid")
        out[start : start + step] = sums.reshape(group.shape)[:, : out.shape[1]]

    share(compute, range(0, count, step), usable_threads() if lines.size > 2 * _GROUP else 1)
    return out
