"""Problem → Plan: which engine, and why.

Each engine says how much work a problem is for it, and :mod:`filterworks.costs` what that costs here; the
cheapest engine that can do the problem *within the contract's accuracy on these data* is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from filterworks import costs
from filterworks.arguments import Array
from filterworks.engine import ENGINES
from filterworks.errors import ArgumentError, ArgumentTypeError, EngineError, must, unknown
from filterworks.problem import SMALL_KERNEL, Problem
from filterworks.scanning import count_small, peak

Data = Callable[[], Array]

# Data whose largest |x| exceeds the median of the others by this factor need a local engine.
_SPIKE = 1e4
# A transform of 8-bit data cannot meet such a ratio; of float data it must not overflow either.
_HUGE = 1e30
# The size that engines are chosen for where parts are filtered as the whole is; shorter axes are channels.
_SIDE = 1024
_CHANNELS = 16


@dataclass(frozen=True)
class Plan:
    """Which engine computes a problem, and why.

    Attributes
    ----------
    engine
        A name from :func:`engines`.
    reason
        One sentence for people.
    estimates
        Estimated seconds of each engine that can do the problem.
    """

    engine: str
    reason: str
    estimates: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"engine: {self.engine} ({self.reason})"]
        lines += [
            f"  {name:<17} {seconds * 1e3:10.3f} ms estimated"
            for name, seconds in sorted(self.estimates.items(), key=lambda item: item[1])
        ]
        return "\n".join(lines)


@dataclass
class Trace:
    """What was done while :func:`tracing`.

    Attributes
    ----------
    steps
        Each problem with its plan.
    calls
        Each request that was evaluated, with the data and the result.
    """

    steps: list[tuple[Problem, Plan]] = field(default_factory=list)
    calls: list[tuple[Any, Array, Array]] = field(default_factory=list)


_TRACE: ContextVar[Trace | None] = ContextVar("filterworks_trace", default=None)


@contextmanager
def tracing() -> Iterator[Trace]:
    """Collect the plans of everything that is computed inside the ``with`` block."""
    trace = Trace()
    token = _TRACE.set(trace)
    try:
        yield trace
    finally:
        _TRACE.reset(token)


def is_traced() -> bool:
    """Return whether somebody collects plans."""
    return _TRACE.get() is not None


def note_call(request: Any, x: Array, result: Array) -> None:
    """Tell whoever collects plans what has been evaluated."""
    trace = _TRACE.get()
    if trace is not None:
        trace.calls.append((request, x, result))


class _Starting:
    """What it costs to start an engine in this process, and what doing without it has cost so far.

    An engine is started when it saves its start in one call, or would have saved it in the calls so far:
    so the start never costs more than twice what knowing the future would (the ski rental rule).
    """

    def __init__(self) -> None:
        self._missed: dict[str, float] = {}

    def is_worth(self, engine: str, saving: float) -> bool:
        """Return whether to start an engine that saves so many seconds in this call."""
        start = ENGINES[engine].start_seconds()
        if start == 0.0:
            return True
        missed = self._missed.get(engine, 0.0) + saving
        self._missed[engine] = missed
        return missed >= start


_STARTING = _Starting()
Many = Literal["", "alike", "of any size"]
_MANY: ContextVar[Many] = ContextVar("filterworks_many", default="")


def is_worth_starting(engine: str, saving: float) -> bool:
    """Return whether to use an engine that saves so many seconds, its start in this process considered."""
    return bool(_MANY.get()) or _STARTING.is_worth(engine, saving)


class expecting_many:  # noqa: N801  # used like a function
    """Choose inside the ``with`` block as if every engine were started, whatever was computed before.

    Parameters
    ----------
    which
        ``of any size``: the size of the data does not count either; ``alike``: it counts.
    """

    def __init__(self, which: Many = "of any size") -> None:
        self._which: Many = which

    def __enter__(self) -> None:
        self._token = _MANY.set(self._which)

    def __exit__(self, *_: object) -> None:
        _MANY.reset(self._token)


def expected() -> Many:
    """Return what the :func:`expecting_many` around this expects; nothing without one."""
    return _MANY.get()


def engines() -> tuple[str, ...]:
    """Return the names that `method` accepts besides ``auto``.

    Examples
    --------
    >>> "fft" in engines()
    True
    """
    return tuple(ENGINES)


def as_method(method: object) -> str:
    """Return `method` if it is ``auto`` or the name of an engine."""
    accepted = ("auto", *ENGINES)
    if not isinstance(method, str):
        raise ArgumentTypeError(must("method", f"one of {', '.join(accepted)}", method))
    if method not in accepted:
        raise ArgumentError(unknown("method", method, accepted))
    return method


def is_spiky(x: Array) -> bool:
    """Return whether max|x| exceeds 10⁴ times the median of the non-zero |x| (or nears overflow).

    Examples
    --------
    >>> is_spiky(np.array([1.0, 2.0, 3.0, 1e6])), is_spiky(np.array([0.0, 1e6, 2e6]))
    (True, False)
    """
    if x.dtype.kind == "b" or x.dtype.itemsize == 1 or x.size == 0:
        return False
    most = peak(x)
    if most > _HUGE:
        return True
    small, zeros = count_small(x, most / _SPIKE)
    return small > 0 and 2 * (small - zeros) > x.size - zeros


def _is_spiky(data: Data | None, pairs: bool) -> bool:
    if data is None:
        return False
    x = data()
    return is_spiky(np.abs(x).max(axis=-1)) if pairs and x.size else is_spiky(x)


def choose(
    problem: Problem, method: str, data: Data | None = None, *, local: bool = False, pairs: bool = False
) -> Plan:
    """Return the plan for a problem.

    Parameters
    ----------
    problem
        What to compute.
    method
        ``auto`` or an engine's name.
    data
        Returns the data, finite; asked only where the choice depends on them.
    local
        Only engines whose error stays in each sample's own window will do.
    pairs
        The last axis of the data holds real and imaginary parts.

    Raises
    ------
    EngineError
        If `method` names an engine that cannot do this problem.
    """
    plan = _choose(problem, method, data, local, pairs)
    trace = _TRACE.get()
    if trace is not None:
        trace.steps.append((problem, plan))
    return plan


def fastest(problem: Problem) -> str:
    """Return the engine that comes first whatever the data, once it is started."""
    return _order(problem)[0]


def _order(problem: Problem) -> list[str]:
    """Return the engines that can do the problem, those with the least estimated time first."""
    estimates = _estimates_of(problem)
    order = sorted(estimates, key=estimates.__getitem__)
    if _MANY.get() == "of any size":
        typical = _estimates_of(_of_typical_size(problem))
        order.sort(key=lambda name: typical.get(name, math.inf))
    return order


@lru_cache(maxsize=512)
def _estimates(problem: Problem) -> dict[str, float]:
    return {
        name: costs.seconds(name, engine.work(problem))
        for name, engine in ENGINES.items()
        if engine.refusal(problem) is None
    }


def _estimates_of(problem: Problem) -> dict[str, float]:
    small = math.prod(problem.weights.shape) <= SMALL_KERNEL
    return (_estimates if small else _estimates.__wrapped__)(problem)


def forget_estimates() -> None:
    """Estimate anew: the constants have changed."""
    _estimates.cache_clear()


def _choose(problem: Problem, method: str, data: Data | None, local: bool, pairs: bool) -> Plan:
    if method != "auto":
        refusal = ENGINES[method].refusal(problem)
        if refusal:
            raise EngineError(
                f"method {method!r} cannot do this: {refusal}; method='auto' finds one that can"
            )
        return Plan(method, "asked for", {method: costs.seconds(method, ENGINES[method].work(problem))})
    estimates = _estimates_of(problem)
    order = _order(problem)
    reason = "the least estimated time"
    if _MANY.get() == "of any size":
        reason = "the least estimated time at a typical size, so that parts come out as the whole does"
    if not ENGINES[order[0]].IS_LOCAL and (local or _is_spiky(data, pairs)):
        why = "samples are left out" if local else "the data hold large values beside small ones"
        reason = (
            f"the least estimated time of those accurate in each window; {why}, which rules out {order[0]}"
        )
        order = [name for name in order if ENGINES[name].IS_LOCAL]
    best = _started(order, estimates)
    if best != order[0]:
        reason = (
            f"the least estimated time of those at hand; {order[0]} would cost more to start than it saves"
        )
    return Plan(best, reason, dict(estimates))


def _of_typical_size(problem: Problem) -> Problem:
    """Return the problem on data of another size: what is true of it holds for all parts of an image."""
    shape = [_SIDE if size > _CHANNELS else size for size in problem.shape]
    for axis, span in zip(problem.axes, problem.spans, strict=True):
        shape[axis] = max(_SIDE, 2 * span)
    return replace(problem, shape=tuple(shape))


def _started(order: list[str], estimates: dict[str, float]) -> str:
    """Return the first engine that is started or worth starting."""
    at_hand = next((name for name in order if ENGINES[name].start_seconds() == 0.0), order[-1])
    for name in order:
        if name == at_hand or is_worth_starting(name, estimates[at_hand] - estimates[name]):
            return name
    return at_hand
