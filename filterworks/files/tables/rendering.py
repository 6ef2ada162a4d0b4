"""Rows → bytes: what was not filtered as it stood, results as the shortest text that reads back the same."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from filterworks.arguments import Array
from filterworks.files.tables.block import Block
from filterworks.files.tables.dialect import Dialect
from filterworks.files.tables.parsing import ENDS
from filterworks.files.tables.plain import render_plain

if TYPE_CHECKING:
    import polars as pl


def render(
    block: Block, results: Array, positions: Sequence[int], dialect: Dialect, adds: bool, decimal: str = "."
) -> bytes | memoryview:
    """Return the lines of a block.

    Parameters
    ----------
    block, results
        The rows, and ``(rows, columns)`` of what was made of their values.
    positions
        Where in the table the columns of the results stand.
    adds
        Whether the results are further columns at the end of each row rather than in place.
    decimal
        What stands before the decimals.
    """
    if block.plain is not None:
        data = render_plain(block.plain, results, (dialect.delimiter, decimal), adds=adds)
        return data if block.ended else data[:-1]  # a newline was added, whatever stood before it
    return _by_polars(block, results, positions, dialect, adds, decimal)


def _by_polars(
    block: Block, results: Array, positions: Sequence[int], dialect: Dialect, adds: bool, decimal: str
) -> bytes:
    import polars as pl

    assert block.frame is not None  # noqa: S101  # rows that are not plain have one
    made = {
        position: _series(block, results[:, n], position, (dialect.delimiter, decimal))
        for n, position in enumerate(positions)
    }
    columns = [
        made[n] if n in made and not adds else block.text(n).rename(str(n)) for n in range(len(dialect.names))
    ]
    if adds:
        columns += [series.rename(f"+{position}") for position, series in made.items()]
    if ENDS in block.frame.columns:
        columns.append(block.frame[ENDS])
    text = io.BytesIO()
    pl.DataFrame(columns).write_csv(
        text,
        include_header=False,
        separator=dialect.delimiter.decode(),
        line_terminator=block.newline.decode(),
        quote_style="never",
    )
    data = text.getvalue()
    if not block.ended:
        data = data[:-1]  # as above
    return data if block.disguise is None else block.disguise.undo(data)


def _series(block: Block, values: Array, position: int, signs: tuple[bytes, str]) -> pl.Series:
    """Return results as numbers, or as text where missing values or quotes must stay as they were."""
    import polars as pl

    numbers = pl.Series(str(position), np.ascontiguousarray(values), nan_to_null=True)
    missing, quoted = block.missing.get(position), block.quoted.get(position)
    delimiter, decimal = signs
    if missing is None and quoted is None and decimal == ".":
        return numbers
    text = numbers.cast(pl.String)
    if decimal != ".":
        text = text.str.replace(".", decimal, literal=True)
    if delimiter == decimal.encode():
        parted = text.str.contains(decimal, literal=True).fill_null(False)
        quoted = parted if quoted is None else quoted | parted
    if quoted is not None:
        text = pl.select(pl.when(quoted).then('"' + text.fill_null("") + '"').otherwise(text)).to_series()
    if missing is not None:
        # A result that is missing where a value stood keeps that value's quotes.
        stays = numbers.is_null() & (missing != "")
        text = pl.select(pl.when(stays).then(missing).otherwise(text)).to_series()
    return text.rename(str(position))
