"""Filters that keep the scale of the data and bring detail out."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from filterworks import kernels
from filterworks.arguments import Array, as_number, as_output_dtype, finish
from filterworks.filters.options import Options, float_dtype, keeping, prepared, smooth
from filterworks.filters.smoothing import gaussian
from filterworks.kernels import PerAxis
from filterworks.machine import pointwise
from filterworks.machine.compiler import CompilerError

# Times a detail of 16 bits, this is still far from infinity in single precision.
_MODEST = 1e30


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
        blurred = gaussian(array, sigma, truncate=truncate, **settings)
        made = _sharpened(array, blurred, (strength, least), blurred.dtype if wanted is None else wanted)
        if made is not None:
            return made
        detail = array - blurred
        if least > 0:
            detail[np.abs(detail) < least] = 0
        detail *= detail.dtype.type(strength)
        detail += array.astype(detail.dtype, copy=False)
    return finish(np.asarray(detail), wanted)


def _sharpened(
    array: Array, blurred: Array, amounts: tuple[float, float], dtype: np.dtype[Any]
) -> Array | None:
    """Return the result of one pass, if that can be done; the bits are those of NumPy's passes."""
    is_small = dtype.kind in "iu" and dtype.itemsize <= 2 and array.dtype.kind in "iub"
    if not (is_small and amounts[0] < _MODEST) and dtype != blurred.dtype:
        return None
    if blurred.dtype.itemsize not in (4, 8) or blurred.dtype.kind != "f":
        return None
    if array.dtype.kind not in "iubf" or np.result_type(array, blurred) != blurred.dtype:
        return None
    if not array.flags.c_contiguous or not pointwise.is_ready():
        return None
    data = array.view(np.uint8) if array.dtype.kind == "b" else array
    out = np.empty(array.shape, dtype)
    try:
        pointwise.write_sharpened(data, blurred, *amounts, out)
    except CompilerError:
        return None
    return out


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
