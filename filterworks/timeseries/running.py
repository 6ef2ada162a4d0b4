"""Filters that carry a state: exponential weights, and everything so far."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from filterworks.arguments import as_choice, as_number
from filterworks.errors import ArgumentError, must
from filterworks.timeseries.lengths import Length, as_length
from filterworks.timeseries.linear import Design
from filterworks.timeseries.options import Setting, as_flag
from filterworks.timeseries.parts import Lines, Part, times
from filterworks.timeseries.stages import Running, Stage
from filterworks.timeseries.stream import Report

CUMULATIVE = ("sum", "mean", "min", "max")


def exponential(
    alpha: float | None = None,
    span: float | None = None,
    halflife: float | str | None = None,
    adjust: bool = True,
) -> Design:
    """Weights that fall exponentially into the past: `alpha`, `span` or `halflife`, one of them.

    Parameters
    ----------
    alpha
        Share of the newest sample, above 0, at most 1.
    span
        In samples, at least 1: alpha = 2 / (span + 1).
    halflife
        After how many samples, or how long (30s), a weight is halved.
    adjust
        True: the weights that there are sum to 1, so the first results do not lean on the first sample;
        False: y = (1 - alpha)·y_before + alpha·x, starting at the first sample.

    Notes
    -----
    ``pandas.Series.ewm(…, adjust=…, ignore_na=False).mean()``: weights fall with each row, missing or
    not; on uneven times with a halflife in time, with the time between rows (adjusted only). The past
    alone counts, whatever the alignment, and there is nothing before the first sample.

    Examples
    --------
    >>> from filterworks.timeseries import SeriesChain
    >>> SeriesChain.parse("exponential:alpha=0.5,adjust=false")(np.array([0.0, 8, 0, 0]))
    array([0., 4., 2., 1.])
    """
    given = {"alpha": alpha, "span": span, "halflife": halflife}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        raise ArgumentError(f"give one of alpha, span and halflife; got {' and '.join(named) or 'none'}")
    as_flag("adjust", adjust)
    if halflife is not None:
        return Exponential(0.0, as_length("halflife", halflife, whole=False), adjust)
    if span is not None:
        return Exponential(2.0 / (as_number("span", span, 1) + 1.0), None, adjust)
    return Exponential(as_number("alpha", alpha, maximum=1, above=0), None, adjust)


@dataclass(frozen=True)
class Exponential:
    """Exponential weights: a share of the newest sample, or a half-life."""

    alpha: float
    halflife: Length | None
    adjust: bool
    averages: bool = True
    clocked: bool = False

    @property
    def timed(self) -> bool:
        """Whether the half-life is a time."""
        return self.halflife is not None and self.halflife.timed

    def stage(self, columns: int, setting: Setting, report: Report) -> Stage:
        """Return the filter at work on one series."""
        uneven = self.timed and not setting.sampling.regular
        if uneven and not self.adjust:
            raise ArgumentError(must("adjust", "true on uneven times", self.adjust))
        if self.halflife is None:
            decay = 1.0 - self.alpha
        elif uneven:
            decay = 0.5
        else:
            decay = math.exp(-math.log(2.0) / self.halflife.steps("halflife", setting.sampling))
        halflife = self.halflife.amount if uneven and self.halflife else None
        state = ExponentialState(columns, decay, self.adjust, halflife, setting.omit)
        return Running(columns, state, restores=setting.restores)


class ExponentialState:
    """The weighted means so far, and how much they weigh.

    Parameters
    ----------
    columns
        Number of columns.
    decay
        What a weight is multiplied by from one row to the next, or per `halflife`.
    adjust
        As in :func:`exponential`.
    halflife
        In seconds on uneven times, else None.
    omit
        Whether missing samples are left out; otherwise everything after one is missing.
    """

    def __init__(self, columns: int, decay: float, adjust: bool, halflife: float | None, omit: bool) -> None:
        self._decay, self._adjust, self._halflife, self._omit = decay, adjust, halflife, omit
        # The mean, its weight, and whether a missing sample has broken it.
        self._states = np.tile([np.nan, 1.0, 0.0], (columns, 1))
        self._last = np.nan

    def __call__(self, part: Part) -> Lines:
        """Return the results for the next samples."""
        from filterworks.timeseries import loops  # compiled when first needed

        gaps = np.empty(0)
        if self._halflife is not None:
            seconds = times(part)
            first = seconds[0] if np.isnan(self._last) else self._last
            gaps = np.diff(seconds, prepend=first) / self._halflife
            self._last = float(seconds[-1])
        newest = 1.0 if self._adjust else 1.0 - self._decay
        settings = (self._decay, gaps, newest, self._adjust, self._omit)
        return loops.carried(loops.exponential, part.lines, self._states, *settings)


def cumulative(function: str = "sum") -> Design:
    """Sum, mean, min or max (`function`) of everything so far.

    Sums are compensated, so they do not drift. Missing samples are left out. There is nothing before
    the first sample, whatever the boundary. Source: Neumaier, ZAMM 54 (1974).

    Examples
    --------
    >>> from filterworks.timeseries import SeriesChain
    >>> SeriesChain.parse("cumulative:function=max")(np.array([1.0, 3, np.nan, 2]))
    array([ 1.,  3., nan,  3.])
    """
    return Cumulative(as_choice("function", function, CUMULATIVE))


@dataclass(frozen=True)
class Cumulative:
    """A statistic of everything so far."""

    function: str
    averages: bool = True
    timed: bool = False
    clocked: bool = False

    def stage(self, columns: int, setting: Setting, report: Report) -> Stage:
        """Return the filter at work on one series."""
        return Running(
            columns, CumulativeState(columns, self.function, setting.omit), restores=setting.restores
        )


class CumulativeState:
    """What everything so far comes to.

    Parameters
    ----------
    columns
        Number of columns.
    function
        One of `CUMULATIVE`.
    omit
        Whether missing samples are left out; otherwise everything after one is missing.
    """

    def __init__(self, columns: int, function: str, omit: bool) -> None:
        self._which, self._omit = CUMULATIVE.index(function), omit
        # As the loop carries it.
        self._states = np.tile([0.0, 0.0, 0.0, 0.0, 1.0], (columns, 1))

    def __call__(self, part: Part) -> Lines:
        """Return the results for the next samples."""
        from filterworks.timeseries import loops  # compiled when first needed

        return loops.carried(loops.cumulative, part.lines, self._states, self._which, self._omit)
