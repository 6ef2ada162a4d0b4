"""The definition as loops: slow, obvious, the oracle of last resort.

Nothing here is shared with the package: each boundary is spelled out again.
"""

import itertools

import numpy as np


def outside(x, index, boundary, fill_value):
    """The sample at a (possibly outside) index, and whether there is one."""
    place = []
    for i, n in zip(index, x.shape, strict=True):
        if 0 <= i < n:
            place.append(i)
        elif boundary == "constant":
            return fill_value, True
        elif boundary == "omit":
            return 0, False
        elif boundary == "nearest":
            place.append(0 if i < 0 else n - 1)
        elif boundary == "wrap":
            place.append(i % n)
        elif boundary == "symmetric":
            line = [*range(n), *reversed(range(n))]
            place.append(line[i % len(line)])
        elif boundary == "mirror":
            line = [*range(n), *reversed(range(1, n - 1))] if n > 1 else [0]
            place.append(line[i % len(line)])
        else:
            raise AssertionError(boundary)
    return x[tuple(place)], True


@np.errstate(invalid="ignore")  # infinity less infinity, and times zero
def filtered(
    x,
    kernel,
    *,
    flip,
    mode="same",
    boundary="constant",
    fill_value=0.0,
    origin=0,
    axes=None,
    stride=1,
    dilation=1,
    nan_policy="propagate",
):
    """Convolution (flip) or correlation of `x`, in double precision."""
    x = np.asarray(x)
    x = x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)
    kernel = np.asarray(kernel)
    kernel = kernel.astype(np.complex128 if kernel.dtype.kind == "c" else np.float64)
    axes = tuple(range(x.ndim)) if axes is None else tuple(a % x.ndim for a in np.atleast_1d(axes).tolist())
    n = kernel.ndim
    origin, stride, dilation = (np.broadcast_to(v, n).tolist() for v in (origin, stride, dilation))
    spans = [d * (k - 1) + 1 for k, d in zip(kernel.shape, dilation, strict=True)]
    shape, first = list(x.shape), [0] * n
    for a, axis in enumerate(axes):
        size, k = x.shape[axis], spans[a]
        if mode == "full":
            shape[axis], first[a] = size + k - 1, -(k - 1) if not flip else 0
        elif mode == "valid":
            shape[axis], first[a] = size - k + 1, 0 if not flip else k - 1
        else:
            first[a] = ((k - 1) // 2 if flip else -(k // 2)) - origin[a]
    out = np.zeros(shape, np.result_type(x, kernel))
    total = kernel.sum()
    omitting = nan_policy == "omit" or boundary == "omit"
    taps = [(tap, kernel[tap] if flip else np.conj(kernel[tap])) for tap in np.ndindex(*kernel.shape)]
    for place in itertools.product(*map(range, shape)):
        value, weight, size = 0.0, 0.0, 0.0
        for tap, w in taps:
            index = list(place)
            for a, axis in enumerate(axes):
                j = tap[a] * dilation[a]
                index[axis] = place[axis] + first[a] + (-j if flip else j)
            sample, exists = outside(x, index, boundary, fill_value)
            if not exists or (nan_policy == "omit" and np.isnan(sample)):
                continue
            value = value + sample * w
            weight, size = weight + w, size + abs(w)
        if omitting:
            value = np.nan if abs(weight) <= 1e-12 * size else value * (total / weight)
        out[place] = value
    keep = [slice(None)] * x.ndim
    for a, axis in enumerate(axes):
        keep[axis] = slice(None, None, stride[a])
    return out[tuple(keep)]
