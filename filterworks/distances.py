"""Distances of 64-bit counts from one of them, also where they are too far apart for such a count."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LARGEST = np.iinfo(np.int64).max


def distances(counts: NDArray[np.int64], origin: int) -> NDArray[np.float64]:
    """Return ``counts - origin``, each the float that is nearest.

    Nanoseconds of a count reach 292 years to either side: two of them may be twice as far apart.

    Examples
    --------
    >>> distances(np.array([-(2**62), 2**63 - 1]), -(2**63))
    array([4.61168602e+18, 1.84467441e+19])
    """
    if not counts.size or (int(counts.max()) - origin <= _LARGEST and origin - int(counts.min()) <= _LARGEST):
        return (counts - np.int64(origin)).astype(np.float64)
    # Without a sign there is room for any distance of two counts; the sums wrap, the differences do not.
    unsigned, first = counts.view(np.uint64), np.uint64(origin % 2**64)
    after, before = (unsigned - first).astype(np.float64), (first - unsigned).astype(np.float64)
    return np.where(counts >= origin, after, -before)
