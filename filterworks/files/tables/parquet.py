"""Parquet: typed columns, read and written a few rows at a time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from filterworks.arguments import Array
from filterworks.errors import FileError
from filterworks.files.tables.block import Block
from filterworks.files.tables.options import Column

if TYPE_CHECKING:
    import polars as pl

# Rows of a block at most; of wide tables as many as hold so many values, but some at least.
ROWS, _VALUES, _LEAST = 1 << 18, 1 << 22, 1 << 6
MAGIC = b"PAR1"
# Values that are looked at to find out how a time is told.
_SAMPLE = 100


class ParquetTable:
    """A table in a Parquet file.

    Parameters
    ----------
    path
        Of the file.
    shown
        What messages call it, where that is not its path: a copy is called as its original.

    Attributes
    ----------
    share
        How much of the file the reading that is going on has read.
    """

    # What messages count.
    unit = "row"

    def __init__(self, path: Path, shown: Path | None = None) -> None:
        self.path, self.shown, self.share = path, shown or path, 0.0

    @cached_property
    def schema(self) -> pl.Schema:
        """Names and dtypes of the columns."""
        import polars as pl

        try:
            return pl.read_parquet_schema(self.path)  # type: ignore[return-value]  # a dict of the same
        except pl.exceptions.PolarsError as error:
            raise FileError(f"{self.shown}: is damaged or no Parquet file: {_line(error)}") from None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(self.schema)

    @property
    def row_size(self) -> int:
        """Bytes of a row, roughly."""
        return 8 * max(len(self.schema), 1)

    @cached_property
    def columns(self) -> list[Column]:
        """The columns with their kinds."""
        return [Column(name, _kind(dtype)) for name, dtype in self.schema.items()]

    def fault(self, line: int, column: str | None, message: str) -> FileError:
        """Return the error that names file, row and column."""
        place = f"{self.shown}: {self.unit} {line}" + (f", column {column!r}" if column is not None else "")
        return FileError(f"{place}: {message}")

    def sample(self, name: str) -> list[str]:
        """Return the first values of a column as text; nothing where they are neither text nor numbers."""
        import polars as pl

        dtype = self.schema[name]
        if not (dtype.is_numeric() or dtype == pl.String):
            return []
        first = pl.scan_parquet(self.path).select(pl.col(name).head(_SAMPLE).cast(pl.String)).collect()
        return [text or "" for text in first[name].to_list()]

    def blocks(
        self,
        values: Sequence[str],
        texts: Sequence[str],
        executor: Executor,
        *,
        looked: Sequence[str] | None = None,  # all columns are at hand here
        size: int | None = None,
    ) -> Iterator[Block]:
        """Yield the rows in order, `size` (`ROWS` unless given) at a time; the first is row 1."""
        import polars as pl

        wanted = list(dict.fromkeys([*values, *texts]))
        scan = pl.scan_parquet(self.path).select(wanted)
        start, size = 0, size or min(ROWS, max(_VALUES // len(self.schema), _LEAST))
        batches = (scan.slice(first, size) for first in range(0, self._rows, size))
        ahead = executor.submit(_collected, next(batches)) if self._rows else None
        while ahead is not None:
            following = next(batches, None)
            current, ahead = ahead, executor.submit(_collected, following) if following is not None else None
            try:
                frame = current.result()
            except pl.exceptions.PolarsError as error:
                raise FileError(f"{self.shown}: is damaged: {_line(error)}") from None
            yield self._block(frame, values, texts, start + 1)
            start += frame.height
            self.share = start / self._rows

    @cached_property
    def _rows(self) -> int:
        import polars as pl

        return int(pl.scan_parquet(self.path).select(pl.len()).collect().item())

    def _block(self, frame: pl.DataFrame, values: Sequence[str], texts: Sequence[str], first: int) -> Block:
        import polars as pl

        numbers = np.empty((frame.height, len(values)), order="F")
        for place, name in enumerate(values):
            dtype = self.schema[name]
            if not (dtype.is_numeric() or dtype == pl.Boolean):
                raise FileError(f"{self.shown}: column {name!r}: is {dtype}, not a number")
            numbers[:, place] = frame[name].cast(pl.Float64).to_numpy()
        places = {name: place for place, name in enumerate(self.names)}
        kept = frame.select(pl.col(name).alias(str(places[name])) for name in texts)
        return Block(numbers, kept, first_line=first, lines=frame.height)


def _collected(scan: pl.LazyFrame) -> pl.DataFrame:
    return scan.collect()


def _kind(dtype: pl.DataType) -> str:
    if dtype.is_integer():
        return "integer"
    if dtype.is_temporal():
        return "time"
    return "float" if dtype.is_numeric() else "text"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


class ParquetWriter:
    """Writes a table as Parquet with the columns of its original; results are Float64.

    Parameters
    ----------
    path
        Where to.
    table
        The original.
    columns, suffix
        Names of the columns that the results are for; added with `suffix` unless that is None.
    """

    def __init__(self, path: Path, table: ParquetTable, columns: Sequence[str], suffix: str | None) -> None:
        import polars as pl

        self._names, self._columns, self._suffix = table.names, list(columns), suffix
        self._frames: queue.Queue[pl.DataFrame | None] = queue.Queue(2)
        self._failure: BaseException | None = None
        self._ended = False
        schema = dict(table.schema)
        for name in columns:
            schema[name + (suffix or "")] = pl.Float64()
        self._schema = pl.Schema(schema)
        self._thread = threading.Thread(target=self._sink, args=(path,), daemon=True)
        self._thread.start()

    def _sink(self, path: Path) -> None:
        from polars.io.plugins import register_io_source

        try:
            register_io_source(self._source, schema=self._schema).sink_parquet(path)
        except BaseException as error:  # told by the thread that feeds this one, which must not wait
            self._failure = error
            while self._next() is not None:
                pass

    def _next(self) -> pl.DataFrame | None:
        """Return the next frame; None once, and ever after, they have come to their end."""
        frame = None if self._ended else self._frames.get()
        self._ended = frame is None
        return frame

    def _source(
        self,
        with_columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        while (frame := self._next()) is not None:
            yield frame

    def write(self, block: Block, results: Array) -> None:
        """Take the results of the next block."""
        import polars as pl

        made = {
            name + (self._suffix or ""): pl.Series(np.ascontiguousarray(results[:, n]), nan_to_null=True)
            for n, name in enumerate(self._columns)
        }
        series = {name: made[name] if name in made else block.text(n) for n, name in enumerate(self._names)}
        self._frames.put(pl.DataFrame({**series, **made}, schema=self._schema))

    def finish(self) -> None:
        """Write what is left."""
        self._frames.put(None)
        self._thread.join()
        if self._failure is not None:
            raise FileError(f"cannot be written as Parquet: {_line(Exception(str(self._failure)))}")

    def close(self) -> None:
        """Stop; nothing is written after this."""
        self._failure = self._failure or InterruptedError()
        if self._thread.is_alive():
            self._frames.put(None)
            self._thread.join()
