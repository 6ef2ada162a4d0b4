"""Differences and derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from filterworks.arguments import as_int
from filterworks.errors import ArgumentError
from filterworks.timeseries.linear import Design
from filterworks.timeseries.local import as_unit, per_unit
from filterworks.timeseries.options import Setting
from filterworks.timeseries.parts import Lines, Window, times
from filterworks.timeseries.stages import Blocks, Stage
from filterworks.timeseries.stream import Report


def _check_policy(setting: Setting) -> None:
    if setting.omit:
        raise ArgumentError("it does not average, so missing samples cannot be left out; use propagate")


def difference(lag: int = 1) -> Design:
    """Difference to the sample `lag` rows before; the first `lag` results are missing.

    As pandas.Series.diff: it looks back whatever the alignment, and there is nothing before the first
    sample, whatever the boundary.

    Examples
    --------
    >>> from filterworks.timeseries import SeriesChain
    >>> SeriesChain.parse("difference:lag=2")(np.array([1.0, 2, 4, 8]))
    array([nan, nan,  3.,  6.])
    """
    return Difference(as_int("lag", lag, 1))


@dataclass(frozen=True)
class Difference:
    """The difference to an earlier sample."""

    lag: int
    averages: bool = False
    timed: bool = False
    clocked: bool = False

    def stage(self, columns: int, setting: Setting, report: Report) -> Stage:
        """Return the filter at work on one series."""
        _check_policy(setting)

        def function(window: Window) -> Lines:
            lines = window.part.lines
            with np.errstate(invalid="ignore"):
                return lines[:, self.lag :] - lines[:, : -self.lag]

        return Blocks(columns, self.lag, 0, "omit", function)


def derivative(per: str | None = None) -> Design:
    """Slope by central differences, `per` second (s, min, h, …) or sample; numpy.gradient's meaning.

    The unit is the second where the series has times, else the sample. At the ends, and looking back
    everywhere, it is the slope between the sample and its one neighbour; uneven times are weighed.

    Examples
    --------
    >>> from filterworks.timeseries import SeriesChain, Sampling
    >>> SeriesChain.parse("derivative:per=s")(np.array([0.0, 1, 4, 9]), sampling=Sampling(step=0.5))
    array([ 2.,  4.,  8., 10.])
    """
    return Derivative(as_unit(per))


@dataclass(frozen=True)
class Derivative:
    """The slope at each sample; `unit` as :func:`~filterworks.timeseries.local.as_unit` has it."""

    unit: float | None
    averages: bool = False

    @property
    def timed(self) -> bool:
        """Whether the unit is one of time."""
        return bool(self.unit)

    @property
    def clocked(self) -> bool:
        """Whether the unit is the second where the series has times."""
        return self.unit is None

    def stage(self, columns: int, setting: Setting, report: Report) -> Stage:
        """Return the filter at work on one series."""
        _check_policy(setting)
        unit = per_unit(self.unit, setting.sampling)
        ahead = 0 if setting.is_past else 1

        def function(window: Window) -> Lines:
            return _slopes(window, ahead, _distances(window, setting, unit))

        return Blocks(columns, 1, ahead, "omit", function)


def _distances(window: Window, setting: Setting, unit: float | None) -> Lines:
    """Return the distance of each sample of the window to the next."""
    if unit is None:
        return np.ones(window.part.size - 1)
    if setting.sampling.regular:
        return np.full(window.part.size - 1, setting.sampling.known_step("a derivative") / unit)
    return np.diff(times(window.part)) / unit


def _slopes(window: Window, ahead: int, distances: Lines) -> Lines:
    lines = window.part.lines
    with np.errstate(invalid="ignore"):
        sides = np.diff(lines, axis=1) / distances
    if not ahead:
        return sides
    left, right = sides[:, :-1], sides[:, 1:]
    with np.errstate(invalid="ignore"):
        # The slope of the parabola through three samples: the nearer neighbour counts for more.
        share = distances[:-1] / (distances[:-1] + distances[1:])
        slopes = (1.0 - share) * left + share * right
    if window.left:
        slopes[:, 0] = right[:, 0]
    if window.right:
        slopes[:, -1] = left[:, -1] if not (window.left and slopes.shape[1] == 1) else np.nan
    return np.asarray(slopes)
