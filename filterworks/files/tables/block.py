"""Some rows of a table: numbers to be filtered, and everything else as it stood."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from filterworks.arguments import Array
from filterworks.errors import FileError
from filterworks.files.tables.plain import Plain
from filterworks.files.tables.quoting import Disguise, unquoted

if TYPE_CHECKING:
    import polars as pl


class CellError(FileError):
    """What is wrong with one place of a table; the table puts file and line in front.

    Attributes
    ----------
    row
        Counted from 0 in its block, in physical lines.
    column
        Its name, or None for the whole row.
    """

    def __init__(self, message: str, row: int, column: str | None = None) -> None:
        self.row, self.column = row, column
        super().__init__(message)


@dataclass
class Block:
    """Rows that follow each other.

    Attributes
    ----------
    values
        ``(rows, columns)`` of the columns to be filtered, each in one piece, NaN where a value is missing.
    frame
        The other columns, by position as ``"0"``, ``"1"``, …: raw text, or typed in Parquet. Of plain rows
        those alone that are looked at; None if there are none.
    plain
        The text that the rows came in, if it is plain.
    missing
        By position: how a column's missing values are written, where not all of them are empty.
    quoted
        By position: where the values of a column stand in quotes.
    disguise
        How to bring the text back; None where it was plain.
    newline
        The line end of its lines.
    first_line
        Physical line of the first row, the header being line 1 (Parquet: number of the row).
    lines
        How many physical lines it takes, if more than rows.
    starts
        Physical line of each row counted from the first, where rows take more than one.
    ended
        Whether the last line has its line end.
    """

    values: Array
    frame: pl.DataFrame | None
    plain: Plain | None = None
    missing: dict[int, pl.Series] = field(default_factory=dict)
    quoted: dict[int, pl.Series] = field(default_factory=dict)
    disguise: Disguise | None = None
    newline: bytes = b"\n"
    first_line: int = 0
    lines: int = 0
    starts: Array | None = None
    ended: bool = True

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.values)

    def line(self, row: int) -> int:
        """Return the physical line of a row."""
        return self.first_line + (row if self.starts is None else int(self.starts[row]))

    def bare(self, text: str) -> str:
        """Return what one of its texts says: without quotes, what stood inside of them as it was."""
        if self.disguise is None:
            return text
        text = self.disguise.undo_text(text)
        return unquoted(text) if self.is_quoted else text

    def bare_texts(self, position: int) -> pl.Series:
        """Return what the texts of a column say, as :meth:`bare` does."""
        texts = self.text(position)
        if self.disguise is None or not self.disguise.quotes:
            return texts
        for stand_in, sign in self.disguise.stand_ins:
            texts = texts.str.replace_all(stand_in, sign, literal=True)
        return texts.str.strip_chars('"')

    @property
    def is_quoted(self) -> bool:
        """Whether its texts may stand in quotes."""
        return self.disguise is not None and self.disguise.quotes

    def text(self, position: int) -> pl.Series:
        """Return the untouched column at a position of the table."""
        assert self.frame is not None  # noqa: S101  # it was asked for
        return self.frame[str(position)]
