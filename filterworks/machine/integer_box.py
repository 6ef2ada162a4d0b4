"""Moving sums of small integers: exact, so that what leaves a window may be subtracted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from filterworks.machine.code import Function
from filterworks.machine.compiler import compiled
from filterworks.machine.elements import kind_of, load_as, store_as, vector_of
from filterworks.machine.loops import DType, Loop, gather, unstaged

_FLOAT = np.dtype(np.float32)
# What is left of a line behind its whole vectors is done in vectors of so many numbers, then one by one.
_FEW = 8
# Numbers that fill whole lines of the cache; no more of them stand together as a sample (`field._WIDE`).
_ALIGNED = 64


@dataclass(frozen=True)
class Box:
    """What a loop for moving sums is written for.

    Attributes
    ----------
    source, columns, sums, out
        Dtypes of the data, of the sums of columns, of those of windows, and of the result.
    rows
        Rows of the window if they are added up anew for each row of the result; 0: sums of columns are kept
        from row to row, and what leaves the window is subtracted.
    parts
        How many samples of a line are added up in a first pass and how many of these sums and of the
        remaining samples in a second; empty: by running totals, whatever the window's length.
    inner
        Numbers that stand together as a sample.
    mirrors
        Whether every column outside of the line is one of those inside of it, or zero.
    saturates
        Whether some result may not fit its dtype before it is saturated.
    multiplier
        a and m, if 16-bit sums become 8-bit numbers by ((sum + a)·m >> 16) >> s; otherwise empty.
    """

    source: DType
    columns: DType
    sums: DType
    out: DType
    rows: int
    parts: tuple[int, ...]
    inner: int
    mirrors: bool
    saturates: bool
    multiplier: tuple[int, ...]


class _Row(NamedTuple):
    """A row of the data: its beginning, that of the line in it, and whether it is one of zeros instead."""

    start: str
    line: str
    is_zero: str


@cache
def integer_box(box: Box, lanes: int) -> Loop:
    """Return the loop that sums windows of rows × samples.

    Its arguments and constants: those of :func:`loops.unstaged`, and a table of the window's rows and
    samples, the byte at which the second of the rows that are kept begins, the factor of each sum as a
    double, and s of :class:`Box`. The first of these rows holds sums of columns.

    Notes
    -----
    Integers may wrap around; differences are right as long as the sum of one window fits.
    """
    names = "_".join(map(str, (box.source, box.columns, box.sums, box.out, box.rows, *box.parts)))
    code = unstaged(f"integer_box_{names}_{box.inner}", ("p_box",))
    kind = kind_of(box.columns)
    # The line itself begins at a line of the cache.
    ahead = code.value(f"and i64 {code.add('%before', _ALIGNED - 1)}, {-_ALIGNED}")
    sums = code.at(kind, "%p_between", code.sub(ahead, "%before"))
    length = code.add(code.add("%before", "%inside"), "%after")
    for i, width in _vectors(code, length, lanes):
        code.store(vector_of(kind, width), "zeroinitializer", code.at(kind, sums, i), box.columns.itemsize)
    begin = "0" if box.rows else code.sub(1, _constant(code, 0))
    with code.loop(begin, "%height") as row:
        _add_rows(code, box, sums, row, lanes)
        with code.when(code.value(f"icmp sge i64 {row}, 0")):
            line = code.at(kind_of(box.out), "%p_out", code.mul(row, "%out_pitch"))
            if box.parts:
                _add_samples(code, box, sums, line, lanes)
            else:
                _subtract_totals(code, box, sums, length, line, lanes)
    return compiled(code)


def _constant(code: Function, index: int, kind: str = "i64") -> str:
    return code.load(kind, code.at("i64", "%p_box", index))


def _vectors(code: Function, count: str, lanes: int) -> Iterator[tuple[str, int]]:
    """Repeat what is done with each value for all numbers: for whole vectors, and for the few behind them."""
    begin = "0"
    for width in sorted({lanes, min(lanes, _FEW), 1}, reverse=True):
        stop = count if width == 1 else code.value(f"and i64 {count}, {-width}")
        with code.loop(begin, stop, width) as i:
            yield i, width
        begin = stop


def _row(code: Function, source: DType, index: str, is_none: str | None = None) -> _Row:
    """Return a row by its place in the table; zeros if there is none."""
    kind = kind_of(source)
    offset = code.load("i64", code.at("i64", "%p_rows", index))
    is_zero = code.value(f"icmp slt i64 {offset}, 0")
    if is_none:
        is_zero = code.value(f"or i1 {is_zero}, {is_none}")
    start = code.at(kind, "%p_data", offset)
    line = code.value(f"select i1 {is_zero}, ptr %p_zeros, ptr {code.at(kind, start, '%first')}")
    return _Row(start, line, is_zero)


def _add_rows(code: Function, box: Box, sums: str, row: str, lanes: int) -> None:
    """Bring the sums of columns to the next row of the result."""
    if box.rows:
        rows = [_row(code, box.source, code.add(row, index)) for index in range(box.rows)]
    else:
        enters = code.sub(code.add(row, _constant(code, 0)), 1)
        leaves = code.greatest(code.sub(row, 1), 0)
        is_none = code.value(f"icmp slt i64 {row}, 1")
        rows = [_row(code, box.source, enters), _row(code, box.source, leaves, is_none)]
    kind, element = kind_of(box.columns), kind_of(box.source)
    middle = code.at(kind, sums, "%before")
    for i, width in _vectors(code, "%inside", lanes):
        places = [code.at(element, one.line, i) for one in rows]
        _add_numbers(code, box, code.at(kind, middle, i), places, width)
    ends = (sums, "%before", "%p_before"), (code.at(kind, middle, "%inside"), "%after", "%p_after")
    for target, count, table in ends:
        if box.mirrors:
            origin = code.at(kind, middle, code.sub(0, "%first"))
            gather(code, box.columns, box.columns, origin, target, (count, table))
            continue
        with code.loop(0, count) as i:
            place = code.load("i64", code.at("i64", table, i))
            with code.when(code.value(f"icmp sge i64 {place}, 0")):
                places = [
                    code.value(
                        f"select i1 {one.is_zero}, ptr %p_zeros, ptr {code.at(element, one.start, place)}"
                    )
                    for one in rows
                ]
                _add_numbers(code, box, code.at(kind, target, i), places, 1)


def _add_numbers(code: Function, box: Box, target: str, places: list[str], width: int) -> None:
    """Add up numbers of rows, or bring their sum from one row to the next."""
    vector, size = vector_of(kind_of(box.columns), width), box.columns.itemsize
    numbers = [load_as(code, box.source, box.columns, place, width) for place in places]
    if box.rows:
        total = _sum(code, vector, numbers)
    else:
        change = code.value(f"sub {vector} {numbers[0]}, {numbers[1]}")
        total = code.value(f"add {vector} {code.load(vector, target, size)}, {change}")
    code.store(vector, total, target, size)


def _sum(code: Function, vector: str, numbers: list[str]) -> str:
    total = numbers[0]
    for number in numbers[1:]:
        total = code.value(f"add {vector} {total}, {number}")
    return total


def _add_samples(code: Function, box: Box, sums: str, line: str, lanes: int) -> None:
    """Write the sums of windows of one length, which is written out."""
    first, times, rest = box.parts
    lanes = lanes * box.columns.itemsize // box.sums.itemsize
    inner, held, reach = box.inner, (box.columns, sums), first * box.inner
    if times > 1:
        kind, held = kind_of(box.sums), (box.sums, _spare(code, box))
        for i, width in _vectors(code, code.add("%width", (times - 1) * reach), lanes):
            total = _shifted(code, box, (box.columns, sums), i, [j * inner for j in range(first)], width)
            code.store(vector_of(kind, width), total, code.at(kind, held[1], i), box.sums.itemsize)
    taken = [j * (reach if times > 1 else inner) for j in range(times if times > 1 else first)]
    behind = [first * times * inner + j * inner for j in range(rest)]
    for i, width in _vectors(code, "%width", lanes):
        total = _shifted(code, box, held, i, taken, width)
        if behind:
            vector = vector_of(kind_of(box.sums), width)
            total = _sum(code, vector, [total, _shifted(code, box, (box.columns, sums), i, behind, width)])
        _put(code, box, total, code.at(kind_of(box.out), line, i), width)


def _shifted(
    code: Function, box: Box, held: tuple[DType, str], i: str, distances: list[int], width: int
) -> str:
    """Return the sum of what stands at some distances from a place."""
    dtype, start = held
    place = code.at(kind_of(dtype), start, i)
    numbers = [
        load_as(code, dtype, box.sums, code.at(kind_of(dtype), place, one), width) for one in distances
    ]
    return _sum(code, vector_of(kind_of(box.sums), width), numbers)


def _spare(code: Function, box: Box) -> str:
    """Return the second of the rows that are kept."""
    start = code.at("i8", "%p_between", _constant(code, 2))
    return code.at(kind_of(box.sums), start, _ALIGNED - box.inner) if not box.parts else start


def _subtract_totals(code: Function, box: Box, sums: str, length: str, line: str, lanes: int) -> None:
    """Write the differences of running totals at both ends of each window."""
    kind, inner, size = kind_of(box.sums), box.inner, box.sums.itemsize
    lanes = lanes * box.columns.itemsize // size
    totals = _spare(code, box)
    for i, width in _vectors(code, str(inner), lanes):
        code.store(vector_of(kind, width), "zeroinitializer", code.at(kind, totals, i), size)
    if 2 * inner <= lanes:
        _totals(code, box, sums, totals, length, lanes)
    else:
        _totals_by_samples(code, box, sums, totals, length, lanes)
    ends = code.at(kind, totals, code.mul(_constant(code, 1), inner))
    for i, width in _vectors(code, "%width", lanes):
        vector = vector_of(kind, width)
        low, high = (code.load(vector, code.at(kind, end, i), size) for end in (totals, ends))
        total = code.value(f"sub {vector} {high}, {low}")
        _put(code, box, total, code.at(kind_of(box.out), line, i), width)


def _totals(code: Function, box: Box, sums: str, totals: str, length: str, lanes: int) -> None:
    """Write the totals of all sums up to each one, as many whole samples at a time as fill a vector."""
    inner, size, kind = box.inner, box.sums.itemsize, kind_of(box.sums)
    vector, whole = vector_of(kind, lanes), lanes // inner * inner
    carry = code.slot(vector)
    code.store(vector, "zeroinitializer", carry, 64)
    with code.loop(0, length, whole) as i:
        place = code.at(kind_of(box.columns), sums, i)
        value = load_as(code, box.columns, box.sums, place, lanes)
        shift = inner
        while shift < whole:
            mask = [lanes if lane < shift else lane - shift for lane in range(lanes)]
            moved = _shuffled(code, vector, value, "zeroinitializer", mask)
            value = code.value(f"add {vector} {value}, {moved}")
            shift *= 2
        before = code.load(vector, carry, 64)
        total = code.value(f"add {vector} {value}, {before}")
        code.store(vector, total, code.at(kind, totals, code.add(i, inner)), size)
        ends = [whole - inner + lane % inner for lane in range(lanes)]
        last = _shuffled(code, vector, value, "poison", ends)
        # Of the totals only this sum waits for those before.
        code.store(vector, code.value(f"add {vector} {before}, {last}"), carry, 64)


def _shuffled(code: Function, vector: str, value: str, other: str, places: list[int]) -> str:
    mask = ", ".join(f"i32 {place}" for place in places)
    return code.value(f"shufflevector {vector} {value}, {vector} {other}, <{len(places)} x i32> <{mask}>")


def _totals_by_samples(code: Function, box: Box, sums: str, totals: str, length: str, lanes: int) -> None:
    """Write the totals where few samples fit a vector."""
    kind, size = kind_of(box.sums), box.sums.itemsize
    with code.loop(0, length, box.inner) as start:
        before = code.at(kind, totals, start)
        here = code.at(kind_of(box.columns), sums, start)
        for i, width in _vectors(code, str(box.inner), lanes):
            vector = vector_of(kind, width)
            number = load_as(code, box.columns, box.sums, code.at(kind_of(box.columns), here, i), width)
            total = code.load(vector, code.at(kind, before, i), size)
            total = code.value(f"add {vector} {total}, {number}")
            code.store(vector, total, code.at(kind, code.at(kind, before, box.inner), i), size)


def _put(code: Function, box: Box, total: str, target: str, width: int) -> None:
    """Write sums times the factor."""
    if box.multiplier:
        _multiply(code, box.multiplier, total, target, width)
        return
    integers, floats = vector_of(kind_of(box.sums), width), vector_of("float", width)
    change = "uitofp" if box.sums.kind == "u" else "sitofp"
    factor = code.value(f"fptrunc double {_constant(code, 3, 'double')} to float")
    number = code.value(f"{change} {integers} {total} to {floats}")
    scaled = code.value(f"fmul {floats} {number}, {code.splat('float', factor, width)}")
    store_as(code, _FLOAT, box.out, scaled, target, width, fits=not box.saturates)


def _multiply(code: Function, numbers: tuple[int, ...], total: str, target: str, width: int) -> None:
    """Write 16-bit sums as 8-bit numbers, by the upper half of a product."""
    half, whole, few = (vector_of(kind, width) for kind in ("i16", "i32", "i8"))
    # LLVM knows the multiplication of upper halves where it sees the factor, and no other shift beside it.
    add, factor = numbers
    shift = code.splat("i16", code.value(f"trunc i64 {_constant(code, 4)} to i16"), width)

    def same(kind: str, number: int) -> str:
        return str(number) if width == 1 else f"splat ({kind} {number})"

    raised = code.value(f"add {half} {total}, {same('i16', add)}")
    wide = code.value(f"zext {half} {raised} to {whole}")
    product = code.value(f"mul {whole} {wide}, {same('i32', factor)}")
    upper = code.value(f"lshr {whole} {product}, {same('i32', 16)}")
    number = code.value(f"trunc {whole} {upper} to {half}")
    number = code.value(f"lshr {half} {number}, {shift}")
    code.store(few, code.value(f"trunc {half} {number} to {few}"), target, 1)
