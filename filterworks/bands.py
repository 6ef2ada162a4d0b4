"""Large planes a band of rows at a time: the floats in between stay small."""

from __future__ import annotations

import math
from collections.abc import Iterator

# Samples that are filtered at a time.
BAND = 1 << 20


def bands(
    shape: tuple[int, ...], reach: float, limit: int | None = None, *, unit: int = 1
) -> Iterator[tuple[slice, slice, slice]]:
    """Yield (rows to read, rows of them to keep, rows to write) that together cover the first axis.

    Parameters
    ----------
    shape
        Of the array.
    reach
        How many rows away the result looks; infinity makes one band of everything.
    limit
        Samples per band, about; `BAND` unless given. A band is at least four reaches high, so that the
        rows to read lie in it and in its neighbours.
    unit
        The height of every band but the last is a multiple of it.

    Examples
    --------
    >>> [read for read, _, _ in bands((10, 8), reach=1, limit=40)]
    [slice(0, 6, None), slice(4, 10, None)]
    >>> [write for _, _, write in bands((10, 8), reach=1, limit=40, unit=3)]
    [slice(0, 6, None), slice(6, 10, None)]
    """
    height = shape[0]
    per_row = max(math.prod(shape[1:]), 1)
    rows = max((BAND if limit is None else limit) // per_row, 4 * reach, 1)
    if rows >= height:
        yield slice(0, height), slice(0, height), slice(0, height)
        return
    step, margin = -(-int(rows) // unit) * unit, int(reach)
    for start in range(0, height, step):
        stop = min(start + step, height)
        first = max(start - margin, 0)
        last = min(stop + margin, height)
        yield slice(first, last), slice(start - first, stop - first), slice(start, stop)
