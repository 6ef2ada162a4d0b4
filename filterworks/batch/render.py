"""From the page of an image to the page of its result: colour, alpha, bands, and the range of pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import Array, compute_dtype, saturate
from filterworks.boundaries import as_boundary
from filterworks.files import Page
from filterworks.operations import Chain

# Samples of an image that are filtered at a time: the floats in between stay small.
_BAND = 1 << 20

Apply = Callable[[Array], Array]


@dataclass(frozen=True)
class Rendered:
    """A page of results, and how many of its samples had to be cut to the range of its dtype."""

    page: Page
    clipped: int


def render(page: Page, chain: Chain, range_: str, apply: Callable[[Array], Array] | None = None) -> Rendered:
    """Return the page filtered along rows and columns, in the dtype and channels of the input.

    Parameters
    ----------
    page
        Pixels, and what their last channel means.
    chain
        The operations.
    range_
        ``auto``, ``clip``, ``abs``, ``stretch`` or ``offset``: how values become pixels.
    apply
        What computes the chain on an array; unless given, the chain itself, a band of rows at a time.

    Raises
    ------
    MissingDataError
        If NaN would have to become an integer.
    """
    compute = apply or (lambda pixels: _by_bands(pixels, chain))
    how = range_ if range_ != "auto" else ("abs" if chain.is_signed else "clip")
    pixels = page.pixels
    if page.alpha != "none" and chain.is_signed:
        colour, clipped = to_pixels(compute(np.ascontiguousarray(pixels[..., :-1])), pixels.dtype, how)
        return Rendered(replace(page, pixels=_stack(colour, pixels[..., -1])), clipped)
    if page.alpha == "straight":
        return _premultiplied(page, compute, how)
    values, clipped = to_pixels(compute(pixels), pixels.dtype, how)
    return Rendered(replace(page, pixels=values), clipped)


def _stack(colour: Array, alpha: Array) -> Array:
    return np.concatenate([colour, alpha[..., None]], axis=-1)


def _premultiplied(page: Page, compute: Apply, how: str) -> Rendered:
    """Filter colour times alpha and alpha, then divide: transparent pixels lend no colour."""
    pixels = page.pixels
    work = compute_dtype(pixels.dtype)
    top = work.type(np.iinfo(pixels.dtype).max if pixels.dtype.kind in "iu" else 1)
    values = pixels.astype(work)
    values[..., -1] /= top
    values[..., :-1] *= values[..., -1:]
    values = np.asarray(compute(values)).astype(work, copy=False)
    alpha = np.clip(values[..., -1:], 0, 1)
    visible = alpha > 0.5 / float(top) if pixels.dtype.kind in "iu" else alpha > 0
    colour = np.divide(values[..., :-1], alpha, out=np.zeros_like(values[..., :-1]), where=visible)
    shown, clipped = to_pixels(colour, pixels.dtype, how)
    opacity, _ = to_pixels(alpha[..., 0] * top, pixels.dtype, "clip")
    return Rendered(replace(page, pixels=_stack(shown, opacity)), clipped)


def to_pixels(values: Array, dtype: np.dtype[Any], how: str) -> tuple[Array, int]:
    """Return `values` as pixels of `dtype`, and how many of them lay outside of its range.

    Parameters
    ----------
    values
        Results on the scale of the input (an 8-bit image runs from 0 to 255), or booleans.
    dtype
        Of the pixels. Floats have no limits; their full range counts as 0 to 1.
    how
        ``clip``: as they are; ``abs``: their magnitude; ``stretch``: the least becomes the darkest,
        the greatest the brightest; ``offset``: zero becomes middle grey.

    Examples
    --------
    >>> to_pixels(np.array([-300.0, -20.0, 0.0, 90.4]), np.dtype("uint8"), "abs")
    (array([255,  20,   0,  90], dtype=uint8), 1)
    >>> to_pixels(np.array([-1.0, 0.0, 3.0]), np.dtype("uint8"), "stretch")[0]
    array([  0,  64, 255], dtype=uint8)
    """
    whole = dtype.kind in "iu"
    low, top = (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)) if whole else (0.0, 1.0)
    if values.dtype.kind == "b":
        return np.where(values, dtype.type(top), dtype.type(0)), 0
    if how == "abs":
        values = np.abs(values)
    elif how == "offset":
        values = values + values.dtype.type((low + top + 1) // 2 if whole else 0.5)
    elif how == "stretch":
        values = _stretched(values, low, top)
    if not whole:
        return values.astype(dtype, copy=False), 0
    if values.dtype == dtype:
        return values, 0
    clipped = 0
    if values.size and (values.min() < low - 0.5 or values.max() > top + 0.5):
        clipped = int(np.count_nonzero((values < low - 0.5) | (values > top + 0.5)))
    return saturate(values, dtype), clipped


def _stretched(values: Array, low: float, top: float) -> Array:
    exact = values.astype(np.float64)
    finite = exact[np.isfinite(exact)]
    if finite.size == 0:
        return exact
    least, greatest = float(finite.min()), float(finite.max())
    scale = (top - low) / (greatest - least) if greatest > least else 0.0
    return np.asarray((exact - least) * scale + low)


def _by_bands(pixels: Array, chain: Chain) -> Array:
    """Apply the chain a band of rows at a time, each read with the chain's reach around it."""
    reach = chain.reach[0]
    per_row = max(math.prod(pixels.shape[1:]), 1)
    rows = max(_BAND // per_row, 1)
    if pixels.shape[0] <= rows or math.isinf(reach) or rows < 4 * reach or _wraps(chain):
        return chain(pixels, axes=(0, 1))
    margin = int(reach)
    out: NDArray[np.generic] | None = None
    for start in range(0, pixels.shape[0], rows):
        stop = min(start + rows, pixels.shape[0])
        first = max(start - margin, 0)
        band = chain(pixels[first : stop + margin], axes=(0, 1))
        if out is None:
            out = np.empty(pixels.shape, band.dtype)
        out[start:stop] = band[start - first : stop - first]
    return np.asarray(out)


def _wraps(chain: Chain) -> bool:
    """Only a periodic outside is found at the other end of the image, beyond the reach."""
    settings = [dict(one.parameters).get("boundary", "symmetric") for one in chain.steps]
    return any(as_boundary(name) == "wrap" for name in settings)
