"""The one meaning: convolution and cross-correlation of arrays.

In one dimension, with a kernel of spread length k and ``mode="same"``::

    convolve   y[i] = Σ_j x[i - j + (k-1)//2 - origin] · kernel[j]
    correlate  y[i] = Σ_j x[i + j - k//2 - origin] · conj(kernel[j])

which is what scipy.signal computes, for even kernels too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from filterworks import evaluation, planner
from filterworks.arguments import (
    MODES,
    NAN_POLICIES,
    Array,
    Mode,
    NanPolicy,
    as_axes,
    as_choice,
    as_kernel,
    as_output_dtype,
    as_signal,
    compute_dtype,
    finish,
    per_axis,
)
from filterworks.boundaries import as_boundary
from filterworks.errors import ArgumentError, ArgumentTypeError, must
from filterworks.evaluation import Request
from filterworks.planner import Plan
from filterworks.problem import Factors, Problem, Weights, weights
from filterworks.shapes import mode_padding, spread_size

Axes = int | Sequence[int] | None
PerKernelAxis = int | Sequence[int]


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
    request, array, wanted = _request(x, kernel, True, locals())
    return finish(evaluation.evaluate(request, array), wanted)


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
    request, array, wanted = _request(x, kernel, False, locals())
    return finish(evaluation.evaluate(request, array), wanted)


def correlate_factors(x: Array, factors: Factors, options: dict[str, Any]) -> Array:
    """Correlate with the outer product of 1-D `factors`; `options` are those of :func:`correlate`."""
    request, array, wanted = _request(x, Weights(None, factors), False, {**_DEFAULTS, **options})
    return finish(evaluation.evaluate(request, array), wanted)


def plan(x: ArrayLike, kernel: ArrayLike, **options: Any) -> Plan:
    """Return which engine :func:`convolve` would use for these arguments, and why.

    Parameters
    ----------
    x, kernel, **options
        As for :func:`convolve`.

    Examples
    --------
    >>> plan(np.zeros((64, 64)), np.ones((3, 3))).engine in ("separable", "opencv")
    True
    """
    unknown_names = set(options) - set(_DEFAULTS)
    if unknown_names:
        raise ArgumentTypeError(must("options", f"among {', '.join(_DEFAULTS)}", sorted(unknown_names)))
    request, array, _ = _request(x, kernel, True, {**_DEFAULTS, **options})
    with planner.tracing() as trace:
        _planned(request, array)
    return trace.steps[0][1]


def _planned(request: Request, array: Array) -> None:
    local = request.nan_policy == "omit" or request.problem.boundary == "omit"
    problem = request.problem
    if array.dtype.kind == "c":
        array = np.ascontiguousarray(array)
        array = array.view(array.real.dtype).reshape(*array.shape, 2)
        problem = replace(problem, shape=array.shape, dtype=array.dtype)
    clean = np.where(np.isfinite(array), array, array.dtype.type(0)) if array.dtype.kind == "f" else array
    planner.choose(problem, request.method, clean, local=local and request.method == "auto")


_DEFAULTS: dict[str, Any] = {
    "mode": "same",
    "boundary": "constant",
    "fill_value": 0.0,
    "origin": 0,
    "axes": None,
    "stride": 1,
    "dilation": 1,
    "nan_policy": "propagate",
    "dtype": None,
    "method": "auto",
}


def _request(
    x: ArrayLike, kernel: ArrayLike | Weights, flip: bool, options: dict[str, Any]
) -> tuple[Request, Array, np.dtype[Any] | None]:
    """Check every argument once and return the canonical request, the data and the dtype asked for."""
    array = as_signal(x)
    real, imaginary = _as_weights(kernel, flip)
    wanted = as_output_dtype(options["dtype"])
    work = compute_dtype(array.dtype)
    if wanted is not None and wanted.kind in "fc":
        work = np.promote_types(work, compute_dtype(wanted))
    _check_weights(real, work)
    axes = as_axes(options["axes"], array.ndim, len(real.shape))
    stride, dilation, padding = _geometry(options, real.shape, tuple(array.shape[axis] for axis in axes))
    if 0 in array.shape:
        # An empty signal has an empty result: nothing is read outside of an empty axis.
        padding = tuple(
            pair if array.shape[axis] else (0, 0) for axis, pair in zip(axes, padding, strict=True)
        )
    problem = Problem(
        array.shape,
        array.dtype,
        work,
        real,
        axes,
        padding,
        as_boundary(options["boundary"]),
        stride,
        dilation,
    )
    request = Request(
        problem,
        imaginary,
        _as_fill(options["fill_value"], array.dtype.kind == "c"),
        as_choice("nan_policy", options["nan_policy"], NAN_POLICIES),
        planner.as_method(options["method"]),
    )
    return _with_ascending_axes(request), array, wanted


def _geometry(
    options: dict[str, Any], shape: tuple[int, ...], sizes: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, int], ...]]:
    """Return stride, dilation and padding of a kernel of `shape` along axes of `sizes`."""
    ndim = len(shape)
    stride = per_axis("stride", options["stride"], ndim, 1)
    dilation = per_axis("dilation", options["dilation"], ndim, 1)
    spans = tuple(spread_size(k, d) for k, d in zip(shape, dilation, strict=True))
    origin = per_axis("origin", options["origin"], ndim)
    mode: Any = as_choice("mode", options["mode"], MODES)
    if mode != "same" and any(origin):
        raise ArgumentError(
            f"an `origin` other than 0 needs mode='same'; got origin={origin} with mode={mode!r}"
        )
    if mode == "valid" and 0 not in sizes and any(n < k for n, k in zip(sizes, spans, strict=True)):
        raise ArgumentError(
            f"mode='valid' needs a kernel no longer than `x`: it spans {spans}, `x` has {sizes} there"
        )
    return stride, dilation, tuple(mode_padding(mode, k, o) for k, o in zip(spans, origin, strict=True))


def _with_ascending_axes(request: Request) -> Request:
    """Return the same request with the kernel transposed so that its axes follow those of the data."""
    problem = request.problem
    order = sorted(range(len(problem.axes)), key=problem.axes.__getitem__)
    if order == list(range(len(order))):
        return request
    turned = replace(
        problem,
        weights=weights(np.transpose(problem.weights.array, order)),
        axes=tuple(problem.axes[i] for i in order),
        padding=tuple(problem.padding[i] for i in order),
        stride=tuple(problem.stride[i] for i in order),
        dilation=tuple(problem.dilation[i] for i in order),
    )
    imaginary = request.imaginary and weights(np.transpose(request.imaginary.array, order))
    return replace(request, problem=turned, imaginary=imaginary)


def _as_weights(kernel: ArrayLike | Weights, flip: bool) -> tuple[Weights, Weights | None]:
    """Return the weights as correlation slides them: flipped for convolution, else conjugated."""
    if isinstance(kernel, Weights):
        return kernel, None
    taps = as_kernel(kernel)
    taps = np.flip(taps) if flip else np.conj(taps)
    if taps.dtype.kind != "c":
        return weights(taps), None
    return weights(taps.real), weights(taps.imag)


def _check_weights(kernel: Weights, work: np.dtype[Any]) -> None:
    if kernel.absolute > float(np.finfo(work).max):
        raise ArgumentError(
            f"the kernel's weights do not fit {work}, in which this signal is computed; pass dtype='float64'"
        )


def _as_fill(value: object, is_complex: bool) -> complex:
    try:
        fill: complex = complex(value)  # type: ignore[call-overload]  # the TypeError is the test
    except (TypeError, ValueError):
        raise ArgumentTypeError(must("fill_value", "a number", value)) from None
    if fill.imag and not is_complex:
        raise ArgumentError(must("fill_value", "real for a real signal", value))
    return fill
