"""The layers as loops: slow, obvious, nothing shared with the package."""

import itertools

import numpy as np


def correlate(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """x (N, C, *spatial), zeros outside; stride, padding (on both sides) and dilation are ints."""
    per_group, outputs = weight.shape[1], weight.shape[0]
    kernel = weight.shape[2:]
    out_shape = [
        (i + 2 * padding - dilation * (k - 1) - 1) // stride + 1
        for i, k in zip(x.shape[2:], kernel, strict=True)
    ]
    y = np.zeros((x.shape[0], outputs, *out_shape))
    for n, c in itertools.product(range(x.shape[0]), range(outputs)):
        group = c // (outputs // groups)
        for place in np.ndindex(*out_shape):
            total = 0.0 if bias is None else bias[c]
            for inner, tap in itertools.product(range(per_group), np.ndindex(*kernel)):
                at = [o * stride + t * dilation - padding for o, t in zip(place, tap, strict=True)]
                if all(0 <= a < i for a, i in zip(at, x.shape[2:], strict=True)):
                    total += weight[c, inner, *tap] * x[n, group * per_group + inner, *at]
            y[n, c, *place] = total
    return y


def transpose_in_four_steps(x, weight, stride, padding, extra, dilation):
    """Section 3 of the specification, for x (C_in, H, W), weight (C_in, C_out, kH, kW) and ints."""
    channels, height, width = x.shape
    spread = np.zeros((channels, stride * (height - 1) + 1, stride * (width - 1) + 1))
    spread[:, ::stride, ::stride] = x
    for axis, k in ((1, weight.shape[2]), (2, weight.shape[3])):
        low = dilation * (k - 1) - padding
        high = low + extra
        pairs = [(0, 0)] * 3
        pairs[axis] = (max(low, 0), max(high, 0))
        spread = np.pad(spread, pairs)
        crop = [slice(None)] * 3
        crop[axis] = slice(max(-low, 0), spread.shape[axis] - max(-high, 0))
        spread = spread[tuple(crop)]
    flipped = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    return correlate(spread[None], flipped, dilation=dilation)[0]


def sample(plane, row, column):
    """Bilinear, zeros outside, each neighbour that lies outside counts as zero."""
    if row <= -1 or column <= -1 or row >= plane.shape[0] or column >= plane.shape[1]:
        return 0.0
    top, left = int(np.floor(row)), int(np.floor(column))
    total = 0.0
    for y, x in itertools.product((top, top + 1), (left, left + 1)):
        if 0 <= y < plane.shape[0] and 0 <= x < plane.shape[1]:
            total += (1 - abs(row - y)) * (1 - abs(column - x)) * plane[y, x]
    return total


def deformable(x, offset, weight, bias, stride, padding, dilation, mask):
    """x (N, C, H, W); stride, padding and dilation are pairs of ints."""
    batch, channels = x.shape[:2]
    outputs, per_group, kh, kw = weight.shape
    groups, moved = channels // per_group, offset.shape[1] // (2 * kh * kw)
    y = np.zeros((batch, outputs, *offset.shape[2:]))
    for n, c, row, column in np.ndindex(*y.shape):
        total = 0.0 if bias is None else bias[c]
        for inner, i, j in itertools.product(range(per_group), range(kh), range(kw)):
            channel = c // (outputs // groups) * per_group + inner
            tap = (channel // (channels // moved)) * kh * kw + i * kw + j
            down, right = offset[n, 2 * tap, row, column], offset[n, 2 * tap + 1, row, column]
            value = sample(
                x[n, channel],
                row * stride[0] - padding[0] + i * dilation[0] + down,
                column * stride[1] - padding[1] + j * dilation[1] + right,
            )
            total += value * weight[c, inner, i, j] * (1 if mask is None else mask[n, tap, row, column])
        y[n, c, row, column] = total
    return y
