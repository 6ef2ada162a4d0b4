"""New times for a series: evenly spaced ones."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from filterworks.arguments import as_choice, as_int, as_number
from filterworks.errors import ArgumentError, must
from filterworks.timeseries.lengths import as_seconds
from filterworks.timeseries.sampling import Recogniser

METHODS = ("mean", "linear", "nearest", "previous")
# Share of a step by which a time may miss one of the new times and still be it.
_NEAR = 1e-9
# More rows than this from one push are a mistake in a time or in the step.
_MOST = 1 << 26

Rows = NDArray[np.float64]


class Resampler:
    """Bring a series that arrives in parts to evenly spaced times, ``start + k · step``.

    Parameters
    ----------
    step
        Seconds, or a time such as 1s.
    method
        ``mean`` of the samples from each new time up to the next, missing ones left out, NaN where there
        are none; ``linear`` between the two samples around a new time, NaN if one of them is missing;
        the ``nearest`` sample, of two equally near ones the earlier; or the ``previous`` one.
    columns
        Number of columns.
    start
        One of the new times; the time of the first sample unless given.

    Notes
    -----
    New times lie between the first and the last sample, but for the first of ``mean``, whose interval
    holds the first sample. The results do not depend on how the series is cut into parts.

    Examples
    --------
    >>> resampler = Resampler("2s", "mean")
    >>> resampler.push([0, 1, 2.5], [[1], [3], [9]])
    (array([0.]), array([[2.]]))
    >>> resampler.push([7], [[4]])
    (array([2., 4.]), array([[ 9.],
           [nan]]))
    >>> resampler.finish()
    (array([6.]), array([[4.]]))
    """

    def __init__(
        self, step: float | str, method: str = "mean", *, columns: int = 1, start: float | None = None
    ) -> None:
        self._step = as_seconds("step", step)
        self._method = as_choice("method", method, METHODS)
        self._columns = as_int("columns", columns, 1)
        self._start = None if start is None else as_number("start", start)
        self._recogniser = Recogniser()
        self._next = 0
        # The interval at work under `mean`, and the last sample under the other methods.
        self._sums, self._counts = np.zeros((2, 1, self._columns))
        self._times, self._rows = np.empty(0), np.empty((0, self._columns))

    def push(self, seconds: ArrayLike, values: ArrayLike) -> tuple[Rows, Rows]:
        """Take samples and return the new times, and the rows there, that are now determined.

        Raises
        ------
        OrderError
            At the first time that is missing, repeated or earlier than the one before it.
        ArgumentError
            If the times leave so wide a gap that the rows in it cannot be meant.
        """
        times, rows = np.asarray(seconds, dtype=np.float64), np.asarray(values, dtype=np.float64)
        if rows.ndim != 2 or rows.shape != (times.size, self._columns):
            raise ArgumentError(
                must("values", f"one row of {self._columns} columns for each time", rows.shape)
            )
        self._recogniser.push(times)
        if not times.size:
            return np.empty(0), np.empty((0, self._columns))
        first = self._start is None or not self._times.size
        if self._start is None:
            self._start = float(times[0])
        if first:
            place = (times[0] - self._start) / self._step
            self._next = math.floor(place + _NEAR) if self._method == "mean" else math.ceil(place - _NEAR)
        if self._method == "mean":
            return self._means(times, rows)
        return self._between(times, rows)

    def finish(self) -> tuple[Rows, Rows]:
        """Return what had to wait for the end: the last interval of ``mean``."""
        if self._method != "mean" or not self._times.size:
            return np.empty(0), np.empty((0, self._columns))
        return self._grid(1), _divided(self._sums, self._counts)

    def _grid(self, count: int) -> Rows:
        """Return the next `count` new times."""
        if count > _MOST:
            raise ArgumentError(
                f"a gap before {self._times[-1]:g} s would take {count} rows of {self._step:g} s; "
                "resample to a longer step, or cut the series there"
            )
        return np.asarray((self._start or 0.0) + (self._next + np.arange(count)) * self._step)

    def _means(self, times: Rows, rows: Rows) -> tuple[Rows, Rows]:
        self._times = times[-1:].copy()
        places = np.floor((times - (self._start or 0.0)) / self._step + _NEAR).astype(np.int64) - self._next
        done = int(places[-1])
        grid = self._grid(done)
        sums, counts = np.zeros((2, done + 1, self._columns))
        sums[0], counts[0] = self._sums[0], self._counts[0]
        present = ~np.isnan(rows)
        for column in range(self._columns):
            # One after the other, as they would be added in other parts.
            chosen = present[:, column]
            np.add.at(sums[:, column], places[chosen], rows[chosen, column])
            np.add.at(counts[:, column], places[chosen], 1.0)
        self._sums, self._counts = sums[done:], counts[done:]
        self._next += done
        return grid, _divided(sums[:done], counts[:done])

    def _between(self, times: Rows, rows: Rows) -> tuple[Rows, Rows]:
        times, rows = np.concatenate([self._times, times]), np.concatenate([self._rows, rows])
        self._times, self._rows = times[-1:].copy(), rows[-1:].copy()
        last = math.floor((times[-1] - (self._start or 0.0)) / self._step + _NEAR)
        grid = self._grid(max(last - self._next + 1, 0))
        self._next += grid.size
        slack = _NEAR * self._step
        after = np.searchsorted(times, grid - slack, "left").clip(max=times.size - 1)
        before = np.where(times[after] <= grid + slack, after, np.maximum(after - 1, 0))
        if self._method == "previous":
            return grid, rows[before]
        gaps = np.where(after > before, times[after] - times[before], 1.0)
        shares = np.where(after > before, (grid - times[before]) / gaps, 0.0)
        if self._method == "nearest":
            return grid, rows[np.where(shares > 0.5, after, before)]
        with np.errstate(invalid="ignore"):
            mixed = rows[before] * (1.0 - shares)[:, None] + rows[after] * shares[:, None]
        return grid, np.where((after > before)[:, None], mixed, rows[before])


def _divided(sums: Rows, counts: Rows) -> Rows:
    out = np.full(sums.shape, np.nan)
    np.divide(sums, counts, out=out, where=counts > 0)
    return out


def resample(
    seconds: ArrayLike,
    values: ArrayLike,
    step: float | str,
    method: str = "mean",
    *,
    start: float | None = None,
) -> tuple[Rows, Rows]:
    """Return evenly spaced times and the values there; see :class:`Resampler`.

    Parameters
    ----------
    seconds
        One time per sample, ascending.
    values
        (sample,) or (sample, column).
    step, method, start
        As for :class:`Resampler`.

    Examples
    --------
    >>> resample([0, 1, 4], [0, 10, 40], step=2, method="linear")
    (array([0., 2., 4.]), array([ 0., 20., 40.]))
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in (1, 2):
        raise ArgumentError(must("values", "of one or two axes", array.shape))
    rows = array.reshape(len(array), -1) if array.size else array.reshape(len(array), 1)
    resampler = Resampler(step, method, columns=rows.shape[1], start=start)
    parts = [resampler.push(seconds, rows), resampler.finish()]
    times, rows = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return times, rows[:, 0] if array.ndim == 1 else rows
