"""Named kernels: small float64 arrays, each with its source.

They are drawn as :func:`filterworks.correlate` slides them, like the kernels of scipy.ndimage and
OpenCV: a derivative kernel answers with a positive value where the data grow along its axis.
Angles are in degrees, counter-clockwise, 0 pointing to the right.

Examples
--------
>>> sobel(axis=1)
array([[-1.,  0.,  1.],
       [-2.,  0.,  2.],
       [-1.,  0.,  1.]])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, reduce

import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import as_int, as_number, per_axis
from filterworks.errors import ArgumentError, must, unknown

Kernel = NDArray[np.float64]
# Narrower than this a Gaussian is one sample, and its derivatives have no meaning.
_NARROW = 1e-6
PerAxis = float | Sequence[float]


def outer(*factors: Kernel) -> Kernel:
    """Return the N-D kernel whose factor along axis i is ``factors[i]``.

    Examples
    --------
    >>> outer(np.array([1.0, 2.0]), np.array([1.0, 0.0, -1.0]))
    array([[ 1.,  0., -1.],
           [ 2.,  0., -2.]])
    """
    return np.asarray(reduce(np.multiply.outer, factors))


def per_axis_number(name: str, value: PerAxis, ndim: int, *, above: float | None = None) -> tuple[float, ...]:
    """Return one finite float per axis, from a number or a sequence of `ndim` numbers."""
    items = (
        list(value)
        if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)
        else [value] * ndim
    )
    if len(items) != ndim:
        raise ArgumentError(must(name, f"a number or {ndim} of them, one per axis", value))
    return tuple(as_number(name, item, above=above) for item in items)


def identity(size: int = 1, ndim: int = 2) -> Kernel:
    """Return a 1 at the centre of zeros: the neutral element of convolution.

    Examples
    --------
    >>> identity(3, ndim=1)
    array([0., 1., 0.])
    """
    kernel = np.zeros((as_int("size", size, 1),) * as_int("ndim", ndim, 1))
    kernel[(size // 2,) * ndim] = 1.0
    return kernel


def mean(size: int | Sequence[int] = 3, ndim: int = 2) -> Kernel:
    """Return equal weights that sum to 1; `size` in samples, one for all axes or one per axis.

    Examples
    --------
    >>> mean(4, ndim=1)
    array([0.25, 0.25, 0.25, 0.25])
    """
    sizes = list(size) if isinstance(size, Sequence) else [size] * as_int("ndim", ndim, 1)
    shape = tuple(as_int("size", item, 1) for item in sizes)
    return np.full(shape, 1.0 / math.prod(shape))


def gaussian_factor(sigma: float, truncate: float = 4.0, order: int = 0) -> Kernel:
    """Return the 1-D Gaussian, or its derivative of the given `order`, sampled as scipy.ndimage does.

    Examples
    --------
    >>> gaussian_factor(0.5, order=1).round(3)
    array([-0.002, -0.426,  0.   ,  0.426,  0.002])
    """
    as_number("sigma", sigma, 0)
    as_number("truncate", truncate, above=0)
    return _gaussian_factor(float(sigma), float(truncate), as_int("order", order, 0)).copy()


@lru_cache(maxsize=64)
def _gaussian_factor(sigma: float, truncate: float, order: int) -> Kernel:
    if sigma < _NARROW:
        if order:
            raise ArgumentError(must("sigma", f"at least {_NARROW:g} for a derivative", sigma))
        return np.ones(1)
    radius = int(truncate * sigma + 0.5)
    t = np.arange(-radius, radius + 1, dtype=np.float64)
    weights = np.exp(-0.5 * (t / sigma) ** 2)
    weights /= weights.sum()
    if order == 0:
        return weights
    # d/dt (q(t) g(t)) = (q' - q t / sigma²) g, starting from q = 1.
    polynomial = np.polynomial.Polynomial([1.0])
    slope = np.polynomial.Polynomial([0.0, -1.0 / sigma**2])
    for _ in range(order):
        polynomial = polynomial.deriv() + polynomial * slope
    # Drawn for correlation: the derivative's sign is that of the growth along the axis.
    return np.asarray((polynomial(t) * weights)[::-1])


def gaussian(
    sigma: PerAxis = 1.0, ndim: int = 2, truncate: float = 4.0, order: int | Sequence[int] = 0
) -> Kernel:
    """Return the Gaussian with radius ``int(truncate * sigma + 0.5)``; it sums to 1 (scipy.ndimage).

    Parameters
    ----------
    sigma
        Standard deviation in samples, one for all axes or one per axis.
    ndim
        Number of axes.
    truncate
        Radius in standard deviations.
    order
        0, or the order of the derivative along each axis.

    Examples
    --------
    >>> gaussian(1.0).shape
    (9, 9)
    """
    ndim = as_int("ndim", ndim, 1)
    sigmas = per_axis_number("sigma", sigma, ndim)
    orders = per_axis("order", order, ndim, 0, of="axis")
    return outer(*(gaussian_factor(s, truncate, o) for s, o in zip(sigmas, orders, strict=True)))


def binomial_factor(size: int) -> Kernel:
    """Return row ``size - 1`` of Pascal's triangle, divided by its sum."""
    last = as_int("size", size, 1) - 1
    # Division of integers of any length: beyond 66 they no longer fit 64 bits.
    return np.array([math.comb(last, i) / (1 << last) for i in range(last + 1)])


def binomial(size: int = 3, ndim: int = 2) -> Kernel:
    """Return the binomial smoothing kernel, the exact small-integer relative of the Gaussian.

    Source: Aubury & Luk, "Binomial filters", J. VLSI Signal Processing 12 (1996).

    Examples
    --------
    >>> binomial(3, ndim=1)
    array([0.25, 0.5 , 0.25])
    """
    return outer(*[binomial_factor(size)] * as_int("ndim", ndim, 1))


def disk(radius: float = 1.0) -> Kernel:
    """Return equal weights over the samples within `radius` of the centre; they sum to 1 (2-D).

    Examples
    --------
    >>> (disk(1) * 5).round(12)
    array([[0., 1., 0.],
           [1., 1., 1.],
           [0., 1., 0.]])
    """
    reach = int(as_number("radius", radius, 0))
    t = np.arange(-reach, reach + 1)
    inside = (t[:, None] ** 2 + t[None, :] ** 2 <= radius**2).astype(np.float64)
    return np.asarray(inside / inside.sum())


def _derivative(smoothing: Sequence[float], axis: int, ndim: int) -> Kernel:
    ndim = as_int("ndim", ndim, 1)
    if not -ndim <= as_int("axis", axis) < ndim:
        raise ArgumentError(must("axis", f"between {-ndim} and {ndim - 1}", axis))
    factors = [np.array(smoothing, dtype=np.float64)] * ndim
    factors[axis] = np.array([-1.0, 0.0, 1.0])
    return outer(*factors)


def sobel(axis: int = -1, ndim: int = 2) -> Kernel:
    """Return the Sobel derivative along `axis`, [1, 2, 1] across: a unit step in 2-D answers 4.

    Source: Sobel & Feldman (1968); the scale is that of scipy.ndimage and OpenCV.
    """
    return _derivative((1, 2, 1), axis, ndim)


def prewitt(axis: int = -1, ndim: int = 2) -> Kernel:
    """Return the Prewitt derivative along `axis`, [1, 1, 1] across: a unit step in 2-D answers 3.

    Source: Prewitt, "Object enhancement and extraction" (1970); scipy.ndimage's scale.
    """
    return _derivative((1, 1, 1), axis, ndim)


def scharr(axis: int = -1, ndim: int = 2) -> Kernel:
    """Return the Scharr derivative along `axis`, [3, 10, 3] across: a unit step in 2-D answers 16.

    Source: Scharr, dissertation, Heidelberg (2000); OpenCV's scale.
    """
    return _derivative((3, 10, 3), axis, ndim)


def roberts(diagonal: str = "main") -> Kernel:
    """Return the 2x2 difference along the ``main`` or the ``anti`` diagonal.

    Source: Roberts, "Machine perception of three-dimensional solids" (1963).

    Examples
    --------
    >>> roberts("anti")
    array([[ 0.,  1.],
           [-1.,  0.]])
    """
    if diagonal not in ("main", "anti"):
        raise ArgumentError(unknown("diagonal", str(diagonal), ["main", "anti"]))
    return np.array([[1.0, 0.0], [0.0, -1.0]] if diagonal == "main" else [[0.0, 1.0], [-1.0, 0.0]])


def central_difference(axis: int = -1, ndim: int = 2) -> Kernel:
    """Return (-1, 0, 1)/2 along `axis`: the slope per sample, as numpy.gradient has it inside.

    Examples
    --------
    >>> central_difference()
    array([[-0.5,  0. ,  0.5]])
    """
    kernel = _derivative((1,), axis, ndim)
    return kernel / 2.0


def laplacian(neighbours: int | None = None, ndim: int = 2) -> Kernel:
    """Return the discrete Laplacian: the sum of second differences.

    Parameters
    ----------
    neighbours
        2-D: 4 (the default, scipy.ndimage.laplace) or 8 (diagonals too).
        In n dimensions: ``2n`` or ``3**n - 1``.
    ndim
        Number of axes.

    Examples
    --------
    >>> laplacian()
    array([[ 0.,  1.,  0.],
           [ 1., -4.,  1.],
           [ 0.,  1.,  0.]])
    """
    ndim = as_int("ndim", ndim, 1)
    faces, everything = 2 * ndim, 3**ndim - 1
    count = faces if neighbours is None else as_int("neighbours", neighbours)
    if count not in (faces, everything):
        raise ArgumentError(must("neighbours", f"{faces} or {everything} in {ndim}-D", neighbours))
    distance = np.abs(np.indices((3,) * ndim) - 1).sum(axis=0)
    kernel = (distance == 1 if count == faces else distance > 0).astype(np.float64)
    kernel[(1,) * ndim] = -count
    return np.asarray(kernel)


def log(sigma: PerAxis = 1.0, ndim: int = 2, truncate: float = 4.0) -> Kernel:
    """Return the Laplacian of a Gaussian: the sum of its second derivatives along each axis.

    Source: Marr & Hildreth, "Theory of edge detection" (1980); equals scipy.ndimage.gaussian_laplace.
    """
    orders = [[2 if i == axis else 0 for i in range(ndim)] for axis in range(as_int("ndim", ndim, 1))]
    terms = [gaussian(sigma, ndim, truncate, order) for order in orders]
    return np.asarray(sum(terms))


def dog_sigmas(low_sigma: float, high_sigma: float | None) -> tuple[float, float]:
    """Return the two widths of a difference of Gaussians; the wider is 1.6 times the other unless given."""
    low = as_number("low_sigma", low_sigma, 0)
    high = 1.6 * low if high_sigma is None else as_number("high_sigma", high_sigma, 0)
    if high <= low:
        raise ArgumentError(must("high_sigma", f"above low_sigma={low:g}", high))
    return low, high


def dog(
    low_sigma: float = 1.0, high_sigma: float | None = None, ndim: int = 2, truncate: float = 4.0
) -> Kernel:
    """Return a narrow minus a wide Gaussian: a band-pass whose weights sum to 0.

    `high_sigma` is ``1.6 * low_sigma`` unless given, the ratio closest to the Laplacian of Gaussian.
    Source: Marr & Hildreth (1980).
    """
    low, high = dog_sigmas(low_sigma, high_sigma)
    wide = gaussian(high, ndim, truncate)
    narrow = gaussian(low, ndim, truncate)
    margin = (wide.shape[0] - narrow.shape[0]) // 2
    return np.asarray(np.pad(narrow, margin) - wide)


def gabor(
    wavelength: float = 8.0,
    angle: float = 0.0,
    sigma: float | None = None,
    gamma: float = 0.5,
    phase: float = 0.0,
    truncate: float = 3.0,
) -> Kernel:
    """Return a cosine wave under a Gaussian envelope (2-D), not normalised, as cv2.getGaborKernel.

    Parameters
    ----------
    wavelength
        Length of the wave in samples.
    angle
        Direction in which the wave runs, in degrees.
    sigma
        Width of the envelope along the wave in samples; ``0.56 * wavelength`` (one octave) unless given.
    gamma
        Aspect ratio: the envelope is ``sigma / gamma`` wide across the wave.
    phase
        Phase of the cosine at the centre, in degrees.
    truncate
        Radius in envelope widths.
    """
    wave = as_number("wavelength", wavelength, above=0)
    width = 0.56 * wave if sigma is None else as_number("sigma", sigma, above=0)
    ratio = as_number("gamma", gamma, above=0)
    radius = int(as_number("truncate", truncate, above=0) * max(width, width / ratio) + 0.5)
    t = np.arange(-radius, radius + 1, dtype=np.float64)
    turn = math.radians(as_number("angle", angle))
    along = t[None, :] * math.cos(turn) - t[:, None] * math.sin(turn)
    across = t[None, :] * math.sin(turn) + t[:, None] * math.cos(turn)
    envelope = np.exp(-(along**2 + (ratio * across) ** 2) / (2 * width**2))
    return np.asarray(envelope * np.cos(2 * np.pi * along / wave + math.radians(as_number("phase", phase))))


def motion(length: float = 9.0, angle: float = 0.0) -> Kernel:
    """Return the trace of a point that moves `length` samples along `angle` (2-D); it sums to 1.

    Each weight is the share of the straight line that lies inside its sample's square.

    Examples
    --------
    >>> motion(4, angle=90).ravel()
    array([0.125, 0.25 , 0.25 , 0.25 , 0.125])
    """
    half = as_number("length", length, 1) / 2
    turn = math.radians(as_number("angle", angle))
    step = np.array([-math.sin(turn), math.cos(turn)]).round(12)
    radius = int(half + 0.5)
    edges = np.arange(-radius, radius) + 0.5
    crossings = np.concatenate([edges / s for s in step if s] + [np.array([-half, half])])
    cuts = np.unique(crossings[np.abs(crossings) <= half])
    cell = np.floor(np.outer(step, (cuts[1:] + cuts[:-1]) / 2) + 0.5).astype(int) + radius
    kernel = np.zeros((2 * radius + 1,) * 2)
    np.add.at(kernel, (cell[0], cell[1]), np.diff(cuts) / (2 * half))
    return trim(kernel)


def trim(kernel: Kernel) -> Kernel:
    """Return the kernel without the zero borders that lie on both of its sides.

    Examples
    --------
    >>> trim(np.array([0.0, 0.0, 1.0, 2.0, 0.0]))
    array([0., 1., 2.])
    """
    for axis in range(kernel.ndim):
        used = np.flatnonzero(np.any(kernel != 0, axis=tuple(a for a in range(kernel.ndim) if a != axis)))
        margin = int(min(used[0], kernel.shape[axis] - 1 - used[-1])) if used.size else 0
        kernel = np.take(kernel, range(margin, kernel.shape[axis] - margin), axis=axis)
    return kernel


def sharpen(amount: float = 1.0, neighbours: int = 4) -> Kernel:
    """Return identity minus `amount` times the Laplacian (2-D); it sums to 1.

    Examples
    --------
    >>> sharpen()
    array([[ 0., -1.,  0.],
           [-1.,  5., -1.],
           [ 0., -1.,  0.]])
    """
    return np.asarray(identity(3) - as_number("amount", amount, 0) * laplacian(neighbours))


def emboss(amount: float = 1.0) -> Kernel:
    """Return the relief kernel lit from the upper left (2-D); it sums to 1.

    Examples
    --------
    >>> emboss()
    array([[-2., -1.,  0.],
           [-1.,  1.,  1.],
           [ 0.,  1.,  2.]])
    """
    slope = np.array([[-2.0, -1.0, 0.0], [-1.0, 0.0, 1.0], [0.0, 1.0, 2.0]])
    return np.asarray(identity(3) + as_number("amount", amount, 0) * slope)


KERNELS: dict[str, Callable[..., Kernel]] = {
    function.__name__: function
    for function in (
        binomial,
        central_difference,
        disk,
        dog,
        emboss,
        gabor,
        gaussian,
        identity,
        laplacian,
        log,
        mean,
        motion,
        prewitt,
        roberts,
        scharr,
        sharpen,
        sobel,
    )
}


def names() -> tuple[str, ...]:
    """Return the names of all kernels.

    Examples
    --------
    >>> "sobel" in names()
    True
    """
    return tuple(KERNELS)
