"""Filters that keep the scale of the data and bring detail out."""

from __future__ import annotations

from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike

from filterworks import kernels
from filterworks.arguments import Array, as_number, as_output_dtype, finish
from filterworks.filters.options import Options, float_dtype, keeping, prepared, smooth
from filterworks.filters.smoothing import gaussian
from filterworks.kernels import PerAxis


def unsharp_mask(
    x: ArrayLike,
    sigma: PerAxis = 1.0,
    amount: float = 1.0,
    *,
    threshold: float = 0.0,
    truncate: float = 4.0,
    **options: Unpack[Options],
) -> Array:
    """Sharpen: add `amount` times what a Gaussian of `sigma` takes away.

    Parameters
    ----------
    x
        Data of any number of axes.
    sigma
        Width of the Gaussian in samples.
    amount
        Strength; 0 changes nothing.
    threshold
        Details smaller than this (in units of the data) are left as they are.
    truncate, **options
        As in :func:`gaussian`.

    Examples
    --------
    >>> unsharp_mask(np.array([1.0, 1, 9, 9, 9]), 0.5).round(2)
    array([1.  , 0.15, 9.85, 9.  , 9.  ])
    """
    strength = as_number("amount", amount, 0)
    least = as_number("threshold", threshold, 0)
    array, _, settings = prepared(x, options)
    wanted = as_output_dtype(keeping(array, settings).get("dtype"))
    settings["dtype"] = wanted if wanted is not None and wanted.kind in "fc" else float_dtype(array)
    with np.errstate(over="ignore", invalid="ignore"):
        detail = array - gaussian(array, sigma, truncate=truncate, **settings)
        if least > 0:
            detail[np.abs(detail) < least] = 0
        detail *= detail.dtype.type(strength)
        detail += array.astype(detail.dtype, copy=False)
    return finish(np.asarray(detail), wanted)


def sharpen(x: ArrayLike, amount: float = 1.0, *, neighbours: int = 4, **options: Unpack[Options]) -> Array:
    """Subtract `amount` times the Laplacian (two axes).

    Examples
    --------
    >>> sharpen(np.array([[0.0, 0, 1, 1], [0, 0, 1, 1]]))
    array([[ 0., -1.,  2.,  1.],
           [ 0., -1.,  2.,  1.]])
    """
    return smooth(x, kernels.sharpen(amount, neighbours), options)


def emboss(x: ArrayLike, amount: float = 1.0, **options: Unpack[Options]) -> Array:
    """Return a relief lit from the upper left (two axes); flat areas keep their value.

    Examples
    --------
    >>> emboss(np.array([[5.0, 5, 7], [5, 5, 7], [5, 5, 7]]))[1]
    array([ 5., 11., 13.])
    """
    return smooth(x, kernels.emboss(amount), options)
