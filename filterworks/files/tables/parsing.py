"""Bytes of whole lines → rows: polars does the work, and what it would forgive is checked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from filterworks.files.tables.block import Block, CellError
from filterworks.files.tables.dialect import BOM, Dialect, not_utf8
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
            raise self._explained(text, back, error) from None
        block = Block(np.empty((frame.height, len(layout.values)), order="F"), frame)
        worst: CellError | None = None
        for place, position in enumerate(layout.values):
            found = self._numbers(block, place, position, back)
            if found is not None and (worst is None or found.row < worst.row):
                worst = found
        if worst is not None:
            raise worst
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
        taken = [n for n, name in enumerate(names) if n in wanted or n == last or name == ENDS]
        # polars drops a byte order mark wherever a block begins: a row before it keeps it.
        guard = (dialect.delimiter * last + NEWLINE) if text.startswith(BOM) else b""
        frame = pl.read_csv(
            guard + text if guard else text,
            has_header=False,
            schema=schema,
            columns=taken,
            separator=dialect.delimiter.decode(),
            quote_char=None,
        ).slice(1 if guard else 0)
        if frame[names[-1]].null_count():
            _check_fields(text, dialect.delimiter, len(names), count)
        return frame

    def _numbers(self, block: Block, place: int, position: int, back: Disguise | None) -> CellError | None:
        """Fill in the values of one column; return what is wrong with its first bad text."""
        import polars as pl

        raw = block.text(position).fill_null("")
        text = raw
        if back is not None:
            quoted = raw.str.starts_with('"')
            if quoted.any():
                block.quoted[position] = quoted
                text = text.str.strip_chars('"')
        text = text.str.strip_chars()
        values = numbers_of(text, self.layout.decimal)
        missing = missing_among(text, values, self.layout.null)
        bad = values.is_null() & ~missing
        if bad.any():
            row = int(bad.arg_true()[0])
            shown = back.undo_text(raw[row]) if back is not None else raw[row]
            shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"
            name = self.layout.dialect.names[position]
            return CellError(
                f"{shown!r} is not a number (missing values are empty, NaN, or named with --null; "
                "--columns chooses others)",
                row,
                name,
            )
        block.values[:, place] = values.set(missing, None).to_numpy()
        if missing.any() and (raw.filter(missing) != "").any():
            block.missing[position] = pl.select(pl.when(missing).then(raw).otherwise(pl.lit(""))).to_series()
        return None

    def _explained(self, text: bytes, back: Disguise | None, error: Exception) -> CellError:
        """Return what is wrong with lines that polars refuses, and where."""
        try:
            text.decode()
        except UnicodeDecodeError as wrong:
            row = text.count(NEWLINE, 0, wrong.start)
            start = text.rfind(NEWLINE, 0, wrong.start) + 1
            place = text.count(self.layout.dialect.delimiter, start, wrong.start)
            names = self.layout.dialect.names
            return CellError(not_utf8(text, wrong.start), row, names[min(place, len(names) - 1)])
        count = len(self.layout.dialect.names)
        try:
            _check_fields(text, self.layout.dialect.delimiter, count + bool(back and back.ends), count)
        except CellError as found:
            return found
        return CellError(" ".join(str(error).split())[:200], 0)


def _has_blanks(text: bytes, dialect: Dialect) -> bool:
    """Return whether there are cells of spaces and tabs alone; polars takes them for empty ones."""
    blank = b" \t\v\f".replace(dialect.delimiter, b"")
    around = re.escape(dialect.delimiter) + b"\r\n"
    return re.search(b"(?:^|[%s])[%s]+[%s]" % (around, blank, around), text) is not None


def numbers_of(text: pl.Series, decimal: str) -> pl.Series:
    """Return texts as numbers, null where they are none."""
    import polars as pl

    if decimal != ".":
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


def _check_fields(text: bytes, delimiter: bytes, fields: int, shown: int) -> None:
    """Refuse a row with too few or too many fields."""
    signs = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(signs == NEWLINE[0])
    marks = np.flatnonzero(signs == delimiter[0])
    counts = np.diff(np.searchsorted(marks, ends), prepend=0) + 1
    wrong = np.flatnonzero(counts != fields)
    if wrong.size:
        row = int(wrong[0])
        extra = fields - shown
        start = int(ends[row - 1]) + 1 if row else 0
        got = int(counts[row]) - extra
        blank = not text[start : int(ends[row])].strip()
        what = "is blank" if blank and got == 1 else f"has {got} field{'s' * (got != 1)}"
        raise CellError(f"{what} where the header has {shown}", row)


def _starts(text: bytes, back: Disguise | None) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return on which physical line each row begins, the first on 0."""
    assert back is not None  # noqa: S101  # only disguised text has rows of several lines
    signs = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(signs == NEWLINE[0])
    stand_ins = [code for code, sign in enumerate(back.table) if sign == NEWLINE[0] and code != NEWLINE[0]]
    hidden = np.flatnonzero(np.isin(signs, stand_ins))
    before = np.concatenate([[0], ends[:-1] + 1])
    return np.arange(ends.size) + np.searchsorted(hidden, before)
