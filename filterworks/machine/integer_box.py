"""Moving sums of small integers: exact, so that what leaves a window may be subtracted."""

from __future__ import annotations

from functools import cache

import numpy as np

from filterworks.machine.code import Function
from filterworks.machine.compiler import compiled
from filterworks.machine.elements import kind_of, store_as, vector_of
from filterworks.machine.loops import DType, Loop

_WORK = np.dtype(np.int32)


@cache
def integer_box(float_work: DType, out: DType, inner: int, lanes: int) -> Loop:
    """Return the loop that sums windows of rows × samples of staged 32-bit integers.

    Its arguments: the result, the staged rows, a row for the sums of columns, and one for their running
    totals. Its constants: the pitches of the first two, the height and width of the result, the window's
    rows and samples, and the factor of each sum. `inner` numbers stand together as a sample.

    Notes
    -----
    Totals may wrap around; their differences are right as long as the sum of one window fits.
    """
    code = Function(
        f"integer_box_{float_work}_{out}_{inner}",
        ("p_out", "p_in", "p_sums", "p_totals"),
        ("out_pitch", "in_pitch", "height", "width", "rows", "size", "d_factor"),
    )
    length = code.add("%width", code.mul(code.sub("%size", 1), inner))
    with code.loop(0, length, lanes) as i:
        _store(code, "zeroinitializer", code.at("i32", "%p_sums", i), lanes)
    with code.loop(0, code.sub("%rows", 1)) as row:
        _add_row(code, row, None, length, lanes)
    for channel in range(inner):
        code.store("i32", 0, code.at("i32", "%p_totals", channel), 4)
    with code.loop(0, "%height") as row:
        last = code.sub(row, 1)
        first = code.value(f"icmp eq i64 {row}, 0")
        with code.when(first):
            _add_row(code, code.sub("%rows", 1), None, length, lanes)
        with code.when(code.value(f"xor i1 {first}, true")):
            _add_row(code, code.add(last, "%rows"), last, length, lanes)
        if 2 * inner <= lanes:
            _totals(code, length, inner, lanes)
        else:
            _totals_one_by_one(code, length, inner)
        _differences(code, row, (float_work, out), inner, lanes)
    return compiled(code)


def _store(code: Function, value: str, pointer: str, lanes: int) -> None:
    code.store(vector_of("i32", lanes), value, pointer, 4)


def _add_row(code: Function, added: str, removed: str | None, length: str, lanes: int) -> None:
    """Add a staged row to the sums of columns, and take another away."""
    vector = vector_of("i32", lanes)
    new = code.at("i32", "%p_in", code.mul(added, "%in_pitch"))
    old = None if removed is None else code.at("i32", "%p_in", code.mul(removed, "%in_pitch"))
    with code.loop(0, length, lanes) as i:
        place = code.at("i32", "%p_sums", i)
        value = code.value(
            f"add {vector} {code.load(vector, place, 4)}, {code.load(vector, code.at('i32', new, i), 4)}"
        )
        if old is not None:
            value = code.value(f"sub {vector} {value}, {code.load(vector, code.at('i32', old, i), 4)}")
        _store(code, value, place, lanes)


def _totals(code: Function, length: str, inner: int, lanes: int) -> None:
    """Write the totals of all sums up to each one, as many whole samples at a time as fill a vector."""
    vector = vector_of("i32", lanes)
    whole = lanes // inner * inner
    carry = code.slot(vector)
    code.store(vector, "zeroinitializer", carry, 64)
    with code.loop(0, length, whole) as i:
        value = code.load(vector, code.at("i32", "%p_sums", i), 4)
        shift = inner
        while shift < lanes:
            mask = ", ".join(f"i32 {lanes if lane < shift else lane - shift}" for lane in range(lanes))
            moved = code.value(
                f"shufflevector {vector} {value}, {vector} zeroinitializer, <{lanes} x i32> <{mask}>"
            )
            value = code.value(f"add {vector} {value}, {moved}")
            shift *= 2
        total = code.value(f"add {vector} {value}, {code.load(vector, carry, 64)}")
        _store(code, total, code.at("i32", "%p_totals", code.add(i, inner)), lanes)
        mask = ", ".join(f"i32 {whole - inner + lane % inner}" for lane in range(lanes))
        last = code.value(f"shufflevector {vector} {total}, {vector} poison, <{lanes} x i32> <{mask}>")
        code.store(vector, last, carry, 64)


def _totals_one_by_one(code: Function, length: str, inner: int) -> None:
    """Write the totals where few samples fit a vector."""
    total = code.slot("i32")
    with code.loop(0, inner) as channel:
        code.store("i32", 0, total, 4)
        with code.loop(channel, length, inner) as i:
            value = code.load("i32", code.at("i32", "%p_sums", i), 4)
            value = code.value(f"add i32 {value}, {code.load('i32', total, 4)}")
            code.store("i32", value, total, 4)
            code.store("i32", value, code.at("i32", "%p_totals", code.add(i, inner)), 4)


def _differences(code: Function, row: str, dtypes: tuple[DType, DType], inner: int, lanes: int) -> None:
    """Write the difference of the totals at both ends of each window, times the factor."""
    work, out = dtypes
    kind = kind_of(work)
    factor = code.value("fptrunc double %d_factor to float") if work.itemsize == 4 else "%d_factor"
    line = code.at(kind_of(out), "%p_out", code.mul(row, "%out_pitch"))
    reach = code.mul("%size", inner)
    whole = code.value(f"and i64 %width, {-lanes}")
    for begin, stop, width in (("0", whole, lanes), (whole, "%width", 1)):
        integers, floats = vector_of("i32", width), vector_of(kind, width)
        with code.loop(begin, stop, width) as i:
            low = code.load(integers, code.at("i32", "%p_totals", i), 4)
            high = code.load(integers, code.at("i32", "%p_totals", code.add(i, reach)), 4)
            total = code.value(f"sub {integers} {high}, {low}")
            number = code.value(f"sitofp {integers} {total} to {floats}")
            scaled = code.value(f"fmul {floats} {number}, {code.splat(kind, factor, width)}")
            store_as(code, work, out, scaled, code.at(kind_of(out), line, i), width)
