"""Maximum and average over windows, each channel by itself, with torch's names and results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from filterworks.arguments import Array, as_int, as_signal, compute_dtype, per_axis
from filterworks.errors import ArgumentError, ArgumentTypeError, must
from filterworks.running import argmax_windows, combine_windows
from filterworks.shapes import Size, spread_size
from filterworks.threads import Scratch, share, usable_threads
from filterworks.tiles import (
    Box,
    Window,
    Windows,
    boxes,
    dense_range,
    dense_window,
    read_patch,
    within,
)

# Input samples of one tile; with its intermediate results it stays in the second-level cache.
TILE_SAMPLES = 1 << 17
# Samples of a whole call from which more than one thread pays.
THREAD_SAMPLES = 1 << 22


@dataclass(frozen=True)
class _Pool:
    """One checked call: the data as (batch, channel, *three axes) and how its axes are read."""

    x: Array
    windows: Windows
    padding: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def out(self) -> tuple[int, int, int]:
        z, y, x = self.windows
        return z.out, y.out, x.out


def _as_pool(
    name: str,
    input: ArrayLike,
    kernel_size: Size,
    stride: Size | None,
    padding: Size,
    dilation: Size,
    ceil_mode: bool,
) -> _Pool:
    ndim = int(name[-2])
    x = as_signal(input, "input")
    if x.dtype.kind == "c":
        raise ArgumentTypeError(f"{name}: `input` must be real; got {x.dtype}")
    if x.ndim not in (ndim + 1, ndim + 2) or 0 in x.shape[x.ndim - ndim - 1 :]:
        axes = ", ".join("DHW"[3 - ndim :] if ndim > 1 else "L")
        raise ArgumentError(
            f"{name}: `input` must be (N, C, {axes}) or (C, {axes}) with only N possibly 0; got {x.shape}"
        )
    kernel = per_axis("kernel_size", kernel_size, ndim, 1)
    steps = kernel if stride is None else per_axis("stride", stride, ndim, 1)
    pads, holes = per_axis("padding", padding, ndim, 0), per_axis("dilation", dilation, ndim, 1)
    if any(2 * p > k for p, k in zip(pads, kernel, strict=True)):
        raise ArgumentError(f"{name}: `padding` must be at most half of kernel_size {kernel}; got {pads}")
    spatial = x.shape[x.ndim - ndim :]
    rows = zip(spatial, kernel, steps, pads, holes, strict=True)
    sizes = tuple(_pooled_size(*row, ceil_mode) for row in rows)
    if min(sizes) < 1:
        raise ArgumentError(
            f"{name}: the window does not fit: kernel_size {kernel} with dilation {holes} and padding {pads} "
            f"on `input` {x.shape}; the output size would be {sizes}"
        )
    found = [Window(*row) for row in zip(spatial, sizes, kernel, steps, holes, pads, strict=True)]
    depth, height, width = [Window(1, 1)] * (3 - ndim) + found
    batched = x if x.ndim == ndim + 2 else x[None]
    lead = (1,) * (3 - ndim)
    return _Pool(
        batched.reshape(*batched.shape[:2], *lead, *spatial),
        (depth, height, width),
        (*(0 for _ in lead), *pads),
        (*x.shape[: x.ndim - ndim], *sizes),
        compute_dtype(x.dtype),
    )


def _pooled_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    spare = size + 2 * padding - spread_size(kernel, dilation)
    if not ceil_mode:
        return spare // stride + 1
    out = -(-spare // stride) + 1
    # The last window must start inside the input or the padding before it, as in torch.
    return out - 1 if (out - 1) * stride >= size + padding else out


def _run(pool: _Pool, work: Callable[[Array, Scratch, Box, tuple[Any, ...]], None]) -> None:
    """Call ``work(input, scratch, box, place in the output)`` for tiles of samples, channels and boxes."""
    batch, channels = pool.x.shape[:2]
    reach = prod(w.stride for w in pool.windows)
    tiles = list(boxes(pool.out, max(TILE_SAMPLES // reach, 1)))
    together = min(channels, max(1, TILE_SAMPLES // (reach * prod(b - a for a, b in tiles[0]))))

    def one(scratch: Scratch, task: tuple[int, int, Box]) -> None:
        sample, first, box = task
        part = slice(first, min(first + together, channels))
        work(pool.x[sample, part], scratch, box, (sample, part, *within(box)))

    tasks = [(n, c, box) for n in range(batch) for c in range(0, channels, together) for box in tiles]
    share(one, tasks, usable_threads() if pool.x.size > THREAD_SAMPLES else 1)


def _combined(
    pool: _Pool, x: Array, scratch: Scratch, box: Box, fill: float, combine: Callable[..., Array]
) -> Array:
    """Return the combination of each window of a box."""
    # Rows are read whole: what the stride along x leaves out is left out when the rows are few.
    wz, wy, wx = pool.windows
    spread: Box = (box[0], box[1], dense_range(box[2], wx))
    patch = read_patch(x, (wz, wy, dense_window(wx)), spread, scratch, pool.dtype, fill=fill)
    counts = [high - low for low, high in box]
    z, y, row = (w._replace(out=count) for w, count in zip(pool.windows, counts, strict=True))
    return combine_windows(patch.data[:, :, 0], (z, y, row), combine)


def _max_pool(
    name: str,
    input: ArrayLike,
    kernel_size: Size,
    stride: Size | None,
    padding: Size,
    dilation: Size,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    pool = _as_pool(name, input, kernel_size, stride, padding, dilation, ceil_mode)
    out = np.empty((*pool.x.shape[:2], *pool.out), pool.dtype)
    if not return_indices:

        def largest(x: Array, scratch: Scratch, box: Box, place: tuple[Any, ...]) -> None:
            out[place] = _combined(pool, x, scratch, box, -np.inf, np.maximum)

        _run(pool, largest)
        return out.reshape(pool.shape)
    indices = np.empty(out.shape, np.int64)

    def largest_at(x: Array, scratch: Scratch, box: Box, place: tuple[Any, ...]) -> None:
        patch = read_patch(x, pool.windows, box, scratch, pool.dtype, fill=-np.inf)
        out[place], indices[place] = argmax_windows(patch, box)

    _run(pool, largest_at)
    return out.reshape(pool.shape), indices.reshape(pool.shape)


def _avg_pool(
    name: str,
    input: ArrayLike,
    kernel_size: Size,
    stride: Size | None,
    padding: Size,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Array:
    if divisor_override is not None and as_int("divisor_override", divisor_override) == 0:
        raise ArgumentError(must("divisor_override", "an integer other than 0, or None", divisor_override))
    pool = _as_pool(name, input, kernel_size, stride, padding, 1, ceil_mode)
    out = np.empty((*pool.x.shape[:2], *pool.out), pool.dtype)
    counts = [_counts(w, count_include_pad) for w in pool.windows]

    def average(x: Array, scratch: Scratch, box: Box, place: tuple[Any, ...]) -> None:
        depth, height, width = (count[slice(*part)] for count, part in zip(counts, box, strict=True))
        divisor: Any = depth[:, None, None] * height[:, None] * width
        if divisor_override is not None:
            divisor = np.array(divisor_override)
        elif (divisor == divisor.flat[0]).all():
            divisor = divisor.flat[0]
        total = _combined(pool, x, scratch, box, 0.0, np.add)
        np.divide(total, divisor.astype(pool.dtype), out=out[place])

    _run(pool, average)
    return out.reshape(pool.shape)


def _counts(window: Window, include_pad: bool) -> Array:
    """Return how many samples along one axis the average of each output divides by."""
    start = np.arange(window.out) * window.stride - window.low
    end = np.minimum(start + window.kernel, window.size + window.low)
    if not include_pad:
        start, end = np.maximum(start, 0), np.minimum(end, window.size)
    return end - start


def max_pool1d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the largest sample of each window; NaN where the window holds one.

    Parameters
    ----------
    input
        (N, C, L) or (C, L).
    kernel_size, dilation
        The window's samples, and their distance.
    stride
        Distance of the windows; None for the window's size.
    padding
        Samples of −∞ on both sides, at most half the window.
    ceil_mode
        True also takes a last window that is not full, if it starts before the input's end.
    return_indices
        True also returns where in the input (a flat index into the spatial axes) each maximum stands.

    Returns
    -------
    ndarray
        (N, C, L_out), or without N; a pair with the indices (int64) where asked for.

    Examples
    --------
    >>> max_pool1d([[1.0, 5.0, 2.0, 7.0, 3.0]], 2, ceil_mode=True)
    array([[5., 7., 3.]])
    """
    return _max_pool("max_pool1d", input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the largest sample of each window of images; see :func:`max_pool1d`.

    Parameters
    ----------
    input
        (N, C, H, W) or (C, H, W).
    kernel_size, stride, padding, dilation, ceil_mode, return_indices
        As in :func:`max_pool1d`, tuples with one entry per axis.

    Examples
    --------
    >>> max_pool2d(np.arange(16.0).reshape(1, 4, 4), (2, 4), stride=(2, 3), padding=(1, 2))
    array([[[ 1.,  3.],
            [ 9., 11.],
            [13., 15.]]])
    """
    return _max_pool("max_pool2d", input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the largest sample of each window of volumes; see :func:`max_pool1d`.

    Parameters
    ----------
    input
        (N, C, D, H, W) or (C, D, H, W).
    kernel_size, stride, padding, dilation, ceil_mode, return_indices
        As in :func:`max_pool1d`, tuples with one entry per axis.

    Examples
    --------
    >>> max_pool3d(np.arange(8.0).reshape(1, 2, 2, 2), (2, 1, 2))
    array([[[[5.],
             [7.]]]])
    """
    return _max_pool("max_pool3d", input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def avg_pool1d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """Return the mean of each window.

    Parameters
    ----------
    input
        (N, C, L) or (C, L).
    kernel_size
        The window's samples.
    stride
        Distance of the windows; None for the window's size.
    padding
        Zeros on both sides, at most half the window.
    ceil_mode
        True also takes a last window that is not full, if it starts before the input's end.
    count_include_pad
        True divides by the samples and the zeros of the padding, False by the samples alone.
    divisor_override
        An integer to divide by instead.

    Returns
    -------
    ndarray
        (N, C, L_out), or without N.

    Examples
    --------
    >>> avg_pool1d([[1.0, 5.0, 2.0, 7.0]], 2, stride=1)
    array([[3. , 3.5, 4.5]])
    """
    return _avg_pool(
        "avg_pool1d", input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def avg_pool2d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """Return the mean of each window of images; see :func:`avg_pool1d`.

    Parameters
    ----------
    input
        (N, C, H, W) or (C, H, W).
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        As in :func:`avg_pool1d`, tuples with one entry per axis.

    Examples
    --------
    >>> avg_pool2d(np.arange(9.0).reshape(1, 3, 3), 2, padding=1, count_include_pad=False)
    array([[[0. , 1.5],
            [4.5, 6. ]]])
    """
    return _avg_pool(
        "avg_pool2d", input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def avg_pool3d(
    input: ArrayLike,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """Return the mean of each window of volumes; see :func:`avg_pool1d`.

    Parameters
    ----------
    input
        (N, C, D, H, W) or (C, D, H, W).
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        As in :func:`avg_pool1d`, tuples with one entry per axis.

    Examples
    --------
    >>> avg_pool3d(np.arange(8.0).reshape(1, 2, 2, 2), (2, 1, 2))
    array([[[[2.5],
             [4.5]]]])
    """
    return _avg_pool(
        "avg_pool3d", input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )
