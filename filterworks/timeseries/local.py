"""Filters that look at each window's samples anew: the median, and Savitzky & Golay's local fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import as_int
from filterworks.errors import ArgumentError, must
from filterworks.timeseries.fitting import fit_weights
from filterworks.timeseries.lengths import UNITS, Length, as_length
from filterworks.timeseries.linear import (
    Design,
    Taps,
    any_in_windows,
    missing_in,
    reach,
    window_seconds,
)
from filterworks.timeseries.nearby import Nearby, Neighbours
from filterworks.timeseries.options import Setting
from filterworks.timeseries.parts import Lines, Window
from filterworks.timeseries.sampling import Sampling
from filterworks.timeseries.sorted_medians import can_sort, sorted_medians
from filterworks.timeseries.stages import Blocks, Stage
from filterworks.timeseries.stream import Report
from filterworks.timeseries.sums import weighted_sums


def median(window: int | str) -> Design:
    """Median of a window: `window` samples, or a time such as 5min.

    An even number of samples gives the mean of the two in the middle.

    Examples
    --------
    >>> from filterworks.timeseries import SeriesChain
    >>> SeriesChain.parse("median:window=3")(np.array([1.0, 9, 2, 3, 0]))
    array([1., 2., 3., 2., 0.])
    """
    return Median(as_length("window", window))


@dataclass(frozen=True)
class Median:
    """The median of a window."""

    length: Length
    averages: bool = True
    clocked: bool = False

    @property
    def timed(self) -> bool:
        """Whether the window is a time."""
        return self.length.timed

    def stage(self, columns: int, setting: Setting, report: Report) -> Stage:
        """Return the filter at work on one series."""
        if self.timed and not setting.sampling.regular:
            from filterworks.timeseries import medians  # compiled when first needed

            back, ahead = window_seconds(self.length.amount, setting.is_past)
            return Nearby(
                columns,
                back,
                ahead,
                lambda near: medians.medians(near.lines, near.lows, near.highs, setting.omit),
                restores=setting.restores,
            )
        size = self.length.count("window", setting.sampling, setting.is_past)

        def function(window: Window) -> Lines:
            result = _even_medians(window.part.lines, size)
            if not setting.omit:
                missing = missing_in(window, setting.boundary == "omit")
                result[any_in_windows(missing, size)] = np.nan
            return result

        before, after = reach(size, setting.is_past)
        return Blocks(columns, before, after, setting.boundary, function, restores=setting.restores)


def _even_medians(lines: Lines, size: int) -> Lines:
    """Return the medians of all whole windows, missing samples left out."""
    out = np.empty((len(lines), lines.shape[1] - size + 1))
    sorting = can_sort()
    for line, row in zip(lines, out, strict=True):
        if sorting and not np.isnan(line).any():
            sorted_medians(line, size, row)
        else:
            from filterworks.timeseries import medians  # compiled when first needed

            lows = np.arange(row.size)
            row[:] = medians.medians(line[None], lows, lows + size, True)[0]
    return out


def as_unit(per: object) -> float | None:
    """Return the seconds in the unit of a derivative; 0 for ``sample``, None if none was named."""
    if per is None:
        return None
    if per == "sample":
        return 0.0
    if not isinstance(per, str) or per not in UNITS:
        raise ArgumentError(must("per", f"sample or a unit of time ({', '.join(UNITS)})", per))
    return UNITS[per]


def per_unit(unit: float | None, sampling: Sampling) -> float | None:
    """Return the seconds in the unit of a derivative, None for a sample.

    Unless it was named, it is the second where the series has times.
    """
    if unit == 0 or (unit is None and not sampling.is_timed):
        return None
    if sampling.regular:
        sampling.known_step("a derivative per unit of time")
    return unit or 1.0


def savgol(window: int | str, order: int = 2, derivative: int = 0, per: str | None = None) -> Design:
    """Savitzky & Golay's filter: a polynomial of `order` fitted to each window, taken at the sample.

    Parameters
    ----------
    window
        An odd number of samples, or a time.
    order
        Of the polynomial, below the number of samples in a window.
    derivative
        0: the polynomial itself; or which of its derivatives, `per` second, minute, … or sample (the
        default is the second where the series has times).

    Notes
    -----
    Savitzky & Golay, Analytical Chemistry 36 (1964). Looking back, the fit is taken at the window's
    last sample. Where samples are missing, or under ``boundary=omit`` at the ends, and on uneven times,
    the polynomial is fitted to the samples that are there.

    Examples
    --------
    >>> from filterworks.timeseries import SeriesChain
    >>> SeriesChain.parse("savgol:window=5,order=2,boundary=omit")(np.arange(6.0) ** 2).round(12)
    array([ 0.,  1.,  4.,  9., 16., 25.])
    """
    length = as_length("window", window)
    degree, which = as_int("order", order, 0), as_int("derivative", derivative, 0)
    if which > degree:
        raise ArgumentError(must("derivative", f"at most the polynomial's order, {degree}", derivative))
    if not length.timed and length.amount % 2 == 0:
        raise ArgumentError(must("window", "odd, so that the fit has a middle", window))
    if not length.timed:
        _check_order(degree, int(length.amount))
    return Savgol(length, degree, which, as_unit(per), per)


def _check_order(order: int, count: int) -> None:
    if order >= count:
        raise ArgumentError(must("order", f"below the {count} samples of a window", order))


@dataclass(frozen=True)
class Savgol:
    """A polynomial fitted to each window."""

    length: Length
    order: int
    derivative: int
    unit: float | None
    per: str | None

    @property
    def averages(self) -> bool:
        """Whether the result is smoothed rather than differentiated."""
        return self.derivative == 0

    @property
    def timed(self) -> bool:
        """Whether the window or the unit is a time."""
        return self.length.timed or bool(self.unit)

    @property
    def clocked(self) -> bool:
        """Whether the unit is the second where the series has times."""
        return self.derivative > 0 and self.unit is None

    def stage(self, columns: int, setting: Setting, report: Report) -> Stage:
        """Return the filter at work on one series."""
        unit = per_unit(self.unit, setting.sampling) if self.derivative else None
        if not setting.sampling.regular and (self.length.timed or unit is not None):
            return self._uneven(columns, setting, unit)
        size = self.length.count("window", setting.sampling, setting.is_past)
        _check_order(self.order, size)
        before, after = reach(size, setting.is_past)
        spacing = 1.0 if unit is None else setting.sampling.known_step("a derivative") / unit
        offsets = np.arange(-before, after + 1.0)
        ends = setting.boundary == "omit"
        fit = EvenFit(offsets, self.order, self.derivative, spacing, setting.omit, setting.restores, ends)
        return Blocks(columns, before, after, setting.boundary, fit)

    def _uneven(self, columns: int, setting: Setting, unit: float | None) -> Stage:
        if not self.length.timed:
            raise ArgumentError(
                f"`window` must be a time, such as 30s, for a derivative per {self.per or 's'} on uneven "
                f"times; got {self.length.text}"
            )
        if self.derivative and unit is None:
            raise ArgumentError("a derivative on uneven times is per unit of time; got per=sample")
        from filterworks.timeseries import loops  # compiled when first needed

        back, ahead = window_seconds(self.length.amount, setting.is_past)
        scale = self.length.amount / 2
        factor = ((unit or 1.0) / scale) ** self.derivative

        def function(near: Neighbours) -> Lines:
            centres = near.seconds[near.start : near.start + near.lows.size]
            fits = loops.by_line(
                loops.fits,
                near.lines,
                near.lows.size,
                near.seconds,
                centres,
                near.lows,
                near.highs,
                scale,
                self.order,
                self.derivative,
                setting.omit,
            )
            return fits * factor

        return Nearby(columns, back, ahead, function, restores=setting.restores)


@dataclass(frozen=True)
class EvenFit:
    """The fit to evenly spaced samples: a correlation wherever all of them are there.

    Attributes
    ----------
    offsets
        Distances of the window's samples from the one of the result.
    order, derivative
        As in :func:`savgol`.
    spacing
        Distance of two samples in the unit of the derivative.
    omit, restores
        Whether missing samples are left out of the fit, and whether they become missing again.
    ends
        Whether the series ends where its samples do: nothing lies outside.
    """

    offsets: Taps
    order: int
    derivative: int
    spacing: float
    omit: bool
    restores: bool
    ends: bool

    def __call__(self, window: Window) -> Lines:
        """Return the fits of a block."""
        lines = window.part.lines
        out = np.empty((lines.shape[0], lines.shape[1] - self.offsets.size + 1))
        self.into(window, out)
        return out

    def into(self, window: Window, out: Lines) -> None:
        """Write the fits of a block."""
        lines, size = window.part.lines, self.offsets.size
        scale = max((size - 1) / 2, 1.0)
        factor = (scale * self.spacing) ** -self.derivative
        taps = fit_weights(self.offsets / scale, self.order, self.derivative) * factor
        absent = np.isnan(lines)
        if not absent.any():
            weighted_sums(lines, taps, out)
            return
        weighted_sums(np.where(absent, 0.0, lines), taps, out)
        again = any_in_windows(absent, size)
        if not self.omit:
            spoiled = any_in_windows(missing_in(window, self.ends), size)
            out[spoiled] = np.nan
            again &= ~spoiled
        self._fit_again(window, again, out, scale, factor)
        if self.restores:
            out[absent[:, window.inside]] = np.nan

    def _fit_again(
        self, window: Window, again: NDArray[np.bool_], result: Lines, scale: float, factor: float
    ) -> None:
        """Fit the windows that have gaps to the samples that are there."""
        from filterworks.timeseries import loops  # compiled when first needed

        positions = np.arange(float(window.part.size))
        for column, marks in enumerate(again):
            lows = np.flatnonzero(marks)
            centres = positions[lows] - self.offsets[0]
            fits = loops.by_line(
                loops.fits,
                window.part.lines[column : column + 1],
                lows.size,
                positions,
                centres,
                lows,
                lows + self.offsets.size,
                scale,
                self.order,
                self.derivative,
                True,
            )
            result[column, lows] = fits[0] * factor
