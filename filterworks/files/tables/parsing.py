"""Bytes of whole lines → rows: polars does the work, and what it would forgive is checked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from filterworks.arguments import Array
from filterworks.files.tables.block import Block, CellError
from filterworks.files.tables.dialect import BOM, Dialect, not_utf8
from filterworks.files.tables.options import Reading
from filterworks.files.tables.plain import Text, scan
from filterworks.files.tables.quoting import (
    NEWLINE,
    RETURN,
    Disguise,
    QuoteError,
    disguise,
    is_plain,
)

if TYPE_CHECKING:
    import polars as pl

ENDS = "ends"
_SHOWN = 40


@dataclass(frozen=True)
class Layout:
    """What a parser is to make of the columns.

    Attributes
    ----------
    dialect
        Of the text.
    values
        Positions of the columns that are numbers to be filtered.
    texts
        Positions of the columns that are kept as text.
    looked
        Positions of those whose text is looked at; the others are only written again.
    null, decimal
        As in :class:`~filterworks.files.tables.options.Reading`.
    """

    dialect: Dialect
    values: tuple[int, ...]
    texts: tuple[int, ...]
    looked: tuple[int, ...] = ()
    null: tuple[str, ...] = ()
    decimal: str = "."


class Parser:
    """Parses blocks of one table, from several threads; remembers when numbers need the careful way."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        # A number among the names of missing values may be written in several ways.
        self._careful = layout.decimal != "." or any(_is_number(name) for name in layout.null)

    def parse(self, text: Text) -> Block:
        """Return the rows of whole lines.

        Raises
        ------
        CellError
            Where a row has too few or too many fields, a number is none, quotes do not fit, or a byte
            is not UTF-8.
        """
        ended = text.data[text.size - 1 : text.size] == NEWLINE
        if not ended:
            text = Text.of(text.lines() + NEWLINE)
        block = self._scanned(text) if self.layout.values else None
        if block is None:
            return self._careful_parse(text.lines(), ended)
        is_crlf = text.data[max(text.size - 2, 0) : text.size] == RETURN + NEWLINE
        block.newline = RETURN + NEWLINE if is_crlf else NEWLINE
        block.ended, block.lines = ended, block.rows
        return block

    def _careful_parse(self, data: bytes, ended: bool) -> Block:
        """Return rows that are not plain, or that no loop takes apart."""
        dialect = self.layout.dialect
        back: Disguise | None = None
        text = data
        if not is_plain(text, dialect.quotes):
            try:
                text, back = disguise(text, dialect.delimiter, dialect.quotes)
            except QuoteError as error:
                raise CellError(str(error), data.count(NEWLINE, 0, error.position)) from None
        try:
            block = self._rows(text, back)
        except CellError as error:
            if back is not None:
                error.row = int(_starts(text, back)[error.row])
            raise
        block.newline = RETURN + NEWLINE if text.endswith(RETURN + NEWLINE) else NEWLINE
        block.disguise, block.ended = back, ended
        block.lines = data.count(NEWLINE) if back is not None else block.rows
        if block.lines != block.rows:
            block.starts = _starts(text, back)
        return block

    def _rows(self, text: bytes, back: Disguise | None) -> Block:
        careful = self._careful or back is not None
        if not careful:
            block = self._direct(text)
            if block is not None:
                return block
        if back is None:
            self._careful = True
        return self._by_text(text, back)

    def _scanned(self, text: Text) -> Block | None:
        """Take plain rows apart by a compiled loop; None where that cannot be."""
        layout = self.layout
        dialect = layout.dialect
        signs = (dialect.delimiter, layout.decimal)
        if dialect.delimiter == layout.decimal.encode():  # numbers with decimals stand in quotes
            return None
        plain = scan(text, len(dialect.names), layout.values, signs, layout.null, dialect.quotes)
        if plain is None:
            return None
        frame = self._read(text.lines(), layout.looked, {}, None) if layout.looked else None
        return Block(plain.lines.T, frame, plain)

    def _direct(self, text: bytes) -> Block | None:
        """Let polars read the numbers; None where the texts themselves must be looked at."""
        import polars as pl

        layout = self.layout
        numbers = [position for position in layout.values if position not in layout.texts]
        if len(numbers) != len(layout.values):
            return None
        try:
            frame = self._read(text, (*numbers, *layout.texts), {n: pl.Float64() for n in numbers}, None)
        except pl.exceptions.PolarsError:
            return None
        values = np.empty((frame.height, 0))  # what polars knows of no columns is no height
        if numbers:
            values = frame.select(str(n) for n in numbers).to_numpy(order="fortran")
        absent = sum(frame[str(n)].null_count() for n in numbers)
        if np.count_nonzero(np.isnan(values)) > absent or (absent and _has_blanks(text, layout.dialect)):
            return None  # how NaN and blanks were written must be kept
        return Block(values, frame.select(str(n) for n in layout.texts))

    def _by_text(self, text: bytes, back: Disguise | None) -> Block:
        """Read every column as text, then make numbers of it with everything that may stand around them."""
        import polars as pl

        layout = self.layout
        wanted = tuple(sorted({*layout.values, *layout.texts}))
        try:
            frame = self._read(text, wanted, {}, back)
        except pl.exceptions.PolarsError as error:
            raise self._explained(text, error) from None
        block = Block(np.empty((frame.height, len(layout.values)), order="F"), frame)
        if layout.values:
            self._fill(block, frame, back)
        kept = {*map(str, layout.texts), *({ENDS} if back is not None and back.ends else ())}
        block.frame = frame.select(name for name in frame.columns if name in kept)
        return block

    def _read(
        self, text: bytes, wanted: Sequence[int], dtypes: dict[int, pl.DataType], back: Disguise | None
    ) -> pl.DataFrame:
        """Split the lines; a row with too few fields shows as nothing in its last column."""
        import polars as pl

        dialect = self.layout.dialect
        count = len(dialect.names)
        schema: dict[str, pl.DataType] = {str(n): dtypes.get(n, pl.String()) for n in range(count)}
        if back is not None and back.ends:
            schema[ENDS] = pl.String()
        names = list(schema)
        last = len(names) - 1
        taken = sorted({*wanted, last})
        # polars drops a byte order mark wherever a block begins: a row before it keeps it.
        guard = (dialect.delimiter * last + NEWLINE) if text.startswith(BOM) else b""
        self._check_fields(text, len(names))
        return pl.read_csv(
            guard + text if guard else text,
            has_header=False,
            schema=schema,
            columns=taken,
            separator=dialect.delimiter.decode(),
            quote_char=None,
        ).slice(1 if guard else 0)

    def _fill(self, block: Block, frame: pl.DataFrame, back: Disguise | None) -> None:
        """Fill in the values, all columns at once: one by one, thousands of them take their time."""
        positions = self.layout.values
        raw = one_under_another(frame, positions)
        text = raw
        if back is not None and back.quotes:
            text = raw.str.strip_chars('"')
            quoted = raw.str.starts_with('"')
            for place in _columns_with(quoted, len(positions)):
                block.quoted[positions[place]] = quoted.slice(place * frame.height, frame.height)
        text = text.str.strip_chars()
        values = numbers_of(text, self.layout.decimal, back)
        missing = missing_among(text, values, self.layout.null)
        bad = values.is_null() & ~missing
        if bad.any():
            row, place = np.argwhere(_by_column(bad, len(positions)).T)[0].tolist()
            raise self._no_number(raw[place * frame.height + row], row, positions[place], back)
        block.values[:] = _by_column(values.set(missing, None), len(positions)).T
        written = missing & (raw != "")
        for place in _columns_with(written, len(positions)):
            texts = raw.set(~missing, "").slice(place * frame.height, frame.height)
            block.missing[positions[place]] = texts

    def _no_number(self, text: str, row: int, position: int, back: Disguise | None) -> CellError:
        shown = back.undo_text(text) if back is not None else text
        shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"
        return CellError(
            f"{shown!r} is not a number (missing values are empty, NaN, or named with --null; "
            "--columns chooses others)",
            row,
            self.layout.dialect.names[position],
        )

    def _explained(self, text: bytes, error: Exception) -> CellError:
        """Return what is wrong with lines that polars refuses, and where."""
        return self._not_utf8(text) or CellError(" ".join(str(error).split())[:200], 0)

    def _not_utf8(self, text: bytes) -> CellError | None:
        """Return where the first byte is that is not UTF-8, if there is one."""
        try:
            text.decode()
        except UnicodeDecodeError as wrong:
            row = text.count(NEWLINE, 0, wrong.start)
            start = text.rfind(NEWLINE, 0, wrong.start) + 1
            place = text.count(self.layout.dialect.delimiter, start, wrong.start)
            names = self.layout.dialect.names
            return CellError(not_utf8(text, wrong.start), row, names[min(place, len(names) - 1)])
        return None

    def _check_fields(self, text: bytes, fields: int) -> None:
        """Refuse a row with too few or too many fields, before polars takes much time over it.

        `fields` is what a row has here, the last of which may say how lines end.
        """
        signs = np.frombuffer(text, np.uint8)
        ends = np.flatnonzero(signs == NEWLINE[0])
        marks = np.flatnonzero(signs == self.layout.dialect.delimiter[0])
        counts = np.diff(np.searchsorted(marks, ends), prepend=0) + 1
        wrong = np.flatnonzero(counts != fields)
        if not wrong.size:
            return
        row, shown = int(wrong[0]), len(self.layout.dialect.names)
        start, end = int(ends[row - 1]) + 1 if row else 0, int(ends[row])
        got = int(counts[row]) - (fields - shown)
        blank = got == 1 and not text[start:end].strip()
        what = "is blank" if blank else f"has {got} field{'s' * (got != 1)}"
        raise self._not_utf8(text[:end]) or CellError(f"{what} where the header has {shown}", row)


def _has_blanks(text: bytes, dialect: Dialect) -> bool:
    """Return whether there are cells of spaces and tabs alone; polars takes them for empty ones."""
    blank = b" \t\v\f".replace(dialect.delimiter, b"")
    around = re.escape(dialect.delimiter) + b"\r\n"
    return re.search(b"(?:^|[%s])[%s]+[%s]" % (around, blank, around), text) is not None


def one_under_another(frame: pl.DataFrame, positions: Sequence[int]) -> pl.Series:
    """Return the texts of columns, those of the first before those of the second."""
    return frame.unpivot(on=[str(position) for position in positions])["value"].fill_null("")


def _by_column(series: pl.Series, columns: int) -> Array:
    """Return what :func:`one_under_another` gave, a line for each column."""
    return np.asarray(series.to_numpy()).reshape(columns, -1)


def _columns_with(marks: pl.Series, columns: int) -> list[int]:
    """Return which columns hold a mark."""
    found: list[int] = np.flatnonzero(_by_column(marks, columns).any(axis=1)).tolist()
    return found


def kinds_of(frame: pl.DataFrame, columns: int, reading: Reading, back: Disguise | None) -> list[str]:
    """Return what the texts of each column are: the narrowest kind that fits them all."""
    import polars as pl

    text = one_under_another(frame, range(columns)).str.strip_chars()
    if back is not None and back.quotes:
        text = text.str.strip_chars('"').str.strip_chars()
    numbers = numbers_of(text, reading.decimal, back)
    missing = missing_among(text, numbers, reading.null)
    words = _by_column(numbers.is_null() & ~missing, columns).sum(axis=1)
    there = _by_column(~missing, columns).sum(axis=1)
    broken = _by_column(text.cast(pl.Int64, strict=False).is_null() & ~missing, columns).any(axis=1)
    kinds = np.where(broken, "float", "integer")
    kinds = np.where(words > 0, np.where(2 * words < there, "mixed", "text"), kinds)
    found: list[str] = np.where(there == 0, "empty", kinds).tolist()
    return found


def numbers_of(text: pl.Series, decimal: str, back: Disguise | None) -> pl.Series:
    """Return texts as numbers, null where they are none."""
    import polars as pl

    if decimal != ".":
        for stand_in, sign in [] if back is None else back.stand_ins:
            if sign == decimal:  # it separates the columns too
                text = text.str.replace(stand_in, sign, literal=True)
        # With a comma before the decimals, a point is no part of a number.
        text = text.str.replace_all(".", "?", literal=True).str.replace(decimal, ".", literal=True)
    return text.cast(pl.Float64, strict=False)


def missing_among(text: pl.Series, values: pl.Series, null: tuple[str, ...]) -> pl.Series:
    """Return where nothing is written, NaN, or one of the names for a missing value."""
    missing = (text == "") | values.is_nan().fill_null(False)
    if null:
        missing |= text.is_in(list(null))
        numbers = [float(name) for name in null if _is_number(name)]
        if numbers:
            missing |= values.is_in(numbers).fill_null(False)
    return missing


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _starts(text: bytes, back: Disguise | None) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return on which physical line each row begins, the first on 0."""
    assert back is not None  # noqa: S101  # only disguised text has rows of several lines
    signs = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(signs == NEWLINE[0])
    stand_ins = [code for code, sign in enumerate(back.table) if sign == NEWLINE[0] and code != NEWLINE[0]]
    hidden = np.flatnonzero(np.isin(signs, stand_ins))
    before = np.concatenate([[0], ends[:-1] + 1])
    return np.arange(ends.size) + np.searchsorted(hidden, before)
