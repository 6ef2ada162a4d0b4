"""The one primitive behind every layer: a strided, dilated, grouped correlation.

All arrays have three spatial axes here; the weight is (group, output, input, *kernel),
both counted within the group.
"""

from __future__ import annotations

import numpy as np

from filterworks.arguments import Array
from filterworks.functional.columns import correlate_by_columns
from filterworks.functional.depthwise import correlate_depthwise
from filterworks.functional.registers import correlate_by_registers, registers_can
from filterworks.functional.rows import correlate_by_rows, rows_can
from filterworks.tiles import Windows


def correlate_layer(
    x: Array,
    weight: Array,
    windows: Windows,
    out: Array,
    bias: Array | None = None,
    boundary: str | None = None,
) -> None:
    """Write into `out` the correlation of `x` with `weight`, plus `bias`.

    Parameters
    ----------
    x
        (batch, group · input channels, *spatial), any dtype that `weight.dtype` can hold.
    weight
        (group, output channels, input channels, *kernel).
    windows
        How each axis is read; their `out` is the shape of `out`.
    out
        (batch, group, output channels, *spatial) in the dtype of `weight`; may be a strided view.
    bias
        (group, output channels), or None.
    boundary
        A boundary's name; None for zeros.
    """
    if out.size == 0:
        return
    if weight.size == 0:
        out[...] = 0 if bias is None else bias[:, :, None, None, None]
        return
    if _is_pointwise(x, weight, windows, out):
        _pointwise(x, weight, out, bias)
    elif weight.shape[2] == 1 and weight.shape[1] <= 2 and weight.dtype.kind == "f":
        correlate_depthwise(x, weight[:, :, 0], windows, out, bias, boundary)
    elif registers_can(weight, windows, out):
        correlate_by_registers(x, weight, windows, out, bias, boundary)
    elif rows_can(weight, windows, out):
        correlate_by_rows(x, weight, windows, out, bias, boundary)
    else:
        correlate_by_columns(x, weight, windows, out, bias, boundary)


def _is_pointwise(x: Array, weight: Array, windows: Windows, out: Array) -> bool:
    trivial = all(w.kernel == w.stride == 1 and w.low == 0 and w.out == w.size for w in windows)
    flat = x[0].flags.c_contiguous and out[0].flags.c_contiguous
    return trivial and flat and x.dtype == weight.dtype and weight.shape[2] > 1


def _pointwise(x: Array, weight: Array, out: Array, bias: Array | None) -> None:
    groups, _, channels = weight.shape[:3]
    matrix = weight.reshape(weight.shape[:3])
    with np.errstate(all="ignore"):
        for sample, target in zip(x, out, strict=True):
            columns = sample.reshape(groups, channels, -1)
            flat = target.reshape(*target.shape[:2], -1)
            np.matmul(matrix, columns, out=flat)
            if bias is not None:
                flat += bias[:, :, None]
