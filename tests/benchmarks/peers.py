"""The same correlation by other libraries, called as one who knows them well would call them.

Every function takes the data, the kernel and its 1-D factors (or None), and returns a function without
arguments, or None where the library cannot do the case or would take minutes.
"""

import math

import cv2
import numpy as np
import torch
from scipy import ndimage, signal

# Multiply-adds beyond which a tap-by-tap library is not waited for.
_PATIENCE = 1.2e9
_MEMORY = 3e9


def _depth(x):
    return cv2.CV_64F if x.dtype == np.float64 else cv2.CV_32F


def _plain_image(x, case):
    return (x.ndim == 2 or case.axes == (0, 1)) and not case.stride and not case.dilation and x.ndim - 1 < 3


def opencv(x, kernel, factors, case):
    """filter2D; 1-D kernels are single rows."""
    if not _plain_image(x, case) or kernel.ndim > 2:
        return None
    depth = -1 if case.rounded else _depth(x)
    image, weights = (x, kernel) if kernel.ndim == 2 else (x[None], kernel[None])
    shape = x.shape
    return lambda: cv2.filter2D(image, depth, weights, borderType=cv2.BORDER_CONSTANT).reshape(shape)


def opencv_float(x, kernel, factors, case):
    """filter2D after conversion to float32, which is faster for integers."""
    if x.dtype.kind == "f" or not _plain_image(x, case) or case.rounded:
        return None
    return lambda: cv2.filter2D(x.astype(np.float32), cv2.CV_32F, kernel, borderType=cv2.BORDER_CONSTANT)


def opencv_separable(x, kernel, factors, case):
    """sepFilter2D."""
    if factors is None or len(factors) != 2 or not _plain_image(x, case):
        return None
    depth = -1 if case.rounded else _depth(x)
    return lambda: cv2.sepFilter2D(x, depth, factors[1], factors[0], borderType=cv2.BORDER_CONSTANT)


def opencv_separable_float(x, kernel, factors, case):
    """sepFilter2D after conversion to float32."""
    if x.dtype.kind == "f" or factors is None or len(factors) != 2 or case.rounded:
        return None
    return lambda: cv2.sepFilter2D(
        x.astype(np.float32), cv2.CV_32F, factors[1], factors[0], borderType=cv2.BORDER_CONSTANT
    )


def opencv_box(x, kernel, factors, case):
    """boxFilter."""
    if case.kind != "box" or kernel.ndim != 2:
        return None
    depth, size = -1 if case.rounded else _depth(x), kernel.shape[::-1]
    return lambda: cv2.boxFilter(x, depth, size, borderType=cv2.BORDER_CONSTANT)


def scipy_ndimage(x, kernel, factors, case):
    """uniform_filter, correlate1d along each axis, or correlate."""
    if case.stride or case.dilation or case.rounded:
        return None
    work = x.astype(np.float32) if x.dtype.kind in "iu" else x
    axes = case.axes or tuple(range(x.ndim))
    if case.kind == "box":
        sizes = [1] * x.ndim
        for axis, size in zip(axes, kernel.shape, strict=True):
            sizes[axis] = size
        return lambda: ndimage.uniform_filter(work, sizes, mode="constant")
    if factors is not None:

        def passes():
            out = work
            for axis, factor in zip(axes, factors, strict=True):
                out = ndimage.correlate1d(out, factor, axis, mode="constant")
            return out

        return passes if x.size * max(kernel.shape) < _PATIENCE else None
    if x.size * kernel.size > _PATIENCE / 3 or len(axes) != x.ndim:
        return None
    return lambda: ndimage.correlate(work, kernel, mode="constant")


def _scipy_signal(function, x, kernel, case):
    if case.stride or case.dilation or case.axes or case.rounded or kernel.size < 49:
        return None
    work = x.astype(np.float32) if x.dtype.kind in "iu" else x
    flipped = np.flip(kernel).astype(work.dtype)
    return lambda: function(work, flipped, mode="same")


def scipy_fft(x, kernel, factors, case):
    """fftconvolve."""
    return _scipy_signal(signal.fftconvolve, x, kernel, case)


def scipy_oa(x, kernel, factors, case):
    """oaconvolve."""
    return _scipy_signal(signal.oaconvolve, x, kernel, case)


def numpy(x, kernel, factors, case):
    """numpy.convolve."""
    if x.ndim != 1 or x.size * kernel.size > _PATIENCE:
        return None
    flipped = kernel[::-1].astype(x.dtype)
    return lambda: np.convolve(x, flipped, mode="same")


def torch_conv(x, kernel, factors, case):
    """conv1d, conv2d, conv3d on the CPU; colours as a batch."""
    unfolded = x.nbytes * kernel.size  # what torch may write out in double precision or without a fast path
    if x.dtype.kind != "f" or case.rounded or case.axes or unfolded > _MEMORY:
        return None
    data = torch.from_numpy(x)[None, None]
    weights = torch.from_numpy(kernel.astype(x.dtype))[None, None]
    function = getattr(torch.nn.functional, f"conv{kernel.ndim}d")
    dilation = case.dilation or 1
    padding = tuple(dilation * (k // 2) for k in kernel.shape)
    options = {"padding": padding, "stride": case.stride or 1, "dilation": dilation}
    return lambda: function(data, weights, **options).numpy()[0, 0]


PEERS = {
    "cv2.filter2D": opencv,
    "filter2D float32": opencv_float,
    "cv2.sepFilter2D": opencv_separable,
    "sepFilter2D float32": opencv_separable_float,
    "cv2.boxFilter": opencv_box,
    "ndimage": scipy_ndimage,
    "fftconvolve": scipy_fft,
    "oaconvolve": scipy_oa,
    "numpy.convolve": numpy,
    "torch": torch_conv,
}


def multiply_adds(case, kernel, out):
    """Return how many a good algorithm needs: of the factors where there are any, none for a box."""
    if case.kind == "box":
        return 2 * len(kernel.shape) * math.prod(out)
    taps = sum(kernel.shape) if case.kind == "separable" else kernel.size
    return taps * math.prod(out)
