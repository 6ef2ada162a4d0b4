"""Values as pixels, and colours that alpha weighs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from filterworks.arguments import Array, compute_dtype, saturate_counted

Apply = Callable[[Array], Array]
Limits = tuple[float, float]


def premultiplied(pixels: Array, compute: Apply) -> tuple[Array, Array]:
    """Filter colour times alpha and alpha, then divide: transparent pixels lend no colour."""
    is_whole = pixels.dtype.kind in "iu"
    work = compute_dtype(pixels.dtype)
    top = work.type(np.iinfo(pixels.dtype).max if is_whole else 1)
    values = pixels.astype(work)
    values[..., -1] /= top
    values[..., :-1] *= values[..., -1:]
    values = np.asarray(compute(values)).astype(work, copy=False)
    alpha = np.clip(values[..., -1:], 0, 1)
    visible = alpha > (0.5 / float(top) if is_whole else 0)
    colour = np.divide(values[..., :-1], alpha, out=np.zeros_like(values[..., :-1]), where=visible)
    return colour, to_pixels(alpha[..., 0] * top, pixels.dtype, "clip")[0]


def to_pixels(
    values: Array, dtype: np.dtype[Any], how: str, limits: Limits | None = None
) -> tuple[Array, int]:
    """Return `values` as pixels of `dtype`, and how many of them lay outside of its range.

    Parameters
    ----------
    values
        Results on the scale of the input (an 8-bit image runs from 0 to 255), or booleans.
    dtype
        Of the pixels. Floats have no limits; their full range counts as 0 to 1.
    how
        ``clip``: as they are; ``abs``: their magnitude; ``stretch``: `limits` become the darkest
        and the brightest; ``offset``: zero becomes middle grey.
    limits
        The least and the greatest value of the whole image, for ``stretch``.

    Examples
    --------
    >>> to_pixels(np.array([-300.0, -20.0, 0.0, 90.4]), np.dtype("uint8"), "abs")
    (array([255,  20,   0,  90], dtype=uint8), 1)
    >>> to_pixels(np.array([-1.0, 0.0, 3.0]), np.dtype("uint8"), "stretch", (-1.0, 3.0))[0]
    array([  0,  64, 255], dtype=uint8)
    """
    whole = dtype.kind in "iu"
    if whole and values.dtype == dtype and (how == "clip" or (how == "abs" and dtype.kind == "u")):
        return values, 0
    low, top = (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)) if whole else (0.0, 1.0)
    if values.dtype.kind == "b":
        return np.where(values, dtype.type(top), dtype.type(0)), 0
    if how == "offset":
        values = values + values.dtype.type((low + top + 1) // 2 if whole else 0.5)
    elif how == "stretch" and limits is not None:
        least, greatest = limits
        scale = (top - low) / (greatest - least) if greatest > least else 0.0
        values = (values.astype(np.float64) - least) * scale + low
    absolute = how == "abs"
    if not whole:
        return (np.abs(values) if absolute else values).astype(dtype, copy=False), 0
    return saturate_counted(values, dtype, absolute=absolute)
