"""The options of a series' filters, and what a filter is told when its series begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from filterworks.arguments import NAN_POLICIES, NanPolicy, as_choice
from filterworks.boundaries import as_boundary
from filterworks.errors import ArgumentTypeError, must
from filterworks.timeseries.sampling import Sampling

Align = Literal["center", "past"]
ALIGNS: tuple[Align, ...] = ("center", "past")


def as_flag(name: str, value: object) -> bool:
    """Return `value` if it is true or false."""
    if not isinstance(value, bool):
        raise ArgumentTypeError(must(name, "true or false", value))
    return value


@dataclass(frozen=True)
class Options:
    """What holds for every filter of a chain unless the filter's own parameters say otherwise.

    Attributes
    ----------
    align
        ``center``: the window lies around the sample; ``past``: it ends there (causal).
    boundary
        What lies before the first and after the last sample; names in :mod:`filterworks.boundaries`.
        ``wrap`` needs the end before the first result, so a stream holds the whole series. On uneven
        times windows in time end where the series ends, as under ``omit``.
    nan_policy
        None: filters that average omit missing samples, the others propagate them; or ``omit``,
        ``propagate``, ``raise`` for all.
    fill
        Whether a filter that omits missing samples also puts its value in their place.
    allow_infinite
        Whether infinities are data; otherwise they are an error.
    """

    align: Align = "center"
    boundary: str = "symmetric"
    nan_policy: NanPolicy | None = None
    fill: bool = False
    allow_infinite: bool = False

    def __post_init__(self) -> None:
        as_choice("align", self.align, ALIGNS)
        object.__setattr__(self, "boundary", as_boundary(self.boundary))
        if self.nan_policy is not None:
            as_choice("nan_policy", self.nan_policy, NAN_POLICIES)
        as_flag("fill", self.fill)
        as_flag("allow_infinite", self.allow_infinite)


@dataclass(frozen=True)
class Setting:
    """The options as they are for one filter of one series.

    Attributes
    ----------
    sampling
        How the series is sampled.
    align, boundary, fill
        As in :class:`Options`.
    omit
        Whether missing samples are left out.
    """

    sampling: Sampling
    align: Align
    boundary: str
    omit: bool
    fill: bool

    @property
    def is_past(self) -> bool:
        """Whether windows end at the sample."""
        return self.align == "past"

    @property
    def restores(self) -> bool:
        """Whether samples that were left out become missing again."""
        return self.omit and not self.fill
