"""Weighted sums over a window: smoothing, and kernels of any kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from filterworks import kernels
from filterworks.arguments import as_int, as_number
from filterworks.errors import ArgumentError, must
from filterworks.timeseries import lengths
from filterworks.timeseries.averages import MovingMean, can_average
from filterworks.timeseries.lengths import Length, as_length
from filterworks.timeseries.nearby import Nearby, Neighbours
from filterworks.timeseries.options import Setting
from filterworks.timeseries.overflow import finite_means
from filterworks.timeseries.parts import Lines, Window
from filterworks.timeseries.stages import Blocks, Stage
from filterworks.timeseries.stream import Report
from filterworks.timeseries.sums import weighted_sums

Taps = NDArray[np.float64]
# Beyond, the samples of the kernel no longer tell its shape.
_MOST_DERIVATIVES = 10
# More and a float cannot hold the weights' sum.
_MOST_BINOMIAL = 1000


class Design(Protocol):
    """A filter with its parameters checked, before it knows its series.

    Attributes
    ----------
    averages
        Whether missing samples are left out unless the caller says otherwise.
    timed
        Whether a parameter is in units of time.
    clocked
        Whether its meaning depends on the time where the series has one.
    """

    @property
    def averages(self) -> bool: ...  # noqa: D102 - described by the class

    @property
    def timed(self) -> bool: ...  # noqa: D102 - described by the class

    @property
    def clocked(self) -> bool: ...  # noqa: D102 - described by the class

    def stage(self, columns: int, setting: Setting, report: Report) -> Stage:
        """Return the filter at work on one series."""


def reach(count: int, past: bool) -> tuple[int, int]:
    """Return how many samples a window of `count` holds before and after its sample.

    Examples
    --------
    >>> reach(4, past=False), reach(4, past=True)
    ((2, 1), (3, 0))
    """
    return (count - 1, 0) if past else (count // 2, count - 1 - count // 2)


@dataclass(frozen=True)
class NearbyRule:
    """How a filter works on uneven times.

    Attributes
    ----------
    back, ahead
        How many seconds a result looks back and ahead.
    function
        Neighbours → results.
    """

    back: float
    ahead: float
    function: Callable[[Neighbours], Lines]


@dataclass(frozen=True)
class Linear:
    """A correlation with taps.

    Attributes
    ----------
    taps
        Setting → weights, drawn as they slide.
    averages, timed, clocked
        As in :class:`Design`.
    nearby
        How it works on uneven times, if it does.
    mean_of
        Setting → of how many samples it is the mean, if that is what it is.
    """

    taps: Callable[[Setting], Taps]
    averages: bool = True
    timed: bool = False
    clocked: bool = False
    nearby: Callable[[Setting], NearbyRule] | None = None
    mean_of: Callable[[Setting], int] | None = None

    def stage(self, columns: int, setting: Setting, report: Report) -> Stage:
        """Return the filter at work on one series."""
        if self.timed and self.nearby and not setting.sampling.regular:
            rule = self.nearby(setting)
            return Nearby(columns, rule.back, rule.ahead, rule.function, restores=setting.restores)
        if (setting.omit or setting.boundary == "omit") and not self.averages:
            raise ArgumentError(
                "it does not average, so its weights cannot be renormalised where samples are missing or "
                "outside; use nan_policy=propagate and a boundary that continues the data"
            )
        if self.mean_of and can_average():
            count = self.mean_of(setting)
            before, after = reach(count, setting.is_past)
            outside = setting.boundary == "omit"
            mean = MovingMean(count, before, setting.omit, setting.restores, outside)
            return Blocks(columns, before, after, setting.boundary, mean)
        taps = self.taps(setting)
        before, after = reach(taps.size, setting.is_past)
        sums = Correlation(taps, setting.omit, setting.restores, setting.boundary == "omit")
        return Blocks(columns, before, after, setting.boundary, sums)


@dataclass(frozen=True)
class Correlation:
    """The sums of weighted samples of a block.

    Attributes
    ----------
    taps
        Weights, drawn as they slide.
    omit, restores
        Whether missing samples are left out, and whether they become missing again.
    ends
        Whether the series ends where its samples do: nothing lies outside.

    Examples
    --------
    >>> from filterworks.timeseries.parts import Part
    >>> window = Window((Part(np.array([[1.0, 2, 4, 8]]), None),), 1, 1, 0, 0, 0)
    >>> Correlation(np.array([1.0, 0, 2]), omit=False, restores=False, ends=False)(window)
    array([[ 9., 18.]])
    """

    taps: Taps
    omit: bool
    restores: bool
    ends: bool

    def __call__(self, window: Window) -> Lines:
        """Return the sums of a block."""
        lines = window.part.lines
        out = np.empty((lines.shape[0], lines.shape[1] - self.taps.size + 1))
        self.into(window, out)
        return out

    def into(self, window: Window, out: Lines) -> None:
        """Write the sums of a block."""
        outside = self.ends and bool(window.left or window.right)
        weighted_sums(window.part.lines, self.taps, out, "omit" if self.omit or outside else "propagate")
        if outside and not self.omit:
            out[any_in_windows(missing_in(window, ends=True), self.taps.size)] = np.nan
        if self.restores:
            missing = np.isnan(window.part.lines[:, window.inside])
            if missing.any():
                out[missing] = np.nan


def missing_in(window: Window, ends: bool) -> NDArray[np.bool_]:
    """Return where samples are missing; not outside of a series that `ends` where its samples do."""
    missing = np.isnan(window.part.lines)
    if ends:
        missing[:, : window.left] = False
        missing[:, missing.shape[1] - window.right :] = False
    return missing


def any_in_windows(marks: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Return, for each whole window of `size` samples, whether it holds a mark.

    Examples
    --------
    >>> any_in_windows(np.array([[False, True, False, False]]), 2)
    array([[ True,  True, False]])
    """
    counts = np.zeros((marks.shape[0], marks.shape[1] + 1), np.int64)
    np.cumsum(marks, axis=1, out=counts[:, 1:])
    return np.asarray(counts[:, size:] > counts[:, :-size])


def mean(window: int | str) -> Design:
    """Mean of a window: `window` samples, or a time such as 5min.

    Around the sample a time holds what is within half of it on either side; looking back, what is
    less than the whole of it away. Source of the even-window rule: scipy.signal.

    Examples
    --------
    >>> from filterworks.timeseries import SeriesChain
    >>> SeriesChain.parse("mean:window=2")(np.array([1.0, 3, 5, 9]))
    array([1., 2., 4., 7.])
    """
    length = as_length("window", window)

    def mean_of(setting: Setting) -> int:
        return length.count("window", setting.sampling, setting.is_past)

    return Linear(
        lambda setting: kernels.mean(mean_of(setting), ndim=1),
        timed=length.timed,
        nearby=lambda setting: _near_mean(length, setting),
        mean_of=mean_of,
    )


def window_seconds(window: float, past: bool) -> tuple[float, float]:
    """Return how many seconds a window in time looks back and ahead.

    What is within half of it counts; looking back, what is less than the whole of it away. Either
    allows for the rounding of the times.
    """
    slack = window * 1e-9
    return (window - slack, 0.0) if past else ((window + slack) / 2,) * 2


def _near_mean(length: Length, setting: Setting) -> NearbyRule:
    from filterworks.timeseries import loops  # compiled when first needed

    back, ahead = window_seconds(length.amount, setting.is_past)

    def function(near: Neighbours) -> Lines:
        given = near.lows.size, near.lows, near.highs, setting.omit
        return finite_means(lambda lines: loops.by_line(loops.means, lines, *given), near.lines)

    return NearbyRule(back, ahead, function)


def gaussian(sigma: float | str, truncate: float = 4.0, order: int = 0) -> Design:
    """Gaussian weights of width `sigma`: samples, or a time such as 30s; `order` differentiates it.

    Looking back, the same weights end at the sample: the result is smooth, and late by half of them.
    A derivative is per sample to the `order`, scipy.ndimage's meaning.

    Examples
    --------
    >>> from filterworks.timeseries import SeriesChain
    >>> SeriesChain.parse("gaussian:sigma=0.5")(np.array([0.0, 0, 1, 0, 0])).round(3)
    array([0.   , 0.106, 0.787, 0.106, 0.   ])
    """
    length = as_length("sigma", sigma, whole=False)
    width = as_number("truncate", truncate, above=0)
    degree = as_int("order", order, 0)
    if degree > _MOST_DERIVATIVES:
        raise ArgumentError(must("order", f"at most {_MOST_DERIVATIVES}", order))

    def taps(setting: Setting) -> Taps:
        steps = length.steps("sigma", setting.sampling)
        if width * steps > lengths.LONGEST:
            raise ArgumentError(
                must("truncate", f"such that at most {lengths.LONGEST} samples count", truncate)
            )
        return kernels.gaussian_factor(steps, width, degree)

    return Linear(
        taps,
        averages=degree == 0,
        timed=length.timed,
        nearby=(lambda setting: _near_gaussian(length, width, setting)) if degree == 0 else None,
    )


def _near_gaussian(length: Length, truncate: float, setting: Setting) -> NearbyRule:
    radius = truncate * length.amount
    return _near_weighted("gaussian", length.amount, radius, setting)


def _near_weighted(shape: str, width: float, radius: float, setting: Setting) -> NearbyRule:
    """Return the rule of weights that fall with the distance in time to the middle of their window."""
    from filterworks.timeseries import loops  # compiled when first needed

    delay = radius if setting.is_past else 0.0

    def function(near: Neighbours) -> Lines:
        centres = near.seconds[near.start : near.start + near.lows.size] - delay
        places = near.lows.size, near.seconds, centres, near.lows, near.highs
        given = *places, width, shape == "triangular", setting.omit
        return finite_means(lambda lines: loops.by_line(loops.weighted, lines, *given), near.lines)

    return NearbyRule(*window_seconds(2 * radius, setting.is_past), function)


def triangular(window: int | str) -> Design:
    """Weights that fall in a straight line to both ends of a window: `window` samples, or a time.

    Source: scipy.signal.windows.triang; on uneven times the weights reach 0 half a window away.

    Examples
    --------
    >>> from filterworks.timeseries import SeriesChain
    >>> SeriesChain.parse("triangular:window=3")(np.array([0.0, 0, 4, 0, 8]))
    array([0., 1., 2., 3., 6.])
    """
    length = as_length("window", window)

    def nearby(setting: Setting) -> NearbyRule:
        return _near_weighted("triangular", length.amount / 2, length.amount / 2, setting)

    return Linear(
        lambda setting: _triangle(length.count("window", setting.sampling, setting.is_past)),
        timed=length.timed,
        nearby=nearby,
    )


def _triangle(count: int) -> Taps:
    distance = np.abs(np.arange(count) - (count - 1) / 2)
    weights = 1.0 - distance / ((count + count % 2) / 2)
    return np.asarray(weights / weights.sum())


def binomial(window: int | str = 3) -> Design:
    """Binomial weights over `window` samples: the small-integer relative of the Gaussian.

    Examples
    --------
    >>> from filterworks.timeseries import SeriesChain
    >>> SeriesChain.parse("binomial:window=3")(np.array([0.0, 0, 4, 0, 8]))
    array([0., 1., 2., 3., 6.])
    """
    length = as_length("window", window)

    def taps(setting: Setting) -> Taps:
        count = length.count("window", setting.sampling, setting.is_past)
        if count > _MOST_BINOMIAL:
            alike = f"gaussian:sigma={count**0.5 / 2:.4g} is alike"
            raise ArgumentError(must("window", f"at most {_MOST_BINOMIAL} samples ({alike})", count))
        return kernels.binomial_factor(count)

    return Linear(taps, timed=length.timed)
