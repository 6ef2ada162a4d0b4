"""Columns that tell the time: ISO 8601, counts since 1970, or a format of the user's."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from filterworks.arguments import Array
from filterworks.distances import distances
from filterworks.errors import ArgumentError, must, unknown
from filterworks.files.tables.block import CellError

if TYPE_CHECKING:
    import polars as pl

_ISO = re.compile(
    r"\d{4}(?P<dash>[-/])\d\d(?P=dash)\d\d(?:(?P<sep>[T ])\d\d:\d\d(?P<s>:\d\d(?:[.,]\d+)?)?"
    r"(?P<gap> ?)(?P<zone>Z|z|[+-]\d\d(?::?\d\d)?)?)?"
)
# A date written as a number: the years 1600 to 2199.
_COMPACT = re.compile(r"(?:1[6-9]|2[01])\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")
# Counts per second.
_EPOCHS = {"epoch-s": 1.0, "epoch-ms": 1e3, "epoch-us": 1e6, "epoch-ns": 1e9}
# Julian years of 365.25 days, as astronomy counts.
_COUNTS = {**_EPOCHS, "year": 1 / 31_557_600.0}
# A count beyond is too late for its unit: the year 5138.
_LATEST = 1e11
# Counts that begin earlier, in 1973, begin with something else than 1970: they are drawn as numbers.
_RECENT = 1e8
_NAMES = frozenset(
    ["time", "timestamp", "datetime", "date", "epoch", "unix", "ts", "t", "seconds", "sec", "year"]
)
_WHOLE = re.compile(r"[-+]?\d+")
# What of a format tells times apart, and how many seconds at least.
_TOLD = (("%[.]?[39]?f|%s", 1e-9), ("%[STXr]", 1.0), ("%[MR]", 60.0), ("%[HIkl]", 3600.0))
_CLOCK = re.compile(r"%[HIMSTXRspfk]|%\.")
_MINUTES = re.compile(r"%[MRTXrs]")
# Letters of a time of ISO 8601 that tells more than microseconds, at least.
_FINE = len("2024-05-01T10:00:00.1234567")
# Microseconds, from 1970 or from another time, that are few enough to be counted in nanoseconds, too.
_NEAR = 9_200_000_000_000_000
FORMATS = ("iso", *_COUNTS)


@dataclass
class TimeFormat:
    """How one column tells the time; all of its values must be told like this.

    Attributes
    ----------
    name
        ``epoch-s`` …, ``year``, ``datetime`` (typed columns of Parquet), or the strptime format.
    counts
        How many of a column of counts make a second; None for dates and times.
    unit
        To what dates and times are told. Nanoseconds are beside microseconds, which reach everywhere: those
        of times within 291 years of the first one count.
    """

    name: str
    counts: float | None = None
    unit: Literal["ns", "us"] = "ns"
    _origin: Any = field(default=None, repr=False)
    _origin_rest: int = field(default=0, repr=False)
    _zone: str = field(default="", repr=False)

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
            begun = "" if self._origin is None and not row else ", which the column begins with"
            message = f"{shown!r} does not have the format {self.name}{begun}; --time-format names another"
            raise CellError(message, row)
        if not len(counts):
            return np.empty(0)
        rest = self._rest(texts)
        if self._origin is None:
            # Whole if it is written so, whatever comes after it in the same block.
            first = str(texts[0]).strip()
            self._origin = int(first) if self.counts is not None and _WHOLE.fullmatch(first) else counts[0]
            self._origin_rest = int(rest[0])
            self._zone = _offset(str(texts[0])) if self.name.endswith("z") else ""
        return self._since(counts.to_numpy(), rest)

    def _since(self, counts: Array, rest: Array) -> Array:
        """Return seconds from the origin to counts, and `rest` nanoseconds more."""
        if counts.dtype.kind == "f" or isinstance(self._origin, float):
            return np.asarray(counts - self._origin, np.float64) / self._per_second
        apart = distances(counts, self._origin)
        if self.counts is not None or self.unit == "us":
            return apart / self._per_second
        near = np.abs(apart) < _NEAR
        few = (counts if near.all() else np.where(near, counts, self._origin)) - self._origin
        few *= 1000
        few += rest - self._origin_rest
        fine = few / 1e9
        return fine if near.all() else np.where(near, fine, apart / 1e6)

    def reads(self, text: str) -> bool:
        """Return whether a text is a time in this format."""
        import polars as pl

        return self._counts(pl.Series([text])).null_count() == 0

    @property
    def _per_second(self) -> float:
        return self.counts or 1e6

    def places(self, seconds: Array) -> Array:
        """Return moments (``datetime64``) or counts, from seconds as :meth:`seconds` gives them."""
        if self.counts is not None:
            counts = np.asarray(seconds * self.counts + (self._origin or 0))
            if abs(self._origin or 0) < _RECENT * self.counts or not self.name.startswith("epoch"):
                return counts
            return np.rint(counts / self.counts * 1e6).astype("datetime64[us]")
        whole, _ = self._moments(seconds)
        return whole.astype("datetime64[us]")

    def texts(self, seconds: Array, step: float) -> pl.Series:
        """Return times written in this format, from seconds as :meth:`seconds` gives them.

        Offsets from UTC are that of the first time that was ever seen. Counts that began with a whole
        one and are whole `step` seconds apart are written without a point.
        """
        import polars as pl

        if self.counts is not None:
            counts, origin = seconds * self.counts, self._origin or 0
            apart = step * self.counts
            if isinstance(origin, int) and math.isclose(apart, round(apart), rel_tol=1e-12):
                # Counts of nanoseconds are too long for a float.
                return pl.Series(np.rint(counts).astype(np.int64) + origin).cast(pl.String)
            return pl.Series(counts + origin).cast(pl.String)
        whole, rest = self._moments(seconds)
        if self.name == "datetime":
            return _datetimes(whole, rest)
        form = self.finer(step)
        if self._zone:
            form = form.replace("%#z", self._zone).replace("%z", self._zone)
            whole = whole + _ahead(self._zone) // datetime.timedelta(microseconds=1)
        texts = pl.Series(_rounded(whole, rest)).cast(pl.Datetime("us")).dt.to_string(form)
        if not rest.any():
            return texts
        fits = np.abs(whole) < _NEAR
        is_fine = self._origin_rest or not math.isclose(step * 1e6, round(step * 1e6), rel_tol=1e-9)
        if is_fine and rest[~fits].any():
            raise ArgumentError(
                "nanoseconds of times before 1679 or after 2261 cannot be written; take a step, and a first "
                "time, of whole microseconds"
            )
        fine = pl.Series(np.where(fits, whole, 0) * 1000 + rest).cast(pl.Datetime("ns")).dt.to_string(form)
        return fine.zip_with(pl.Series(fits), texts)

    def _moments(self, seconds: Array) -> tuple[Array, Array]:
        """Return moments in microseconds, and in nanoseconds what they are more than that."""
        origin = self._origin or 0
        if self.unit == "us":
            whole = np.rint(seconds * 1e6).astype(np.int64) + origin
            return whole, np.zeros_like(whole)
        near = np.abs(seconds) < _NEAR / 1e6
        far = np.rint(np.where(near, 0.0, seconds) * 1e6).astype(np.int64)
        fine = np.rint(np.where(near, seconds, 0.0) * 1e9).astype(np.int64)
        # What is a whole microsecond but for the rounding of sums and products, after weeks, is one.
        blur, even = np.spacing(np.abs(seconds)) * 1e9, (fine + 500) // 1000 * 1000
        fine = np.where((blur > 0.3) & (np.abs(fine - even) <= np.maximum(2 * blur, 1)), even, fine)
        fine += self._origin_rest
        return origin + far + fine // 1000, np.where(near, fine % 1000, 0)

    def finer(self, step: float) -> str:
        """Return the name of the format that tells times `step` seconds apart, this one's if it does.

        Raises
        ------
        ArgumentError
            If a format that is not of ISO 8601 leaves out what tells them apart.

        Examples
        --------
        >>> TimeFormat("%Y-%m-%d").finer(86_400), TimeFormat("%Y-%m-%d").finer(3600)
        ('%Y-%m-%d', '%Y-%m-%dT%H:%M')
        """
        told = next((seconds for field, seconds in _TOLD if re.search(field, self.name)), 86_400.0)
        whole = step / told
        if (
            self.counts is not None
            or self.name == "datetime"
            or (whole >= 1 and math.isclose(whole, round(whole), rel_tol=1e-9))
        ):
            return self.name
        iso = re.fullmatch(r"(%Y([-/])%m\2%d)(?:([T ])%H:%M)?(| ?(?:Z|z|%#z|%z))", self.name)
        if iso is None:
            raise ArgumentError(
                f"times written as {self.name} cannot tell {step:g} s apart; take a longer step"
            )
        seconds = "" if step % 60 == 0 else ":%S%.f"
        return f"{iso[1]}{iso[3] or 'T'}%H:%M{seconds}{iso[4]}"

    def _counts(self, texts: pl.Series) -> pl.Series:
        """Return microseconds, or the counts themselves; null where the format does not fit."""
        import polars as pl

        if texts.dtype.is_temporal():
            if _is_fine(texts):
                return _nanoseconds(texts) // 1000
            return texts.cast(
                pl.Duration("us") if texts.dtype == pl.Duration else pl.Datetime("us")
            ).to_physical()
        if self.counts is not None:
            text = texts
            if texts.dtype == pl.String:
                text = texts.str.strip_chars().str.replace(",", ".", literal=True)
            whole = text.cast(pl.Int64, strict=False)
            exact = whole.null_count() == text.null_count() and not texts.dtype.is_float()
            if exact and not isinstance(self._origin, float):
                return whole
            return text.cast(pl.Float64, strict=False).fill_nan(None)
        text = texts.cast(pl.String).str.strip_chars()
        if "%.f" in self.name and "," not in self.name:  # ISO 8601 allows a comma before the decimals
            text = text.str.replace(",", ".", literal=True)
        if not _CLOCK.search(self.name):
            return text.str.to_date(self.name, strict=False).cast(pl.Datetime("us")).to_physical()
        name = self.name
        if not _MINUTES.search(name):  # polars wants them beside hours
            name, text = f"{name} %M", text + " 00"
        return text.str.to_datetime(name, time_unit="us", strict=False).to_physical()

    def _rest(self, texts: pl.Series) -> Array:
        """Return the nanoseconds that times are more than their microseconds, or one 0; none is missing."""
        import polars as pl

        if _is_fine(texts):
            return (_nanoseconds(texts) % 1000).to_numpy()
        if self.unit == "us" or "%.f" not in self.name or texts.dtype != pl.String:
            return np.zeros(1, np.int64)
        if texts.str.len_bytes().to_numpy().max() >= _FINE and texts.str.contains(r"[.,]\d{7}").any():
            digits = texts.str.extract(r"[.,]\d{6}(\d{1,3})").str.pad_end(3, "0")
            return digits.cast(pl.Int64).fill_null(0).to_numpy()
        return np.zeros(1, np.int64)


def _is_fine(times: pl.Series) -> bool:
    """Return whether a typed column tells nanoseconds."""
    return times.dtype.is_temporal() and (
        getattr(times.dtype, "time_unit", None) == "ns" or str(times.dtype) == "Time"
    )


def _nanoseconds(times: pl.Series) -> pl.Series:
    import polars as pl

    return (times.cast(pl.Duration("ns")) if times.dtype == pl.Time else times).to_physical()


def _rounded(whole: Array, rest: Array) -> Array:
    """Return microseconds and nanoseconds as microseconds."""
    return np.asarray(whole + (rest + 500) // 1000)


def _datetimes(whole: Array, rest: Array) -> pl.Series:
    """Return moments in nanoseconds if they need them and they reach that far, otherwise microseconds."""
    import polars as pl

    if rest.any() and (np.abs(whole) < _NEAR).all():
        return pl.Series(whole * 1000 + rest).cast(pl.Datetime("ns"))
    return pl.Series(_rounded(whole, rest)).cast(pl.Datetime("us"))


def _offset(text: str) -> str:
    """Return the offset from UTC that ends a time, as it is written.

    Examples
    --------
    >>> _offset("2024-05-01T10:00:00+0200"), _offset("2024-05-01T10:00:00-05 ")
    ('+0200', '-05')
    """
    found = re.search(r"[+-]\d\d(?::?\d\d)?\s*$", text)
    return found[0].strip() if found else ""


def _ahead(offset: str) -> datetime.timedelta:
    """Return how far ahead of UTC an offset is.

    Examples
    --------
    >>> _ahead("-05:30")
    datetime.timedelta(days=-1, seconds=66600)
    """
    digits = offset[1:].replace(":", "").ljust(4, "0")
    distance = datetime.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return -distance if offset.startswith("-") else distance


def find_format(texts: Sequence[str], given: str | None, name: str = "") -> TimeFormat | None:
    """Return the format of the first of these texts, or the one that is given; None if they tell no time.

    `name` is the column's: one that says ``year`` counts years.

    Raises
    ------
    ArgumentError
        If `given` is no format.

    Examples
    --------
    >>> find_format(["2024-05-01T10:00:00.5Z"], None).name, find_format(["1714557600000"], "epoch-ms").name
    ('%Y-%m-%dT%H:%M:%S%.fZ', 'epoch-ms')
    """
    if given is None and "year" in _words(name):
        given = "year"
    if given is not None and given != "iso":
        if given in _COUNTS:
            return TimeFormat(given, _COUNTS[given])
        if "%" not in given:
            raise ArgumentError(
                unknown("time format", given, [*FORMATS, "a strptime format such as %d.%m.%Y"])
            )
        if "%Z" in given:
            raise ArgumentError(
                must("time format", "one with offsets, %z: names of zones do not tell the offset", given)
            )
        return TimeFormat(re.sub(r"[.,]%f", "%.f", given), unit="us")
    first = next((text for text in texts if text), "")
    match = _ISO.fullmatch(first)
    if match:
        return TimeFormat(_iso_format(match), unit="us" if match["sep"] is None else "ns")
    if _COMPACT.fullmatch(first):
        return TimeFormat("%Y%m%d", unit="us")
    return None if given == "iso" else _epoch(first)


def _iso_format(match: re.Match[str]) -> str:
    date = match["dash"].join(["%Y", "%m", "%d"])
    if match["sep"] is None:
        return date
    seconds = "%H:%M" + (":%S" if match["s"] else "") + ("%.f" if match["s"] else "")
    zone = match["zone"] or ""
    written = zone if zone in ("", "Z", "z") else "%#z" if len(zone) == 3 else "%z"
    return f"{date}{match['sep']}{seconds}{match['gap']}{written}"


def _epoch(text: str) -> TimeFormat | None:
    try:
        count = abs(float(text.replace(",", ".")))
    except ValueError:
        return None
    for name, counts in _EPOCHS.items():
        if count < _LATEST * counts:
            return TimeFormat(name, counts)
    return None


def is_time_text(texts: Sequence[str], given: str | None = None) -> bool:
    """Return whether texts, the first of them in view, are dates and times.

    As ISO 8601 writes them, or as the `given` strptime format does.
    """
    first = next((text for text in texts if text), "")
    if given is not None and "%" in given:
        written = find_format([first], given)
        return bool(first) and written is not None and written.reads(first)
    return _ISO.fullmatch(first) is not None


def is_time_name(name: str) -> bool:
    """Return whether a column of numbers is called as people call their times.

    Examples
    --------
    >>> is_time_name("time_ms"), is_time_name("temperature")
    (True, False)
    """
    return bool(_NAMES & _words(name))


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z]+", name.lower()))
