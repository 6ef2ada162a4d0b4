"""Tables in files: CSV and its kin, Parquet; they know nothing of filters.

Importing this package costs no more than NumPy; polars is loaded with the first table.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

from filterworks.errors import FileError
from filterworks.files.tables.block import Block, CellError
from filterworks.files.tables.compression import Sink
from filterworks.files.tables.copying import copy_rows
from filterworks.files.tables.options import (
    COMPRESSED_SUFFIXES,
    PARQUET_SUFFIXES,
    TABLE_SUFFIXES,
    Column,
    Reading,
    select,
)
from filterworks.files.tables.parquet import MAGIC, ParquetTable, ParquetWriter
from filterworks.files.tables.sorting import in_groups, sorted_parquet, sorted_text
from filterworks.files.tables.text import TextTable
from filterworks.files.tables.times import TimeFormat, find_format, is_time_name, is_time_text
from filterworks.files.tables.writing import TableWriter, TextWriter

Table = TextTable | ParquetTable

__all__ = [
    "PARQUET_SUFFIXES",
    "TABLE_SUFFIXES",
    "Block",
    "CellError",
    "Column",
    "Reading",
    "Sink",
    "Table",
    "TableWriter",
    "TextTable",
    "TimeFormat",
    "copy_rows",
    "find_format",
    "in_groups",
    "is_parquet",
    "is_time_name",
    "is_time_text",
    "open_table",
    "select",
    "sorted_parquet",
    "sorted_text",
    "table_suffix",
    "write_table",
]


def table_suffix(name: str) -> str | None:
    """Return the suffix of a table's name, with that of its compression; None if it is no table.

    Examples
    --------
    >>> table_suffix("a.b.csv.gz"), table_suffix("a.PARQUET"), table_suffix("a.gz")
    ('.csv.gz', '.parquet', None)
    """
    low = name.lower()
    return max((suffix for suffix in TABLE_SUFFIXES if low.endswith(suffix)), key=len, default=None)


def is_parquet(path: Path) -> bool:
    """Return whether a file begins as Parquet does.

    Raises
    ------
    FileError
        If the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from None


def open_table(path: Path, reading: Reading) -> Table:
    """Return the table in a file, known by how the file begins.

    Raises
    ------
    FileError
        If the file cannot be read.
    """
    return ParquetTable(path) if is_parquet(path) else TextTable(path, reading)


def write_table(
    path: Path,
    file: Sink,
    table: Table,
    columns: Sequence[str],
    suffix: str | None,
    executor: Executor,
    name: str,
) -> TableWriter:
    """Return what writes results into `file`, open at `path`, in the format of the original.

    Parameters
    ----------
    columns, suffix
        Names of the columns that the results are for; added with `suffix` unless that is None.
    name
        Of the result: its suffix says whether text is compressed.

    Raises
    ------
    FileError
        If the name asks for another format, or a column of that name exists already.
    """
    wanted = table_suffix(name) or ""
    taken = [one + suffix for one in columns if one + suffix in table.names] if suffix is not None else []
    if taken:
        raise FileError(f"{table.shown}: has a column {taken[0]!r} already; choose another suffix")
    if isinstance(table, ParquetTable):
        if wanted and wanted not in PARQUET_SUFFIXES:
            raise FileError(f"{table.shown}: is Parquet; its result stays Parquet and cannot be {wanted}")
        return ParquetWriter(path, table, columns, suffix)
    if wanted in PARQUET_SUFFIXES:
        raise FileError(f"{table.shown}: is text; its result stays text and cannot be {wanted}")
    packing = next((packed for packed in COMPRESSED_SUFFIXES if wanted.endswith(packed)), "")
    return TextWriter(file, table, columns, suffix, executor, packing)
