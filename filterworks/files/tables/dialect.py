"""What the first lines of a text tell: byte order mark, delimiter, line ends, names of the columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filterworks.errors import FileError
from filterworks.files.tables.options import Reading
from filterworks.files.tables.quoting import NEWLINE, QUOTE, RETURN, last_line_end, unquoted

BOM = b"\xef\xbb\xbf"
_DELIMITERS = ",;\t|"
# Lines that are looked at to find the delimiter.
_LINES = 50
_OTHER_UNICODE = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x00\x00": "UTF-32"}


@dataclass(frozen=True)
class Dialect:
    """How a text holds its table.

    Attributes
    ----------
    delimiter
        One byte.
    newline
        Of the first line: LF or CRLF.
    preamble
        Byte order mark and header as they stand, to be copied.
    names
        Of the columns.
    quotes
        Whether ``"`` encloses fields.
    lines
        How many lines the header takes.
    """

    delimiter: bytes
    newline: bytes
    preamble: bytes
    names: tuple[str, ...]
    quotes: bool
    lines: int

    @property
    def mark(self) -> bytes:
        """The byte order mark, or nothing."""
        return BOM if self.preamble.startswith(BOM) else b""

    def header_with(self, added: Sequence[str]) -> bytes:
        """Return the preamble with more names at the end of its line, quoted where they must be."""
        if not added or not self.lines:
            return self.preamble
        line = self.preamble.removesuffix(NEWLINE).removesuffix(RETURN)
        end = self.preamble[len(line) :]
        quoted = self.quotes and line.endswith(QUOTE)
        return self.delimiter.join([line, *(self._written(name, quoted) for name in added)]) + end

    def _written(self, name: str, quoted: bool) -> bytes:
        text = name.encode()
        special = any(sign in text for sign in (self.delimiter, QUOTE, NEWLINE, RETURN))
        return QUOTE + text.replace(QUOTE, QUOTE * 2) + QUOTE if quoted or (special and self.quotes) else text


def recognise(path: Path, start: bytes, whole: bool, reading: Reading) -> Dialect:
    """Return the dialect of a text that begins with `start`; `whole`: this is all of it.

    Raises
    ------
    FileError
        If the file is empty, not UTF-8, or its header cannot be one.
    """
    if not start:
        raise FileError(f"{path}: is empty (0 bytes)")
    name = _OTHER_UNICODE.get(start[:2])
    if name:
        raise FileError(f"{path}: is {name}, not UTF-8; convert it first")
    mark = BOM if start.startswith(BOM) else b""
    body = start[len(mark) :]
    end = _first_line_end(body, reading.quotes)
    if not end and not whole:
        if reading.quotes and QUOTE in body:
            raise FileError(f"{path}: line 1: a quote in the header does not close within {len(start)} bytes")
        raise FileError(f"{path}: line 1: no line ends within the first {len(start)} bytes; is this a table?")
    if not end and RETURN in body:
        raise FileError(f"{path}: its lines end in CR alone, as on old Macintoshes; convert it first")
    if not end and reading.quotes and body.count(QUOTE) % 2:
        raise FileError(f"{path}: line 1: a quote opens here and never closes")
    line = body[:end] if end else body
    delimiter = (reading.delimiter or _delimiter(path, body, end, reading)).encode()
    fields = split_line(_decoded(path, line), delimiter.decode(), reading.quotes)
    if not any(fields):
        raise FileError(f"{path}: line 1: is blank; the first line must name the columns")
    if not reading.header:
        names = tuple(str(position + 1) for position in range(len(fields)))
        newline = RETURN + NEWLINE if line.endswith(RETURN + NEWLINE) else NEWLINE
        return Dialect(delimiter, newline, mark, names, reading.quotes, 0)
    _check_names(path, fields)
    newline = RETURN + NEWLINE if line.endswith(RETURN + NEWLINE) else NEWLINE
    return Dialect(delimiter, newline, mark + line, tuple(fields), reading.quotes, line.count(NEWLINE) or 1)


def _first_line_end(body: bytes, quotes: bool) -> int:
    """Return the position after the first line end outside of quotes, or 0."""
    position, opened = body.find(NEWLINE) + 1, False
    start = 0
    while position and quotes:
        opened ^= bool(body.count(QUOTE, start, position) % 2)
        if not opened:
            break
        start, position = position, body.find(NEWLINE, position) + 1
    return position


def _decoded(path: Path, line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: line 1: {not_utf8(line, error.start)}") from None


def not_utf8(data: bytes, position: int) -> str:
    """Return what to say of a byte that is not UTF-8."""
    return f"byte 0x{data[position]:02x} is not UTF-8; convert the file first, as in iconv -f latin1 -t utf-8"


def split_line(line: str, delimiter: str, quotes: bool) -> list[str]:
    """Return the fields of one line without its end, quotes taken off.

    Examples
    --------
    >>> split_line('a;"b;c"\\r\\n', ";", True)
    ['a', 'b;c']
    """
    text = line.removesuffix("\n").removesuffix("\r")
    if not quotes or '"' not in text:
        return text.split(delimiter)
    fields = [""]
    for number, part in enumerate(text.split('"')):
        if number % 2:
            fields[-1] += f'"{part}"'
        else:
            first, *others = part.split(delimiter)
            fields[-1] += first
            fields += others
    return [unquoted(field) for field in fields]


def _delimiter(path: Path, body: bytes, end: int, reading: Reading) -> str:
    """Return the sign that takes the first lines into the same number of fields, the most of them.

    What stands before decimals separates columns only if nothing else does.
    """
    if path.name.lower().split(".")[-1] in ("tsv", "tab") or ".tsv." in path.name.lower():
        return "\t"
    cut = last_line_end(body[: 1 << 16], 0, reading.quotes) or end or len(body)
    lines = body[:cut].decode(errors="replace").splitlines()[:_LINES]
    signs = sorted(_DELIMITERS, key=lambda sign: sign == reading.decimal)
    best, most = signs[0], 1
    for sign in signs:
        counts = {len(split_line(line, sign, reading.quotes)) for line in lines if line}
        if len(counts) == 1 and (count := counts.pop()) > most and (most == 1 or sign != reading.decimal):
            best, most = sign, count
    if most == 1:  # ragged lines will be told with their numbers
        counts_in_header = {sign: lines[0].count(sign) if lines else 0 for sign in signs}
        best = max(counts_in_header, key=lambda sign: counts_in_header[sign])
    return best


def _check_names(path: Path, names: Sequence[str]) -> None:
    first: dict[str, int] = {}
    for position, name in enumerate(names, 1):
        if name in first:
            raise FileError(
                f"{path}: line 1: columns {first[name]} and {position} are both named {name!r}; "
                "each needs a name of its own"
            )
        first[name] = position
