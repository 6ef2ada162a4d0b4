"""Every filter of series against scipy, or against the definition written as a loop.

The references share nothing with the filters but the names of their parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal, special

from filterworks.timeseries.chain import SERIES_OPERATIONS, SeriesChain
from filterworks.timeseries.options import Options
from filterworks.timeseries.sampling import Sampling, recognise

Line = NDArray[np.float64]
# Line, ndimage's name of the boundary → what the filter is to give.
Reference = Callable[[Line, str], Line]

# What a result may differ by, as a share of the largest.
BOUND = 1e-9
_STEP = 0.5
_MODES = {"symmetric": "reflect", "constant": "constant", "wrap": "wrap", "mirror": "mirror"}
_TEMPLATE = np.array([0.0, 1, 3, 1.5, -1])


def _by_taps(taps: Line) -> Reference:
    def reference(x: Line, mode: str) -> Line:
        there = ~np.isnan(x)
        total = ndimage.correlate1d(np.nan_to_num(x), taps, mode=mode)
        if there.all():
            return np.asarray(total)
        weight = ndimage.correlate1d(there.astype(float), taps, mode=mode, cval=1.0)
        return np.where(there, total / weight * taps.sum(), np.nan)

    return reference


def _median(x: Line, mode: str) -> Line:
    if not np.isnan(x).any():
        return np.asarray(ndimage.median_filter(x, 9, mode=mode))
    around = np.pad(x, 4, mode={"reflect": "symmetric", "mirror": "reflect"}.get(mode, mode))  # type: ignore[call-overload]  # a mode of NumPy's
    medians = [np.nanmedian(around[i : i + 9]) for i in range(x.size)]
    return np.where(np.isnan(x), np.nan, medians)


def _exponential(x: Line, mode: str) -> Line:
    alpha = 0.2
    start = signal.lfiltic([alpha], [1.0, alpha - 1.0], [x[0]])
    return np.concatenate([x[:1], signal.lfilter([alpha], [1.0, alpha - 1.0], x[1:], zi=start)[0]])


def _adjusted(x: Line, mode: str) -> Line:
    weights = 0.7 ** np.arange(x.size)[::-1]
    return np.array([np.average(x[: i + 1], weights=weights[-i - 1 :]) for i in range(x.size)])


def _difference(x: Line, mode: str) -> Line:
    return np.concatenate([np.full(3, np.nan), x[3:] - x[:-3]])


def _scores(x: Line, mode: str) -> Line:
    half = _TEMPLATE.size // 2
    around = np.pad(x, half, mode={"reflect": "symmetric", "mirror": "reflect"}.get(mode, mode))  # type: ignore[call-overload]  # a mode of NumPy's
    windows = np.lib.stride_tricks.sliding_window_view(around, _TEMPLATE.size)
    return np.array([np.corrcoef(window, _TEMPLATE)[0, 1] for window in windows])


def _firwin(count: int, cutoff: float | list[float], kind: str) -> Reference:
    return _by_taps(np.asarray(signal.firwin(count, cutoff, pass_zero=kind, fs=1 / _STEP)))


_TRIANGLE = signal.windows.triang(8)
_BINOMIAL = special.comb(6, np.arange(7)) / 64
_SMOOTH: Reference = lambda x, mode: np.asarray(ndimage.gaussian_filter1d(x, 2.3, mode=mode))  # noqa: E731  # a line of the table below

# Filter → what is written, its reference, and whether gaps are tried as well.
_EVEN: dict[str, tuple[tuple[str, Reference, bool], ...]] = {
    "mean": (
        ("mean:window=7", _by_taps(np.full(7, 1 / 7)), True),
        ("mean:window=120", _by_taps(np.full(120, 1 / 120)), True),
    ),
    "gaussian": (
        ("gaussian:sigma=2.3", _SMOOTH, False),
        (
            "gaussian:sigma=2,order=1",
            lambda x, mode: ndimage.gaussian_filter1d(x, 2, order=1, mode=mode),
            False,
        ),
    ),
    "binomial": (("binomial:window=7", _by_taps(_BINOMIAL), True),),
    "triangular": (("triangular:window=8", _by_taps(_TRIANGLE / _TRIANGLE.sum()), True),),
    "median": (("median:window=9", _median, True),),
    "savgol": (
        ("savgol:window=11,order=3", _by_taps(signal.savgol_coeffs(11, 3, use="dot")), False),
        (
            "savgol:window=11,order=3,derivative=1",
            _by_taps(signal.savgol_coeffs(11, 3, deriv=1, delta=_STEP, use="dot")),
            False,
        ),
    ),
    "exponential": (
        ("exponential:alpha=0.2,adjust=false", _exponential, False),
        ("exponential:alpha=0.3", _adjusted, False),
    ),
    "cumulative": (
        ("cumulative", lambda x, mode: np.cumsum(x), False),
        ("cumulative:function=max", lambda x, mode: np.maximum.accumulate(x), False),
    ),
    "difference": (("difference:lag=3", _difference, False),),
    "derivative": (("derivative", lambda x, mode: np.gradient(x, _STEP), False),),
    "lowpass": (("lowpass:cutoff=0.2,taps=31", _firwin(31, 0.2, "lowpass"), False),),
    "highpass": (("highpass:cutoff=0.2,taps=31", _firwin(31, 0.2, "highpass"), False),),
    "bandpass": (("bandpass:low=0.2,high=0.5,taps=41", _firwin(41, [0.2, 0.5], "bandpass"), False),),
    "bandstop": (("bandstop:low=0.2,high=0.5,taps=41", _firwin(41, [0.2, 0.5], "bandstop"), False),),
    "matched": (("matched:taps=0/1/3/1.5/-1", _scores, False),),
    "kernel": (("kernel:taps=1/2/-4/3", _by_taps(np.array([1.0, 2, -4, 3])), False),),
    "identity": (("identity", lambda x, mode: x, False),),
    "central_difference": (("central_difference", _by_taps(np.array([-0.5, 0, 0.5])), False),),
    "laplacian": (("laplacian", _by_taps(np.array([1.0, -2, 1])), False),),
    "dog": (
        (
            "dog:low_sigma=1,high_sigma=2.5",
            lambda x, mode: (
                ndimage.gaussian_filter1d(x, 1, mode=mode) - ndimage.gaussian_filter1d(x, 2.5, mode=mode)
            ),
            False,
        ),
    ),
    "log": (("log:sigma=1.5", lambda x, mode: ndimage.gaussian_filter1d(x, 1.5, order=2, mode=mode), False),),
}


def _near_mean(values: Line, distances: Line) -> float:
    return float(values.mean())


def _near_median(values: Line, distances: Line) -> float:
    return float(np.median(values))


def _near_gaussian(values: Line, distances: Line) -> float:
    return float(np.average(values, weights=np.exp(-0.5 * (distances / 2) ** 2)))


def _near_triangle(values: Line, distances: Line) -> float:
    return float(np.average(values, weights=1 - np.abs(distances) / 4))


def _near_fit(values: Line, distances: Line) -> float:
    return float(np.polynomial.Polynomial.fit(distances, values, 2)(0))


# Filter → what is written, how many seconds away it looks, and what it makes of neighbours.
_UNEVEN: dict[str, tuple[str, float, Callable[[Line, Line], float]]] = {
    "mean": ("mean:window=8s", 4, _near_mean),
    "median": ("median:window=8s", 4, _near_median),
    "gaussian": ("gaussian:sigma=2s", 8, _near_gaussian),
    "triangular": ("triangular:window=8s", 4, _near_triangle),
    "savgol": ("savgol:window=12s,order=2", 6, _near_fit),
}


def _error(got: Line, expected: Line) -> float:
    """Return the largest error in units of the bound; infinite where other samples are missing."""
    if not np.array_equal(np.isnan(got), np.isnan(expected)):
        return np.inf
    return float(np.nanmax(np.abs(got - expected)) / (BOUND * max(np.nanmax(np.abs(expected)), 1.0)))


def _even_errors(name: str, x: Line) -> Iterator[float]:
    gappy = x.copy()
    gappy[40:44] = gappy[90] = np.nan
    for text, reference, averages in _EVEN[name]:
        for boundary, mode in _MODES.items():
            for line in (x, gappy) if averages and boundary != "constant" else (x,):
                options = Options(boundary=boundary)
                got = SeriesChain.parse(text)(line, sampling=Sampling(step=_STEP), options=options)
                yield _error(got, reference(line, mode))


def _uneven_errors(name: str, x: Line, rng: np.random.Generator) -> Iterator[float]:
    seconds = np.cumsum(rng.uniform(0.2, 1.8, x.size))
    text, reach, function = _UNEVEN[name]
    got = SeriesChain.parse(text)(x, seconds=seconds, sampling=recognise(seconds))
    expected = np.empty(x.size)
    for i, now in enumerate(seconds):
        near = np.abs(seconds - now) <= reach
        expected[i] = function(x[near], seconds[near] - now)
    yield _error(got, expected)


def prove(rng: np.random.Generator) -> Iterator[tuple[str, str, list[float]]]:
    """Yield each filter of series, what it is compared with, and its errors in units of the bound."""
    for name in SERIES_OPERATIONS:
        x = np.cumsum(rng.normal(size=200))
        yield f"series {name}", "scipy, numpy", list(_even_errors(name, x))
        if name in _UNEVEN:
            yield f"series {name}, uneven", "a loop", list(_uneven_errors(name, x, rng))
