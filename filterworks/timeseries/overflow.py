"""Means of finite samples whose sums are not: taken again of smaller samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from filterworks.timeseries.parts import Lines

# Of so many times smaller samples no sum is too large. What is lost of denormal numbers is nothing beside
# samples that are.
SMALLER = 2.0**-64
# The largest number that is finite.
LARGEST = float(np.finfo(np.float64).max)


def enlarge(smaller: Lines, samples: Lines, means: Lines) -> None:
    """Write over means that are no numbers the others, of samples `SMALLER` times as large.

    Those stay that are none there, either: of infinities, and missing ones.
    """
    known = samples[np.isfinite(samples)]
    again = ~np.isfinite(means) & np.isfinite(smaller)
    if again.any():
        with np.errstate(over="ignore"):  # by rounding, and taken back
            means[again] = np.clip(smaller[again] / SMALLER, known.min(), known.max())


def finite_means(function: Callable[[Lines], Lines], lines: Lines) -> Lines:
    """Return means of lines, also where a sum on the way to them is too large to be a number.

    Examples
    --------
    >>> finite_means(lambda lines: lines.sum(axis=1, keepdims=True) / 2, np.array([[1e308, 1.5e308]]))
    array([[1.25e+308]])
    """
    with np.errstate(over="ignore", invalid="ignore"):
        means = function(lines)
        for column in np.flatnonzero(~np.isfinite(means).all(axis=1)):
            line = lines[column]
            known = line[np.isfinite(line)]
            # Otherwise it is what is missing or infinite itself.
            if known.size and np.abs(known).max() > LARGEST * SMALLER:
                enlarge(function(line[None] * SMALLER)[0], line, means[column])
    return means
