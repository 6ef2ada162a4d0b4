"""Correlation of every channel with its own kernels, channels kept apart."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import prod

import cv2
import numpy as np
from numpy.lib.stride_tricks import as_strided

from filterworks.arguments import Array
from filterworks.shapes import spread_size
from filterworks.threads import Scratch, share, usable_threads
from filterworks.tiles import Box, Patch, Windows, boxes, dense_range, dense_window, read_patch, within

# Source, sum and product of one tile together stay in the second-level cache.
TILE_SAMPLES = 1 << 16
# Outputs of one OpenCV call: enough to make the call's own cost small.
PLANE_SAMPLES = 1 << 19
# cv2.filter2D goes over to a Fourier transform beyond these many taps, which spreads NaN and loses accuracy.
MAX_TAPS = {np.dtype(np.float32): 129, np.dtype(np.float64): 49}
# Smaller planes cost more in calls than OpenCV saves.
MIN_PLANE = 1024
# Taps from which two one-dimensional passes are faster than one of two dimensions.
SEPARABLE_TAPS = 25
# Multiplications of one task that are worth a hand-over between threads.
THREAD_WORK = 1 << 21

_BORDERS = {None: cv2.BORDER_CONSTANT, "nearest": cv2.BORDER_REPLICATE, "mirror": cv2.BORDER_REFLECT_101}


def correlate_depthwise(
    x: Array, weight: Array, windows: Windows, out: Array, bias: Array | None, boundary: str | None
) -> None:
    """Write into `out` the correlation of channel c of `x` with each of ``weight[c]``, plus `bias`.

    Parameters
    ----------
    x
        (batch, channel, *spatial).
    weight
        (channel, multiplier, *kernel), float.
    windows, out, bias, boundary
        As in :func:`~filterworks.functional.direct.correlate_layer`, with a group for each channel.
    """
    if _opencv_can(weight, windows):
        _by_planes(x, weight, windows, out, bias, boundary)
    else:
        _by_shifts(x, weight, windows, out, bias, boundary)


def _opencv_can(weight: Array, windows: Windows) -> bool:
    """Return whether cv2.filter2D does it directly, tap by tap.

    It leaves out taps of weight zero, so that 0 · NaN would not be NaN: such kernels are not its.
    """
    wz, wy, wx = windows
    flat = wz.kernel == wz.out == 1 and wz.low == 0
    large = wy.out * wx.out >= MIN_PLANE and wy.stride * wx.stride <= 4
    return bool(flat and large and wy.kernel * wx.kernel <= MAX_TAPS[weight.dtype] and weight.all())


def _by_planes(
    x: Array, weight: Array, windows: Windows, out: Array, bias: Array | None, boundary: str | None
) -> None:
    """Let OpenCV filter one plane, or a large part of one, after the other."""
    stands = _stands(x, windows, out, boundary)
    work = _whole_plane if stands else _part_of_plane
    size = prod(out.shape[4:])
    tiles = list(boxes((1, windows[1].out, windows[2].out), size if stands else PLANE_SAMPLES))

    def one(scratch: Scratch, job: tuple[int, int, Box]) -> None:
        sample, channel, box = job
        offsets = [0.0] * weight.shape[1] if bias is None else bias[channel].tolist()
        part = x[sample, channel : channel + 1]
        work(scratch, part, weight[channel], windows, out[sample, channel], offsets, boundary, box)

    jobs = [(n, c, box) for n in range(len(x)) for c in range(len(weight)) for box in tiles]
    heavy = out.size // len(jobs) * prod(weight.shape[2:]) > THREAD_WORK
    share(one, jobs, usable_threads() if heavy else 1)


def _stands(x: Array, windows: Windows, out: Array, boundary: str | None) -> bool:
    """Return whether OpenCV can read the planes of `x` as they stand, and pad them itself."""
    inside = all(
        (w.out - 1) * w.stride < w.size and 0 <= w.low < spread_size(w.kernel, w.dilation)
        for w in windows[1:]
    )
    simple = x.dtype == out.dtype and x[0, 0].flags.c_contiguous and boundary in _BORDERS
    return inside and simple and x[0, 0].size <= PLANE_SAMPLES


def _whole_plane(
    scratch: Scratch,
    part: Array,
    kernels: Array,
    windows: Windows,
    out: Array,
    offsets: list[float],
    boundary: str | None,
    _box: Box,
) -> None:
    plane, (wy, wx) = part[0, 0], windows[1:]
    for number, kernel in enumerate(kernels):
        target = out[number, 0]
        at_once = target.shape == plane.shape and target.flags.c_contiguous and wy.stride == wx.stride == 1
        result = target if at_once else scratch.take("result", plane.shape, plane.dtype)
        _filter(plane, kernel[0], result, offsets[number], windows, (wx.low, wy.low), _BORDERS[boundary])
        if not at_once:
            every = result[:: wy.stride, :: wx.stride]
            target[...] = every[: target.shape[0], : target.shape[1]]


def _part_of_plane(
    scratch: Scratch,
    part: Array,
    kernels: Array,
    windows: Windows,
    out: Array,
    offsets: list[float],
    boundary: str | None,
    box: Box,
) -> None:
    (wz, wy, wx), (_, y, x) = windows, within(box)
    read: Windows = (wz, dense_window(wy), dense_window(wx))
    spread: Box = ((0, 1), dense_range(box[1], wy), dense_range(box[2], wx))
    plane = read_patch(part, read, spread, scratch, out.dtype, boundary=boundary).data[0, 0, 0]
    result = scratch.take("result", plane.shape, plane.dtype)
    height, width = (high - low for low, high in spread[1:])
    for number, kernel in enumerate(kernels):
        _filter(plane, kernel[0], result, offsets[number], windows, (0, 0), cv2.BORDER_CONSTANT)
        out[number, 0, y, x] = result[0 : height : wy.stride, 0 : width : wx.stride]


def _filter(
    plane: Array,
    kernel: Array,
    target: Array,
    offset: float,
    windows: Windows,
    anchor: tuple[int, int],
    border: int,
) -> None:
    dilations = (windows[1].dilation, windows[2].dilation)
    factors = separate(kernel) if kernel.size >= SEPARABLE_TAPS and dilations == (1, 1) else None
    if factors is None:
        cv2.filter2D(plane, -1, _spread(kernel, dilations), target, anchor, offset, border)
    else:
        cv2.sepFilter2D(plane, -1, factors[1], factors[0], target, anchor, offset, border)


def _spread(kernel: Array, dilations: tuple[int, int]) -> Array:
    if dilations == (1, 1):
        return kernel
    shape = [d * (k - 1) + 1 for d, k in zip(dilations, kernel.shape, strict=True)]
    spread = np.zeros(shape, kernel.dtype)
    spread[:: dilations[0], :: dilations[1]] = kernel
    return spread


def separate(kernel: Array) -> tuple[Array, Array] | None:
    """Return the (column, row) whose outer product a kernel of rank one is; None for any other.

    Examples
    --------
    >>> column, row = separate(np.array([[1.0, 2.0, 4.0], [3.0, 6.0, 12.0]]))
    >>> bool(np.allclose(np.outer(column, row), [[1, 2, 4], [3, 6, 12]]))
    True
    """
    exact = kernel.astype(np.float64)
    pivot = np.unravel_index(np.argmax(np.abs(exact)), exact.shape)
    if not np.isfinite(exact).all() or exact[pivot] == 0:
        return None
    column, row = exact[:, pivot[1]], exact[pivot[0]] / exact[pivot]
    error = np.abs(exact - np.outer(column, row)).max()
    return None if error > 4 * np.finfo(kernel.dtype).eps * abs(exact[pivot]) else (column, row)


def _by_shifts(
    x: Array, weight: Array, windows: Windows, out: Array, bias: Array | None, boundary: str | None
) -> None:
    """Sum shifted copies of the input, each times its weight; many channels at once."""
    channels = len(weight)
    tiles = list(boxes((out.shape[3], out.shape[4], out.shape[5]), TILE_SAMPLES))
    together = min(channels, max(1, TILE_SAMPLES // prod(b - a for a, b in tiles[0])))

    def one(scratch: Scratch, job: tuple[int, int, Box]) -> None:
        sample, first, box = job
        part = slice(first, min(first + together, channels))
        patch = read_patch(x[sample, part], windows, box, scratch, weight.dtype, boundary=boundary)
        taps, finish = _taps(patch)
        total = scratch.take("total", taps((0, 0, 0)).shape, weight.dtype)
        term = scratch.take("term", total.shape, weight.dtype)
        z, y, row = within(box)
        target = out[sample, part, :, z, y, row]
        for number in range(weight.shape[1]):
            _sum(taps, weight[part, number], total, term)
            target[:, number] = finish(total)
            if bias is not None:
                target[:, number] += bias[part, number, None, None, None]

    jobs = [(n, c, box) for n in range(len(x)) for c in range(0, channels, together) for box in tiles]
    heavy = together * prod(out.shape[3:]) * prod(weight.shape[1:]) > THREAD_WORK
    share(one, jobs, usable_threads() if heavy else 1)


def _sum(taps: Callable[[tuple[int, ...]], Array], weight: Array, total: Array, term: Array) -> None:
    ndim = total.ndim - 1
    for number, tap in enumerate(product(*(range(k) for k in weight.shape[1:]))):
        z, y, x = tap
        factor = weight[:, z, y, x].reshape(-1, *(1,) * ndim)
        np.multiply(taps(tap), factor, out=term if number else total)
        if number:
            np.add(total, term, out=total)


def _taps(patch: Patch) -> tuple[Callable[[tuple[int, ...]], Array], Callable[[Array], Array]]:
    """Return what gives the samples under one tap, and what gives the outputs in their shape from the sum.

    Where the patch lies in one piece and nothing is strided, a tap is one long run that goes on over the ends
    of the rows; the values computed there are left out afterwards.
    """
    if any(w.stride != 1 for w in patch.windows) or not patch.data.flags.c_contiguous:
        return lambda tap: patch.tap(tap[0], tap[1], tap[2]), lambda total: total
    channels, height, width = len(patch.data), patch.data.shape[3], patch.data.shape[4]
    flat = patch.data.reshape(channels, -1)
    pitches = (height * width, width, 1)
    length = sum((n - 1) * pitch for n, pitch in zip(patch.counts, pitches, strict=True)) + 1
    steps = [w.dilation * pitch for w, pitch in zip(patch.windows, pitches, strict=True)]

    def run(tap: tuple[int, ...]) -> Array:
        start = sum(step * place for step, place in zip(steps, tap, strict=True))
        return flat[:, start : start + length]

    def finish(total: Array) -> Array:
        item = total.itemsize
        return as_strided(total, (channels, *patch.counts), (total.strides[0], *(item * p for p in pitches)))

    return run, finish
