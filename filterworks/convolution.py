"""The one meaning: convolution and cross-correlation of arrays.

In one dimension, with a kernel of spread length k and ``mode="same"``::

    convolve   y[i] = Σ_j x[i - j + (k-1)//2 - origin] · kernel[j]
    correlate  y[i] = Σ_j x[i + j - k//2 - origin] · conj(kernel[j])

which is what scipy.signal computes, for even kernels too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from filterworks import evaluation, planner
from filterworks.arguments import Array, Mode, NanPolicy
from filterworks.errors import ArgumentTypeError, must
from filterworks.machine.compiler import CompilerError
from filterworks.planner import Many, Plan, expected, is_traced
from filterworks.problem import Factors, Weights, outer_weights
from filterworks.request import DEFAULTS, Request, make_request

Axes = int | Sequence[int] | None
PerKernelAxis = int | Sequence[int]
# Calls with kernels of up to so many weights are remembered.
_SMALL = 1 << 12


def convolve(
    x: ArrayLike,
    kernel: ArrayLike,
    *,
    mode: Mode = "same",
    boundary: str = "constant",
    fill_value: complex = 0.0,
    origin: PerKernelAxis = 0,
    axes: Axes = None,
    stride: PerKernelAxis = 1,
    dilation: PerKernelAxis = 1,
    nan_policy: NanPolicy = "propagate",
    dtype: DTypeLike | None = None,
    method: str = "auto",
) -> Array:
    """Convolve an array with a kernel: flip the kernel, slide, multiply, add.

    Parameters
    ----------
    x
        Array of any number of axes (1 and up): bool, integer, float16/32/64 or complex.
    kernel
        Weights. It has as many axes as `x`, or `axes` says where they lie.
    mode
        ``same`` (the size of `x`, the centre of ``full``), ``full`` or ``valid`` (no sample outside
        is read).
    boundary
        What lies outside: ``constant``, ``nearest``, ``symmetric``, ``mirror``, ``wrap``, or ``omit``
        (nothing does; the weights inside are renormalised). Aliases and ``library:name`` as in
        :mod:`filterworks.boundaries`.
    fill_value
        The outside under ``constant``.
    origin
        Shift under ``same``, one int or one per kernel axis; positive looks back, ``(k-1)//2`` is causal.
    axes
        The axes of `x` that the kernel's axes lie on; None: all of them.
    stride
        Keep every s-th sample of the result, from its first.
    dilation
        Distance between the kernel's taps.
    nan_policy
        ``propagate``: a NaN reaches exactly the outputs whose window holds it; ``omit``: weights are
        renormalised over the samples that are not NaN; ``raise``.
    dtype
        Of the result. None: float32, float64 and complex stay, float16, bool and integers of 8 and
        16 bits give float32, wider integers float64; a complex kernel makes it complex. Integers are
        rounded half to even and saturated.
    method
        ``auto`` or an engine's name from :func:`filterworks.engines`.

    Returns
    -------
    numpy.ndarray
        The result; its error is at most ``1e-5 · max|x| · Σ|k|`` in float32 and ``1e-12`` of that in
        float64.

    Raises
    ------
    ArgumentError
        An argument is out of range, unknown or inconsistent with another (a ValueError).
    EngineError
        `method` names an engine that cannot do this.
    MissingDataError
        NaN where `nan_policy` or an integer `dtype` forbids it.

    Notes
    -----
    Follows ``scipy.signal.convolve``. Deep-learning layers, ``cv2.filter2D`` and most image tools do
    not flip: they compute :func:`correlate`.

    Examples
    --------
    >>> convolve([0, 0, 1, 0, 0], [1, 2, 3])
    array([0., 1., 2., 3., 0.])
    >>> convolve(np.array([1, 2, 4], dtype="uint8"), [1, 2], mode="full", boundary="nearest")
    array([ 3.,  4.,  8., 12.], dtype=float32)
    """
    options = (mode, boundary, fill_value, origin, axes, stride, dilation, nan_policy, dtype, method)
    return _compute(x, kernel, True, options)


def correlate(
    x: ArrayLike,
    kernel: ArrayLike,
    *,
    mode: Mode = "same",
    boundary: str = "constant",
    fill_value: complex = 0.0,
    origin: PerKernelAxis = 0,
    axes: Axes = None,
    stride: PerKernelAxis = 1,
    dilation: PerKernelAxis = 1,
    nan_policy: NanPolicy = "propagate",
    dtype: DTypeLike | None = None,
    method: str = "auto",
) -> Array:
    """Cross-correlate an array with a kernel: slide it as it is drawn, multiply, add.

    All parameters, the result and the errors are those of :func:`convolve`; a complex kernel is
    conjugated, as in ``scipy.signal.correlate``.

    Examples
    --------
    >>> correlate([0, 0, 1, 0, 0], [1, 2, 3])
    array([0., 3., 2., 1., 0.])
    """
    options = (mode, boundary, fill_value, origin, axes, stride, dilation, nan_policy, dtype, method)
    return _compute(x, kernel, False, options)


def _compute(x: ArrayLike, kernel: ArrayLike, flip: bool, options: tuple[Any, ...]) -> Array:
    """Check the arguments and evaluate; a call like an earlier one with a small kernel is done at once."""
    if type(x) is np.ndarray and type(kernel) is np.ndarray and kernel.size <= _SMALL:
        run = _recalled(x, (kernel.tobytes(), kernel.shape, kernel.dtype), flip, options)
        if run is not None:
            return run(x)
    request, array = make_request(x, kernel, flip, dict(zip(DEFAULTS, options, strict=True)))
    return evaluation.evaluate(request, array)


def correlate_factors(x: Array, factors: Factors, options: dict[str, Any]) -> Array:
    """Correlate with the outer product of 1-D `factors`; `options` are those of :func:`correlate`."""
    kernel, options = outer_weights(factors), {**DEFAULTS, **options}
    if sum(kernel.shape) <= _SMALL:
        run = _recalled(x, kernel, False, tuple(options.values()))
        if run is not None:
            return run(x)
    request, array = make_request(x, kernel, False, options)
    return evaluation.evaluate(request, array)


# The content, shape and dtype of a kernel as the caller gave it, or what is remembered of its factors.
_Kernel = tuple[bytes, tuple[int, ...], np.dtype[Any]] | Weights


class _NotYetError(Exception):
    """What would be remembered now may be done better once more engines are started."""


def _recalled(
    x: Array, kernel: _Kernel, flip: bool, options: tuple[Any, ...]
) -> Callable[[Array], Array] | None:
    """Return what computes a call like an earlier one; None if the call has to be looked at."""
    if is_traced():
        return None
    try:
        return _recall(x.shape, x.dtype, kernel, flip, expected(), *options)
    except (TypeError, ValueError, CompilerError, _NotYetError):
        return None  # whatever is wrong is told by those who look


@lru_cache(maxsize=512, typed=True)
def _recall(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    kernel: _Kernel,
    flip: bool,
    many: Many,  # the engine is another there
    *options: Any,
) -> Callable[[Array], Array] | None:
    """Return what computes a call, if the values of the data change nothing in how it is done."""
    if not dtype.isnative:
        return None
    if isinstance(kernel, tuple):
        content, kernel_shape, kernel_dtype = kernel
        given: Array | Weights = np.frombuffer(content, kernel_dtype).reshape(kernel_shape)
    else:
        given = kernel
    values = dict(zip(DEFAULTS, options, strict=True))
    request, array = make_request(np.empty(shape, dtype), given, flip, values)
    run = evaluation.reusable(request, array)
    if run is evaluation.NOT_YET:
        raise _NotYetError
    return run


def plan(x: ArrayLike, kernel: ArrayLike, **options: Any) -> Plan:
    """Return which engine :func:`convolve` would use for these arguments, and why.

    Parameters
    ----------
    x, kernel, **options
        As for :func:`convolve`.

    Examples
    --------
    >>> plan(np.zeros((64, 64)), np.ones((3, 3)), method="direct").reason
    'asked for'
    """
    unknown_names = set(options) - set(DEFAULTS)
    if unknown_names:
        raise ArgumentTypeError(must("options", f"among {', '.join(DEFAULTS)}", sorted(unknown_names)))
    request, array = make_request(x, kernel, True, {**DEFAULTS, **options})
    with planner.tracing() as trace:
        _planned(request, array)
    return trace.steps[0][1]


def _planned(request: Request, array: Array) -> None:
    evaluation.check_missing(request, array)
    problem = request.problem
    missing = request.nan_policy == "omit" and array.dtype.kind in "fc" and bool(np.isnan(array).any())
    local = request.method == "auto" and (missing or problem.boundary == "omit")
    pairs = array.dtype.kind == "c"
    if pairs:
        array = np.ascontiguousarray(array)
        array = array.view(array.real.dtype).reshape(*array.shape, 2)
        problem = replace(problem, shape=array.shape, dtype=array.dtype)

    def clean() -> Array:
        return np.where(np.isfinite(array), array, array.dtype.type(0)) if array.dtype.kind == "f" else array

    planner.choose(problem, request.method, clean, local=local, pairs=pairs)
