"""Arguments, checked once, become a frozen request.

Everything that does not depend on the values of the data is worked out here and remembered, so that
the next call of the same kind pays for a look-up only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from filterworks import planner
from filterworks.arguments import (
    MODES,
    NAN_POLICIES,
    Array,
    as_axes,
    as_choice,
    as_fill,
    as_kernel,
    as_output_dtype,
    as_signal,
    compute_dtype,
    per_axis,
)
from filterworks.boundaries import as_boundary
from filterworks.errors import ArgumentError
from filterworks.problem import SMALL_KERNEL, Problem, Weights, weights
from filterworks.shapes import mode_padding, spread_size

DEFAULTS: dict[str, Any] = {
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

# More samples than this around small data are a mistake.
_LARGEST = 1 << 28
# The smallest normal number of float32.
_TINY = float(np.finfo(np.float32).tiny)
# Options of these types are remembered, each with its type: 1, 1.0 and True are not the same.
_REMEMBERED = (int, str, float, type(None), type)


@dataclass(frozen=True)
class Request:
    """A problem, with what the engines do not see.

    Attributes
    ----------
    problem
        The problem with the real part of the weights.
    imaginary
        The imaginary part of the weights, or None.
    fill_value
        What lies outside under ``constant``.
    nan_policy, method
        As in :func:`filterworks.convolve`.
    dtype
        Of the result, if the caller asked for one.
    """

    problem: Problem
    imaginary: Weights | None
    fill_value: complex
    nan_policy: str
    method: str
    dtype: np.dtype[Any] | None


def make_request(
    x: ArrayLike, kernel: ArrayLike | Weights, flip: bool, options: dict[str, Any]
) -> tuple[Request, Array]:
    """Return the canonical request and the data.

    Parameters
    ----------
    x, kernel
        Data and kernel as the caller gave them; `Weights` are taken as they slide.
    flip
        Whether the kernel is to be flipped (convolution) or conjugated (correlation).
    options
        A value for every name in `DEFAULTS`.

    Raises
    ------
    ArgumentError
        An argument is out of range, unknown or inconsistent with another.
    """
    array = as_signal(x)
    real, imaginary = _as_weights(kernel, flip)
    values = tuple(options[name] for name in DEFAULTS)
    plain = all(map(_is_plain, values))
    small = math.prod(real.shape) <= SMALL_KERNEL
    canonical = _canonical if plain and small else _canonical.__wrapped__
    return canonical(array.shape, array.dtype, real, imaginary, *values), array


def _is_plain(value: object) -> bool:
    if type(value) is tuple:
        return all(type(item) is int for item in value)
    # Each NumPy dtype has a type of its own.
    return type(value) in _REMEMBERED or isinstance(value, np.dtype)


@lru_cache(maxsize=512, typed=True)
def _canonical(
    shape: tuple[int, ...],
    signal: np.dtype[Any],
    real: Weights,
    imaginary: Weights | None,
    *values: Any,
) -> Request:
    options = dict(zip(DEFAULTS, values, strict=True))
    wanted = as_output_dtype(options["dtype"])
    work = compute_dtype(signal)
    if wanted is not None and wanted.kind in "fc":
        work = np.promote_types(work, compute_dtype(wanted))
    _check_weights(real, work)
    axes = as_axes(options["axes"], len(shape), len(real.shape))
    stride, dilation, padding = _geometry(options, real.shape, tuple(shape[axis] for axis in axes))
    if 0 in shape:
        # An empty signal has an empty result: nothing is read outside of an empty axis.
        padding = tuple(pair if shape[axis] else (0, 0) for axis, pair in zip(axes, padding, strict=True))
    boundary = as_boundary(options["boundary"])
    result = wanted
    if work == np.float32 and min(w.smallest for w in (real, imaginary) if w is not None) < _TINY:
        # Weights that float32 cannot hold take part in full precision.
        work, result = np.dtype(np.float64), wanted or _result_dtype(signal, imaginary)
    problem = Problem(shape, signal, work, real, axes, padding, boundary, stride, dilation)
    _check_size(problem)
    request = Request(
        problem,
        imaginary,
        as_fill(options["fill_value"], signal.kind == "c"),
        as_choice("nan_policy", options["nan_policy"], NAN_POLICIES),
        planner.as_method(options["method"]),
        result,
    )
    return _with_ascending_axes(request)


def _result_dtype(signal: np.dtype[Any], imaginary: Weights | None) -> np.dtype[Any]:
    work = compute_dtype(signal)
    return np.result_type(work, np.complex64) if signal.kind == "c" or imaginary is not None else work


def _check_size(problem: Problem) -> None:
    """Refuse padding and spread kernels that only a mistaken `dilation` or `origin` asks for."""
    largest = max(math.prod(problem.padded_shape), math.prod(problem.spans))
    if largest > max(_LARGEST, 16 * math.prod(problem.shape)):
        raise ArgumentError(
            f"a window of {' × '.join(map(str, problem.spans))} samples would take {largest:.3g} samples of "
            "padding; use a smaller window, `dilation` or `origin`"
        )


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
    with np.errstate(over="ignore"):
        too_large = kernel.absolute > float(np.finfo(work).max)
    if too_large:
        raise ArgumentError(
            f"the kernel's weights do not fit {work}, in which this signal is computed; pass dtype='float64'"
        )
