"""From the page of an image to the page of its result: colour, alpha, bands, and the range of pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from filterworks.arguments import Array, compute_dtype, saturate
from filterworks.bands import bands
from filterworks.boundaries import as_boundary
from filterworks.files import Page
from filterworks.operations import Chain
from filterworks.planner import expecting_many

Apply = Callable[[Array], Array]
Limits = tuple[float, float]


@dataclass(frozen=True)
class Rendered:
    """A page of results, and how many of its samples had to be cut to the range of its dtype."""

    page: Page
    clipped: int


def render(
    page: Page, chain: Chain, range_: str, apply: Apply | None = None, *, reuse: bool = False
) -> Rendered:
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
        What computes the chain on an array, all at once; unless given, the chain itself, a band of
        rows at a time.
    reuse
        Whether the result may take the place of the page's own pixels, which halves the memory.

    Raises
    ------
    MissingDataError
        If NaN would have to become an integer.
    """
    how = range_ if range_ != "auto" else ("abs" if chain.is_signed else "clip")
    parts = _Parts(page, chain.is_signed, apply or (lambda x: chain(x, axes=(0, 1))))
    reach = math.inf if apply is not None or _wraps(chain) else chain.reach[0]
    limits = _limits(parts, reach) if how == "stretch" else None
    reuse = reuse and page.pixels.flags.writeable
    out = page.pixels if reuse else np.empty(page.pixels.shape, page.pixels.dtype)
    clipped = 0
    # Every file is filtered alike, wherever and in whatever order.
    with expecting_many():
        for values, alpha, rows in parts.bands(reach, overwritten=reuse):
            shown, cut = to_pixels(values, page.pixels.dtype, how, limits)
            clipped += cut
            if alpha is None:
                out[rows] = shown
            else:
                out[rows, ..., :-1], out[rows, ..., -1] = shown, alpha
    return Rendered(replace(page, pixels=out), clipped)


def _wraps(chain: Chain) -> bool:
    """Only a periodic outside is found at the other end of the image, beyond the reach."""
    settings = [dict(one.parameters).get("boundary", "symmetric") for one in chain.steps]
    return any(as_boundary(name) == "wrap" for name in settings)


@dataclass(frozen=True)
class _Parts:
    """What is filtered of a page: all channels, the colours alone, or colours times alpha."""

    page: Page
    signed: bool
    compute: Apply

    def bands(
        self, reach: float, *, overwritten: bool = False
    ) -> Iterator[tuple[Array, Array | None, slice]]:
        """Yield (values of the colours, pixels of the alpha channel if it is apart, rows).

        Where the rows that were yielded are `overwritten`, the last of them are kept for the next band.
        """
        pixels = self.page.pixels
        kept = pixels[:0]
        for read, keep, write in bands(pixels.shape, reach):
            part = pixels[read]
            if overwritten:
                part = np.concatenate([kept, pixels[write.start : read.stop]])
                kept = part[max(keep.stop - int(min(reach, keep.stop)), 0) : keep.stop].copy()
            values, alpha = self._filtered(part)
            yield values[keep], None if alpha is None else alpha[keep], write

    def _filtered(self, pixels: Array) -> tuple[Array, Array | None]:
        if self.page.alpha != "none" and self.signed:
            return self.compute(np.ascontiguousarray(pixels[..., :-1])), pixels[..., -1]
        if self.page.alpha == "straight":
            return self._premultiplied(pixels)
        return self.compute(pixels), None

    def _premultiplied(self, pixels: Array) -> tuple[Array, Array]:
        """Filter colour times alpha and alpha, then divide: transparent pixels lend no colour."""
        whole = pixels.dtype.kind in "iu"
        work = compute_dtype(pixels.dtype)
        top = work.type(np.iinfo(pixels.dtype).max if whole else 1)
        values = pixels.astype(work)
        values[..., -1] /= top
        values[..., :-1] *= values[..., -1:]
        values = np.asarray(self.compute(values)).astype(work, copy=False)
        alpha = np.clip(values[..., -1:], 0, 1)
        visible = alpha > (0.5 / float(top) if whole else 0)
        colour = np.divide(values[..., :-1], alpha, out=np.zeros_like(values[..., :-1]), where=visible)
        return colour, to_pixels(alpha[..., 0] * top, pixels.dtype, "clip")[0]


def _limits(parts: _Parts, reach: float) -> Limits | None:
    """Return the least and the greatest finite value of the result."""
    least, greatest = math.inf, -math.inf
    for values, _, _ in parts.bands(reach):
        finite = values[np.isfinite(values)]
        if finite.size:
            least, greatest = min(least, float(finite.min())), max(greatest, float(finite.max()))
    return (least, greatest) if least <= greatest else None


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
    low, top = (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)) if whole else (0.0, 1.0)
    if values.dtype.kind == "b":
        return np.where(values, dtype.type(top), dtype.type(0)), 0
    if how == "abs":
        values = np.abs(values)
    elif how == "offset":
        values = values + values.dtype.type((low + top + 1) // 2 if whole else 0.5)
    elif how == "stretch" and limits is not None:
        least, greatest = limits
        scale = (top - low) / (greatest - least) if greatest > least else 0.0
        values = (values.astype(np.float64) - least) * scale + low
    if not whole or values.dtype == dtype:
        return values.astype(dtype, copy=False), 0
    clipped = 0
    if values.size and (values.min() < low - 0.5 or values.max() > top + 0.5):
        clipped = int(np.count_nonzero((values < low - 0.5) | (values > top + 0.5)))
    return saturate(values, dtype), clipped
