r"""What lies outside the data: six names, the other libraries' names for them, and padding.

==============  ==========================  ======================================================
name            left | data | right     called elsewhere
==============  ==========================  ======================================================
``constant``    k k k|a b c d|k k k     ndimage, numpy: constant; scipy.signal: fill; torch: zeros
``nearest``     a a a|a b c d|d d d     numpy: edge; OpenCV, torch: replicate; libvips: copy
``symmetric``   c b a|a b c d|d c b     ndimage, dask: reflect; OpenCV: REFLECT; libvips: mirror
``mirror``      d c b|a b c d|c b a     numpy, torch: reflect; OpenCV: REFLECT_101
``wrap``        b c d|a b c d|a b c     torch: circular; dask: periodic; libvips: repeat
``omit``        nothing: weights are renormalised over the samples inside
==============  ==========================  ======================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import Array
from filterworks.errors import ArgumentError, ArgumentTypeError, must, unknown

BOUNDARIES = ("constant", "nearest", "symmetric", "mirror", "wrap", "omit")

ALIASES = {
    "zeros": "constant",
    "fill": "constant",
    "edge": "nearest",
    "replicate": "nearest",
    "symm": "symmetric",
    "reflect_101": "mirror",
    "circular": "wrap",
    "periodic": "wrap",
}

_NDIMAGE = {
    "reflect": "symmetric",
    "grid-mirror": "symmetric",
    "constant": "constant",
    "grid-constant": "constant",
    "nearest": "nearest",
    "mirror": "mirror",
    "wrap": "wrap",
    "grid-wrap": "wrap",
}
_OPENCV = {
    "constant": "constant",
    "replicate": "nearest",
    "reflect": "symmetric",
    "reflect_101": "mirror",
    "reflect101": "mirror",
    "default": "mirror",
    "wrap": "wrap",
}
LIBRARIES = {
    "ndimage": _NDIMAGE,
    "dask_image": _NDIMAGE,
    "numpy": {
        "constant": "constant",
        "edge": "nearest",
        "symmetric": "symmetric",
        "reflect": "mirror",
        "wrap": "wrap",
    },
    "signal": {"fill": "constant", "symm": "symmetric", "wrap": "wrap"},
    "cv2": _OPENCV,
    "opencv": _OPENCV,
    "torch": {
        "zeros": "constant",
        "constant": "constant",
        "replicate": "nearest",
        "reflect": "mirror",
        "circular": "wrap",
    },
    "dask": {"reflect": "symmetric", "nearest": "nearest", "periodic": "wrap"},
    "vips": {
        "background": "constant",
        "black": "constant",
        "copy": "nearest",
        "mirror": "symmetric",
        "repeat": "wrap",
    },
}

_REFLECT = (
    "boundary 'reflect' means two different things: "
    "c b a|a b c d|d c b is 'symmetric' (ndimage:reflect, cv2:reflect), "
    "d c b|a b c d|c b a is 'mirror' (numpy:reflect, torch:reflect); say which"
)


def as_boundary(boundary: object) -> str:
    """Return our name for `boundary`: one of `BOUNDARIES`, an alias, or ``library:name``.

    Examples
    --------
    >>> as_boundary("edge"), as_boundary("ndimage:reflect"), as_boundary("torch:reflect")
    ('nearest', 'symmetric', 'mirror')
    """
    if not isinstance(boundary, str):
        raise ArgumentTypeError(must("boundary", f"one of {', '.join(BOUNDARIES)}", boundary))
    if boundary == "reflect":
        raise ArgumentError(_REFLECT)
    if ":" not in boundary:
        if boundary in BOUNDARIES:
            return boundary
        if boundary in ALIASES:
            return ALIASES[boundary]
        raise ArgumentError(unknown("boundary", boundary, [*BOUNDARIES, *ALIASES]))
    library, name = boundary.split(":", 1)
    if library not in LIBRARIES:
        raise ArgumentError(unknown("library in boundary", library, LIBRARIES))
    names = LIBRARIES[library]
    key = name.lower().removeprefix("border_")
    if key not in names:
        raise ArgumentError(unknown(f"{library} boundary", name, names))
    return names[key]


def source_index(size: int, before: int, after: int, boundary: str) -> NDArray[np.intp]:
    """Return, for positions ``-before … size + after - 1``, the index of the sample that stands there.

    A reach beyond the data keeps cycling, as in numpy, ndimage and OpenCV.

    Examples
    --------
    >>> source_index(3, 4, 2, "mirror")
    array([0, 1, 2, 1, 0, 1, 2, 1, 0])
    """
    return source_of(np.arange(-before, size + after), size, boundary)


def source_of(position: NDArray[np.intp], size: int, boundary: str) -> NDArray[np.intp]:
    """Return the index of the sample that stands at each position; -1 where zero does.

    Examples
    --------
    >>> source_of(np.array([-2, -1, 3]), 3, "wrap"), source_of(np.array([-1, 3]), 3, "constant")
    (array([1, 2, 0]), array([-1, -1]))
    """
    if boundary in ("constant", "omit"):
        return np.where((position >= 0) & (position < size), position, -1)
    if boundary == "nearest":
        return np.clip(position, 0, size - 1)
    if boundary == "wrap":
        return position % size
    if size == 1:
        return np.zeros_like(position)
    last = 2 * size - 1 if boundary == "symmetric" else 2 * size - 2
    if position.size and (position.min() < -size or position.max() > last):
        position = position % (2 * size if boundary == "symmetric" else last)
    position = np.maximum(position, -1 - position) if boundary == "symmetric" else np.abs(position)
    return np.minimum(position, last - position)


def window(x: Array, axes: Sequence[int], spans: Sequence[tuple[int, int]], boundary: str) -> Array:
    """Return the samples from position a to position b along `axes`, which may reach beyond the data.

    A view of `x` where nothing outside is asked for.

    Examples
    --------
    >>> window(np.array([1, 2, 3]), [0], [(-2, 2)], "symmetric")
    array([2, 1, 1, 2])
    """
    for axis, (start, stop) in zip(axes, spans, strict=True):
        size = x.shape[axis]
        if start >= 0 and stop <= size:
            x = x[(slice(None),) * axis + (slice(start, stop),)]
            continue
        places = source_of(np.arange(start, stop), size, boundary)
        x = np.take(x, np.maximum(places, 0), axis=axis)
        x[(slice(None),) * axis + (places < 0,)] = 0
    return x


def pad(
    x: Array,
    axes: Sequence[int],
    padding: Sequence[tuple[int, int]],
    boundary: str,
    fill_value: Any = 0.0,
) -> Array:
    """Return `x` extended along `axes` by (before, after) samples; negative counts crop.

    Parameters
    ----------
    x
        Array with no empty axis among `axes`.
    axes, padding
        The axes, and one (before, after) pair for each.
    boundary
        One of `BOUNDARIES`; ``omit`` pads like ``constant``.
    fill_value
        What ``constant`` puts outside, in the dtype of `x`.

    Examples
    --------
    >>> pad(np.array([1, 2, 3]), [0], [(2, 1)], "symmetric")
    array([2, 1, 1, 2, 3, 3])
    """
    for axis, (low, high) in zip(axes, padding, strict=True):
        if low * high < 0:
            x = _shift(x, axis, low, high, boundary, fill_value)
    padding = [(0, 0) if low * high < 0 else (low, high) for low, high in padding]
    grow = [(max(low, 0), max(high, 0)) for low, high in padding]
    constant = boundary in ("constant", "omit")
    if any(low or high for low, high in grow):
        x = _grow(x, axes, grow, boundary, fill_value if constant else None)
    crop = [slice(None)] * x.ndim
    for axis, (low, high) in zip(axes, padding, strict=True):
        stop = max(x.shape[axis] + min(high, 0), 0)
        crop[axis] = slice(min(max(-low, 0), stop), stop)
    return x[tuple(crop)]


def _shift(x: Array, axis: int, low: int, high: int, boundary: str, fill_value: Any) -> Array:
    """Pad one side and crop the other along one axis; no more is made than is kept."""
    size = x.shape[axis]
    if boundary not in ("constant", "omit"):
        return np.take(x, source_index(size, low, high, boundary), axis=axis)
    shape = list(x.shape)
    shape[axis] = max(size + low + high, 0)
    out = np.full(shape, fill_value, x.dtype)
    start, stop = max(-low, 0), min(size + high, size)
    if start < stop:
        place = [slice(None)] * x.ndim
        kept = list(place)
        place[axis] = slice(start + low, stop + low)
        kept[axis] = slice(start, stop)
        out[tuple(place)] = x[tuple(kept)]
    return out


def _grow(
    x: Array, axes: Sequence[int], padding: Sequence[tuple[int, int]], boundary: str, fill_value: Any
) -> Array:
    shape, inner = list(x.shape), [slice(None)] * x.ndim
    for axis, (low, high) in zip(axes, padding, strict=True):
        shape[axis] += low + high
        inner[axis] = slice(low, low + x.shape[axis])
    out = np.empty(shape, x.dtype)
    out[tuple(inner)] = x
    done = list(inner)
    for axis, (low, high) in zip(axes, padding, strict=True):
        size = x.shape[axis]
        for count, start in ((low, 0), (high, low + size)):
            if not count:
                continue
            edge = list(done)
            edge[axis] = slice(start, start + count)
            if fill_value is not None:
                out[tuple(edge)] = fill_value
                continue
            index = source_index(size, low, high, boundary)[start : start + count]
            source = list(done)
            source[axis] = slice(low, low + size)
            out[tuple(edge)] = np.take(out[tuple(source)], index, axis=axis)
        done[axis] = slice(None)
    return out
