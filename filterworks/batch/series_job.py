"""A job on tables: which columns, which time, what missing values and window ends mean."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from filterworks.arguments import NanPolicy
from filterworks.batch.job import AnyInput, AnyJob, AnyOutput, Text, _Section, abridged
from filterworks.boundaries import as_boundary
from filterworks.errors import ArgumentError
from filterworks.files.tables import TABLE_SUFFIXES, Reading, find_format, table_suffix
from filterworks.timeseries import Options, Resampler, SeriesChain

if TYPE_CHECKING:
    from filterworks.batch.series import SeriesTask

Method = Literal["mean", "linear", "nearest", "previous"]
# Suffixes of tables among others.
_LOOSE = (".txt", ".dat")
# Parameters of filters that name a file, whose content counts rather than its name.
_FILES = ("path", "template")


def _boundary(value: str) -> str:
    return as_boundary(value)


def _delimiter(value: str) -> str:
    Reading(delimiter=value)
    return value


def _step(value: str) -> str:
    Resampler(value)
    return value


def _time_format(value: str) -> str:
    find_format([], value)
    return value


class SeriesInput(AnyInput):
    """Where from, and how the text is to be read as tables.

    Attributes
    ----------
    kind
        Says that these are tables.
    delimiter, null, header, quotes, decimal
        As in :class:`filterworks.files.tables.Reading`.
    columns
        Names, globs or ``dtype:float`` of the columns to filter; None: all numbers but time and group.
    time
        Column of the time; None: found where there is one candidate; an empty text: none.
    time_format
        ``iso``, ``epoch-s``, ``epoch-ms``, ``epoch-us``, ``epoch-ns`` or a strptime format.
    by
        Columns whose values tell the groups apart that are filtered each by itself.
    sort
        Whether rows are brought into the order of their times, which takes 24 bytes of memory a row.
    """

    kind: Literal["series"] = "series"
    delimiter: Annotated[str, AfterValidator(_delimiter)] | None = None
    null: tuple[str, ...] = Field(default=(), strict=False)
    header: bool = True
    quotes: bool = True
    decimal: Literal[".", ","] = "."
    columns: tuple[str, ...] | None = Field(default=None, strict=False, min_length=1)
    time: str | None = None
    time_format: Annotated[str, AfterValidator(_time_format)] | None = None
    by: tuple[str, ...] = Field(default=(), strict=False)
    sort: bool = False

    @property
    def text(self) -> Reading:
        """How text is to be taken."""
        return Reading(self.delimiter, self.null, self.header, self.quotes, self.decimal)


class SeriesOutput(AnyOutput):
    """Where to; with `suffix` results are added as further columns."""

    suffix: Text | None = None


class Settings(_Section):
    """The ``[series]`` section: what holds for every filter; see :class:`filterworks.timeseries.Options`."""

    align: Literal["center", "past"] = "center"
    boundary: Annotated[str, AfterValidator(_boundary)] = "symmetric"
    nan_policy: NanPolicy | None = None
    fill: bool = False
    allow_infinite: bool = False
    resample: Annotated[str, AfterValidator(_step)] | None = None
    method: Method = "mean"

    @field_validator("method")
    @classmethod
    def _of_resample(cls, method: Method, info: ValidationInfo) -> Method:
        if "resample" in info.data and info.data["resample"] is None:
            raise ArgumentError("says how to resample; it needs resample too, with a step such as 1s")
        return method

    @property
    def options(self) -> Options:
        """The same for the chain."""
        return Options(self.align, self.boundary, self.nan_policy, self.fill, self.allow_infinite)


class SeriesJob(AnyJob):
    """A frozen job on tables."""

    NOUN: ClassVar[str] = "tables"
    SUFFIXES: ClassVar[tuple[str, ...]] = TABLE_SUFFIXES

    input: SeriesInput
    output: SeriesOutput
    series: Settings = Field(default_factory=Settings)

    @cached_property
    def chain(self) -> SeriesChain:
        """The filters in order; the files that they name have whole paths."""
        return SeriesChain.from_steps(self._located())

    @cached_property
    def signature(self) -> str:
        """What decides the content of a result besides the input: recorded, compared on the next run."""
        given = {
            **self.input.model_dump(exclude={"kind", "paths", "recursive"}, exclude_defaults=True),
            **self.output.model_dump(include={"suffix"}, exclude_defaults=True),
            **self.series.model_dump(exclude_defaults=True),
            **_contents(self._located()),
        }
        settings = ",".join(f"{key}={value}" for key, value in given.items())
        return abridged(f"{self.chain} > {settings or 'table'}")

    @property
    def recipe(self) -> dict[str, Any]:
        """The tables of a job that makes the same results, as long as the files that filters name stay."""
        return {
            "input": self.input.model_dump(exclude={"paths", "recursive"}, exclude_defaults=True)
            | {"kind": "series"},
            "filter": list(self._located()),
            "output": self.output.model_dump(include={"suffix"}, exclude_defaults=True),
            "series": self.series.model_dump(exclude_defaults=True),
        }

    @classmethod
    def accepts(cls, name: str) -> bool:
        """Return whether a file's suffix is one that can be read."""
        return table_suffix(name) is not None

    @classmethod
    def expects(cls, name: str) -> bool:
        """Return whether a file that lies in a folder is meant: texts there are notes more often."""
        suffix = table_suffix(name)
        return suffix is not None and not suffix.startswith(_LOOSE)

    @classmethod
    def accepted(cls) -> str:
        """Return what to say of the suffixes that can be read."""
        return "accepted are .csv .tsv .tab .txt .dat (also with .gz or .zst) .parquet .pq"

    @classmethod
    def filter_problem(cls, table: Mapping[str, Any], tables: Mapping[str, Any]) -> str | None:
        """Return what is wrong with one ``[[filter]]``."""
        try:
            SeriesChain.from_steps([table])
        except ArgumentError as error:
            return str(error)
        return None

    def _located(self) -> tuple[dict[str, Any], ...]:
        """Return the filters with whole paths: other machines do not share this process' folder."""
        return tuple(
            {k: os.path.abspath(v) if k in _FILES and isinstance(v, str) else v for k, v in table.items()}  # noqa: PTH100  # links stay
            for table in self.filter
        )

    def task(self, *, is_drawn: bool, **common: Any) -> SeriesTask:
        """Return what a worker is given."""
        from filterworks.batch.series import SeriesTask

        return SeriesTask(
            **common,
            filters=self._located() if self.run.scheduler else self.filter,
            reading=self.input,
            settings=self.series,
            suffix=self.output.suffix,
        )


def _contents(filters: tuple[dict[str, Any], ...]) -> dict[str, str]:
    """Return the hashes of the files that the filters name."""
    found = {}
    for table in filters:
        for key in _FILES:
            if isinstance(table.get(key), str):
                path = Path(table[key])
                content = path.read_bytes() if path.is_file() else b""
                found[str(path)] = hashlib.blake2b(content, digest_size=8).hexdigest()
    return found
