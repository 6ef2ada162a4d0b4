"""How a series is sampled: evenly or not, and how far apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from filterworks.arguments import as_number
from filterworks.errors import ArgumentError, must

# Share of a step by which the distance of two neighbours may differ from it in an even series:
# times written in milliseconds at 60 Hz stay within it, a sample left out does not.
JITTER = 0.05
# Distances kept for the median; beyond, only every second, fourth, … is.
_KEPT = 1 << 12


class OrderError(ArgumentError):
    """A time that is not after the one before it, or is missing.

    Attributes
    ----------
    index
        Which sample, counted from 0.
    """

    def __init__(self, message: str, index: int) -> None:
        self.index = index
        super().__init__(message)

    def __reduce__(self) -> tuple[type[OrderError], tuple[str, int]]:
        return type(self), (str(self), self.index)


@dataclass(frozen=True)
class Sampling:
    """How a series is sampled.

    Attributes
    ----------
    regular
        Whether the samples are evenly spaced.
    step
        Seconds from one sample to the next (uneven: their median); None without a time.
    length
        Number of samples, if known.
    """

    regular: bool = True
    step: float | None = None
    length: int | None = None

    def __post_init__(self) -> None:
        if self.step is not None:
            as_number("step", self.step, above=0)

    @property
    def is_timed(self) -> bool:
        """Whether the samples have a time."""
        return not self.regular or self.step is not None

    def known_step(self, what: str) -> float:
        """Return the step of an evenly timed series; `what` needs it, for the error."""
        if not self.regular and self.length == 1:
            raise ArgumentError(f"{what} needs at least two samples: one alone has no step")
        if not self.regular:
            raise ArgumentError(
                f"{what} needs evenly spaced times, and these are uneven; resample first, for example to "
                f"the median step of {self.step or 0:g} s"
            )
        if self.step is None:
            raise ArgumentError(f"{what} needs the time of the samples; name its column, or count in samples")
        return self.step


def check_order(times: NDArray[np.float64], last: float | None, count: int) -> None:
    """Check that times ascend.

    Parameters
    ----------
    times
        The next times of a series.
    last, count
        The time before them, if there was one, and how many there were.

    Raises
    ------
    OrderError
        At the first time that is missing, repeated or earlier than the one before it.
    """
    before = np.concatenate([[-np.inf if last is None else last], times[:-1]])[: times.size]
    wrong = ~(np.isfinite(times) & (times > before))
    if not wrong.any():
        return
    place = int(np.argmax(wrong))
    index = count + place
    if not np.isfinite(times[place]):
        raise OrderError(f"the time of sample {index} is missing", index)
    wrongly = "repeats" if times[place] == before[place] else "is earlier than"
    raise OrderError(f"the time of sample {index} {wrongly} that of the sample before it", index)


class Recogniser:
    """Find out, from times that arrive in parts, how a series is sampled.

    Parameters
    ----------
    jitter
        Share of the step by which the distance of two neighbours may differ in an even series.

    Examples
    --------
    >>> recogniser = Recogniser()
    >>> recogniser.push(np.array([0.0, 0.5])); recogniser.push(np.array([1.0, 1.5]))
    >>> recogniser.finish()
    Sampling(regular=True, step=0.5, length=4)
    """

    def __init__(self, jitter: float = JITTER) -> None:
        self._jitter = as_number("jitter", jitter, 0, 1)
        self._count = 0
        self._first = self._last = np.nan
        self._least, self._most = np.inf, 0.0
        self._stride = 1
        self._kept: NDArray[np.float64] = np.empty(0)

    def push(self, seconds: ArrayLike) -> None:
        """Look at the next times, in seconds.

        Raises
        ------
        OrderError
            At the first time that is missing, repeated or earlier than the one before it.
        """
        times = np.asarray(seconds, dtype=np.float64)
        if times.ndim != 1:
            raise ArgumentError(must("seconds", "one number per sample", times.shape))
        if times.size == 0:
            return
        if not self._count:
            self._first = float(times[0])
        joined = np.concatenate([[self._last], times]) if self._count else times
        with np.errstate(invalid="ignore"):
            steps = np.diff(joined)
        check_order(times, self._last if self._count else None, self._count)
        if steps.size:
            self._least = min(self._least, float(steps.min()))
            self._most = max(self._most, float(steps.max()))
            self._keep(steps)
        self._last = float(times[-1])
        self._count += times.size

    def _keep(self, steps: NDArray[np.float64]) -> None:
        """Keep distances for the median; which ones depends on their places only."""
        done = max(self._count - 1, 0)
        self._kept = np.concatenate([self._kept, steps[-done % self._stride :: self._stride]])
        while self._kept.size > _KEPT:
            self._kept = self._kept[::2]
            self._stride *= 2

    def finish(self) -> Sampling:
        """Return how the series is sampled."""
        if self._count < 2:
            return Sampling(length=self._count)
        step = (self._last - self._first) / (self._count - 1)
        slack = self._jitter * step
        if step - slack <= self._least and self._most <= step + slack:
            return Sampling(True, step, self._count)
        return Sampling(False, float(np.median(self._kept)), self._count)


def recognise(seconds: ArrayLike, jitter: float = JITTER) -> Sampling:
    """Return how a series with these times is sampled.

    Parameters
    ----------
    seconds
        One time per sample, ascending.
    jitter
        Share of the step by which the distance of two neighbours may differ in an even series.

    Raises
    ------
    OrderError
        At the first time that is missing, repeated or earlier than the one before it.

    Examples
    --------
    >>> recognise([0, 1, 2, 4])
    Sampling(regular=False, step=1.0, length=4)
    """
    recogniser = Recogniser(jitter)
    recogniser.push(seconds)
    return recogniser.finish()
