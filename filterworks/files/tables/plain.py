"""Rows without quotes, taken apart and written again by compiled loops.

What is not filtered is copied byte for byte from the text that it came in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import Array
from filterworks.files.tables.quoting import QUOTE, RETURN
from filterworks.files.tables.spares import SPARES
from filterworks.machine.compiler import CompilerError, obstacle

_NUMBER = re.compile(rb"[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|inf(?:inity)?)", re.IGNORECASE)
_INTEGER = re.compile(rb"[-+]?\d+")
_NAN = re.compile(rb"[-+]?nan", re.IGNORECASE)
# Numbers of a block that Python may have to look at, at least and as a share of all.
_ODD, _ODD_SHARE = 1024, 4
# Bytes of the longest result, and those after a text that are read and overwritten with it.
_LONGEST, SLACK = 25, 64


@dataclass(frozen=True)
class Text:
    """Whole lines, and room after them: loops read several bytes at once.

    Attributes
    ----------
    data
        The lines, then at least `SLACK` bytes that mean nothing.
    size
        Of the lines.
    """

    data: bytes | bytearray
    size: int

    @classmethod
    def of(cls, lines: bytes) -> Text:
        """Return lines with room after them."""
        return cls(lines + bytes(SLACK), len(lines))

    def lines(self) -> bytes:
        """Return the lines alone."""
        return bytes(self.data[: self.size])


@dataclass(frozen=True)
class Plain:
    """The text of some rows and where their numbers lie.

    Attributes
    ----------
    text
        The rows.
    lines
        The numbers, a line for each column.
    marks
        -1, then where each cell ends.
    columns, wanted
        How many cells a row has, and which of them are the numbers.
    returns
        Whether lines end in CRLF.
    """

    text: Text
    lines: NDArray[np.float64]
    marks: NDArray[np.int32]
    columns: int
    wanted: NDArray[np.int64]
    returns: bool

    def spans(self, number: int) -> NDArray[np.int64]:
        """Return where each number of one column begins and ends."""
        place = int(self.wanted[number])
        count = self.lines.shape[1] * self.columns
        starts = self.marks[place : count : self.columns] + 1
        stops = self.marks[place + 1 : count + 1 : self.columns]
        ends = stops - int(self.returns and place == self.columns - 1)
        return np.stack([starts, ends], axis=1).astype(np.int64)


@cache
def _loops() -> tuple[Any, Any, Any, NDArray[np.int64]] | None:
    """Return the loops that mark, read and write rows, and their table; None where nothing is compiled."""
    if obstacle() is not None:
        return None
    from filterworks.files.tables import scanning
    from filterworks.machine.decimals import powers

    try:
        loops = (scanning.mark_cells.compiled, scanning.read_rows.compiled, scanning.render_rows.compiled)
    except CompilerError:
        return None
    return *loops, powers()


def scan(
    text: Text,
    columns: int,
    values: Sequence[int],
    signs: tuple[bytes, str],
    null: Sequence[str],
    quotes: bool,
) -> Plain | None:
    """Return rows with their numbers; None where they must be looked at with more care.

    Parameters
    ----------
    text
        Whole lines.
    columns, values
        How many columns there are, and the places of those that are numbers, ascending.
    signs
        Delimiter, and what stands before the decimals.
    null
        Names of missing values.
    quotes
        Whether quotes have a meaning.
    """
    loops = _loops()
    if loops is None:
        return None
    source = np.frombuffer(text.data, np.uint8)
    delimiter, point = _signs(*signs).tolist()
    marks, (lines, wide, quoted, returned) = _marks(loops[0], source, text.size, delimiter)
    rows, rest = divmod(marks.size - 1, columns)
    if rest or rows != lines or (quotes and quoted) or (wide and not _is_utf8(text)):
        return None
    wanted = np.array(values, np.int64)
    numbers = SPARES.take(8 * wanted.size * rows).view(np.float64).reshape(wanted.size, rows)
    room = max(_ODD, numbers.size // _ODD_SHARE)
    odd, found = np.empty((room, 2), np.int64), np.zeros(1, np.int64)
    returns = bool(returned)
    if returns and text.data.count(RETURN, 0, text.size) != rows:
        return None
    odds = loops[1](
        source.ctypes.data, marks.ctypes.data, rows, columns, returns, wanted.ctypes.data, wanted.size, point,
        loops[3].ctypes.data, numbers.ctypes.data, odd.ctypes.data, room, found.ctypes.data,
    )  # fmt: skip
    if odds < 0:
        return None
    plain = Plain(text, numbers, marks, columns, wanted, returns)
    return plain if _understood(plain, odd[:odds], point, null) else None


def _marks(
    loop: Any, source: NDArray[np.uint8], size: int, delimiter: int
) -> tuple[NDArray[np.int32], list[int]]:
    """Return the marks of all cells, and what :func:`~scanning.mark_cells` found besides."""
    found = np.zeros(4, np.int64)
    # Cells of four bytes, or as many as there can be.
    for room in (size // 4 + 2 * SLACK, size + 2 * SLACK):
        marks = SPARES.take(4 * room).view(np.int32)
        count = loop(
            source.ctypes.data, size, delimiter, QUOTE[0], marks.ctypes.data, room, found.ctypes.data
        )
        if count >= 0:
            break
    return marks[:count], found.tolist()


def _understood(plain: Plain, odd: NDArray[np.int64], point: int, null: Sequence[str]) -> bool:
    """Fill in what the loop did not understand; return whether all of it is a number or missing."""
    if odd.size:
        spans = [plain.spans(n) for n in range(plain.wanted.size)]
        for row, number in odd.tolist():
            start, end = spans[number][row]
            value = _odd_number(plain.text.data[start:end].strip(), chr(point), null)
            if value is None:
                return False
            plain.lines[number, row] = value
    named = [float(name) for name in null if _NUMBER.fullmatch(name.encode())]
    if named:
        plain.lines[np.isin(plain.lines, named)] = np.nan
    return True


def _is_utf8(text: Text) -> bool:
    try:
        text.lines().decode()
    except UnicodeDecodeError:
        return False
    return True


def _signs(delimiter: bytes, point: str) -> NDArray[np.int64]:
    return np.array([delimiter[0], ord(point)])


def _odd_number(cell: bytes | bytearray, point: str, null: Sequence[str]) -> float | None:
    """Return the number in a cell, NaN if it is missing, None if it is none."""
    if not cell or _NAN.fullmatch(cell) or cell.decode() in null:
        return np.nan
    if point != ".":
        cell = cell.replace(b".", b"?").replace(point.encode(), b".")
    return float(cell) if _NUMBER.fullmatch(cell) else None


def plain_texts(plain: Plain, column: int, most: int) -> list[str]:
    """Return the first texts of a column that are not empty."""
    texts: list[str] = []
    for start, end in plain.spans(column).tolist():
        text = plain.text.data[start:end].decode().strip()
        texts += [text] if text else []
        if len(texts) == most:
            break
    return texts


def plain_kinds(plain: Plain) -> list[str]:
    """Return of each column ``integer``, ``float``, or ``empty`` where all numbers are missing."""
    there = np.logical_not(np.isnan(plain.lines))
    broken = (plain.lines != np.rint(plain.lines)) & there
    kinds = np.where(there.any(axis=1), np.where(broken.any(axis=1), "float", "integer"), "empty").tolist()
    for column, kind in enumerate(kinds):
        if kind == "integer" and not _are_integers(plain, column, there[column]):
            kinds[column] = "float"
    return list(kinds)


def _are_integers(plain: Plain, column: int, there: NDArray[np.bool_]) -> bool:
    """Return whether the numbers of a column are written without a point."""
    spans = plain.spans(column)[there].tolist()
    return all(_INTEGER.fullmatch(plain.text.data[start:end].strip()) for start, end in spans)


def give_back(data: bytes | memoryview) -> None:
    """Take the lines of :func:`render_plain` back when they have been written."""
    if isinstance(data, memoryview) and isinstance(data.obj, np.ndarray):
        SPARES.put(data.obj)


def render_plain(plain: Plain, results: Array, signs: tuple[bytes, str], *, adds: bool) -> memoryview:
    """Return the lines with their results, shortest digits that read back the same.

    `plain` is lost: its memory is used again.
    """
    loops = _loops()
    assert loops is not None  # noqa: S101  # they have read these rows
    rows, count = results.shape
    made = np.asfortranarray(results, dtype=np.float64)
    text = plain.text
    out = SPARES.take(text.size + rows * count * (_LONGEST + 1) + SLACK)
    source = np.frombuffer(text.data, np.uint8)
    given, found = _signs(*signs), np.zeros(1, np.int64)
    size = loops[2](
        source.ctypes.data, text.size, plain.marks.ctypes.data, rows, plain.columns, plain.returns,
        plain.wanted.ctypes.data, count, given.ctypes.data, made.ctypes.data, rows, plain.lines.ctypes.data,
        int(adds), loops[3].ctypes.data, found.ctypes.data, out.ctypes.data,
    )  # fmt: skip
    for memory in (plain.lines, plain.marks, text.data):
        SPARES.put(memory)
    return out[:size].data
