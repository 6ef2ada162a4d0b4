"""Edges, derivatives and band-passes: their results are signed or magnitudes, and floats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from filterworks import kernels
from filterworks.arguments import Array, as_axes, as_output_dtype, finish
from filterworks.convolution import correlate, correlate_factors
from filterworks.engine import stencil
from filterworks.errors import ArgumentError, must
from filterworks.evaluation import is_plain_sum
from filterworks.filters.options import Options, check_planar, float_dtype, prepared
from filterworks.filters.smoothing import gaussian
from filterworks.kernels import Kernel, PerAxis
from filterworks.machine import pointwise
from filterworks.machine.compiler import CompilerError
from filterworks.planner import is_traced
from filterworks.request import DEFAULTS, make_request

# Samples from which on one pass saves more than looking for it takes.
_WORTH = 1 << 15


def _magnitude(x: ArrayLike, smoothing: Sequence[float], axis: int | None, options: Options) -> Array:
    array, axes, settings = prepared(x, options)
    wanted = as_output_dtype(settings.pop("dtype", None))
    if array.dtype.kind == "c" and axis is None:
        raise ArgumentError("the gradient magnitude is defined for real data; got complex (name one `axis`)")
    along = axes if axis is None else as_axes(axis, array.ndim)
    if not set(along) <= set(axes):
        raise ArgumentError(must("axis", f"among the filtered axes {axes}", axis))
    factors = [
        tuple(np.array([-1.0, 0.0, 1.0] if a == one else smoothing, dtype=float) for a in axes)
        for one in along
    ]
    if axis is None and len(axes) == 2:
        found = _length_at_once(array, [kernels.outer(*one) for one in factors], settings, wanted)
        if found is not None:
            return found
    if wanted is not None and wanted.kind in "fc":
        settings["dtype"] = wanted
    slopes = [correlate_factors(array, one, settings) for one in factors]
    return finish(slopes[0] if axis is not None else _length(slopes, array.dtype), wanted)


def _length_at_once(
    array: Array, taps: Sequence[Kernel], settings: dict[str, Any], wanted: np.dtype[Any] | None
) -> Array | None:
    """Return √(a² + b²) of two correlations of small integers in one pass, if that can be done; same bits."""
    out = np.dtype(np.float32) if wanted is None else wanted
    is_small = array.size < _WORTH
    if (
        is_small
        or array.dtype not in (np.uint8, np.uint16)
        or out not in (np.float32, array.dtype)
        or is_traced()
    ):
        return None
    requests = [make_request(array, one, False, {**DEFAULTS, **settings})[0] for one in taps]
    if not is_plain_sum(requests[0]) or requests[0].method != "auto":
        return None
    slopes = tuple(request.problem.weights for request in requests)
    found = stencil.prepare(replace(requests[0].problem, wanted=out), slopes)
    made = found(array) if found else None
    return made[0] if made else None


def _length(slopes: list[Array], dtype: np.dtype[Any]) -> Array:
    """Return √Σ slope², overwriting the slopes; the slow way where a square would leave the dtype's range.

    `dtype` is that of the data: slopes of integers of up to 16 bits are neither large nor, but for 0, small.
    """
    largest = 1.0 if dtype.kind in "iub" and dtype.itemsize <= 2 else _largest(slopes)
    safe = 1e15 if slopes[0].dtype == np.float32 else 1e150
    if not 1 / safe < largest < safe:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(reduce(np.hypot, slopes))
    if len(slopes) == 2 and _write_length(*slopes):
        return slopes[0]
    for slope in slopes:
        np.multiply(slope, slope, out=slope)
    total = reduce(lambda a, b: np.add(a, b, out=a), slopes)
    return np.asarray(np.sqrt(total, out=total))


def _write_length(a: Array, b: Array) -> bool:
    """Write the length into `a` in one pass, if that can be done; the bits are those of NumPy's passes."""
    if a.dtype not in (np.float32, np.float64) or not (a.flags.c_contiguous and b.flags.c_contiguous):
        return False
    if a.dtype != b.dtype or not pointwise.is_ready():
        return False
    try:
        pointwise.write_length(a, b)
    except CompilerError:
        return False
    return True


def _largest(slopes: list[Array]) -> float:
    return max(float(np.abs(slope).max(initial=0)) for slope in slopes)


def sobel(x: ArrayLike, *, axis: int | None = None, **options: Unpack[Options]) -> Array:
    """Return the Sobel gradient: its magnitude, or the signed derivative along one `axis`.

    The scale is that of scipy.ndimage and OpenCV: in 2-D a unit step gives 4.

    Examples
    --------
    >>> sobel(np.array([[0, 0, 1, 1]] * 3, dtype="uint8"))[1]
    array([0., 4., 4., 0.], dtype=float32)
    >>> sobel(np.array([[1, 1, 0, 0]] * 3, dtype="uint8"), axis=1)[1]
    array([ 0., -4., -4.,  0.], dtype=float32)
    """
    return _magnitude(x, (1, 2, 1), axis, options)


def prewitt(x: ArrayLike, *, axis: int | None = None, **options: Unpack[Options]) -> Array:
    """Return the Prewitt gradient: its magnitude, or the signed derivative along one `axis`.

    In 2-D a unit step gives 3, as in scipy.ndimage.

    Examples
    --------
    >>> prewitt(np.array([[0.0, 0, 1, 1]] * 3))[1]
    array([0., 3., 3., 0.])
    """
    return _magnitude(x, (1, 1, 1), axis, options)


def scharr(x: ArrayLike, *, axis: int | None = None, **options: Unpack[Options]) -> Array:
    """Return the Scharr gradient: its magnitude, or the signed derivative along one `axis`.

    In 2-D a unit step gives 16, as in OpenCV.

    Examples
    --------
    >>> scharr(np.array([[0.0, 0, 1, 1]] * 3))[1]
    array([ 0., 16., 16.,  0.])
    """
    return _magnitude(x, (3, 10, 3), axis, options)


def central_difference(x: ArrayLike, *, axis: int | None = None, **options: Unpack[Options]) -> Array:
    """Return half the difference of the two neighbours along `axis`: the slope per sample.

    Unless given, `axis` is the last of the filtered axes.

    Examples
    --------
    >>> central_difference(np.array([0.0, 1, 4, 9]), boundary="nearest")
    array([0.5, 2. , 4. , 2.5])
    """
    array, axes, settings = prepared(x, options)
    settings["axes"] = axes[-1:] if axis is None else as_axes(axis, array.ndim)
    if not set(settings["axes"]) <= set(axes):
        raise ArgumentError(must("axis", f"among the filtered axes {axes}", axis))
    return correlate_factors(array, (np.array([-0.5, 0.0, 0.5]),), settings)


def roberts(x: ArrayLike, **options: Unpack[Options]) -> Array:
    """Return the Roberts cross gradient magnitude (two axes); a unit step gives √2.

    The 2x2 window of a sample holds it, its neighbours before it, and the one between them.

    Examples
    --------
    >>> roberts(np.array([[0.0, 0, 1], [0, 0, 1]])).round(3)
    array([[0.   , 0.   , 1.414],
           [0.   , 0.   , 1.414]])
    """
    array, axes, settings = prepared(x, options)
    check_planar("roberts", axes)
    wanted = as_output_dtype(settings.pop("dtype", None))
    taps = [kernels.roberts(diagonal) for diagonal in ("main", "anti")]
    found = _length_at_once(array, taps, settings, wanted)
    if found is not None:
        return found
    slopes = [correlate(array, one, **settings) for one in taps]
    return finish(_length(slopes, array.dtype), wanted)


def laplace(x: ArrayLike, *, neighbours: int | None = None, **options: Unpack[Options]) -> Array:
    """Return the Laplacian with 4 (the default, as scipy.ndimage.laplace) or 8 `neighbours` in 2-D.

    Examples
    --------
    >>> laplace(np.array([0.0, 0, 1, 0, 0, 5]))
    array([ 0.,  1., -2.,  1.,  5., -5.])
    """
    array, axes, settings = prepared(x, options)
    return correlate(array, kernels.laplacian(neighbours, len(axes)), **settings)


def log(x: ArrayLike, sigma: PerAxis, *, truncate: float = 4.0, **options: Unpack[Options]) -> Array:
    """Return the Laplacian of Gaussian, as scipy.ndimage.gaussian_laplace.

    Examples
    --------
    >>> log(np.array([0.0, 0, 0, 1, 0, 0, 0]), 1.0, truncate=2).round(3)
    array([ 0.   ,  0.163,  0.   , -0.403,  0.   ,  0.163,  0.   ])
    """
    array, axes, settings = prepared(x, options)
    wanted = settings.pop("dtype", None)
    if wanted is not None and np.dtype(wanted).kind in "fc":
        settings["dtype"] = wanted
    sigmas = kernels.per_axis_number("sigma", sigma, len(axes))
    total: Array | None = None
    for curved in range(len(axes)):
        orders = [2 if i == curved else 0 for i in range(len(axes))]
        factors = tuple(kernels.gaussian_factor(s, truncate, o) for s, o in zip(sigmas, orders, strict=True))
        term = correlate_factors(array, factors, settings)
        total = term if total is None else np.add(total, term, out=total)
    return finish(np.asarray(total), as_output_dtype(wanted))


def dog(
    x: ArrayLike,
    low_sigma: float,
    high_sigma: float | None = None,
    *,
    truncate: float = 4.0,
    **options: Unpack[Options],
) -> Array:
    """Return the difference of two Gaussians: what is wider than `low_sigma`, narrower than `high_sigma`.

    `high_sigma` is ``1.6 * low_sigma`` unless given. Equals
    ``skimage.filters.difference_of_gaussians`` on floats.

    Examples
    --------
    >>> dog(np.array([0.0, 0, 0, 1, 0, 0]), 0.5, 1.0).round(2)
    array([-0.  , -0.05, -0.14,  0.39, -0.14, -0.06])
    """
    low, high = kernels.dog_sigmas(low_sigma, high_sigma)
    array, _, settings = prepared(x, options)
    wanted = as_output_dtype(settings.pop("dtype", None))
    work = wanted if wanted is not None and wanted.kind in "fc" else float_dtype(array)
    narrow = gaussian(array, low, truncate=truncate, **settings, dtype=work)
    with np.errstate(invalid="ignore"):
        narrow -= gaussian(array, high, truncate=truncate, **settings, dtype=work)
    return finish(narrow, wanted)


def gabor(
    x: ArrayLike,
    wavelength: float,
    angle: float = 0.0,
    *,
    sigma: float | None = None,
    gamma: float = 0.5,
    phase: float = 0.0,
    truncate: float = 3.0,
    **options: Unpack[Options],
) -> Array:
    """Return the answer to waves of one length and direction (two axes); :func:`filterworks.kernels.gabor`.

    Examples
    --------
    >>> wave = np.cos(2 * np.pi * np.arange(64) / 8) * np.ones((64, 1))
    >>> bool(np.abs(gabor(wave, 8)).max() > 20 * np.abs(gabor(wave, 8, 90)).max())
    True
    """
    array, axes, settings = prepared(x, options)
    check_planar("gabor", axes)
    return correlate(array, kernels.gabor(wavelength, angle, sigma, gamma, phase, truncate), **settings)
