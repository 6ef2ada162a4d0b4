"""Fit the planner's constants to the machine at hand.

Every engine is timed on a set of problems of many kinds; its constants are those, none of them
negative, whose estimates have the least squared *relative* error.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from filterworks.arguments import Array
from filterworks.costs import SHIPPED, Costs
from filterworks.engine import ENGINES
from filterworks.problem import Problem
from filterworks.request import DEFAULTS, make_request

# An engine that is estimated to take longer than this is not timed.
_PATIENCE = 0.6
# Repeat until so many seconds are spent, three times at least.
_SPEND = 0.02
_REPEATS = (3, 25)
# Where an engine is so many times slower than the fastest, its estimate need not be good.
_IRRELEVANT = 6.0
# Weight of the shipped constants, in samples.
_PRIOR = 0.1


@dataclass(frozen=True)
class Sample:
    """One problem and what each engine took for it, in seconds."""

    name: str
    problem: Problem
    seconds: dict[str, float]


def _kernel(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if kind == "dense":
        return rng.random(shape) + 0.1
    if kind == "box":
        return np.full(shape, 1 / math.prod(shape))
    kernel: Array = np.ones(())
    for size in shape:
        kernel = np.multiply.outer(kernel, rng.random(size) + 0.1)
    return kernel


def _cases() -> Iterator[tuple[str, tuple[int, ...], str, str, tuple[int, ...], dict[str, Any]]]:
    """Yield name, shape, dtype, kind and shape of the kernel, options."""
    image = (1200, 1600)
    for dtype in ("float32", "uint8", "uint16", "float64"):
        for size in (3, 5, 9, 13, 21, 31, 51):
            yield "image", image, dtype, "dense", (size, size), {}
        for size in (3, 5, 9, 25, 51, 101):
            yield "image", image, dtype, "separable", (size, size), {}
            yield "image", image, dtype, "box", (size, size), {}
    for dtype in ("float32", "float64"):
        for length, taps in ((1000, 5), (1000, 65), (100_000, 33), (1_000_000, 129), (1_000_000, 2049)):
            yield "signal", (length,), dtype, "dense", (taps,), {}
        for taps in (9, 101, 4001):
            yield "signal", (1_000_000,), dtype, "box", (taps,), {}
        for shape in ((32, 32), (64, 64), (200, 300)):
            for size in (3, 7, 15):
                yield "small", shape, dtype, "dense", (size, size), {}
                yield "small", shape, dtype, "separable", (size, size), {}
        yield "volume", (48, 96, 96), dtype, "dense", (3, 3, 3), {}
        yield "volume", (48, 96, 96), dtype, "separable", (7, 7, 7), {}
        yield "volume", (48, 96, 96), dtype, "dense", (7, 7, 7), {}
        yield "strided", image, dtype, "dense", (5, 5), {"stride": 2}
        yield "dilated", image, dtype, "dense", (5, 5), {"dilation": 3}
        yield "rows", (1200, 1600), dtype, "dense", (15,), {"axes": 0}
        yield "lines", (1200, 1600), dtype, "dense", (15,), {"axes": 1}
        yield "stack", (200, 64, 64), dtype, "dense", (5, 5), {"axes": (1, 2)}
        yield "columns", (300_000, 3), dtype, "dense", (25,), {"axes": 0}
    for kind in ("dense", "separable"):
        yield "colour", (800, 1000, 3), "uint8", kind, (9, 9), {"axes": (0, 1)}


def time_engine(name: str, problem: Problem, x: Array) -> float:
    """Return the seconds that an engine takes for a problem: the lower quartile of a few runs."""
    run = ENGINES[name].prepare(problem)
    run(x)
    times: list[float] = []
    while len(times) < _REPEATS[0] or (sum(times) < _SPEND and len(times) < _REPEATS[1]):
        start = time.perf_counter()
        run(x)
        times.append(time.perf_counter() - start)
    return float(np.quantile(times, 0.25))


def measure(costs: Costs | None = None) -> Iterator[Sample]:
    """Yield a set of problems with the time of each engine that can do them in reasonable time.

    Parameters
    ----------
    costs
        Constants that tell what is too slow to be timed; None: those shipped.
    """
    costs = SHIPPED if costs is None else costs
    rng = np.random.default_rng(0)
    for name, shape, dtype, kind, size, options in _cases():
        x = (rng.random(shape) * 200).astype(dtype)
        request, array = make_request(x, _kernel(kind, size, rng), False, {**DEFAULTS, **options})
        problem = request.problem
        seconds = {
            key: time_engine(key, problem, array)
            for key, engine in ENGINES.items()
            if engine.refusal(problem) is None and _estimate(costs, key, problem) < _PATIENCE
        }
        yield Sample(f"{name} {dtype} {shape} {kind} {size}", problem, seconds)


def _estimate(costs: Costs, engine: str, problem: Problem) -> float:
    return sum(costs[engine].get(k, 0.0) * amount for k, amount in ENGINES[engine].work(problem).items())


def fit(samples: list[Sample]) -> Costs:
    """Return the constants that describe the samples best; undetermined ones stay near those shipped."""
    from scipy.optimize import nnls

    fitted: Costs = {}
    for engine, shipped in SHIPPED.items():
        names = list(shipped)
        rows = []
        for sample in samples:
            if sample.seconds.get(engine, math.inf) <= _IRRELEVANT * min(sample.seconds.values()):
                work = ENGINES[engine].work(sample.problem)
                rows.append([work.get(name, 0.0) / sample.seconds[engine] for name in names])
        fitted[engine] = dict(shipped)
        if rows:
            # In units of what is shipped, towards which undetermined constants are drawn gently.
            units = np.array(list(shipped.values()))
            gently = math.sqrt(_PRIOR) * np.eye(len(names))
            matrix = np.vstack([np.array(rows) * units, gently])
            target = np.concatenate([np.ones(len(rows)), gently.sum(axis=1)])
            constants, _ = nnls(matrix, target)
            fitted[engine] = dict(zip(names, (constants * units).tolist(), strict=True))
    return fitted


def regret(samples: list[Sample], costs: Costs) -> list[tuple[float, Sample, str]]:
    """Return, worst first, time of the engine that the constants choose / time of the fastest one."""
    found = []
    for sample in samples:
        chosen = min(sample.seconds, key=lambda name: _estimate(costs, name, sample.problem))
        found.append((sample.seconds[chosen] / min(sample.seconds.values()), sample, chosen))
    return sorted(found, key=lambda item: -item[0])


def mean_regret(found: list[tuple[float, Sample, str]]) -> float:
    """Return the geometric mean of the ratios that :func:`regret` found."""
    return math.exp(sum(math.log(ratio) for ratio, _, _ in found) / len(found))
