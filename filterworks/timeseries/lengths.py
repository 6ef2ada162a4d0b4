"""Lengths along a series: a number of samples, or a time with its unit."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from filterworks.arguments import as_int, as_number
from filterworks.errors import ArgumentError, must
from filterworks.timeseries.sampling import Sampling

UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
# Samples of a window; more would not fit in memory.
LONGEST = 1 << 24
# Share of a step by which a time may miss a whole number of steps.
_NEAR = 1e-9

_TIMED = re.compile(r"\s*([0-9.]+(?:[eE][-+]?[0-9]+)?)\s*([a-zA-Zµ]+)\s*")
_ACCEPTED = "a number of samples, or a time such as 30s (ns, us, ms, s, min, h, d)"


@dataclass(frozen=True)
class Length:
    """A length along a series.

    Attributes
    ----------
    amount
        In samples, or in seconds.
    timed
        Whether it is in seconds.
    text
        As it was written.
    """

    amount: float
    timed: bool
    text: str

    def steps(self, name: str, sampling: Sampling) -> float:
        """Return the length in samples of an evenly sampled series.

        Raises
        ------
        ArgumentError
            If it is a time and the series has none, or is uneven.
        """
        steps = self.amount
        if self.timed:
            steps /= sampling.known_step(f"`{name}`={self.text}")
        if steps > LONGEST:
            raise ArgumentError(f"`{name}` must be at most {LONGEST} samples; {self.text} is {steps:.4g}")
        return steps

    def count(self, name: str, sampling: Sampling, past: bool) -> int:
        """Return how many samples a window of this length holds.

        A time gives an odd number around the sample, those within half of it on either side;
        looking back, those less than the whole of it away.
        """
        steps = self.steps(name, sampling)
        if not self.timed:
            return int(steps)
        if past:
            return max(math.ceil(steps - _NEAR * max(steps, 1.0)), 1)
        return 2 * math.floor(steps / 2 * (1 + _NEAR)) + 1


def as_length(name: str, value: object, *, whole: bool = True) -> Length:
    """Return a length above 0, from a number of samples (`whole`: an integer) or a text with a unit.

    Examples
    --------
    >>> as_length("window", "5min").amount, as_length("window", 101).amount
    (300.0, 101.0)
    """
    if isinstance(value, Length):
        return value
    if isinstance(value, str):
        return Length(_seconds(name, value), True, value)
    number = float(as_int(name, value, 1)) if whole else as_number(name, value, above=0)
    return Length(number, False, f"{number:g}")


def _seconds(name: str, value: str, accepted: str = _ACCEPTED) -> float:
    found = _TIMED.fullmatch(value)
    unit = found and UNITS.get(found[2].lower().replace("µ", "u"))
    if not found or not unit:
        raise ArgumentError(must(name, accepted, value))
    try:
        seconds = float(found[1]) * unit
    except ValueError:
        raise ArgumentError(must(name, accepted, value)) from None
    if not 0 < seconds < math.inf:
        raise ArgumentError(must(name, "longer than nothing", value))
    return seconds


def as_seconds(name: str, value: object) -> float:
    """Return a time in seconds, from a number of them or a text with a unit.

    Examples
    --------
    >>> as_seconds("step", "2ms"), as_seconds("step", 3)
    (0.002, 3.0)
    """
    if isinstance(value, str):
        return _seconds(name, value, _ACCEPTED.removeprefix("a number of samples, or "))
    return as_number(name, value, above=0)
