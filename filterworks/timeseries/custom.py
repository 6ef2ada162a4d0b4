"""Kernels of the user's own, and those that have a name."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from filterworks import kernels
from filterworks.errors import ArgumentError, must
from filterworks.timeseries import lengths
from filterworks.timeseries.linear import Design, Linear, Taps
from filterworks.timeseries.options import as_flag


def as_taps(
    taps: str | ArrayLike | None, path: str | None, names: tuple[str, str] = ("taps", "path")
) -> Taps:
    """Return 1-D weights, from numbers, text such as ``1/2/1``, or the `path` of a file.

    Errors call the two arguments by `names`.

    Examples
    --------
    >>> as_taps("1/2/-0.5", None)
    array([ 1. ,  2. , -0.5])
    """
    # The filters of images are not for everyone.
    from filterworks.filters.custom import load_kernel, resolve_kernel

    if (taps is None) == (path is None):
        raise ArgumentError(f"give either `{names[0]}`, such as 1/2/1, or `{names[1]}`, the name of a file")
    name = names[taps is None]
    if isinstance(taps, str):
        taps = _from_text(name, taps)
    elif isinstance(taps, int | float):
        taps = [taps]
    found = resolve_kernel(taps, None) if path is None else load_kernel(path, name)
    weights = found.reshape(-1) if found.size == max(found.shape, default=0) else found
    if weights.ndim != 1 or weights.size == 0 or weights.dtype.kind == "c":
        raise ArgumentError(must(name, "one row of real numbers, such as 1/2/1", f"shape {found.shape}"))
    weights = weights.astype(np.float64)
    if not np.isfinite(weights).all():
        raise ArgumentError(must(name, "finite numbers", weights.tolist()))
    return weights


def _from_text(name: str, text: str) -> list[float]:
    try:
        return [float(item) for item in text.split("/")]
    except ValueError:
        raise ArgumentError(must(name, "numbers separated by /, such as 1/2/1", text)) from None


def kernel(taps: str | Sequence[float] | None = None, path: str | None = None, flip: bool = False) -> Design:
    """The user's own weights: `taps` such as 1/2/1, or the `path` of a .npy or text file.

    They slide as they are written (correlation); `flip` makes it a convolution. Weights that do not
    sum to 0 are renormalised where samples are missing.

    Examples
    --------
    >>> from filterworks.timeseries import SeriesChain
    >>> SeriesChain.parse("kernel:taps=1/2/3,boundary=constant")(np.array([0.0, 0, 1, 0, 0]))
    array([0., 3., 2., 1., 0.])
    """
    weights = as_taps(taps, path)
    if as_flag("flip", flip):
        weights = weights[::-1].copy()
    return Linear(lambda setting: weights, averages=not _is_zero_sum(weights))


def _is_zero_sum(weights: Taps) -> bool:
    from filterworks.filters.custom import is_zero_sum

    return is_zero_sum(weights)


def _named(function: Callable[..., kernels.Kernel]) -> Callable[..., Design]:
    own = [p for p in inspect.signature(function).parameters.values() if p.name not in ("ndim", "axis")]

    def design(**parameters: Any) -> Design:
        numbers = [abs(value) for value in parameters.values() if isinstance(value, int | float)]
        if math.prod(max(number, 4.0) for number in numbers) > lengths.LONGEST:
            raise ArgumentError(f"its kernel would be longer than {lengths.LONGEST} samples")
        taps = function(**parameters, ndim=1)
        return Linear(lambda setting: taps, averages=not _is_zero_sum(taps))

    design.__name__ = function.__name__
    design.__doc__ = inspect.getdoc(function)
    design.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]  # what inspect looks at
    return design


# Kernels with a filter of their own, and those whose names promise smoothing across a second axis.
_OTHERS = ("mean", "gaussian", "binomial", "sobel", "prewitt", "scharr")

NAMED = tuple(
    _named(function)
    for name, function in kernels.KERNELS.items()
    if "ndim" in inspect.signature(function).parameters and name not in _OTHERS
)
