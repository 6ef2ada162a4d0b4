"""Transposed convolution as a set of direct ones, without the inserted zeros.

Output o gets tap t of input i where ``o = i·stride + t·dilation − low``. All outputs with the same
remainder of ``o + low`` by the stride see the same taps: on them it is a direct convolution of stride 1.
"""

from __future__ import annotations

from itertools import product
from math import gcd, prod
from typing import NamedTuple

import numpy as np

from filterworks.arguments import Array
from filterworks.functional.direct import correlate_layer
from filterworks.tiles import Window


class Phase(NamedTuple):
    """The outputs ``start, start + stride, …`` of one axis, and how they are computed."""

    start: int
    taps: slice
    window: Window


def axis_phases(size: int, out: int, kernel: int, stride: int, dilation: int, low: int) -> list[Phase]:
    """Return the phases of one axis; a phase that no tap reaches has a window with kernel 0.

    Examples
    --------
    >>> for phase in axis_phases(size=3, out=6, kernel=3, stride=2, dilation=1, low=1):
    ...     print(phase.start, phase.taps, phase.window.kernel, phase.window.low)
    0 slice(1, None, 2) 1 0
    1 slice(0, None, 2) 2 0
    """
    common = gcd(stride, dilation)
    phases = []
    for start in range(min(stride, out)):
        count = -(-(out - start) // stride)
        taps = [t for t in range(min(kernel, stride // common)) if (start + low - t * dilation) % stride == 0]
        if not taps:
            phases.append(Phase(start, slice(0, 0), Window(size, count, 0)))
            continue
        length = len(range(taps[0], kernel, stride // common))
        first = (start + low - taps[0] * dilation) // stride
        step = dilation // common
        window = Window(size, count, length, 1, step, (length - 1) * step - first)
        phases.append(Phase(start, slice(taps[0], None, stride // common), window))
    return phases


def transpose_layer(
    x: Array,
    weight: Array,
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    low: tuple[int, ...],
    out: Array,
    bias: Array | None = None,
) -> None:
    """Write into `out` the transposed convolution of `x` with `weight`, plus `bias`.

    Parameters
    ----------
    x
        (batch, group · input channels, *spatial).
    weight
        (group, input channels, output channels, *kernel).
    stride, dilation, low
        Of the convolution that this is the transpose of, for three axes.
    out
        (batch, group, output channels, *spatial).
    bias
        (group, output channels), or None.
    """
    if prod(x.shape) == 0 or weight.size == 0:
        out[...] = 0 if bias is None else bias[:, :, None, None, None]
        return
    direct = weight.swapaxes(1, 2)
    axes = [
        axis_phases(*values)
        for values in zip(x.shape[2:], out.shape[3:], weight.shape[3:], stride, dilation, low, strict=True)
    ]
    for z, y, row in product(*axes):
        part = out[:, :, :, z.start :: stride[0], y.start :: stride[1], row.start :: stride[2]]
        kernel = direct[:, :, :, z.taps, y.taps, row.taps][:, :, :, ::-1, ::-1, ::-1]
        windows = (z.window, y.window, row.window)
        correlate_layer(x, np.ascontiguousarray(kernel), windows, part, bias)
