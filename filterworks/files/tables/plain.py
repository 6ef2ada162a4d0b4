"""Rows without quotes, taken apart and written again by compiled loops.

What is not filtered is copied byte for byte from the text that it came in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import Array
from filterworks.files.tables.quoting import NEWLINE
from filterworks.machine.compiler import CompilerError, obstacle

_NUMBER = re.compile(rb"[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|inf(?:inity)?)", re.IGNORECASE)
_INTEGER = re.compile(rb"[-+]?\d+")
_NAN = re.compile(rb"[-+]?nan", re.IGNORECASE)
# Numbers of a block that Python may have to look at, at least and as a share of all.
_ODD, _ODD_SHARE = 1024, 4
# Bytes of the longest result, and those after it that may be overwritten.
_LONGEST, _SLACK = 25, 64
# Buffers that wait for the next block: as many as are at work, none of them unusually large.
_SPARES, _LARGEST_SPARE = 4, 1 << 24


@dataclass(frozen=True)
class Plain:
    """The text of some rows and where their numbers lie.

    Attributes
    ----------
    text
        Whole lines.
    lines
        The numbers, a line for each column.
    spans
        (row, column, 2) where each number begins and ends.
    ends
        Where each row ends.
    """

    text: bytes
    lines: NDArray[np.float64]
    spans: NDArray[np.int32]
    ends: NDArray[np.int32]


@cache
def _loops() -> tuple[Any, Any, NDArray[np.int64]] | None:
    """Return the loops that read and write rows, and the table of both; None where nothing is compiled."""
    if obstacle() is not None:
        return None
    from filterworks.files.tables import scanning
    from filterworks.machine.decimals import powers

    try:
        return scanning.scan_rows.compiled, scanning.render_rows.compiled, powers()
    except CompilerError:
        return None


def scan(
    text: bytes, columns: int, values: Sequence[int], signs: tuple[bytes, str], null: Sequence[str]
) -> Plain | None:
    """Return rows with their numbers; None where they must be looked at with more care.

    Parameters
    ----------
    text
        Whole lines, without quotes.
    columns, values
        How many columns there are, and the places of those that are numbers, ascending.
    signs
        Delimiter, and what stands before the decimals.
    null
        Names of missing values.
    """
    loops = _loops()
    if loops is None or not _is_utf8(text):
        return None
    capacity = text.count(NEWLINE)
    count = len(values)
    slots = np.full(columns, -1)
    slots[list(values)] = np.arange(count)
    lines = np.empty((count, capacity))
    spans = np.empty((capacity, count, 2), np.int32)
    ends = np.empty(capacity, np.int32)
    room = max(_ODD, capacity * count // _ODD_SHARE)
    odd, found = np.empty((room, 2), np.int64), np.zeros(2, np.int64)
    source = np.frombuffer(text, np.uint8)
    given = _signs(*signs)
    rows = loops[0](
        source.ctypes.data, len(text), given.ctypes.data, columns, slots.ctypes.data, loops[2].ctypes.data,
        lines.ctypes.data, capacity, spans.ctypes.data, ends.ctypes.data, odd.ctypes.data, room,
        found.ctypes.data,
    )  # fmt: skip
    if rows < 0:
        return None
    plain = Plain(text, lines[:, :rows], spans[:rows], ends[:rows])
    for row, column in odd[: found[1]].tolist():
        start, end = spans[row, column]
        number = _odd_number(text[start:end].strip(), signs[1], null)
        if number is None:
            return None
        lines[column, row] = number
    named = [float(name) for name in null if _NUMBER.fullmatch(name.encode())]
    if named:
        plain.lines[np.isin(plain.lines, named)] = np.nan
    return plain


def _is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _signs(delimiter: bytes, point: str) -> NDArray[np.int64]:
    return np.array([delimiter[0], ord(point)])


def _odd_number(cell: bytes, point: str, null: Sequence[str]) -> float | None:
    """Return the number in a cell, NaN if it is missing, None if it is none."""
    if not cell or _NAN.fullmatch(cell) or cell.decode() in null:
        return np.nan
    if point != ".":
        cell = cell.replace(b".", b"?").replace(point.encode(), b".")
    return float(cell) if _NUMBER.fullmatch(cell) else None


def plain_texts(plain: Plain, column: int, most: int) -> list[str]:
    """Return the first texts of a column that are not empty."""
    texts: list[str] = []
    for start, end in plain.spans[:, column].tolist():
        text = plain.text[start:end].decode().strip()
        texts += [text] if text else []
        if len(texts) == most:
            break
    return texts


def plain_kind(plain: Plain, column: int) -> str:
    """Return ``integer``, ``float``, or ``empty`` where all numbers are missing."""
    numbers = plain.lines[column]
    there = ~np.isnan(numbers)
    if not there.any():
        return "empty"
    if np.any(numbers[there] != np.rint(numbers[there])):
        return "float"
    cells = (plain.text[start:end].strip() for start, end in plain.spans[there, column].tolist())
    return "integer" if all(_INTEGER.fullmatch(cell) for cell in cells) else "float"


# Buffers that have been written out: fresh memory costs more than what is put into it.
_SPARE: SimpleQueue[NDArray[np.uint8]] = SimpleQueue()


def _buffer(size: int) -> NDArray[np.uint8]:
    try:
        spare = _SPARE.get_nowait()
    except Empty:
        spare = np.empty(0, np.uint8)
    return spare if size <= spare.size <= 4 * size else np.empty(size, np.uint8)


def give_back(data: bytes | memoryview) -> None:
    """Take the lines of :func:`render_plain` back when they have been written."""
    if not isinstance(data, memoryview) or not isinstance(data.obj, np.ndarray):
        return
    whole = data.obj if data.obj.base is None else data.obj.base
    if whole.nbytes <= _LARGEST_SPARE and _SPARE.qsize() < _SPARES:
        _SPARE.put(whole)


def render_plain(plain: Plain, results: Array, signs: tuple[bytes, str], *, adds: bool) -> memoryview:
    """Return the lines with their results, shortest digits that read back the same."""
    loops = _loops()
    assert loops is not None  # noqa: S101  # they have read these rows
    rows, count = results.shape
    made = np.asfortranarray(results, dtype=np.float64)
    out = _buffer(len(plain.text) + rows * count * (_LONGEST + 1) + _SLACK)
    source = np.frombuffer(plain.text, np.uint8)
    given = _signs(*signs)
    size = loops[1](
        source.ctypes.data, len(plain.text), given.ctypes.data, rows, count, made.ctypes.data, rows,
        plain.lines.ctypes.data, plain.lines.strides[0] // 8, plain.spans.ctypes.data, plain.ends.ctypes.data,
        int(adds), loops[2].ctypes.data, out.ctypes.data,
    )  # fmt: skip
    return out[:size].data
