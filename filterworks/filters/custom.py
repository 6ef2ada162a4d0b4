"""The user's own kernel, from numbers or from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from filterworks.arguments import Array
from filterworks.convolution import convolve, correlate
from filterworks.errors import ArgumentError, ArgumentTypeError, must
from filterworks.filters.options import Options, keeping, prepared

# Bytes of a kernel's file.
_LARGEST = 1 << 26


def load_kernel(path: str | Path, name: str = "path") -> NDArray[Any]:
    """Return the weights in a ``.npy`` file, or in a text file with one kernel row per line.

    Numbers in text are separated by commas, semicolons or white space. Errors call the argument `name`.

    Raises
    ------
    ArgumentError
        If the file cannot be read as numbers.
    """
    if not isinstance(path, str | Path):
        raise ArgumentTypeError(must(name, "the name of a file", path))
    place = Path(path)
    try:
        if place.exists() and not (place.is_file() and place.stat().st_size <= _LARGEST):
            raise ValueError(f"is no regular file of at most {_LARGEST >> 20} MiB")
        if place.suffix == ".npy":
            return np.asarray(np.load(place, allow_pickle=False))
        lines = place.read_text(encoding="utf-8-sig").splitlines()
        rows = [line.replace(",", " ").replace(";", " ").split() for line in lines]
        weights = np.array([[float(item) for item in row] for row in rows if row])
    except (OSError, ValueError, EOFError) as error:
        raise ArgumentError(f"`{name}`: no kernel can be read from {place}: {error}") from None
    return weights[0] if weights.shape[0] == 1 else weights


def resolve_kernel(weights: ArrayLike | None, path: str | Path | None) -> NDArray[Any]:
    """Return the user's kernel, given as numbers or as a file, but not both."""
    if (weights is None) == (path is None):
        raise ArgumentError("give the kernel either as `weights` or as the `path` of a file")
    if path is not None:
        return load_kernel(path)
    try:
        taps = np.asarray(weights)
    except ValueError:  # rows of different lengths
        taps = np.empty(0, object)
    if taps.dtype.kind not in "biufc":
        raise ArgumentError(must("weights", "rows of numbers, all of one length", weights))
    return taps


def is_zero_sum(kernel: NDArray[Any]) -> bool:
    """Return whether the weights cancel: the kernel finds edges, it does not keep the scale."""
    return bool(abs(kernel.sum()) <= 1e-9 * np.abs(kernel).sum())


def kernel(
    x: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    path: str | Path | None = None,
    flip: bool = False,
    **options: Unpack[Options],
) -> Array:
    """Filter with the user's own kernel, given as numbers or as a file.

    Parameters
    ----------
    x
        Data.
    weights, path
        The kernel: numbers, or a ``.npy`` or text file (:func:`load_kernel`).
    flip
        False slides the kernel as it is drawn (correlation), True flips it first (convolution).
    **options
        See :class:`Options`.

    Returns
    -------
    numpy.ndarray
        Integers keep their dtype unless the weights sum to 0.

    Examples
    --------
    >>> kernel(np.array([0.0, 0, 1, 0, 0]), [1, 2, 3])
    array([0., 3., 2., 1., 0.])
    """
    if not isinstance(flip, bool):
        raise ArgumentTypeError(must("flip", "true or false", flip))
    taps = resolve_kernel(weights, path)
    array, _, settings = prepared(x, options)
    if not is_zero_sum(taps):
        settings = keeping(array, settings)
    return (convolve if flip else correlate)(array, taps, **settings)
