"""Results into a file, block by block: rendered and written while the next ones are made."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Protocol

from filterworks.arguments import Array
from filterworks.files.tables.block import Block
from filterworks.files.tables.compression import Sink, compressing
from filterworks.files.tables.plain import give_back
from filterworks.files.tables.rendering import render
from filterworks.files.tables.text import TextTable

# Blocks that are being rendered or wait for it.
_BEHIND = 3


class TableWriter(Protocol):
    """What takes results."""

    def write(self, block: Block, results: Array) -> None:
        """Take the results of the next block; nobody may look at its values any more."""

    def finish(self) -> None:
        """Write what is left."""

    def close(self) -> None:
        """Stop; nothing is written after this."""


class TextWriter:
    """Writes a table as its original was written.

    Parameters
    ----------
    file
        Open for writing.
    table
        The original.
    columns
        Names of the columns that the results are for.
    suffix
        None: the results take the place of the values; otherwise they are further columns of these names
        with `suffix`.
    executor
        Where blocks are rendered.
    packing
        ``.gz``, ``.zst`` or nothing.
    """

    def __init__(
        self,
        file: Sink,
        table: TextTable,
        columns: Sequence[str],
        suffix: str | None,
        executor: Executor,
        packing: str,
    ) -> None:
        self._sink = compressing(file, packing)
        self._table, self._executor, self._adds = table, executor, suffix is not None
        places = {name: place for place, name in enumerate(table.names)}
        self._positions = [places[name] for name in columns]
        # Written and hashed by a thread of its own, in order.
        self._pen = ThreadPoolExecutor(1)
        self._waiting: deque[Future[None]] = deque()
        added = [name + suffix for name in columns] if suffix is not None else []
        self._sink.write(table.dialect.header_with(added))

    def write(self, block: Block, results: Array) -> None:
        """Take the results of the next block; nobody may look at its values any more."""
        rendered = self._executor.submit(
            render,
            block,
            results,
            self._positions,
            self._table.dialect,
            self._adds,
            self._table.reading.decimal,
        )
        self._waiting.append(self._pen.submit(self._put, rendered))
        if len(self._waiting) > _BEHIND:
            self._waiting.popleft().result()

    def _put(self, rendered: Future[bytes | memoryview]) -> None:
        data = rendered.result()
        self._sink.write(data)
        give_back(data)

    def finish(self) -> None:
        """Write what is left, and the blank lines at the end of the original."""
        while self._waiting:
            self._waiting.popleft().result()
        self._sink.write(self._table.trailer)
        self._sink.finish()

    def close(self) -> None:
        """Stop; nothing is written after this."""
        self._pen.shutdown(cancel_futures=True)
