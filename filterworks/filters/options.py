"""The options that all filters share, and their defaults."""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from filterworks.arguments import Array, NanPolicy, as_axes, as_signal, compute_dtype
from filterworks.convolution import Axes, correlate
from filterworks.errors import ArgumentError
from filterworks.kernels import Kernel


class Options(TypedDict, total=False):
    """What every filter accepts besides its own parameters.

    Attributes
    ----------
    axes
        The axes to filter along; None: all of them. Other axes (colour channels, pages) are filtered
        each by itself.
    boundary
        What lies outside, ``symmetric`` unless given; names in :mod:`filterworks.boundaries`.
    fill_value
        The outside under ``constant``.
    nan_policy
        ``propagate``, ``omit`` or ``raise``, as in :func:`filterworks.convolve`.
    dtype
        Of the result.
    method
        ``auto`` or an engine's name.
    """

    axes: Axes
    boundary: str
    fill_value: float
    nan_policy: NanPolicy
    dtype: DTypeLike | None
    method: str


def prepared(x: ArrayLike, options: Options) -> tuple[Array, tuple[int, ...], dict[str, Any]]:
    """Return the data, the axes and the options with the filters' defaults in place."""
    array = as_signal(x)
    axes = as_axes(options.get("axes"), array.ndim)
    return array, axes, {"boundary": "symmetric", **options, "axes": axes}


def keeping(array: Array, options: dict[str, Any]) -> dict[str, Any]:
    """Let integers come back as they came unless the caller asks for another dtype."""
    if options.get("dtype") is None and array.dtype.kind in "iu":
        return {**options, "dtype": array.dtype}
    return options


def check_planar(name: str, axes: tuple[int, ...]) -> None:
    """Refuse anything but two axes."""
    if len(axes) != 2:
        raise ArgumentError(f"{name} works along two axes; name them with `axes`, got {len(axes)}")


def float_dtype(array: Array) -> np.dtype[Any]:
    """Return the float or complex dtype in which the data are filtered."""
    work = compute_dtype(array.dtype)
    return np.result_type(work, np.complex64) if array.dtype.kind == "c" else work


def smooth(x: ArrayLike, kernel: Kernel, options: Options) -> Array:
    """Return the data filtered with a kernel that keeps their scale."""
    array, axes, settings = prepared(x, options)
    if kernel.ndim != len(axes):
        raise ArgumentError(f"the kernel has {kernel.ndim} axes; name as many with `axes`, got {len(axes)}")
    return correlate(array, kernel, **keeping(array, settings))
