"""Moving sums of floats: nothing is subtracted, so nothing drifts and NaN stays in its windows.

Sums of 4, 16, 64, … samples are made from each other, and windows put together by the digits of their size
in base 4. So each window is summed in the same order, wherever its block begins: the parts of a
picture equal the whole to the last bit.
"""

from __future__ import annotations

from functools import cache

from filterworks.machine.code import Function
from filterworks.machine.compiler import compiled
from filterworks.machine.elements import kind_of, store_as, vector_of
from filterworks.machine.loops import DType, Loop

# Numbers of a line that are summed at a time; what the places of sums are multiples of.
_CHUNK, _SPARE = 1024, 64
# Windows of so many numbers are long: more than they are themselves is not held at a time.
_LONG = 1 << 17


def kept_sums(size: int) -> list[int]:
    """Return how many sums of 4, 16, 64, … rows :func:`box_columns` keeps: powers of two."""
    lengths = [4 << 2 * level for level in range((size.bit_length() - 1) // 2)]
    return [*lengths[1:], 1 << (size - lengths[-1]).bit_length()]


@cache
def box_columns(work: DType, out: DType, size: int, vectors: int, lanes: int) -> Loop:
    """Return the loop that sums windows of `size` rows, of four at least, in about 2 log4(size) steps.

    Its arguments: the result, the staged buffer, and a buffer of :func:`kept_sums` tiles of so many
    `vectors`. Its constants: the pitches of the first two, the height and width of the result, and the
    factor of each sum.
    """
    code = Function(
        f"box_columns_{work}_{out}_{size}_{vectors}_{lanes}",
        ("p_out", "p_in", "p_sums"),
        ("out_pitch", "in_pitch", "height", "width", "d_factor"),
    )
    factors = code.splat(kind_of(work), _factor(code, work), lanes)
    with code.loop(0, "%width", vectors * lanes) as start:
        column = code.least(start, code.sub("%width", vectors * lanes))
        rows = _Rows(code, work, size, (vectors, lanes), column)
        with code.loop(3, size - 1) as row:
            rows.take(row)
        with code.loop(size - 1, code.add("%height", size - 1)) as row:
            target = code.add(code.mul(code.sub(row, size - 1), "%out_pitch"), column)
            for v, window in enumerate(rows.windows(row)):
                scaled = code.value(f"fmul {vector_of(kind_of(work), lanes)} {window}, {factors}")
                pointer = code.at(kind_of(out), "%p_out", code.add(target, v * lanes))
                store_as(code, work, out, scaled, pointer, lanes)
    return compiled(code)


class _Rows:
    """Rows that come one after the other; of the sums of 4, 16, 64, … rows the last are kept."""

    def __init__(self, code: Function, work: DType, size: int, tile: tuple[int, int], column: str) -> None:
        self._code, self._work, self._size = code, work, size
        self._vectors, self._lanes = tile
        self._kept = kept_sums(size)
        self._data = code.at(kind_of(work), "%p_in", column)

    def take(self, row: str) -> list[list[str]]:
        """Keep the sums that end with a row; return them all, from the row itself on, in vectors."""
        newest = [self._load(self._place(row, 0, 0))]
        for level in range(len(self._kept)):
            length = 1 << 2 * level
            before = [self._load(self._place(row, level, 1 - count * length)) for count in (4, 3, 2)]
            made = _total(self._code, self._vector, [*before, newest[level]])
            place = self._place(row, level + 1, 1 - 4 * length)
            for v, vector in enumerate(made):
                self._code.store(self._vector, vector, self._at(place, v), self._work.itemsize)
            newest.append(made)
        return newest

    def windows(self, row: str) -> list[str]:
        """Take a row; return the sums of the windows that end with it."""
        newest, (*parts, (last, _)) = self.take(row), _parts(self._size)
        terms = [self._load(self._place(row, level, 1 - self._size + first)) for level, first in parts]
        return _total(self._code, self._vector, [*terms, newest[last]])

    @property
    def _vector(self) -> str:
        return vector_of(kind_of(self._work), self._lanes)

    def _place(self, row: str, level: int, offset: int) -> str:
        """Return where the sum of 4**level rows from `row` + `offset` on is."""
        code, index = self._code, self._code.add(row, offset)
        if level == 0:
            return code.at(kind_of(self._work), self._data, code.mul(index, "%in_pitch"))
        index = code.value(f"and i64 {index}, {self._kept[level - 1] - 1}")
        tile = code.add(index, sum(self._kept[: level - 1]))
        return code.at(kind_of(self._work), "%p_sums", code.mul(tile, self._vectors * self._lanes))

    def _at(self, place: str, v: int) -> str:
        return self._code.at(kind_of(self._work), place, v * self._lanes)

    def _load(self, place: str) -> list[str]:
        size = self._work.itemsize
        return [self._code.load(self._vector, self._at(place, v), size) for v in range(self._vectors)]


def line_room(size: int, inner: int) -> int:
    """Return how many numbers :func:`box_line` needs for the sums of one length."""
    reach = (size - 1) * inner
    return _chunk(reach) + reach + _SPARE


@cache
def box_line(work: DType, out: DType, size: int, inner: int, lanes: int) -> Loop:
    """Return the loop that sums windows of `size` samples, of four at least, along the rows themselves.

    `inner` numbers stand together as a sample. Its arguments: the result, the staged rows (of which a
    vector beyond the end is read), and a buffer of :func:`line_room` numbers for each of
    :func:`kept_sums`. Its constants: the pitches of the first two, the height and width of the result, and
    the factor of each sum.
    """
    code = Function(
        f"box_line_{work}_{out}_{size}_{inner}",
        ("p_out", "p_in", "p_sums"),
        ("out_pitch", "in_pitch", "height", "width", "d_factor"),
    )
    kind, factor, chunk = kind_of(work), _factor(code, work), _chunk((size - 1) * inner)
    with code.loop(0, "%height") as row, code.loop(0, "%width", chunk) as start:
        count = code.least(code.sub("%width", start), chunk)
        data = code.at(kind, "%p_in", code.add(code.mul(row, "%in_pitch"), start))
        line = _Line(code, work, size, inner, data)
        line.add_up(count, lanes)
        target = code.at(kind_of(out), "%p_out", code.add(code.mul(row, "%out_pitch"), start))
        whole = code.value(f"and i64 {count}, {-lanes}")
        for begin, stop, width in (("0", whole, lanes), (whole, count, 1)):
            with code.loop(begin, stop, width) as i:
                window = line.window(i, width)
                factors = code.splat(kind, factor, width)
                scaled = code.value(f"fmul {vector_of(kind, width)} {window}, {factors}")
                store_as(code, work, out, scaled, code.at(kind_of(out), target, i), width)
    return compiled(code)


class _Line:
    """A part of a line, with the sums of 4, 16, 64, … of its samples."""

    def __init__(self, code: Function, work: DType, size: int, inner: int, data: str) -> None:
        self._code, self._work, self._size, self._inner = code, work, size, inner
        room = line_room(size, inner)
        self._places = [data]
        self._places += [
            code.at(kind_of(work), "%p_sums", level * room) for level in range(len(kept_sums(size)))
        ]

    def add_up(self, count: str, lanes: int) -> None:
        """Make all sums that so many windows need."""
        code = self._code
        for level in range(len(self._places) - 1):
            length = 1 << 2 * level
            with code.loop(0, code.add(count, (self._size - 4 * length) * self._inner), lanes) as i:
                made = self._sum([self._load(level, i, k * length, lanes) for k in range(4)], lanes)
                place = code.at(kind_of(self._work), self._places[level + 1], i)
                code.store(vector_of(kind_of(self._work), lanes), made, place, self._work.itemsize)

    def window(self, i: str, lanes: int) -> str:
        """Return the sums of some windows."""
        return self._sum([self._load(level, i, first, lanes) for level, first in _parts(self._size)], lanes)

    def _load(self, level: int, i: str, first: int, lanes: int) -> str:
        kind = kind_of(self._work)
        place = self._code.at(kind, self._places[level], self._code.add(i, first * self._inner))
        return self._code.load(vector_of(kind, lanes), place, self._work.itemsize)

    def _sum(self, terms: list[str], lanes: int) -> str:
        return _total(self._code, vector_of(kind_of(self._work), lanes), [[term] for term in terms])[0]


def _chunk(reach: int) -> int:
    """Return how many numbers of a line are summed at a time: that they stay in the cache, or pay."""
    return max(_CHUNK, (4 * reach if reach < _LONG else reach) // _SPARE * _SPARE)


def _parts(size: int) -> list[tuple[int, int]]:
    """Return which sums make a window, the longest first: of 4**level samples, and where they begin.

    Examples
    --------
    >>> _parts(9)
    [(1, 0), (1, 4), (0, 8)]
    """
    parts, first = [], 0
    for level in reversed(range((size.bit_length() + 1) // 2)):
        while size - first >= 1 << 2 * level:
            parts.append((level, first))
            first += 1 << 2 * level
    return parts


def _total(code: Function, vector: str, terms: list[list[str]]) -> list[str]:
    """Return the sums of the terms, neighbours first."""
    while len(terms) > 1:
        pairs = [
            [code.value(f"fadd {vector} {a}, {b}") for a, b in zip(*pair, strict=True)]
            for pair in zip(terms[::2], terms[1::2], strict=False)
        ]
        terms = pairs + terms[2 * len(pairs) :]
    return terms[0]


def _factor(code: Function, work: DType) -> str:
    return "%d_factor" if work.itemsize == 8 else code.value("fptrunc double %d_factor to float")
