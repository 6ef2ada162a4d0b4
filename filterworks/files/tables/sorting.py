"""Rows of a table in another order: whole lines of text, moved and not touched."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from filterworks.arguments import Array
from filterworks.files.tables.parquet import ParquetTable
from filterworks.files.tables.quoting import NEWLINE, QUOTE
from filterworks.files.tables.text import BLOCK, TextTable

# Rows that are brought together at once.
_ROWS = 1 << 16


def row_ends(data: bytes, quotes: bool) -> Array:
    """Return the positions after the line ends outside of quotes.

    Examples
    --------
    >>> row_ends(b'1,"a\\nb"\\n2,c\\n', True)
    array([ 8, 12])
    """
    signs = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(signs == NEWLINE[0])
    if quotes and QUOTE in data:
        marks = np.flatnonzero(signs == QUOTE[0])
        ends = ends[np.searchsorted(marks, ends) % 2 == 0]
    return ends + 1


def sorted_text(table: TextTable, seconds: Array, place: Path) -> TextTable:
    """Return a copy of `table` at `place` whose rows ascend by `seconds`, equal ones in their old order.

    The rows stay on disk; their places and times take 24 bytes of memory each.
    """
    spool = place.with_name(place.name + "-rows")
    dialect = table.dialect
    ends = [np.zeros(1, np.int64)]
    ended, total = True, 0
    with spool.open("wb") as file:
        for piece in table.pieces(BLOCK):
            ended = piece.endswith(NEWLINE)
            piece = piece if ended else piece + dialect.newline
            ends.append(row_ends(piece, dialect.quotes) + total)
            total += file.write(piece)
    places = np.concatenate(ends)
    order = np.argsort(seconds, kind="stable")
    with place.open("wb") as file:
        file.write(dialect.preamble)
        if total:
            _move(spool, places, order, file.write)
        if not ended:
            file.truncate(file.tell() - len(dialect.newline))
            file.seek(0, 2)
        file.write(table.trailer)
    spool.unlink()
    return TextTable(place, replace(table.reading, delimiter=dialect.delimiter.decode()), table.shown)


def _move(spool: Path, places: Array, order: Array, write: Callable[[bytes], object]) -> None:
    with spool.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as rows:
        for first in range(0, order.size, _ROWS):
            chosen = order[first : first + _ROWS]
            spans = zip(places[chosen].tolist(), places[chosen + 1].tolist(), strict=True)
            write(b"".join([rows[start:end] for start, end in spans]))


def in_groups(table: TextTable | ParquetTable, groups: Array, place: Path) -> TextTable | ParquetTable:
    """Return a copy of `table` at `place` where rows of the same number in `groups` follow each other."""
    import polars as pl

    if isinstance(table, TextTable):
        return sorted_text(table, groups, place)
    pl.read_parquet(table.path)[np.argsort(groups, kind="stable")].write_parquet(place)
    return ParquetTable(place, table.shown)


def sorted_parquet(table: ParquetTable, name: str, place: Path) -> ParquetTable:
    """Return a copy of `table` at `place` whose rows ascend by the column `name`."""
    import polars as pl

    pl.scan_parquet(table.path).sort(name, maintain_order=True).sink_parquet(place)
    return ParquetTable(place, table.shown)
