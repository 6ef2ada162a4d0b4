"""From a problem with any data to the real, finite correlations that the engines compute.

Complex numbers become real parts, a fill value becomes padding, missing samples become zeros and a
second correlation of their weights, NaN and infinities are set aside and put back by the definition.
So every engine has the same meaning, and none needs to know of these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np

from filterworks import planner
from filterworks.arguments import Array, finish
from filterworks.boundaries import pad
from filterworks.engine import ENGINES
from filterworks.errors import ArgumentError, MissingDataError
from filterworks.machine.compiler import CompilerError
from filterworks.portions import in_bands, is_bulky
from filterworks.problem import Problem, Weights, weights
from filterworks.request import Request
from filterworks.scanning import is_finite

# Weights that cancel to less than this share of their size leave nothing to divide by.
_VANISHES = 1e-12
_ENLARGES = 4.0
# Weights whose sums with integers of any width stay finite in single precision.
_SURELY_FINITE = 1e15


def evaluate(request: Request, x: Array) -> Array:
    """Return the result in the dtype asked for, or in the working precision.

    Numbers too large for it become infinite without a warning, in every engine alike.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        result = finish(_evaluate(request, x), request.dtype)
    planner.note_call(request, x, result)
    return result


def NOT_YET(x: Array) -> Array:  # noqa: N802 -- a mark, never called
    """Stand for a function that there will be once its engine is started."""
    raise NotImplementedError


def reusable(request: Request, x: Array) -> Callable[[Array], Array] | None:
    """Return a function for all data of this shape and dtype, if their values change nothing in it.

    That is so for a plain sum of weighted samples by an engine that is exact in every window.
    """
    problem = request.problem
    if not is_plain_sum(request) or x.dtype.kind not in "biuf" or 0 in problem.output_shape:
        return None
    if not problem.is_remembered:
        return None
    problem = _rounding(request, x)
    name = planner.fastest(problem) if request.method == "auto" else request.method
    engine = ENGINES[name]
    spreads = x.dtype.kind == "f" and not engine.keeps_nonfinite(problem)
    if spreads or not engine.IS_LOCAL or engine.refusal(problem):
        return None
    if engine.start_seconds() > 0:
        return NOT_YET
    run, dtype = engine.prepare(problem), request.dtype
    return run if dtype is None else lambda data: finish(run(data), dtype)


def is_plain_sum(request: Request) -> bool:
    """Return whether the weights are real, and what lies outside or is missing needs nothing else."""
    filled = request.problem.boundary == "constant" and request.fill_value != 0
    return request.imaginary is None and request.nan_policy == "propagate" and not (filled or omits(request))


def _rounding(request: Request, x: Array) -> Problem:
    """Return the problem with the integers that are wanted, where no sum can be NaN on the way."""
    problem, dtype = request.problem, request.dtype
    small = dtype is not None and dtype.kind in "iu" and dtype.itemsize <= 2 and x.dtype.kind in "biu"
    if small and problem.weights.absolute < _SURELY_FINITE:
        return replace(problem, wanted=dtype)
    return problem


def _evaluate(request: Request, x: Array) -> Array:
    if 0 in request.problem.output_shape:
        kind = np.result_type(
            request.problem.work, np.complex64 if _is_complex(request, x) else request.problem.work
        )
        return np.empty(request.problem.output_shape, kind)
    check_missing(request, x)
    request, x = _with_fill(request, x)
    if omits(request):
        if not is_bulky(request.problem):
            return _omitting(request, x)
        return in_bands(request.problem, x, lambda p, part: _omitting(replace(request, problem=p), part))
    if request.imaginary is None:
        request = replace(request, problem=_rounding(request, x))
    return _linear(request, x)


def omits(request: Request) -> bool:
    """Return whether samples may be left out and the weights renormalised."""
    return request.nan_policy == "omit" or request.problem.boundary == "omit"


def check_missing(request: Request, x: Array) -> None:
    """Refuse NaN under ``raise``, and under ``omit`` weights that cannot be renormalised."""
    if request.nan_policy == "raise" and x.dtype.kind in "fc" and np.isnan(x).any():
        raise MissingDataError(
            f"`x` holds {int(np.isnan(x).sum())} NaN and nan_policy='raise' forbids them; "
            "'propagate' and 'omit' accept them"
        )
    if omits(request):
        _check_divisible(request)


def _is_complex(request: Request, x: Array) -> bool:
    return x.dtype.kind == "c" or request.imaginary is not None


def _with_fill(request: Request, x: Array) -> tuple[Request, Array]:
    """Put a fill value other than zero around the data, so that outside is zero for the engines."""
    problem = request.problem
    if problem.boundary != "constant" or request.fill_value == 0:
        return request, x
    if np.isnan(request.fill_value) and request.nan_policy == "omit":
        return replace(request, problem=replace(problem, boundary="omit"), fill_value=0.0), x
    kind = np.result_type(problem.work, np.complex64) if x.dtype.kind == "c" else problem.work
    fill = request.fill_value if x.dtype.kind == "c" else request.fill_value.real
    problem, x = _surround(problem, x.astype(kind, copy=False), fill)
    return replace(request, problem=problem, fill_value=0.0), x


def _surround(problem: Problem, x: Array, fill: complex) -> tuple[Problem, Array]:
    """Put the padding around the data as samples of value `fill`."""
    out = pad(x, problem.axes, problem.padding, "constant", fill)
    return replace(problem, shape=out.shape, dtype=out.dtype, padding=((0, 0),) * len(problem.axes)), out


def _linear(request: Request, x: Array) -> Array:
    """Return the plain sum of weighted samples, by real parts."""
    problem = request.problem
    if request.imaginary is None:
        return _real_weights(problem, x, request.method)
    real = _real_weights(problem, x, request.method)
    imaginary = _real_weights(replace(problem, weights=request.imaginary), x, request.method)
    out = np.empty(real.shape, np.result_type(problem.work, np.complex64))
    if x.dtype.kind == "c":
        out.real = real.real - imaginary.imag
        out.imag = real.imag + imaginary.real
    else:
        out.real, out.imag = real, imaginary
    return out


def _real_weights(problem: Problem, x: Array, method: str, *, local: bool = False) -> Array:
    if x.dtype.kind != "c":
        return _real(problem, x, method, local=local)
    pairs = np.ascontiguousarray(x)
    pairs = pairs.view(pairs.real.dtype).reshape(*x.shape, 2)
    problem = replace(problem, shape=pairs.shape, dtype=pairs.dtype)
    parts = _real(problem, pairs, method, local=local, pairs=True)
    return np.ascontiguousarray(parts).view(np.result_type(problem.work, np.complex64))[..., 0]


def _real(problem: Problem, x: Array, method: str, *, local: bool = False, pairs: bool = False) -> Array:
    """Return the correlation of real data, NaN and infinities as the definition has them."""
    data = _Data(x)
    name, run = _ready(problem, data.finite, method, local=local, pairs=pairs)
    if x.dtype.kind not in "fc" or ENGINES[name].keeps_nonfinite(problem):
        return run(x)
    if data.is_finite:
        return run(x)
    if not is_bulky(problem):
        return _mended(problem, data, run)

    def compute(part: Problem, values: Array) -> Array:
        own = _Data(values)
        name, run = _ready(part, own.finite, method, local=local, pairs=pairs)
        keeps = ENGINES[name].keeps_nonfinite(part) or own.is_finite
        return run(values) if keeps else _mended(part, own, run)

    del data
    return in_bands(problem, x, compute)


class _Data:
    """The data, looked at when that is asked for."""

    def __init__(self, x: Array) -> None:
        self.x = x

    @cached_property
    def is_finite(self) -> bool:
        """Whether no sample is NaN or infinite."""
        return self.x.dtype.kind not in "fc" or is_finite(self.x)

    def finite(self) -> Array:
        """Return the data with zeros for NaN and infinities."""
        return self.x if self.is_finite else np.where(np.isfinite(self.x), self.x, self.x.dtype.type(0))


def _mended(problem: Problem, data: _Data, run: Callable[[Array], Array]) -> Array:
    """Return the correlation by an engine that would spread NaN and infinities, with them put right."""
    result = run(data.finite())
    _restore(problem, data.x, result)
    return result


def _ready(
    problem: Problem,
    data: Callable[[], Array],
    method: str = "auto",
    *,
    local: bool = False,
    pairs: bool = False,
) -> tuple[str, Callable[[Array], Array]]:
    """Return the chosen engine's name and its function; another engine's where nothing can be compiled."""
    plan = planner.choose(problem, method, data, local=local, pairs=pairs)
    try:
        return plan.engine, ENGINES[plan.engine].prepare(problem)
    except CompilerError:
        planner.forget_estimates()
        return _ready(problem, data, method, local=local, pairs=pairs)


def _counts(problem: Problem, indicator: Array, window: Array) -> Array:
    """Return Σ of small integers over each window, exact after rounding."""
    counting = replace(
        problem,
        dtype=np.dtype(np.float32),
        work=np.dtype(np.float32),
        weights=weights(window.astype(np.float64)),
    )
    values = indicator.astype(np.float32)
    _, run = _ready(counting, lambda: values)
    return np.rint(run(values))


def _restore(problem: Problem, x: Array, result: Array) -> None:
    """Put NaN and infinities where the definition has them into a result computed without them."""
    taps = problem.weights.array
    everywhere = np.ones(taps.shape)
    invalid = np.isnan(x)
    infinite = np.isinf(x)
    spoiled = _counts(problem, invalid, everywhere) > 0 if invalid.any() else np.zeros(result.shape, bool)
    if infinite.any():
        sign = np.where(infinite, np.sign(x), 0)
        weighted = _counts(problem, infinite, np.abs(np.sign(taps)))
        balance = _counts(problem, sign, np.sign(taps))
        reached = _counts(problem, infinite, everywhere)
        # An infinity under a weight of zero, or two of opposite sign, is NaN.
        spoiled |= (reached > weighted) | (np.abs(balance) < weighted)
        np.copyto(result, np.copysign(np.inf, balance), where=weighted > 0)
    result[spoiled] = np.nan


def _omitting(request: Request, x: Array) -> Array:
    """Return result × Σk / Σk over the samples that are there; NaN where those weights vanish."""
    problem = request.problem
    missing = np.isnan(x) if request.nan_policy == "omit" and x.dtype.kind in "fc" else None
    if missing is not None and missing.any():
        x = np.where(missing, x.dtype.type(0), x)
    else:
        missing = None
        if problem.boundary != "omit":
            return _linear(request, x)
    present = np.ones(x.shape) if missing is None else (~missing).astype(np.float64)
    share = _present_share(problem, present)
    numerator = _real_weights(problem, x, request.method, local=request.method == "auto")
    if request.method != "auto" and not ENGINES[request.method].IS_LOCAL:
        # Where little weight is left the division would enlarge an error that is not local.
        large = np.abs(share) > _ENLARGES
        if large.any():
            numerator = np.where(large, _real_weights(problem, x, "auto", local=True), numerator)
    return np.asarray((numerator * share).astype(numerator.dtype, copy=False))


def _check_divisible(request: Request) -> None:
    what = "nan_policy='omit'" if request.nan_policy == "omit" else "boundary='omit'"
    kernel = request.problem.weights
    if request.imaginary is not None:
        raise ArgumentError(f"{what} needs real weights; the kernel is complex")
    if abs(kernel.total) <= _VANISHES * kernel.absolute:
        raise ArgumentError(
            f"{what} renormalises by the sum of the weights, and this kernel's is zero; "
            "use 'propagate' and a boundary that continues the data"
        )


def _present_share(problem: Problem, present: Array) -> Array:
    """Return Σk / Σk over the samples present in each window, NaN where the latter vanishes."""
    counting = replace(problem, dtype=np.dtype(np.float64), work=np.dtype(np.float64))
    if problem.boundary == "constant":
        counting, present = _surround(counting, present, 1.0)
    return share_of(problem.weights, lambda kernel: _local(replace(counting, weights=kernel), present))


def share_of(kernel: Weights, present: Callable[[Weights], Array]) -> Array:
    """Return what sums over the samples that are there are multiplied by; NaN where their weights vanish.

    `present` tells the sums of a kernel's weights over the samples that are there.
    """
    partial = present(kernel)
    scale = np.abs(partial)
    if (kernel.array < 0).any():
        scale = present(weights(np.abs(kernel.array)))
    vanished = np.abs(partial) <= _VANISHES * scale
    partial[vanished] = np.nan
    return np.asarray(kernel.total / partial)


def _local(problem: Problem, x: Array) -> Array:
    _, run = _ready(problem, lambda: x, local=True)
    return run(x)
