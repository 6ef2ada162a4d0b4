"""A new table in the manner of another one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from filterworks.arguments import Array
from filterworks.files.tables.options import Reading
from filterworks.files.tables.parquet import ParquetTable
from filterworks.files.tables.text import TextTable

if TYPE_CHECKING:
    import polars as pl

Rows = Iterable[tuple["pl.Series", tuple[str, ...], Array]]


def copy_rows(
    table: TextTable | ParquetTable, names: Sequence[str], rows: Rows, place: Path
) -> TextTable | ParquetTable:
    """Write a table of times, group and values at `place`, text or Parquet as `table` is.

    Parameters
    ----------
    names
        Of the columns: the time's, those of the group, those of the values.
    rows
        (times, group, values) that follow each other.
    """
    frames = _frames(names, rows)
    if isinstance(table, ParquetTable):
        import polars as pl

        empty = pl.DataFrame(schema={name: table.schema[name] for name in names})
        dtype, made = table.schema[names[0]], list(frames)
        if dtype == pl.Date and any((frame[names[0]].dt.date() != frame[names[0]]).any() for frame in made):
            dtype = pl.Datetime("us")  # there are times between the days
        typed = [_as_time(frame, names[0], dtype) for frame in made]
        pl.concat(typed or [empty]).write_parquet(place)
        return ParquetTable(place, table.shown)
    dialect = table.dialect
    separator = dialect.delimiter.decode()
    how: Any = {
        "separator": separator,
        "line_terminator": dialect.newline.decode(),
        "quote_style": "necessary" if dialect.quotes else "never",
    }
    with place.open("wb") as file:
        import polars as pl

        head = pl.DataFrame({name: pl.Series([], dtype=pl.String()) for name in names})
        file.write(dialect.mark)
        if dialect.lines:
            head.write_csv(file, **how)
        decimal = table.reading.decimal
        for frame in frames:
            written = pl.col(pl.Float64).cast(pl.String).str.replace(".", decimal, literal=True)
            shown = frame if decimal == "." else frame.with_columns(written)
            shown.write_csv(file, include_header=False, **how)
    reading = Reading(separator, header=bool(dialect.lines), decimal=decimal, quotes=dialect.quotes)
    return TextTable(place, reading, table.shown)


def _as_time(frame: pl.DataFrame, name: str, dtype: pl.DataType) -> pl.DataFrame:
    """Return the frame with its times, which are UTC, in the dtype that they came in."""
    import polars as pl

    if dtype.is_integer() and frame[name].str.contains(".", literal=True).any():
        dtype = pl.Float64()  # a step between whole counts
    if dtype in (pl.Duration, pl.Time):
        if dtype == pl.Time:
            return frame.with_columns(pl.col(name).dt.cast_time_unit("ns").to_physical().cast(pl.Time()))
        unit = frame.schema[name].time_unit  # type: ignore[attr-defined]  # a Datetime, which has one
        return frame.with_columns(pl.col(name).to_physical().cast(pl.Duration(unit)).cast(dtype))
    zone = getattr(dtype, "time_zone", None)
    times = pl.col(name).dt.replace_time_zone("UTC").dt.convert_time_zone(zone) if zone else pl.col(name)
    return frame.with_columns(times.cast(dtype))


def _frames(names: Sequence[str], rows: Rows) -> Iterator[pl.DataFrame]:
    import polars as pl

    for times, key, values in rows:
        if not len(times):
            continue
        columns = [times, *(pl.Series([part]).new_from_index(0, len(times)) for part in key)]
        columns += [pl.Series(np.ascontiguousarray(column), nan_to_null=True) for column in values.T]
        yield pl.DataFrame([column.rename(name) for name, column in zip(names, columns, strict=True)])
