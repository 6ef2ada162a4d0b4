"""Quotes, embedded delimiters and odd line ends, made plain for a while and put back as they were.

What is special inside of quotes is replaced by control characters that the data do not hold. A
simple split at delimiters and line ends is then exact, and every text comes back byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from filterworks.arguments import Array

QUOTE, NEWLINE, RETURN = b'"', b"\n", b"\r"
# Control characters that may stand for others; the rest have a meaning of their own in text files.
_SPARE = bytes(sorted({*range(1, 32)} - set(b"\t\n\r\x1a\x1b")))


class QuoteError(ValueError):
    """Quotes that do not fit together.

    Attributes
    ----------
    position
        Of the offending quote, in bytes.
    """

    def __init__(self, message: str, position: int) -> None:
        self.position = position
        super().__init__(message)


@dataclass(frozen=True)
class Disguise:
    """How to bring the bytes back.

    Attributes
    ----------
    table
        For ``bytes.translate``.
    quotes
        Whether fields may stand in quotes; line ends of both kinds are disguised even where they may not.
    ends
        (mark of a CRLF, delimiter) where both kinds of line ends are mixed, and a column
        at the end of each row tells them apart.
    """

    table: bytes
    quotes: bool
    ends: tuple[bytes, bytes] | None = None

    @property
    def stand_ins(self) -> list[tuple[str, str]]:
        """The control characters inside of fields, each with what it stands for."""
        return [(chr(code), chr(sign)) for code, sign in enumerate(self.table) if code != sign]

    def undo(self, data: bytes) -> bytes:
        """Return the bytes as they were."""
        if self.ends is not None:
            mark, delimiter = self.ends
            data = data.replace(delimiter + mark + NEWLINE, RETURN + NEWLINE)
            data = data.replace(delimiter + NEWLINE, NEWLINE)
        return data.translate(self.table)

    def undo_text(self, text: str) -> str:
        """Return the text of one field as it was."""
        return text.encode().translate(self.table).decode()


def unquoted(field: str) -> str:
    """Return what a field says that may stand in quotes.

    Examples
    --------
    >>> unquoted('"a ""b"" c"'), unquoted("plain")
    ('a "b" c', 'plain')
    """
    enclosed = len(field) > 1 and field.startswith('"') and field.endswith('"')
    return field[1:-1].replace('""', '"') if enclosed else field


def last_line_end(data: bytes | bytearray, start: int, quotes: bool, stop: int | None = None) -> int:
    """Return the position after the last line end outside of quotes, if it is not before `start`; or 0.

    Nothing is looked at from `stop` on, if that is given.

    Examples
    --------
    >>> last_line_end(b'a,b\\n"c\\n', 0, True)
    4
    """
    if not quotes or data.find(QUOTE, 0, stop) < 0:
        found = data.rfind(NEWLINE, start, stop)
        return found + 1
    signs = np.frombuffer(data, np.uint8)[:stop]
    marks = np.flatnonzero(signs == QUOTE[0])
    ends = np.flatnonzero(signs == NEWLINE[0])
    outside = ends[np.searchsorted(marks, ends) % 2 == 0]
    return int(outside[-1]) + 1 if outside.size and outside[-1] >= start else 0


def is_plain(data: bytes, quotes: bool) -> bool:
    """Return whether a simple split is exact: no quotes, and line ends of one kind."""
    if quotes and QUOTE in data:
        return False
    if RETURN not in data:
        return True
    count = data.count(RETURN)
    return count == data.count(RETURN + NEWLINE) == data.count(NEWLINE)


def disguise(data: bytes, delimiter: bytes, quotes: bool) -> tuple[bytes, Disguise]:
    """Return `data`, whole lines, in a form that a simple split takes apart, and how to undo it.

    Raises
    ------
    QuoteError
        If a quote stands inside of a field that does not begin with one, or never closes.

    Examples
    --------
    >>> plain, back = disguise(b'1,"a,b"\\n', b",", True)
    >>> plain.count(b","), back.undo(plain)
    (1, b'1,"a,b"\\n')
    """
    signs = np.frombuffer(data, np.uint8).copy()
    marks = np.flatnonzero(signs == QUOTE[0]) if quotes else np.empty(0, np.intp)
    _check(signs, marks, delimiter)
    spare = [bytes([sign]) for sign in _SPARE if bytes([sign]) not in data and bytes([sign]) != delimiter][:4]
    if len(spare) < 4:
        raise QuoteError("holds nearly every control character; it is no text", 0)
    table = bytearray(range(256))
    returns = np.flatnonzero(signs == RETURN[0])
    before_end = returns[returns + 1 < signs.size]
    ending = before_end[signs[before_end + 1] == NEWLINE[0]]
    ending = ending[np.searchsorted(marks, ending) % 2 == 0]
    for sign, stand_in in zip((delimiter, NEWLINE, RETURN), spare, strict=False):
        table[stand_in[0]] = sign[0]
        places = returns if sign == RETURN else np.flatnonzero(signs == sign[0])
        if sign == RETURN:
            places = np.setdiff1d(places, ending, assume_unique=True)
        else:
            places = places[np.searchsorted(marks, places) % 2 == 1]
        signs[places] = stand_in[0]
    plain = signs.tobytes()
    if not ending.size or ending.size == plain.count(NEWLINE):
        return plain, Disguise(bytes(table), quotes)
    return _told_apart(plain, delimiter, spare[3]), Disguise(bytes(table), quotes, (spare[3], delimiter))


def _told_apart(plain: bytes, delimiter: bytes, mark: bytes) -> bytes:
    """Return lines that all end in LF, with a last field that says which ended in CRLF."""
    plain = plain.replace(RETURN + NEWLINE, mark).replace(NEWLINE, delimiter + NEWLINE)
    return plain.replace(mark, delimiter + mark + NEWLINE)


def _check(signs: Array, marks: Array, delimiter: bytes) -> None:
    """Refuse quotes that do not enclose whole fields."""
    whole = marks[: marks.size // 2 * 2]
    opening, closing = whole[::2], whole[1::2]
    allowed = np.zeros(256, bool)
    allowed[[delimiter[0], NEWLINE[0], RETURN[0], QUOTE[0]]] = True
    # A doubled quote closes and opens: the second of the pair follows the first.
    before = np.where(opening > 0, allowed[signs[opening - 1]], True)
    after = np.where(closing + 1 < signs.size, allowed[signs[np.minimum(closing + 1, signs.size - 1)]], True)
    wrong = np.flatnonzero(~(before & after))
    if wrong.size and not before[wrong[0]]:
        message = (
            "a quote stands inside a field that does not begin with one; --no-quotes takes quotes as text"
        )
        raise QuoteError(message, int(opening[wrong[0]]))
    if wrong.size:
        message = "a quoted field begins here that does not end with its quote"
        raise QuoteError(message, int(opening[wrong[0]]))
    if marks.size % 2:
        raise QuoteError("a quote opens here and never closes", int(marks[-1]))
