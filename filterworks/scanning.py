"""What has to be known of the values of the data, found in one pass each, on all cores."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from filterworks.arguments import Array
from filterworks.threads import share, usable_threads

Found = TypeVar("Found")

# Samples looked at together: several times, so that they stay in the cache; or once, so that threads meet
# seldom.
_CHUNK, _LONG_CHUNK = 1 << 16, 1 << 19
# Samples below which a second thread costs more than it brings.
_WORTH_A_THREAD = 1 << 19


def _map(x: Array, look: Callable[[Array], Found], chunk: int = _CHUNK) -> list[Found]:
    """Return what `look` finds in each part of the data."""
    x = x.T if x.flags.f_contiguous else x
    if x.size <= chunk or not x.flags.c_contiguous:
        return [look(x)]
    flat = x.reshape(-1)
    starts = range(0, flat.size, chunk)
    found: dict[int, Found] = {}

    def work(_: object, start: int) -> None:
        found[start] = look(flat[start : start + chunk])

    share(work, starts, usable_threads() if x.size > _WORTH_A_THREAD else 1)
    return list(found.values())


def is_finite(x: Array) -> bool:
    """Return whether no sample is NaN or infinite.

    Examples
    --------
    >>> is_finite(np.array([1.0, 2.0])), is_finite(np.array([1.0, np.inf]))
    (True, False)
    """

    # A sum is NaN or infinite if anything in it is; one that overflows is looked at more closely.
    def look(part: Array) -> bool:
        with np.errstate(all="ignore"):
            return bool(np.isfinite(part.sum())) or bool(np.isfinite(part).all())

    return all(_map(x, look, _LONG_CHUNK))


def peak(x: Array) -> float:
    """Return max|x|."""
    return float(max(_map(x, lambda part: max(-float(part.min()), float(part.max())))))


def count_small(x: Array, limit: float) -> tuple[int, int]:
    """Return how many samples are below `limit` in magnitude, and how many of them are zero.

    Examples
    --------
    >>> count_small(np.array([0.0, -1.0, 5.0, 2.0]), 3.0)
    (3, 1)
    """
    found = _map(x, lambda part: (_count_below(part, limit), int(np.count_nonzero(part != 0))))
    return sum(small for small, _ in found), x.size - sum(nonzero for _, nonzero in found)


def _count_below(part: Array, limit: float) -> int:
    return int(np.count_nonzero((part < limit) & (part > -limit)))
