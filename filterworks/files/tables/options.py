"""How a table is to be read, and the near view of its columns."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from filterworks.errors import ArgumentError, must, unknown

PLAIN_SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".dat")
COMPRESSED_SUFFIXES = (".gz", ".zst")
PARQUET_SUFFIXES = (".parquet", ".pq")
TABLE_SUFFIXES = (
    *PLAIN_SUFFIXES,
    *PARQUET_SUFFIXES,
    *(plain + packed for plain in PLAIN_SUFFIXES for packed in COMPRESSED_SUFFIXES),
)
_KINDS = {"integer": ("integer",), "float": ("float",), "numeric": ("integer", "float")}
_NAMED_DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": " ", "pipe": "|"}


@dataclass(frozen=True)
class Reading:
    """How text is to be read as a table.

    Attributes
    ----------
    delimiter
        One character; None: found by looking at the first lines.
    null
        Texts that stand for a missing value besides nothing and NaN.
    header
        Whether the first line names the columns; without it they are called 1, 2, 3, …
    quotes
        Whether ``"`` encloses fields; if not it is a sign like any other.
    decimal
        ``.`` or ``,``: what stands before the decimals, in results too.

    Examples
    --------
    >>> Reading(delimiter="tab").delimiter
    '\\t'
    """

    delimiter: str | None = None
    null: tuple[str, ...] = ()
    header: bool = True
    quotes: bool = True
    decimal: str = "."

    def __post_init__(self) -> None:
        if self.delimiter is None:
            return
        sign = _NAMED_DELIMITERS.get(self.delimiter, self.delimiter)
        if len(sign) != 1 or not sign.isascii() or sign in '"\r\n' or sign.isalnum() or sign in "+-.":
            accepted = f"one character such as ; or one of {', '.join(_NAMED_DELIMITERS)}"
            raise ArgumentError(must("delimiter", accepted, self.delimiter))
        object.__setattr__(self, "delimiter", sign)


@dataclass(frozen=True)
class Column:
    """A column as the first rows show it.

    Attributes
    ----------
    name
        As the header says, without its quotes.
    kind
        ``integer``, ``float``, ``text``, ``mixed`` (text among more numbers), ``time`` (Parquet only), or
        ``empty``: nothing but missing values.
    """

    name: str
    kind: str

    @property
    def is_numeric(self) -> bool:
        """Whether it holds numbers, or should: a text among them will be told with its line."""
        return self.kind in (*_KINDS["numeric"], "mixed")


def select(columns: Sequence[Column], patterns: Sequence[str] | None, apart: Sequence[str]) -> list[str]:
    """Return the names of the columns to filter, in the order of the table.

    Parameters
    ----------
    columns
        Of the table.
    patterns
        Names, globs (``temp_*``) or ``dtype:integer``, ``dtype:float``, ``dtype:numeric``; None: every
        numeric column.
    apart
        Names of columns that are never taken by a glob or by default: time and group.

    Raises
    ------
    ArgumentError
        If a pattern fits no column (the near names are given), or there is no numeric column.

    Examples
    --------
    >>> kinds = {"time": "text", "t1": "float", "t2": "integer", "n": "integer"}
    >>> table = [Column(name, kind) for name, kind in kinds.items()]
    >>> select(table, ["t?"], ["time"]), select(table, ["dtype:integer"], []), select(table, None, ["n"])
    (['t1', 't2'], ['t2', 'n'], ['t1', 't2'])
    """
    others, names = frozenset(apart), dict.fromkeys(column.name for column in columns)
    free = [column for column in columns if column.name not in others]
    if patterns is None:
        chosen = {column.name for column in free if column.is_numeric}
        if not chosen:
            raise ArgumentError("no column here holds numbers; name those to filter with --columns")
    else:
        chosen = {name for pattern in patterns for name in _matching(names, free, pattern)}
    return [column.name for column in columns if column.name in chosen]


def _matching(names: Collection[str], free: Sequence[Column], pattern: str) -> list[str]:
    if pattern in names:
        return [pattern]
    label, _, kind = pattern.partition(":")
    if label == "dtype" and kind:
        if kind not in _KINDS:
            raise ArgumentError(unknown("dtype", kind, _KINDS))
        found = [column.name for column in free if column.kind in _KINDS[kind]]
    else:
        found = [column.name for column in free if fnmatch.fnmatchcase(column.name, pattern)]
    if not found:
        raise ArgumentError(unknown("column", pattern, names))
    return found
