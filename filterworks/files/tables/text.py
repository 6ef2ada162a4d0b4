"""Tables as text: CSV, TSV and their kin, read and written block by block."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from functools import cached_property
from pathlib import Path

from filterworks.errors import FileError
from filterworks.files.tables.block import Block, CellError
from filterworks.files.tables.compression import Source, opened
from filterworks.files.tables.dialect import Dialect, recognise
from filterworks.files.tables.options import Column, Reading
from filterworks.files.tables.parsing import Layout, Parser, missing_among, numbers_of
from filterworks.files.tables.plain import SLACK, Plain, Text, plain_kind, plain_texts, scan
from filterworks.files.tables.quoting import NEWLINE, QUOTE, last_line_end
from filterworks.files.tables.spares import SPARES

# What is looked at to find delimiter, names and dtypes.
_START = 1 << 20
# A header or a quoted field that is longer is a quote that never closes.
_LONGEST = 1 << 26
# Bytes of a block at most; rows, roughly; bytes at least where rows are short.
BLOCK, _ROWS, _LEAST = 1 << 20, 1 << 17, 1 << 18
# Texts of a column that are looked at to find out how a time is told.
_SHOWN = 100
# Blocks that are being parsed or wait for it: one is used, one is ready, one is in work.
_AHEAD = 3


class TextTable:
    """A table in a text file.

    Parameters
    ----------
    path
        Of the file, which may be compressed.
    reading
        How its text is to be taken.
    shown
        What messages call it, where that is not its path: a copy is called as its original.

    Attributes
    ----------
    trailer
        The blank lines after the last row, once that has been reached.
    share
        How much of the file the reading that is going on has read.
    """

    def __init__(self, path: Path, reading: Reading, shown: Path | None = None) -> None:
        self.path, self.reading, self.shown = path, reading, shown or path
        self.trailer, self.share = b"", 0.0

    @cached_property
    def _start(self) -> tuple[bytes, bool]:
        with opened(self.path) as (file, _):
            data = _exactly(file, _START)
            if data and b"\n" not in data:
                data += _exactly(file, _LONGEST)
            return data, len(data) < _START or not file.read(1)

    @cached_property
    def dialect(self) -> Dialect:
        """How the text holds its table."""
        return recognise(self.path, *self._start, self.reading)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return self.dialect.names

    @cached_property
    def columns(self) -> list[Column]:
        """The columns as the first rows show them: the kind of each is that of all of these."""
        plain = self._plain_sample
        if plain is not None:
            return [Column(name, plain_kind(plain, n)) for n, name in enumerate(self.names)]
        block = self._sample
        if block is None:
            return [Column(name, "empty") for name in self.names]
        return [Column(name, _kind(block, n, self.reading)) for n, name in enumerate(self.names)]

    @cached_property
    def _first(self) -> bytes:
        """The first rows."""
        start, whole = self._start
        body = start[len(self.dialect.preamble) :]
        body = body if whole else body[: last_line_end(body, 0, self.dialect.quotes)]
        return self._rows_of(body)

    @cached_property
    def _plain_sample(self) -> Plain | None:
        """The first rows where all of their columns are numbers."""
        text = self._first
        if not text:
            return None
        text = text if text.endswith(NEWLINE) else text + NEWLINE
        dialect = self.dialect
        signs = (dialect.delimiter, self.reading.decimal)
        count = len(dialect.names)
        return scan(Text.of(text), count, range(count), signs, self.reading.null, dialect.quotes)

    @cached_property
    def _sample(self) -> Block | None:
        """The first rows, all columns as text; None for a header alone."""
        body = self._first
        if not body:
            return None
        parser = Parser(Layout(self.dialect, (), tuple(range(len(self.names)))))
        try:
            return parser.parse(Text.of(body))
        except CellError as error:
            raise self.fault(self.dialect.lines + 1 + error.row, error.column, str(error)) from None

    def _rows_of(self, data: bytes) -> bytes:
        """Return lines without the blank ones at their end, unless these are rows of a single column."""
        return data if len(self.names) == 1 else without_blank_end(data)

    def sample(self, name: str) -> list[str]:
        """Return the first texts of a column that are not empty, without quotes."""
        plain = self._plain_sample
        if plain is not None:
            return plain_texts(plain, self.names.index(name), _SHOWN)
        block = self._sample
        if block is None:
            return []
        texts = block.text(self.names.index(name)).fill_null("").str.strip_chars()
        if self.dialect.quotes:
            texts = texts.str.strip_chars('"')
        return texts.filter(texts != "").head(_SHOWN).to_list()

    def fault(self, line: int, column: str | None, message: str) -> FileError:
        """Return the error that names file, line and column."""
        place = f"{self.shown}: line {line}" + (f", column {column!r}" if column is not None else "")
        return FileError(f"{place}: {message}")

    def blocks(
        self,
        values: Sequence[str],
        texts: Sequence[str],
        executor: Executor,
        *,
        looked: Sequence[str] | None = None,
        size: int | None = None,
    ) -> Iterator[Block]:
        """Yield the rows in order; blocks are parsed ahead by the executor.

        Parameters
        ----------
        values, texts
            Names of the columns wanted as numbers, and as they stand.
        looked
            Those of `texts` whose text is looked at, not only written again; None: all.
        size
            Bytes of a block; `BLOCK`, less where rows are short, unless given.

        Raises
        ------
        FileError
            With file, line and column.
        """
        wanted = (values, texts, texts if looked is None else looked)
        places = {name: place for place, name in enumerate(self.names)}
        numbers, kept, seen = (tuple(places[name] for name in names) for names in wanted)
        reading = self.reading
        parser = Parser(Layout(self.dialect, numbers, kept, seen, reading.null, reading.decimal))
        line = self.dialect.lines + 1
        try:
            for future in _ahead(executor, parser.parse, self._texts(size or self._block)):
                block = future.result()
                block.first_line = line
                line += block.lines
                yield block
        except CellError as error:
            raise self.fault(line + error.row, error.column, str(error)) from None

    @property
    def _block(self) -> int:
        """Bytes of a block: as numbers, short rows take many times the memory of their text."""
        rows = self._first.count(NEWLINE)
        return min(BLOCK, max(_ROWS * len(self._first) // rows, _LEAST)) if rows else BLOCK

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield whole lines; what a file holds after its last row is left out."""
        return (text.lines() for text in self._texts(size))

    def _texts(self, size: int) -> Iterator[Text]:
        dialect = self.dialect
        with opened(self.path) as (file, share):
            _exactly(file, len(dialect.preamble))
            rest = b""
            while True:
                start = len(rest)
                whole = SPARES.take_text(start + size + SLACK)
                whole[:start] = rest
                with memoryview(whole) as room:
                    end = start + file.readinto(room[start : start + size])
                if end == start:
                    break
                cut = self._cut(whole, start, end)
                rest = bytes(whole[cut:end])
                if cut:
                    yield Text(whole, cut)
                self.share = share()
            rows = self._rows_of(rest)
            if rows:
                yield Text.of(rows)
            self.trailer = rest[len(rows) :]

    def _cut(self, whole: bytearray, searched: int, end: int) -> int:
        """Return how many bytes before `end` are whole rows, blank lines at their end left for later."""
        cut = last_line_end(whole, searched, self.dialect.quotes, end)
        if not cut and end > _LONGEST:
            opening = whole.rfind(QUOTE, 0, end) if self.dialect.quotes else -1
            what = "a quote opens here and does not close" if opening >= 0 else "has no end"
            row = whole.count(NEWLINE, 0, max(opening, 0))
            raise CellError(f"{what} within {_LONGEST >> 20} MiB", row)
        # One line end at the end is that of a row; before more of them, a blank line.
        is_row = not whole[max(cut - 3, 0) : cut].endswith((b"\n\n", b"\n\r\n")) and cut > 2
        return cut if is_row else len(self._rows_of(bytes(whole[:cut])))


def without_blank_end(data: bytes) -> bytes:
    """Return lines without the blank ones at their end.

    Examples
    --------
    >>> without_blank_end(b"a\\r\\nb\\r\\n\\r\\n\\n")
    b'a\\r\\nb\\r\\n'
    """
    stripped = len(data.rstrip(b"\r\n"))
    return data[: data.find(NEWLINE, stripped) + 1 or len(data)] if stripped else b""


def _ahead(
    executor: Executor, parse: Callable[[Text], Block], pieces: Iterator[Text]
) -> Iterator[Future[Block]]:
    waiting: deque[Future[Block]] = deque()
    failure: Exception | None = None
    try:
        while True:
            try:
                piece = next(pieces, None)
            except (CellError, FileError) as error:  # told after what comes before it
                piece, failure = None, error
            if piece is None:
                break
            waiting.append(executor.submit(parse, piece))
            if len(waiting) == _AHEAD:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
        if failure is not None:
            raise failure
    finally:
        for future in waiting:
            future.cancel()


def _exactly(file: Source, size: int) -> bytes:
    """Return so many bytes, fewer only at the end of the file."""
    parts = []
    while size and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _kind(block: Block, position: int, reading: Reading) -> str:
    """Return what the texts of a column are: the narrowest kind that fits them all."""
    import polars as pl

    text = block.text(position).fill_null("").str.strip_chars()
    if block.disguise is not None:
        text = text.str.strip_chars('"').str.strip_chars()
    numbers = numbers_of(text, reading.decimal)
    missing = missing_among(text, numbers, reading.null)
    if missing.all():
        return "empty"
    words = int((numbers.is_null() & ~missing).sum())
    if words:
        return "mixed" if 2 * words < int((~missing).sum()) else "text"
    whole = text.cast(pl.Int64, strict=False)
    return "float" if (whole.is_null() & ~missing).any() else "integer"
