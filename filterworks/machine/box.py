"""Moving sums of floats: nothing is subtracted, so nothing drifts and NaN stays in its windows.

Sums of two, four or four times as many samples are made from each other, and windows put together by the
digits of their size. So each window is summed in the same order, wherever its block begins: the parts of a
picture equal the whole to the last bit.
"""

from __future__ import annotations

from functools import cache

from filterworks.machine.code import Function
from filterworks.machine.compiler import compiled
from filterworks.machine.elements import kind_of, store_as, vector_of
from filterworks.machine.loops import DType, Loop


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
            made = self._total([*before, newest[level]])
            place = self._place(row, level + 1, 1 - 4 * length)
            for v, vector in enumerate(made):
                self._code.store(self._vector, vector, self._at(place, v), self._work.itemsize)
            newest.append(made)
        return newest

    def windows(self, row: str) -> list[str]:
        """Take a row; return the sums of the windows that end with it."""
        newest, terms, left = self.take(row), [], self._size
        for level in reversed(range(len(newest))):
            length = 1 << 2 * level
            while left > length:
                terms.append(self._load(self._place(row, level, 1 - left)))
                left -= length
            if left == length:
                return self._total([*terms, newest[level]])
        raise AssertionError(left)

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

    def _total(self, terms: list[list[str]]) -> list[str]:
        """Return the sums of the terms, neighbours first."""
        while len(terms) > 1:
            pairs = [
                [self._code.value(f"fadd {self._vector} {a}, {b}") for a, b in zip(*pair, strict=True)]
                for pair in zip(terms[::2], terms[1::2], strict=False)
            ]
            terms = pairs + terms[2 * len(pairs) :]
        return terms[0]


def _factor(code: Function, work: DType) -> str:
    return "%d_factor" if work.itemsize == 8 else code.value("fptrunc double %d_factor to float")


@cache
def box_line(work: DType, out: DType, lanes: int) -> Loop:
    """Return the loop that sums windows along the rows themselves, in about log2(size) steps.

    Its arguments: the result, the staged rows (which are used up; one vector beyond their end may be
    written), and a row for sums. Its constants: the pitches of the first two, the height and width of the
    result, the window's size, how many numbers stand together as a sample, and the factor of each sum.
    """
    code = Function(
        f"box_line_{work}_{out}",
        ("p_out", "p_in", "p_total"),
        ("out_pitch", "in_pitch", "height", "width", "size", "inner", "d_factor"),
    )
    kind = kind_of(work)
    vector = vector_of(kind, lanes)
    size, start = code.slot("i64"), code.slot("i64")
    factor = _factor(code, work)
    reach = code.mul(code.sub("%size", 1), "%inner")
    levels = code.sub(64, code.call("i64", "llvm.ctlz.i64", ("i64", "%size"), ("i1", "true")))

    def add_into(target: str, source: str, shift: str, count: str) -> None:
        with code.loop(0, count, lanes) as i:
            here = code.at(kind, target, i)
            there = code.at(kind, source, code.add(i, shift))
            one, other = code.load(vector, here, work.itemsize), code.load(vector, there, work.itemsize)
            code.store(vector, code.value(f"fadd {vector} {one}, {other}"), here, work.itemsize)

    with code.loop(0, "%height") as row:
        part = code.at(kind, "%p_in", code.mul(row, "%in_pitch"))
        with code.loop(0, "%width", lanes) as i:
            code.store(vector, "zeroinitializer", code.at(kind, "%p_total", i), work.itemsize)
        code.store("i64", 1, size)
        code.store("i64", 0, start)
        with code.loop(0, levels) as level:
            length, first = code.load("i64", size), code.load("i64", start)
            bit = code.value(f"and i64 {length}, %size")
            with code.when(code.value(f"icmp ne i64 {bit}, 0")):
                add_into("%p_total", part, code.mul(first, "%inner"), "%width")
                code.store("i64", code.add(first, length), start)
            with code.when(code.value(f"icmp slt i64 {code.add(level, 1)}, {levels}")):
                left = code.add("%width", code.sub(reach, code.mul(length, "%inner")))
                add_into(part, part, code.mul(length, "%inner"), left)
            code.store("i64", code.mul(length, 2), size)
        line = code.at(kind_of(out), "%p_out", code.mul(row, "%out_pitch"))
        whole = code.value(f"and i64 %width, {-lanes}")
        for begin, stop, width in (("0", whole, lanes), (whole, "%width", 1)):
            with code.loop(begin, stop, width) as i:
                total = code.load(vector_of(kind, width), code.at(kind, "%p_total", i), work.itemsize)
                scaled = code.value(
                    f"fmul {vector_of(kind, width)} {total}, {code.splat(kind, factor, width)}"
                )
                store_as(code, work, out, scaled, code.at(kind_of(out), line, i), width)
    return compiled(code)
