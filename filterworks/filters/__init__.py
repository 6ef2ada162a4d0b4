"""Named filters on arrays.

Every filter takes the data first, then its own parameters, then the common options of
:class:`~filterworks.filters.options.Options`.
Kernels are slid as they are drawn (:func:`filterworks.correlate`).

Integers of any width come back in their own dtype, rounded and saturated, from the filters that keep
the scale of the data (smoothing, sharpening); edges, derivatives and band-passes are signed or
magnitudes, and come back as floats unless ``dtype=`` says otherwise.
"""

from filterworks.filters.canny import canny
from filterworks.filters.custom import kernel
from filterworks.filters.edges import (
    central_difference,
    dog,
    gabor,
    laplace,
    log,
    prewitt,
    roberts,
    scharr,
    sobel,
)
from filterworks.filters.ranks import bilateral, median
from filterworks.filters.sharpening import emboss, sharpen, unsharp_mask
from filterworks.filters.smoothing import binomial, disk, gaussian, mean, motion

__all__ = [
    "bilateral",
    "binomial",
    "canny",
    "central_difference",
    "disk",
    "dog",
    "emboss",
    "gabor",
    "gaussian",
    "kernel",
    "laplace",
    "log",
    "mean",
    "median",
    "motion",
    "prewitt",
    "roberts",
    "scharr",
    "sharpen",
    "sobel",
    "unsharp_mask",
]
