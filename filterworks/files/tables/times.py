"""Columns that tell the time: ISO 8601, counts since 1970, or a format of the user's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from filterworks.arguments import Array
from filterworks.errors import ArgumentError, unknown
from filterworks.files.tables.block import CellError

if TYPE_CHECKING:
    import polars as pl

_ISO = re.compile(
    r"\d{4}-\d\d-\d\d(?:(?P<sep>[T ])\d\d:\d\d(?P<s>:\d\d(?:[.,]\d+)?)?"
    r"(?P<gap> ?)(?P<zone>Z|z|[+-]\d\d(?::?\d\d)?)?)?"
)
_EPOCHS = {"epoch-s": 1.0, "epoch-ms": 1e-3, "epoch-us": 1e-6, "epoch-ns": 1e-9}
# A count beyond is too late for its unit: the year 5138.
_LATEST = 1e11
_NAMES = frozenset(["time", "timestamp", "datetime", "date", "epoch", "unix", "ts", "t", "seconds", "sec"])
_CLOCK = re.compile(r"%[HIMSTXRspfk]|%\.")
FORMATS = ("iso", *_EPOCHS)


@dataclass
class TimeFormat:
    """How one column tells the time; all of its values must be told like this.

    Attributes
    ----------
    name
        ``epoch-s`` …, ``datetime`` (typed columns of Parquet), or the strptime format.
    scale
        Seconds per unit of a count; None for dates and times.
    unit
        Of dates and times inside: nanoseconds reach from 1678 to 2262, microseconds everywhere.
    """

    name: str
    scale: float | None = None
    unit: Literal["ns", "us"] = "ns"
    _origin: Any = field(default=None, repr=False)

    def seconds(self, texts: pl.Series) -> Array:
        """Return seconds from the first time that was ever seen.

        Raises
        ------
        CellError
            At the first value that is missing or of another format.
        """
        counts = self._counts(texts)
        if counts.null_count():
            row = int(counts.is_null().arg_true()[0])
            shown = texts[row]
            if shown is None or not str(shown).strip():
                raise CellError("the time is missing", row)
            message = f"{shown!r} does not have the format {self.name}, which the column begins with"
            raise CellError(message + "; --time-format names another", row)
        if self._origin is None and len(counts):
            self._origin = counts[0]
        numbers = (counts - self._origin).to_numpy() if len(counts) else np.empty(0)
        scale = self.scale or (1e-9 if self.unit == "ns" else 1e-6)
        return np.asarray(numbers, np.float64) * scale

    def _counts(self, texts: pl.Series) -> pl.Series:
        """Return whole units, or the counts themselves; null where the format does not fit."""
        import polars as pl

        if texts.dtype.is_temporal():
            return texts.cast(pl.Datetime(self.unit)).to_physical()
        if self.scale is not None:
            text = texts.cast(pl.String).str.strip_chars() if texts.dtype == pl.String else texts
            whole = text.cast(pl.Int64, strict=False)
            exact = whole.null_count() == text.null_count() and not texts.dtype.is_float()
            if exact and not isinstance(self._origin, float):
                return whole
            return text.cast(pl.Float64, strict=False)
        text = texts.str.strip_chars().str.replace(",", ".", literal=True)
        if not _CLOCK.search(self.name):
            return text.str.to_date(self.name, strict=False).cast(pl.Datetime(self.unit)).to_physical()
        return text.str.to_datetime(self.name, time_unit=self.unit, strict=False).to_physical()


def find_format(texts: Sequence[str], given: str | None) -> TimeFormat | None:
    """Return the format of the first of these texts, or the one that is given; None if they tell no time.

    Raises
    ------
    ArgumentError
        If `given` is no format.

    Examples
    --------
    >>> find_format(["2024-05-01T10:00:00.5Z"], None).name, find_format(["1714557600000"], "epoch-ms").name
    ('%Y-%m-%dT%H:%M:%S%.fZ', 'epoch-ms')
    """
    if given is not None and given != "iso":
        if given in _EPOCHS:
            return TimeFormat(given, _EPOCHS[given])
        if "%" not in given:
            raise ArgumentError(
                unknown("time format", given, [*FORMATS, "a strptime format such as %d.%m.%Y"])
            )
        return TimeFormat(given.replace(".%f", "%.f"), unit="us")
    first = next((text for text in texts if text), "")
    match = _ISO.fullmatch(first)
    if match:
        near = 1700 <= int(first[:4]) <= 2200 and match["sep"] is not None
        return TimeFormat(_iso_format(match), unit="ns" if near else "us")
    return None if given == "iso" else _epoch(first)


def _iso_format(match: re.Match[str]) -> str:
    if match["sep"] is None:
        return "%Y-%m-%d"
    seconds = "%H:%M" + (":%S" if match["s"] else "") + ("%.f" if match["s"] else "")
    zone = match["zone"] or ""
    written = zone if zone in ("", "Z", "z") else "%#z" if len(zone) == 3 else "%z"
    return f"%Y-%m-%d{match['sep']}{seconds}{match['gap']}{written}"


def _epoch(text: str) -> TimeFormat | None:
    try:
        count = abs(float(text))
    except ValueError:
        return None
    for name, scale in _EPOCHS.items():
        if count * scale * 1.0 < _LATEST:
            return TimeFormat(name, scale)
    return None


def is_time_text(texts: Sequence[str]) -> bool:
    """Return whether texts, the first of them in view, are dates and times as ISO 8601 writes them."""
    first = next((text for text in texts if text), "")
    return _ISO.fullmatch(first) is not None


def is_time_name(name: str) -> bool:
    """Return whether a column of numbers is called as people call their times.

    Examples
    --------
    >>> is_time_name("time_ms"), is_time_name("temperature")
    (True, False)
    """
    return bool(_NAMES & set(re.split(r"[^a-z]+", name.lower())))
