"""What must be known of a table before its rows can be filtered: columns, time, sampling, groups."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from filterworks.arguments import Array
from filterworks.batch.lanes import Groups, Key
from filterworks.batch.series_job import SeriesInput
from filterworks.errors import ArgumentError, FileError, unknown
from filterworks.files.tables import (
    Block,
    CellError,
    Column,
    Table,
    TextTable,
    TimeFormat,
    find_format,
    is_time_name,
    is_time_text,
    select,
)
from filterworks.timeseries import OrderError, Recogniser, Sampling

_SIGNS = {",": "commas", "\t": "tabs", ";": "semicolons", " ": "spaces", "|": "bars"}
# A number with a comma before its decimals.
_WITH_COMMA = re.compile(r"[-+]?\d+,\d+")


@dataclass(frozen=True)
class Roles:
    """What the columns of a table are for.

    Attributes
    ----------
    values
        Names of those to filter.
    by
        Of those that tell groups apart.
    time
        Of the time, and how it is written; None without.
    was_found
        Whether the time's column was found rather than named.
    candidates
        Columns that may be the time where there are several.
    remarks
        What to say of what was asked for or is there and is not used.
    """

    values: tuple[str, ...]
    by: tuple[str, ...]
    time: tuple[str, TimeFormat] | None
    was_found: bool = False
    candidates: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def assign(table: Table, reading: SeriesInput) -> Roles:
    """Return the roles of the columns.

    Raises
    ------
    FileError
        If a column does not exist (the near ones are named), holds no numbers, or tells no time.
    """
    columns = table.columns
    names = [column.name for column in columns]
    try:
        for name in [*reading.by, *filter(None, [reading.time])]:
            if name not in names:
                raise ArgumentError(unknown("column", name, names))
        time, candidates = _time(table, columns, reading)
        apart = [*reading.by, *([time[0]] if time else ()), *candidates]
        bare = all(column.kind == "empty" for column in columns) and reading.columns is None
        values = [] if bare else select(columns, reading.columns, apart)
    except ArgumentError as error:
        remark = "".join(f"; {one}" for one in (*_commas(table, columns, reading), *_cells(table, columns)))
        raise FileError(f"{table.shown}: {error}{remark}") from None
    for name in [*reading.by, *([time[0]] if time else ())]:
        if name in values:
            raise FileError(f"{table.shown}: column {name!r} is time or group and cannot be filtered as well")
    found = time is not None and reading.time is None
    remarks = _commas(table, columns, reading)
    if time is None and reading.time is None and reading.time_format is not None and not candidates:
        remarks.append(f"no column tells the time as {reading.time_format}, so rows count; --time names it")
    return Roles(
        tuple(values), reading.by, time, found, tuple(candidates) if time is None else (), tuple(remarks)
    )


def _commas(table: Table, columns: Sequence[Column], reading: SeriesInput) -> list[str]:
    """Return what to say of columns that would hold numbers if a comma stood before their decimals."""
    if reading.columns is not None or reading.decimal == "," or not isinstance(table, TextTable):
        return []
    if table.dialect.delimiter == b",":  # numbers with a comma in quotes may be thousands
        return []
    texts = {column.name: table.sample(column.name) for column in columns if column.kind == "text"}
    found = [name for name, cells in texts.items() if cells and all(map(_WITH_COMMA.fullmatch, cells))]
    return [f"taken for text: {', '.join(found)}; --decimal , reads numbers with a comma"] if found else []


def _cells(table: Table, columns: Sequence[Column]) -> list[str]:
    """Return what to say of a text without any numbers: perhaps it is cut into cells at the wrong places."""
    if not isinstance(table, TextTable) or any(column.is_numeric for column in columns):
        return []
    sign = table.dialect.delimiter.decode()
    between = _SIGNS.get(sign, repr(sign))
    return [f"{between} are taken to stand between its cells; --delimiter space (or another) if they do not"]


def _time(
    table: Table, columns: Sequence[Column], reading: SeriesInput
) -> tuple[tuple[str, TimeFormat] | None, list[str]]:
    """Return the column of the time with its format, and the candidates if there are several."""
    if reading.time == "":
        return None, []
    if reading.time is not None:
        return (reading.time, _format(table, reading.time, reading.time_format)), []
    taken = {*reading.by, *(reading.columns or ())}
    free = [column for column in columns if column.name not in taken]
    given = reading.time_format
    # Of numbers a strptime format alone makes dates: wide tables are not looked through for nothing.
    written = free if given is not None and "%" in given else [c for c in free if c.kind in ("text", "mixed")]
    dated = {c.name for c in written if is_time_text(table.sample(c.name), given)}
    found = [c.name for c in free if c.kind == "time" or c.name in dated]
    found = found or [
        c.name for c in free if c.is_numeric and is_time_name(c.name) and _counts(table, c, reading)
    ]
    if len(found) != 1:
        return None, found
    return (found[0], _format(table, found[0], reading.time_format)), []


def _counts(table: Table, column: Column, reading: SeriesInput) -> bool:
    """Return whether numbers can be counts of time."""
    return find_format(table.sample(column.name), reading.time_format, column.name) is not None


def _format(table: Table, name: str, given: str | None) -> TimeFormat:
    column = next(column for column in table.columns if column.name == name)
    texts = table.sample(name)
    if column.kind == "time":
        return TimeFormat("datetime")
    written = find_format(texts, given, name)
    if written is None and not any(texts):
        return TimeFormat("%Y-%m-%d")  # the first row will be told to have no time
    if written is None:
        first = next(text for text in texts if text)
        raise ArgumentError(
            f"column {name!r}: {first!r} tells no time that is known here; name its format with "
            "--time-format, as in %d.%m.%Y"
        )
    return written


@dataclass
class Clock:
    """Looks at the times of a table as its rows go by: one format, each group ascending.

    Attributes
    ----------
    table, name, format
        Of the table and of the column of its time.
    """

    table: Table
    name: str
    format: TimeFormat
    _recognisers: dict[Key, Recogniser] = field(default_factory=dict)
    _last: dict[Key, tuple[int, str]] = field(default_factory=dict)
    _seen: Counter[Key] = field(default_factory=Counter)

    def read(self, block: Block) -> Array:
        """Return the seconds of a block's rows.

        Raises
        ------
        FileError
            With the line of the first value that is missing or of another format.
        """
        try:
            return self.format.seconds(block.bare_texts(self.table.names.index(self.name)))
        except CellError as error:
            raise self.table.fault(block.line(error.row), self.name, str(error)) from None

    def check(self, block: Block, seconds: Array, groups: Groups) -> None:
        """Look at the order of the times.

        Raises
        ------
        FileError
            With the line and both times where one is not after the one before it.
        """
        times = block.text(self.table.names.index(self.name))
        for key, rows in groups:
            recogniser = self._recognisers.setdefault(key, Recogniser())
            try:
                recogniser.push(seconds[rows])
            except OrderError as error:
                place = error.index - self._seen[key]
                here = int(rows[place])
                then = int(rows[place - 1]) if place else None
                line, text = (
                    self._last[key] if then is None else (block.line(then), block.bare(str(times[then])))
                )
                repeats = "repeats" in str(error)
                raise self._disorder(
                    block, here, block.bare(str(times[here])), (line, text), key, repeats
                ) from None
            self._seen[key] += rows.size
            last = int(rows[-1])
            self._last[key] = block.line(last), block.bare(str(times[last]))

    def _disorder(
        self, block: Block, row: int, text: str, earlier: tuple[int, str], key: Key, repeats: bool
    ) -> FileError:
        line, before = earlier
        group = f" in group {', '.join(key)}" if key else ""
        advice = "--sort brings the rows into order"
        if repeats:
            advice = "--by tells series apart that share their times" if not key else "times must differ"
        place = f"{self.table.unit} {line}"
        message = f"{text} is not after {before} on {place}{group}; {advice}, --no-time leaves it aside"
        return self.table.fault(block.line(row), self.name, message)

    def samplings(self) -> dict[Key, Sampling]:
        """Return how each group is sampled."""
        return {key: recogniser.finish() for key, recogniser in self._recognisers.items()}
