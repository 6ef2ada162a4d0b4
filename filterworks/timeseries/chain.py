"""Filters of a series by name, and chains of them.

A new filter is one function that checks its parameters and returns a design, and one line in
`SERIES_OPERATIONS`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from filterworks.arguments import as_int
from filterworks.errors import ArgumentError, must
from filterworks.notation import checked, named, parse_parts, written_step
from filterworks.timeseries import custom, linear, local, matched, passes, running, slopes
from filterworks.timeseries.linear import Design
from filterworks.timeseries.options import Options, Setting
from filterworks.timeseries.sampling import Sampling
from filterworks.timeseries.stream import Report, SeriesStream

# What every filter accepts besides its own parameters; it takes the place of the series' option.
COMMON = ("align", "boundary", "nan_policy")


@dataclass(frozen=True)
class SeriesOperation:
    """A named filter along time.

    Attributes
    ----------
    design
        Parameters → design, everything checked.
    """

    design: Callable[..., Design]

    @cached_property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The filter's own parameters by name, in order."""
        return dict(inspect.signature(self.design).parameters)

    @property
    def summary(self) -> str:
        """The first sentence of the filter's documentation."""
        return (inspect.getdoc(self.design) or "").split("\n", 1)[0]


_DESIGNS: tuple[Callable[..., Design], ...] = (
    linear.mean,
    linear.gaussian,
    linear.binomial,
    linear.triangular,
    local.median,
    local.savgol,
    running.exponential,
    running.cumulative,
    slopes.difference,
    slopes.derivative,
    passes.lowpass,
    passes.highpass,
    passes.bandpass,
    passes.bandstop,
    matched.matched,
    custom.kernel,
    *custom.NAMED,
)

SERIES_OPERATIONS: dict[str, SeriesOperation] = {
    design.__name__: SeriesOperation(design) for design in _DESIGNS
}


@dataclass(frozen=True)
class SeriesStep:
    """One filter of a chain with its parameters, in the order in which they were given."""

    name: str
    parameters: tuple[tuple[str, Any], ...] = ()
    design: Design = field(compare=False, repr=False, kw_only=True)

    def setting(self, sampling: Sampling, options: Options) -> Setting:
        """Return the options as they are for this filter."""
        own = {key: value for key, value in self.parameters if key in COMMON}
        options = replace(options, **own)
        omit = self.design.averages if options.nan_policy is None else options.nan_policy == "omit"
        return Setting(sampling, options.align, options.boundary, omit, options.fill)

    def __str__(self) -> str:
        return written_step(self.name, self.parameters)

    def __reduce__(self) -> tuple[Callable[..., SeriesStep], tuple[str, dict[str, Any]]]:
        # A design holds functions, which do not travel; it is made again.
        return series_step, (self.name, dict(self.parameters))


def series_step(name: str, parameters: Mapping[str, Any]) -> SeriesStep:
    """Return a step, its name and parameters checked.

    Raises
    ------
    ArgumentError
        If a name is unknown (the near ones are given), or a parameter is missing or out of range.

    Examples
    --------
    >>> str(series_step("mean", {"window": 5}))
    'mean:window=5'
    """
    operation = named(name, SERIES_OPERATIONS)
    accepted = operation.parameters
    given = checked(name, parameters, accepted, COMMON)
    values = dict(given)
    try:
        Options(**{key: value for key, value in values.items() if key in COMMON})
        design = operation.design(**{key: value for key, value in values.items() if key in accepted})
    except ArgumentError as error:
        raise type(error)(f"{name}: {error}") from None
    return SeriesStep(name, given, design=design)


@dataclass(frozen=True)
class SeriesChain:
    """Filters of a series in order; calling it applies them to an array along its first axis.

    Examples
    --------
    >>> chain = SeriesChain.parse("mean:window=3 | gaussian:sigma=30s")
    >>> chain.needs_time
    True
    >>> str(chain)
    'mean:window=3 | gaussian:sigma=30s'
    """

    steps: tuple[SeriesStep, ...]

    def __post_init__(self) -> None:
        if not self.steps:
            raise ArgumentError("a chain needs at least one filter, such as mean:window=5")

    @classmethod
    def parse(cls, text: str) -> SeriesChain:
        """Return the chain written as filters separated by ``|``.

        Raises
        ------
        ArgumentError
            If the text cannot be read, or a name or parameter is wrong.
        """
        return cls(tuple(series_step(*part) for part in parse_parts(text)))

    @classmethod
    def of(cls, texts: Iterable[str]) -> SeriesChain:
        """Return one chain of several texts, each of one or more filters."""
        return cls(tuple(one for text in texts for one in cls.parse(text).steps))

    @classmethod
    def from_steps(cls, tables: Iterable[Mapping[str, Any]]) -> SeriesChain:
        """Return the chain of tables that hold a ``name`` and parameters, as in a job file.

        Examples
        --------
        >>> str(SeriesChain.from_steps([{"name": "mean", "window": 5}]))
        'mean:window=5'
        """
        return cls(tuple(_from_table(table) for table in tables))

    @property
    def needs_time(self) -> bool:
        """Whether a parameter is in units of time or frequency."""
        return any(step.design.timed for step in self.steps)

    @property
    def uses_time(self) -> bool:
        """Whether the results depend on the time where the series has one.

        A derivative is then per second and a cut-off in Hz, though neither needs it.

        Examples
        --------
        >>> chain = SeriesChain.parse("lowpass:cutoff=0.1")
        >>> chain.needs_time, chain.uses_time
        (False, True)
        """
        return any(step.design.timed or step.design.clocked for step in self.steps)

    def known(self, sampling: Sampling) -> Sampling:
        """Return the sampling of a series with times as its filters must know it.

        At most one sample has a time and no step; by distance it is its own neighbour.
        """
        return Sampling(False, 1.0, 1) if self.needs_time and sampling.step is None else sampling

    def stream(
        self,
        columns: int,
        sampling: Sampling | None = None,
        options: Options | None = None,
        *,
        block: int | None = None,
    ) -> SeriesStream:
        """Return the chain at work on one series of `columns` columns.

        `block` results are computed at once; fewer hold less back, which counts where many series are
        at work together.

        Raises
        ------
        ArgumentError
            If a filter cannot work on a series that is sampled like this; its name is in the message.
        """
        count = as_int("columns", columns, 1)
        sampling, options = sampling or Sampling(), options or Options()
        report = Report()
        stages = []
        for step in self.steps:
            try:
                stage = step.design.stage(count, step.setting(sampling, options), report)
            except ArgumentError as error:
                raise type(error)(f"{step.name}: {error}") from None
            if block is not None:
                stage.limit(as_int("block", block, 1))
            stages.append((step.name, stage))
        refused = options.nan_policy == "raise" or any(
            ("nan_policy", "raise") in step.parameters for step in self.steps
        )
        return SeriesStream(
            count,
            stages,
            report,
            needs_seconds=not sampling.regular,
            refuses_missing=refused,
            refuses_infinite=not options.allow_infinite,
        )

    def __call__(
        self,
        values: ArrayLike,
        *,
        seconds: ArrayLike | None = None,
        sampling: Sampling | None = None,
        options: Options | None = None,
    ) -> NDArray[np.float64]:
        """Return the whole result for `values` (row,) or (row, column)."""
        array = np.asarray(values, dtype=np.float64)
        if array.ndim not in (1, 2):
            raise ArgumentError(must("values", "of one or two axes", array.shape))
        rows = array.reshape(len(array), array.shape[1] if array.ndim == 2 else 1)
        stream = self.stream(rows.shape[1], sampling, options)
        when = None if seconds is None else np.asarray(seconds, dtype=np.float64)
        return stream.whole(rows, when).reshape(array.shape)

    def __str__(self) -> str:
        return " | ".join(map(str, self.steps))


def _from_table(table: Mapping[str, Any]) -> SeriesStep:
    parameters = dict(table)
    name = parameters.pop("name", "")
    if not isinstance(name, str):
        raise ArgumentError(must("name", "the name of a filter", name))
    return series_step(name, parameters)
