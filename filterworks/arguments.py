"""One canonicaliser per argument, and the dtype rule.

Each function turns what a caller may write into the one form that the rest of the package
knows, or raises :class:`~filterworks.errors.ArgumentError` with what was given and what is accepted.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from filterworks.errors import ArgumentError, ArgumentTypeError, MissingDataError, must, unknown

Array = NDArray[Any]
Mode = Literal["full", "same", "valid"]
NanPolicy = Literal["propagate", "omit", "raise"]

MODES: tuple[Mode, ...] = ("full", "same", "valid")
NAN_POLICIES: tuple[NanPolicy, ...] = ("propagate", "omit", "raise")
# OpenCV rounds by way of a 32-bit integer.
_FITS_INT = 2.0**30
# What ``float`` takes, but nobody means as a number.
_NO_NUMBER = (bool, str, bytes, np.bool_)
_SINGLE = {np.dtype(t) for t in ("bool", "int8", "uint8", "int16", "uint16", "float16", "float32")}


def as_choice(name: str, value: object, choices: Sequence[str]) -> str:
    """Return `value` if it is one of `choices`; the error names the near matches."""
    if not isinstance(value, str):
        raise ArgumentTypeError(must(name, f"one of {', '.join(choices)}", value))
    if value not in choices:
        raise ArgumentError(unknown(name, value, choices))
    return value


def as_int(name: str, value: object, minimum: int | None = None) -> int:
    """Return `value` as an int (no bool, no float), not below `minimum`."""
    if type(value) is int and (minimum is None or value >= minimum):
        return value
    accepted = "an integer" if minimum is None else f"an integer of at least {minimum}"
    if isinstance(value, bool | np.bool_):
        raise ArgumentTypeError(must(name, accepted, value))
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # the TypeError is the test
    except TypeError:
        raise ArgumentTypeError(must(name, accepted, value)) from None
    if minimum is not None and number < minimum:
        raise ArgumentError(must(name, accepted, value))
    return number


def as_number(
    name: str, value: object, minimum: float = -np.inf, maximum: float = np.inf, *, above: float | None = None
) -> float:
    """Return `value` as a finite float in [minimum, maximum]; `above` is an exclusive lower limit."""
    problem: type[ArgumentError] = ArgumentTypeError
    if value is not None and not isinstance(value, _NO_NUMBER):
        try:
            number = float(value)  # type: ignore[arg-type]  # the TypeError is the test
        except OverflowError:
            problem = ArgumentError
        except (TypeError, ValueError):
            pass
        else:
            if minimum <= number <= maximum and (above is None or number > above) and math.isfinite(number):
                return number
            problem = ArgumentError
    raise problem(must(name, _accepted(minimum, maximum, above), value))


def _accepted(minimum: float, maximum: float, above: float | None) -> str:
    limits = []
    if above is not None:
        limits.append(f"above {above:g}")
    elif minimum > -np.inf:
        limits.append(f"of at least {minimum:g}")
    if maximum < np.inf:
        limits.append(f"at most {maximum:g}")
    return "a finite number" + (" " + " and ".join(limits) if limits else "")


def as_fill(value: object, is_complex: bool) -> complex:
    """Return `value` as the number that lies outside: any, but complex only for complex data."""
    if isinstance(value, str | bytes):
        raise ArgumentTypeError(must("fill_value", "a number", value))
    try:
        fill: complex = complex(value)  # type: ignore[call-overload]  # the TypeError is the test
    except OverflowError:
        raise ArgumentError(must("fill_value", "a number that a float can hold", value)) from None
    except (TypeError, ValueError):
        raise ArgumentTypeError(must("fill_value", "a number", value)) from None
    if fill.imag and not is_complex:
        raise ArgumentError(must("fill_value", "real for a real signal", value))
    return fill


def _is_listed(value: object) -> TypeGuard[Sequence[Any]]:
    if type(value) is tuple:
        return True  # which takes no time to see
    is_array = isinstance(value, np.ndarray) and value.ndim > 0
    return is_array or (isinstance(value, Sequence) and not isinstance(value, str | bytes))


def per_axis(
    name: str, value: object, ndim: int, minimum: int | None = None, *, of: str = "kernel axis"
) -> tuple[int, ...]:
    """Return one int per axis, from an int or a sequence of `ndim` ints; `of` says what they belong to."""
    if _is_listed(value):
        if len(value) != ndim:
            raise ArgumentError(must(name, f"an integer or {ndim} of them, one per {of}", value))
        return tuple(as_int(name, item, minimum) for item in value)
    return (as_int(name, value, minimum),) * ndim


def as_signal(x: ArrayLike, name: str = "x") -> Array:
    """Return `x` as an array of a numeric, native dtype with at least one axis."""
    # Asking NumPy for its masked arrays would import them.
    if "numpy.ma" in sys.modules and isinstance(x, np.ma.MaskedArray):
        raise ArgumentTypeError(
            f"`{name}` is a masked array, whose mask would be lost; "
            f"pass `{name}.filled(nan)` with nan_policy='omit'"
        )
    try:
        array = np.asarray(x)
    except ValueError:  # rows of different lengths
        raise ArgumentError(f"`{name}` must be an array; got rows of different lengths") from None
    if array.dtype.kind not in "biufc" or array.dtype.itemsize > (16 if array.dtype.kind == "c" else 8):
        raise ArgumentTypeError(
            must(name, "an array of bool, integers, float16/32/64 or complex64/128", array.dtype)
        )
    if array.ndim == 0:
        raise ArgumentError(must(name, "an array with at least one axis", x))
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def as_kernel(kernel: ArrayLike) -> Array:
    """Return `kernel` as a non-empty, finite float64 or complex128 array."""
    array = as_signal(kernel, "kernel")
    if array.size == 0:
        raise ArgumentError(f"`kernel` must hold at least one weight; got shape {array.shape}")
    array = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
    if not np.isfinite(array).all():
        raise ArgumentError("`kernel` must hold finite weights; got NaN or infinity among them")
    return array


def as_axes(axes: object, ndim: int, kernel_ndim: int | None = None) -> tuple[int, ...]:
    """Return the axes as distinct non-negative ints; None means all of them.

    `kernel_ndim`, where given, is the number of axes that the kernel must find.
    """
    if axes is None:
        if kernel_ndim is not None and kernel_ndim != ndim:
            raise ArgumentError(
                f"`kernel` has {kernel_ndim} axes and `x` has {ndim}: "
                f"name the {kernel_ndim} axes of `x` that the kernel lies on with `axes`"
            )
        return tuple(range(ndim))
    items = axes if _is_listed(axes) else [axes]
    found = []
    for item in items:
        axis = as_int("axes", item)
        if not -ndim <= axis < ndim:
            raise ArgumentError(must("axes", f"between {-ndim} and {ndim - 1} for {ndim} axes", axis))
        found.append(axis % ndim)
    if not found or len(set(found)) != len(found):
        raise ArgumentError(must("axes", "distinct axes, at least one", axes))
    if kernel_ndim is not None and len(found) != kernel_ndim:
        raise ArgumentError(must("axes", f"{kernel_ndim} axes, one per kernel axis", axes))
    return tuple(found)


def compute_dtype(signal: np.dtype[Any]) -> np.dtype[Any]:
    """Return the real dtype in which a signal of dtype `signal` is computed: the signal decides.

    float16, bool and integers of 8 and 16 bits give float32, wider integers float64;
    float32/64 and complex64/128 keep their precision.

    Examples
    --------
    >>> compute_dtype(np.dtype("uint16")), compute_dtype(np.dtype("int32"))
    (dtype('float32'), dtype('float64'))
    """
    if signal.kind == "c":
        return np.dtype(np.float32 if signal.itemsize == 8 else np.float64)
    return np.dtype(np.float32 if signal in _SINGLE else np.float64)


def as_output_dtype(dtype: DTypeLike | None) -> np.dtype[Any] | None:
    """Return the dtype asked for, or None; only integers, floats and complex are accepted."""
    if dtype is None:
        return None
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        wanted = np.dtype(object)
    too_wide = wanted.itemsize > (16 if wanted.kind == "c" else 8)
    if wanted.kind not in "iufc" or too_wide:
        raise ArgumentTypeError(must("dtype", "an integer, float or complex dtype, or None", dtype))
    return wanted.newbyteorder("=")


def extremes(values: Array) -> tuple[float, float]:
    """Return the least and the greatest value, or NaN for both; 0 and 0 of nothing."""
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def saturate(
    values: Array, dtype: np.dtype[Any], within: tuple[float, float] | None = None, *, absolute: bool = False
) -> Array:
    """Round half to even and saturate into an integer `dtype`; the one place where this is done.

    Parameters
    ----------
    within
        The :func:`extremes` of the values, where they are known.
    absolute
        Whether magnitudes are wanted.

    Raises
    ------
    MissingDataError
        If `values` holds NaN, which no integer can represent.

    Examples
    --------
    >>> saturate(np.array([-3.0, 0.5, 1.5, 300.0]), np.dtype("uint8"))
    array([  0,   0,   2, 255], dtype=uint8)
    """
    if values.size == 0:
        return values.astype(dtype)
    info = np.iinfo(dtype)
    low, high = within or extremes(values)
    if np.isnan(low):
        raise MissingDataError(
            f"the result holds NaN, which {dtype} cannot represent; "
            "use a float dtype, nan_policy='omit', or fill the gaps first"
        )
    is_small = (
        dtype.itemsize <= 2 and values.dtype in (np.float32, np.float64) and max(-low, high) < _FITS_INT
    )
    if is_small and absolute and dtype == np.uint8:
        return _magnitudes(values)
    if absolute and low < 0:
        values, low, high = np.abs(values), 0.0, max(-low, high)
    if is_small:
        return _saturate_small(values, dtype)
    inside = np.rint(values)
    if low < info.min or high > info.max:
        np.clip(inside, info.min, info.max, out=inside)
    if float(inside.dtype.type(info.max)) <= info.max:
        return inside.astype(dtype)
    # The largest 32/64-bit integers round up to a float that the type itself cannot hold.
    top = inside >= inside.dtype.type(info.max)
    whole = np.where(top, 0, inside).astype(dtype)
    whole[top] = info.max
    return whole


def _saturate_small(values: Array, dtype: np.dtype[Any]) -> Array:
    """A compiled loop, or else OpenCV's, rounds half to even and saturates alike, several times as fast."""
    # Only where there is something to convert.
    from filterworks.machine import pointwise
    from filterworks.machine.compiler import CompilerError

    flat = np.ascontiguousarray(values).reshape(1, -1)
    if pointwise.is_ready():
        out = np.empty(values.shape, dtype)
        try:
            pointwise.write_rounded(flat, out)
        except CompilerError:
            pass  # OpenCV does it
        else:
            return out
    import cv2  # as above

    depth = {"u1": cv2.CV_8U, "i1": cv2.CV_8S, "u2": cv2.CV_16U, "i2": cv2.CV_16S}[dtype.str[1:]]
    return np.asarray(cv2.addWeighted(flat, 1.0, flat, 0.0, 0.0, dtype=depth)).reshape(values.shape)


def saturate_counted(values: Array, dtype: np.dtype[Any], *, absolute: bool = False) -> tuple[Array, int]:
    """Return what :func:`saturate` does, and how many values were outside of the range of `dtype`.

    Raises
    ------
    MissingDataError
        If `values` holds NaN, which no integer can represent.

    Examples
    --------
    >>> saturate_counted(np.array([-3.0, 0.5, 255.4, 300.0]), np.dtype("uint8"))
    (array([  0,   0, 255, 255], dtype=uint8), 2)
    """
    if dtype.itemsize <= 2 and values.dtype in (np.float32, np.float64):
        from filterworks.machine import pointwise  # only where there is something to convert
        from filterworks.machine.compiler import CompilerError

        if pointwise.is_ready():
            flat, out = np.ascontiguousarray(values), np.empty(values.shape, dtype)
            with suppress(CompilerError):
                outside, missing = pointwise.write_counted(flat, out, absolute=absolute)
                if not missing:
                    return out, outside
    low, high = float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
    found = least, greatest = extremes(values)
    if absolute:
        least, greatest = 0.0, max(-least, greatest)
    outside = 0
    if least < low - 0.5 or greatest > high + 0.5:
        shown = np.abs(values) if absolute else values
        outside = int(np.count_nonzero((shown < low - 0.5) | (shown > high + 0.5)))
    return saturate(values, dtype, found, absolute=absolute), outside


def _magnitudes(values: Array) -> Array:
    import cv2  # as above

    flat = np.ascontiguousarray(values).reshape(1, -1)
    return np.asarray(cv2.convertScaleAbs(flat)).reshape(values.shape)


def finish(values: Array, dtype: np.dtype[Any] | None) -> Array:
    """Return `values` in the `dtype` that the caller asked for (None: as they are)."""
    if dtype is None or values.dtype == dtype:
        return values
    if values.dtype.kind == "c" and dtype.kind != "c":
        raise ArgumentError(
            f"a complex result does not fit dtype {dtype}; take its real part or magnitude first"
        )
    if dtype.kind in "iu":
        return saturate(values, dtype)
    return values.astype(dtype)
