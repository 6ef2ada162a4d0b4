"""Local least squares: the weights with which a fitted polynomial, or its derivative, is a sum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fit_weights(places: NDArray[np.float64], order: int, derivative: int) -> NDArray[np.float64]:
    """Return w so that Σ w·y is the derivative at 0 of the polynomial fitted to y at `places`.

    The polynomials are made orthogonal on the places themselves, so nothing is lost where these are
    uneven. NaN where there are too few places. Source: Forsythe, "Generation and use of orthogonal
    polynomials for data-fitting", J. SIAM 5 (1957).

    Examples
    --------
    >>> (fit_weights(np.array([-2.0, -1, 0, 1, 2]), 2, 0) * 35).round(12)
    array([-3., 12., 17., 12., -3.])
    """
    weights = np.zeros(places.size)
    if places.size <= order:
        weights[:] = np.nan
        return weights
    before, now = np.zeros(places.size), np.ones(places.size)
    # The derivatives at 0 of both polynomials.
    slopes_before, slopes = np.zeros(derivative + 1), np.zeros(derivative + 1)
    slopes[0] = 1.0
    norm_before = 1.0
    for degree in range(order + 1):
        norm = np.sum(now * now)
        weights += now * (slopes[derivative] / norm)
        shift = np.sum(places * now * now) / norm
        share = norm / norm_before if degree else 0.0
        following = (places - shift) * now - share * before
        slopes_following = -shift * slopes - share * slopes_before
        for r in range(1, derivative + 1):
            slopes_following[r] += r * slopes[r - 1]
        before, now = now, following
        slopes_before, slopes = slopes, slopes_following
        norm_before = norm
    return weights
