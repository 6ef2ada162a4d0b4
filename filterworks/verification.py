"""Every operation and every engine against scipy: a report with one row per check.

The references below are written with scipy.ndimage and scipy.signal alone, in double precision; they
share nothing with the engines but the names of parameters.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from filterworks import kernels
from filterworks.arguments import Array, compute_dtype
from filterworks.boundaries import as_boundary
from filterworks.chains import Chain, Step
from filterworks.convolution import convolve, correlate
from filterworks.errors import EngineError
from filterworks.filters.custom import resolve_kernel
from filterworks.operations import OPERATIONS
from filterworks.planner import engines
from filterworks.timeseries.proof import prove

Plane = NDArray[np.float64]

_MODES = {
    "constant": "constant",
    "nearest": "nearest",
    "symmetric": "reflect",
    "mirror": "mirror",
    "wrap": "wrap",
    "omit": "constant",
}


@dataclass(frozen=True)
class _Outside:
    """How ndimage is to continue the data."""

    mode: str
    value: float
    omit: bool

    @classmethod
    def of(cls, parameters: dict[str, Any]) -> _Outside:
        name = as_boundary(parameters.get("boundary", "symmetric"))
        value = 0.0 if name == "omit" else parameters.get("fill_value", 0.0)
        return cls(_MODES[name], value, name == "omit" or parameters.get("nan_policy") == "omit")

    def correlate(self, x: Plane, kernel: Plane) -> Plane:
        """ndimage.correlate, renormalised where samples are left out."""
        if not self.omit:
            return np.asarray(ndimage.correlate(x, kernel, mode=self.mode, cval=self.value))
        there = (~np.isnan(x)).astype(np.float64)
        value = ndimage.correlate(np.nan_to_num(x), kernel, mode=self.mode, cval=self.value)
        weight = ndimage.correlate(there, kernel, mode=self.mode, cval=0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(value * kernel.sum() / weight)

    def magnitude(self, x: Plane, slopes: list[Plane]) -> Plane:
        return np.asarray(np.sqrt(sum(self.correlate(x, slope) ** 2 for slope in slopes)))


def _gradient(kernel: Callable[[int, int], Plane]) -> Callable[..., Plane]:
    def reference(x: Plane, outside: _Outside, axis: int | None = None, **rest: Any) -> Plane:
        if axis is not None:
            return outside.correlate(x, kernel(axis, x.ndim))
        return outside.magnitude(x, [kernel(a, x.ndim) for a in range(x.ndim)])

    return reference


def _linear(kernel: Callable[..., Plane]) -> Callable[..., Plane]:
    """A reference that slides the kernel of the same parameters."""

    def reference(x: Plane, outside: _Outside, **parameters: Any) -> Plane:
        return outside.correlate(x, kernel(x.ndim, **parameters))

    return reference


def _gaussian(
    x: Plane, outside: _Outside, sigma: Any, truncate: float = 4.0, order: Any = 0, **rest: Any
) -> Plane:
    if outside.omit:
        return outside.correlate(x, kernels.gaussian(sigma, x.ndim, truncate, order))
    return np.asarray(
        ndimage.gaussian_filter(x, sigma, order, mode=outside.mode, cval=outside.value, truncate=truncate)
    )


def _log(x: Plane, outside: _Outside, sigma: Any, truncate: float = 4.0, **rest: Any) -> Plane:
    return np.asarray(
        ndimage.gaussian_laplace(x, sigma, mode=outside.mode, cval=outside.value, truncate=truncate)
    )


def _dog(
    x: Plane, outside: _Outside, low_sigma: float, high_sigma: float | None = None, **rest: Any
) -> Plane:
    low, high = kernels.dog_sigmas(low_sigma, high_sigma)
    return _gaussian(x, outside, low, **rest) - _gaussian(x, outside, high, **rest)


def _unsharp(
    x: Plane, outside: _Outside, sigma: Any = 1.0, amount: float = 1.0, threshold: float = 0.0, **rest: Any
) -> Plane:
    detail = x - _gaussian(x, outside, sigma, **rest)
    return np.asarray(x + amount * np.where(np.abs(detail) >= threshold, detail, 0))


def _median(x: Plane, outside: _Outside, size: Any = 3, **rest: Any) -> Plane:
    return np.asarray(ndimage.median_filter(x, size=size, mode=outside.mode, cval=outside.value))


def _bilateral(
    x: Plane,
    outside: _Outside,
    sigma_color: float,
    sigma_space: float = 2.0,
    truncate: float = 2.0,
    **rest: Any,
) -> Plane:
    radius = max(int(truncate * sigma_space + 0.5), 1)
    t = np.arange(-radius, radius + 1)
    distance = t[:, None] ** 2 + t[None, :] ** 2
    inside = distance <= radius**2
    near = np.exp(-distance[inside] / (2 * sigma_space**2))
    centre = int(np.flatnonzero(distance[inside] == 0)[0])

    def weigh(window: Plane) -> float:
        w = near * np.exp(-((window - window[centre]) ** 2) / (2 * sigma_color**2))
        return float((w * window).sum() / w.sum())

    return np.asarray(
        ndimage.generic_filter(x, weigh, footprint=inside, mode=outside.mode, cval=outside.value)
    )


def _canny(
    x: Plane,
    outside: _Outside,
    sigma: float = 1.4,
    low: float | None = None,
    high: float | None = None,
    **rest: Any,
) -> Array:
    smooth = _gaussian(x, outside, sigma)
    rows, columns = (
        ndimage.sobel(smooth, axis=axis, mode=outside.mode, cval=outside.value) for axis in (0, 1)
    )
    strength = np.hypot(rows, columns)
    weak_limit = 0.1 * strength.max() if low is None else low
    strong_limit = 0.2 * strength.max() if high is None else high
    size = np.maximum(np.abs(rows), np.abs(columns))
    with np.errstate(invalid="ignore"):
        step = np.nan_to_num(np.stack([rows / size, columns / size]))
    place = np.indices(x.shape)
    # The position one step along the gradient lies on a grid line; order 1 interpolates on it.
    ridge = np.ones(x.shape, bool)
    for sign in (1, -1):
        beside = ndimage.map_coordinates(np.pad(strength, 1), place + sign * step + 1, order=1)
        ridge &= strength >= beside * (1 - 1e-6)
    floor = 1e-5 * np.abs(x).max() if low is None else 0.0
    weak = ridge & (strength >= weak_limit) & (strength > floor)
    labels, _ = ndimage.label(weak, np.ones((3, 3)))
    strong = np.unique(labels[weak & (strength >= strong_limit)])
    return np.asarray(np.isin(labels, strong[strong > 0]))


def _roberts(x: Plane, outside: _Outside, **rest: Any) -> Plane:
    return outside.magnitude(x, [kernels.roberts("main"), kernels.roberts("anti")])


def _central(x: Plane, outside: _Outside, axis: int | None = None, **rest: Any) -> Plane:
    return outside.correlate(x, kernels.central_difference(-1 if axis is None else axis, x.ndim))


def _custom(x: Plane, outside: _Outside, flip: bool = False, **given: Any) -> Plane:
    taps = np.asarray(resolve_kernel(given.get("weights"), given.get("path")))
    return outside.correlate(x, np.flip(taps) if flip else taps)


REFERENCES: dict[str, Callable[..., Array]] = {
    "mean": _linear(lambda n, size=3, **_: kernels.mean(size, n)),
    "gaussian": _gaussian,
    "binomial": _linear(lambda n, size=3, **_: kernels.binomial(size, n)),
    "disk": _linear(lambda n, radius=1.0, **_: kernels.disk(radius)),
    "motion": _linear(lambda n, length=9.0, angle=0.0, **_: kernels.motion(length, angle)),
    "median": _median,
    "bilateral": _bilateral,
    "sobel": _gradient(kernels.sobel),
    "prewitt": _gradient(kernels.prewitt),
    "scharr": _gradient(kernels.scharr),
    "roberts": _roberts,
    "central_difference": _central,
    "laplace": _linear(lambda n, neighbours=None, **_: kernels.laplacian(neighbours, n)),
    "log": _log,
    "dog": _dog,
    "gabor": _linear(
        lambda n, boundary=None, fill_value=None, nan_policy=None, method=None, **own: kernels.gabor(**own)
    ),
    "canny": _canny,
    "unsharp_mask": _unsharp,
    "sharpen": _linear(lambda n, amount=1.0, neighbours=4, **_: kernels.sharpen(amount, neighbours)),
    "emboss": _linear(lambda n, amount=1.0, **_: kernels.emboss(amount)),
    "kernel": _custom,
}


def reference(step: Step, x: Array, axes: tuple[int, ...]) -> Array:
    """Return what scipy computes for one operation along `axes`, in double precision.

    Examples
    --------
    >>> from filterworks.chains import parse_step
    >>> reference(parse_step("mean:size=3"), np.array([0.0, 6, 0, 3]), (0,))
    array([2., 2., 3., 2.])
    """
    parameters = dict(step.parameters)
    outside = _Outside.of(parameters)
    last = tuple(range(-len(axes), 0))
    planes = np.moveaxis(x.astype(np.float64), axes, last)
    out = None
    for index in np.ndindex(planes.shape[: planes.ndim - len(axes)]):
        result = REFERENCES[step.name](planes[index], outside, **parameters)
        if out is None:
            out = np.empty(planes.shape, result.dtype)
        out[index] = result
    return np.asarray(planes.copy() if out is None else np.moveaxis(out, last, axes))


def reference_chain(chain: Chain, axes: tuple[int, ...] = (0, 1)) -> Callable[[Array], Array]:
    """Return the function that applies a chain along axes, by default rows and columns, with scipy alone."""

    def apply(x: Array) -> Array:
        for step in chain.steps:
            x = reference(step, x, axes)
        return x

    return apply


@dataclass(frozen=True)
class Check:
    """One row of the report.

    Attributes
    ----------
    subject, against
        What was checked, and by what.
    cases
        How many comparisons.
    worst
        The largest error, in units of the bound: up to 1 is inside.
    """

    subject: str
    against: str
    cases: int
    worst: float

    @property
    def ok(self) -> bool:
        """Whether all errors are inside the bound, and there was something to compare."""
        return self.cases > 0 and self.worst <= 1.0


@dataclass(frozen=True)
class Verification:
    """The report of :func:`verify`."""

    checks: tuple[Check, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)

    def __str__(self) -> str:
        lines = [f"{'check':<34}{'against':<16}{'cases':>6}  {'error/bound':>11}"]
        lines += [
            f"{c.subject:<34}{c.against:<16}{c.cases:>6}  {c.worst:>11.3g}  {'ok' if c.ok else 'FAILED'}"
            for c in self.checks
        ]
        return "\n".join(lines)


# Parameters with which each operation is checked; asymmetric where the filter allows it.
_EXAMPLES: dict[str, tuple[dict[str, Any], ...]] = {
    "mean": ({"size": 3}, {"size": (2, 5)}),
    "gaussian": ({"sigma": 1.3}, {"sigma": (0.6, 2.0)}, {"sigma": 1.0, "order": (0, 1)}),
    "binomial": ({"size": 4}, {"size": 7}),
    "disk": ({"radius": 2.5},),
    "motion": ({"length": 6, "angle": 25},),
    "median": ({"size": 3}, {"size": (5, 3)}, {"size": 7}),
    "bilateral": ({"sigma_color": 30, "sigma_space": 1.5},),
    "sobel": ({}, {"axis": 0}, {"axis": 1}),
    "prewitt": ({}, {"axis": 0}, {"axis": 1}),
    "scharr": ({}, {"axis": 0}, {"axis": 1}),
    "roberts": ({},),
    "central_difference": ({"axis": 0}, {"axis": 1}),
    "laplace": ({}, {"neighbours": 8}),
    "log": ({"sigma": 1.2},),
    "dog": ({"low_sigma": 0.8}, {"low_sigma": 1, "high_sigma": 2.5}),
    "gabor": ({"wavelength": 5, "angle": 30, "phase": 40},),
    "canny": ({"sigma": 1.0}, {"sigma": 0.7, "low": 60, "high": 140}),
    "unsharp_mask": ({"sigma": 1.1, "amount": 0.7}, {"threshold": 4.0}),
    "sharpen": ({"amount": 0.8}, {"neighbours": 8}),
    "emboss": ({"amount": 1.5},),
    "kernel": ({"weights": ((1, 2, 0), (-1, 3, 5))}, {"weights": ((1, 2), (3, -6)), "flip": True}),
}
_DTYPES = ("uint8", "uint16", "float32", "float64")
_BOUNDED = ("symmetric", "constant", "wrap")


def _scene(dtype: str, rng: np.random.Generator) -> Array:
    """Return a small picture with edges, gradients and noise."""
    rows, columns = np.mgrid[0:31, 0:43]
    picture = 60 + 2.0 * columns + 70 * (rows * 2 > columns) + rng.normal(0, 6, rows.shape)
    return np.asarray(np.clip(picture, 0, 255) * (257 if dtype == "uint16" else 1), dtype=dtype)


def _gain(step: Step) -> float:
    """Return Σ|k| of the step's kernel where it has one: the scale of its rounding."""
    impulse = np.zeros((65, 65))
    impulse[32, 32] = 1.0
    if step.name in ("median", "bilateral", "canny"):
        return 1.0
    return max(float(np.abs(reference(step, impulse, (0, 1))).sum()), 1.0)


def _check_operation(name: str, rng: np.random.Generator) -> Check:
    cases, worst = 0, 0.0
    for parameters, dtype, boundary in itertools.product(_EXAMPLES[name], _DTYPES, _BOUNDED):
        step = Step(name, (*parameters.items(), ("boundary", boundary)))
        x = _scene(dtype, rng)
        got, expected = step(x), reference(step, x, (0, 1))
        cases += 1
        worst = max(worst, _operation_error(got, expected, x, step))
    return Check(f"filter {name}", "scipy.ndimage", cases, worst)


def _operation_error(got: Array, expected: Array, x: Array, step: Step) -> float:
    """Return the error in units of the contract's bound; integers may differ by rounding of a tie."""
    if got.dtype.kind == "b":
        # A sample at a threshold may fall on either side of it.
        return float((got != expected).mean()) / 2e-3
    scale = float(np.abs(x).max()) * _gain(step)
    bound = scale * (1e-5 if compute_dtype(x.dtype) == np.float32 else 1e-12)
    if got.dtype.kind in "iu":
        info = np.iinfo(got.dtype)
        expected = np.clip(expected, info.min, info.max)
        bound += 0.5
    return float(np.abs(got.astype(np.float64) - expected).max()) / bound


def _correlate2d(x: Plane, taps: Plane, mode: str, boundary: str) -> Plane:
    """signal.correlate2d, but ``same`` as signal.correlate has it: they differ for even kernels."""
    if mode != "same":
        return np.asarray(signal.correlate2d(x, taps, mode=mode, boundary=boundary))
    full = signal.correlate2d(x, taps, mode="full", boundary=boundary)
    first = [(k - 1) // 2 for k in taps.shape]
    return np.asarray(full[first[0] : first[0] + x.shape[0], first[1] : first[1] + x.shape[1]])


def _signal_cases(engine: str, dtype: str, rng: np.random.Generator) -> Iterator[float]:
    kinds: tuple[tuple[str, str], ...] = (("constant", "fill"), ("symmetric", "symm"), ("wrap", "wrap"))
    for (ours, theirs), mode, outer in itertools.product(kinds, ("full", "same", "valid"), (False, True)):
        x = (rng.normal(size=(19, 23)) * 50).astype(dtype)
        taps = rng.normal(size=(4, 7))
        if outer:
            taps = np.outer(taps[:, 0], taps[0])
        for function, peer in ((convolve, signal.convolve2d), (correlate, _correlate2d)):
            expected = peer(x.astype(np.float64), taps, mode=mode, boundary=theirs)
            yield _signal_error(function, x, taps, expected, mode=mode, boundary=ours, method=engine)
    for size, length in ((200, 9), (64, 12), (9, 30)):
        x, taps = (rng.normal(size=size) * 50).astype(dtype), rng.normal(size=length)
        for function, peer in ((convolve, signal.convolve), (correlate, signal.correlate)):
            expected = peer(x.astype(np.float64), taps, mode="same", method="direct")
            yield _signal_error(function, x, taps, expected, method=engine)


def _signal_error(
    function: Callable[..., Array], x: Array, taps: Array, expected: Array, **options: Any
) -> float:
    try:
        got = function(x, taps, **options)
    except EngineError:
        return math.nan
    bound = float(np.abs(x).max() * np.abs(taps).sum()) * (1e-5 if got.dtype == np.float32 else 1e-12)
    return float(np.abs(got - expected).max(initial=0.0)) / bound


def _check_engine(engine: str, dtype: str, rng: np.random.Generator) -> Check:
    errors = [error for error in _signal_cases(engine, dtype, rng) if not math.isnan(error)]
    return Check(f"engine {engine} ({dtype})", "scipy.signal", len(errors), max(errors, default=math.inf))


def verify(seed: int = 0) -> Verification:
    """Compare every engine, every operation and every filter of series with scipy.

    Parameters
    ----------
    seed
        Of the random data and kernels.

    Returns
    -------
    Verification
        One row per check with its worst error in units of the contract's bound; ``.ok`` tells
        whether all are inside.

    Examples
    --------
    >>> verify().ok
    True
    """
    rng = np.random.default_rng(seed)
    checks = [_check_engine(e, d, rng) for e in ("auto", *engines()) for d in ("int16", "float32", "float64")]
    checks += [_check_operation(name, rng) for name in OPERATIONS]
    checks += [Check(name, against, len(errors), max(errors)) for name, against, errors in prove(rng)]
    return Verification(tuple(checks))
