"""Filters that keep the scale of the data and take detail away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike

from filterworks import kernels
from filterworks.arguments import Array, per_axis
from filterworks.convolution import correlate_factors
from filterworks.filters.options import Options, keeping, prepared, smooth
from filterworks.kernels import PerAxis


def mean(x: ArrayLike, size: int | Sequence[int] = 3, **options: Unpack[Options]) -> Array:
    """Return the average over a window of `size` samples, one for all axes or one per axis.

    Examples
    --------
    >>> mean(np.array([0, 0, 9, 0, 0, 3], dtype="uint8"), 3)
    array([0, 3, 3, 3, 1, 2], dtype=uint8)
    """
    array, axes, settings = prepared(x, options)
    sizes = per_axis("size", size, len(axes), 1, of="axis")
    return correlate_factors(array, tuple(np.full(n, 1.0 / n) for n in sizes), keeping(array, settings))


def gaussian(
    x: ArrayLike,
    sigma: PerAxis,
    *,
    truncate: float = 4.0,
    order: int | Sequence[int] = 0,
    **options: Unpack[Options],
) -> Array:
    """Smooth with a Gaussian of radius ``int(truncate * sigma + 0.5)``, as scipy.ndimage.gaussian_filter.

    Parameters
    ----------
    x
        Data of any number of axes.
    sigma
        Standard deviation in samples, one for all axes or one per axis; 0 leaves an axis alone.
    truncate
        Radius of the kernel in standard deviations.
    order
        0, or the order of the derivative, one for all axes or one per axis.
    **options
        See :class:`Options`.

    Returns
    -------
    numpy.ndarray
        Of the shape of `x`; integers keep their dtype unless `order` asks for a derivative.

    Examples
    --------
    >>> gaussian(np.array([0.0, 0, 0, 1, 0, 0]), 0.5).round(3)
    array([0.   , 0.   , 0.106, 0.787, 0.106, 0.   ])
    """
    array, axes, settings = prepared(x, options)
    sigmas = kernels.per_axis_number("sigma", sigma, len(axes))
    orders = per_axis("order", order, len(axes), 0, of="axis")
    factors = tuple(kernels.gaussian_factor(s, truncate, o) for s, o in zip(sigmas, orders, strict=True))
    return correlate_factors(array, factors, settings if any(orders) else keeping(array, settings))


def binomial(x: ArrayLike, size: int = 3, **options: Unpack[Options]) -> Array:
    """Smooth with a row of Pascal's triangle along each axis (:func:`filterworks.kernels.binomial`).

    Examples
    --------
    >>> binomial(np.array([0.0, 0, 4, 0]), 3)
    array([0., 1., 2., 1.])
    """
    array, axes, settings = prepared(x, options)
    factors = (kernels.binomial_factor(size),) * len(axes)
    return correlate_factors(array, factors, keeping(array, settings))


def disk(x: ArrayLike, radius: float = 1.0, **options: Unpack[Options]) -> Array:
    """Average over a disk, as an unfocused lens does (two axes).

    Examples
    --------
    >>> disk(np.diag([5.0, 0.0, 10.0]), 1)[1]
    array([1., 0., 2.])
    """
    return smooth(x, kernels.disk(radius), options)


def motion(x: ArrayLike, length: float = 9.0, angle: float = 0.0, **options: Unpack[Options]) -> Array:
    """Smear along a line of `length` samples at `angle` degrees (two axes).

    Examples
    --------
    >>> motion(np.array([[0.0, 0, 6, 0, 0, 0]]), 3)
    array([[0., 2., 2., 2., 0., 0.]])
    """
    return smooth(x, kernels.motion(length, angle), options)
