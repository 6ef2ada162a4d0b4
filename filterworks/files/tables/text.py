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
from filterworks.files.tables.parsing import Layout, Parser, kinds_of
from filterworks.files.tables.plain import SLACK, Plain, Text, plain_kinds, plain_texts, scan
from filterworks.files.tables.quoting import NEWLINE, QUOTE, last_line_end
from filterworks.files.tables.spares import SPARES

# What is looked at to find delimiter, names and dtypes; where rows are long, more of it, until there are
# some lines, or at least the header and a row.
_START, _MORE, _LINES = 1 << 20, 1 << 23, 16
# A header or a quoted field that is longer is a quote that never closes.
_LONGEST = 1 << 26
# Bytes of a block at most; rows, roughly; bytes at least where rows are short.
BLOCK, _ROWS, _LEAST = 1 << 20, 1 << 17, 1 << 18
# A row that is longer is long: a block takes some of them, or so many bytes.
_LONG, _WIDEST = 1 << 16, 1 << 23
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

    # What messages count.
    unit = "line"

    def __init__(self, path: Path, reading: Reading, shown: Path | None = None) -> None:
        self.path, self.reading, self.shown = path, reading, shown or path
        self.trailer, self.share = b"", 0.0

    @cached_property
    def _start(self) -> tuple[bytes, bool]:
        with opened(self.path) as (file, _):
            data = _exactly(file, _START)
            while len(data) < _LONGEST and data.count(NEWLINE) < (_LINES if len(data) < _MORE else 2):
                more = _exactly(file, len(data))
                if not more:
                    break
                data += more
            return data, not file.read(1)

    @cached_property
    def dialect(self) -> Dialect:
        """How the text holds its table."""
        dialect = recognise(self.path, *self._start, self.reading)
        if dialect.delimiter == self.reading.decimal.encode() and not dialect.quotes:
            raise FileError(
                f"{self.shown}: a {self.reading.decimal} cannot separate columns and stand before decimals "
                "without quotes"
            )
        return dialect

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return self.dialect.names

    @cached_property
    def places(self) -> dict[str, int]:
        """Where each column stands, by name."""
        return {name: place for place, name in enumerate(self.names)}

    @property
    def row_size(self) -> int:
        """Bytes of a row, roughly."""
        return len(self._first) // max(self._first.count(NEWLINE), 1) + 1

    @cached_property
    def columns(self) -> list[Column]:
        """The columns as the first rows show them: the kind of each is that of all of these."""
        plain = self._plain_sample
        if plain is not None:
            return [Column(*both) for both in zip(self.names, plain_kinds(plain), strict=True)]
        block = self._sample
        if block is None:
            return [Column(name, "empty") for name in self.names]
        assert block.frame is not None  # noqa: S101  # all columns were asked for as text
        kinds = kinds_of(block.frame, len(self.names), self.reading, block.disguise)
        return [Column(*both) for both in zip(self.names, kinds, strict=True)]

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
        if not text or self.dialect.delimiter == self.reading.decimal.encode():
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
        """Return some of the first texts of a column that are not empty, without quotes."""
        plain = self._plain_sample
        if plain is not None:
            return plain_texts(plain, self.places[name], _SHOWN)
        block = self._sample
        if block is None:
            return []
        column = block.text(self.places[name])
        for rows in (_SHOWN, len(column)):
            texts = [block.bare((text or "").strip()) for text in column.head(rows).to_list()]
            if any(texts):
                return list(filter(None, texts))
        return []

    def fault(self, line: int, column: str | None, message: str) -> FileError:
        """Return the error that names file, line and column."""
        place = f"{self.shown}: {self.unit} {line}" + (f", column {column!r}" if column is not None else "")
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
        numbers, kept, seen = (tuple(self.places[name] for name in names) for names in wanted)
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
        """Bytes of a block: as numbers, short rows take many times the memory of their text.

        Of long rows it takes several, as each of their many columns takes some time once a block.
        """
        if self.row_size > _LONG:
            return max(BLOCK, min(_LINES * self.row_size, _WIDEST))
        return min(BLOCK, max(_ROWS * self.row_size, _LEAST))

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
                size = max(size, start)  # of a long row ever more, not to move its beginning each time
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
