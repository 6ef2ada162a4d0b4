"""The inner loops of direct filtering, as functions compiled when first needed.

All work on rows of samples that stand in a staged buffer: converted to the working precision, with
their padding in place, one row every `pitch` samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from filterworks.machine.code import Function
from filterworks.machine.compiler import compiled, vector_bytes
from filterworks.machine.elements import kind_of, load_as, store_as, vector_of

_TABLES = ("p_counts", "p_offsets", "p_weights", "weights_step")

Loop = Callable[..., None]
DType = np.dtype[Any]


def lanes_of(work: DType) -> int:
    """Return how many numbers one vector register holds."""
    return vector_bytes() // work.itemsize


@cache
def stage(source: DType, work: DType, lanes: int) -> Loop:
    """Return the loop that copies rows of `source` numbers into a staged buffer of `work` numbers.

    Its arguments: the buffer, the data, the offset of each row in them (-1: a row of zeros). Its
    constants: the buffer's pitch and the number of rows; how many samples stand before the row with the
    table of their places in it (-1: zero), the first sample of the row and how many of it, how many
    stand after it with their table.
    """
    code = Function(
        f"stage_{source}_{work}",
        ("p_out", "p_data", "p_rows"),
        ("pitch", "rows", "before", "p_before", "first", "inside", "after", "p_after"),
    )
    with code.loop(0, "%rows") as row:
        target = code.at(kind_of(work), "%p_out", code.mul(row, "%pitch"))
        copy_row(code, (source, work), row, target, lanes)
    return compiled(code)


def copy_row(code: Function, dtypes: tuple[DType, DType], row: str, target: str, lanes: int) -> None:
    """Copy a row of the data, as numbers of the second dtype, with those before and after its line."""
    source, work = dtypes
    kind, element = kind_of(work), kind_of(source)
    offset = code.load("i64", code.at("i64", "%p_rows", row))
    total = code.add(code.add("%before", "%inside"), "%after")
    with code.when(code.value(f"icmp slt i64 {offset}, 0")), code.loop(0, total) as i:
        code.store(kind, "zeroinitializer", code.at(kind, target, i), work.itemsize)
    with code.when(code.value(f"icmp sge i64 {offset}, 0")):
        line = code.at(element, "%p_data", offset)
        gather(code, source, work, line, target, ("%before", "%p_before"))
        middle = code.at(kind, target, "%before")
        start = code.at(element, line, "%first")
        whole = code.value(f"and i64 %inside, {-lanes}")
        for stop, begin, width in ((whole, "0", lanes), ("%inside", whole, 1)):
            with code.loop(begin, stop, width) as i:
                value = load_as(code, source, work, code.at(element, start, i), width)
                code.store(vector_of(kind, width), value, code.at(kind, middle, i), work.itemsize)
        gather(code, source, work, line, code.at(kind, middle, "%inside"), ("%after", "%p_after"))


def gather(
    code: Function, source: DType, work: DType, line: str, target: str, table: tuple[str, str]
) -> None:
    """Copy the samples that a table names; zero where it says -1."""
    count, places = table
    kind = kind_of(work)
    with code.loop(0, count) as i:
        place = code.load("i64", code.at("i64", places, i))
        pointer = code.at(kind, target, i)
        code.store(kind, "zeroinitializer", pointer, work.itemsize)
        with code.when(code.value(f"icmp sge i64 {place}, 0")):
            value = load_as(code, source, work, code.at(kind_of(source), line, place), 1)
            code.store(kind, value, pointer, work.itemsize)


def unstaged(name: str, own: Sequence[str]) -> Function:
    """Return the beginning of a loop that reads the data as they lie.

    Its arguments: the result, the data, where each row begins in them (-1: zeros), and room for a few rows.
    Its constants: the pitch of those; how many numbers stand before the line with the table of their places
    in it (-1: zero), the first number of the line and how many of it, how many stand after it with their
    table; the result's pitch, height and width; a row of zeros; then its `own`.
    """
    names = (
        "pitch", "before", "p_before", "first", "inside", "after", "p_after",
        "out_pitch", "height", "width", "p_zeros",
    )  # fmt: skip
    return Function(name, ("p_out", "p_data", "p_rows", "p_between"), (*names, *own))


def place_of_row(code: Function, source: DType, row: str) -> str:
    """Return where the first number of a row's line stands in the data of an :func:`unstaged` loop."""
    offset = code.load("i64", code.at("i64", "%p_rows", row))
    place = code.at(kind_of(source), code.at(kind_of(source), "%p_data", offset), "%first")
    is_outside = code.value(f"icmp slt i64 {offset}, 0")
    return code.value(f"select i1 {is_outside}, ptr %p_zeros, ptr {place}")


@cache
def split(work: DType, stride: int, lanes: int) -> Loop:
    """Return the loop that sorts the samples of staged rows by their place modulo `stride`.

    Its arguments: the result and the staged rows. Its constants: their pitch, the number of rows, the
    length of the part of each phase, and how many numbers stand together as a sample. One vector
    beyond each part may be written before the next part is.
    """
    code = Function(f"split_{work}_{stride}", ("p_out", "p_in"), ("pitch", "rows", "part", "inner"))
    kind = kind_of(work)
    with code.loop(0, "%rows") as row:
        source = code.at(kind, "%p_in", code.mul(row, "%pitch"))
        target = code.at(kind, "%p_out", code.mul(row, "%pitch"))
        single = code.value("icmp eq i64 %inner, 1")
        with code.when(single):
            _split_single(code, work, (source, target), stride, lanes)
        with code.when(code.value(f"xor i1 {single}, true")):
            _split_samples(code, work, (source, target), stride)
    return compiled(code)


def _split_single(code: Function, work: DType, rows: tuple[str, str], stride: int, lanes: int) -> None:
    """Sort single numbers, whole vectors at a time; the phases in order, so that overhang is overwritten."""
    kind = kind_of(work)
    vector, wide = vector_of(kind, lanes), vector_of(kind, lanes * stride)
    for phase in range(stride):
        mask = ", ".join(f"i32 {phase + stride * lane}" for lane in range(lanes))
        with code.loop(0, "%part", lanes) as place:
            first = code.at(kind, rows[0], code.mul(place, stride))
            numbers = code.load(wide, first, work.itemsize)
            chosen = code.value(f"shufflevector {wide} {numbers}, {wide} poison, <{lanes} x i32> <{mask}>")
            to = code.at(kind, rows[1], code.add(place, code.mul("%part", phase)))
            code.store(vector, chosen, to, work.itemsize)


def _split_samples(code: Function, work: DType, rows: tuple[str, str], stride: int) -> None:
    """Sort samples of several numbers."""
    kind = kind_of(work)
    with code.loop(0, stride) as phase:
        into = code.at(kind, rows[1], code.mul(phase, "%part"))
        with code.loop(0, code.value("sdiv i64 %part, %inner")) as place:
            first = code.mul(code.add(code.mul(place, stride), phase), "%inner")
            to = code.mul(place, "%inner")
            with code.loop(0, "%inner") as i:
                value = code.load(kind, code.at(kind, rows[0], code.add(first, i)), work.itemsize)
                code.store(kind, value, code.at(kind, into, code.add(to, i)), work.itemsize)


@cache
def correlate(work: DType, out: DType, rows: int, vectors: int, lanes: int) -> Loop:
    """Return the loop that adds up weighted samples: tiles of `rows` × `vectors` stay in registers.

    Its arguments: the result and the staged buffer. Its constants: their pitches, the height and width
    of the result (at least one tile), the number of groups of taps, and their three tables: counts,
    offsets, weights; and how many weights further those of the next row of tiles stand (0: the same).
    A sample that all rows of a tile use is loaded once.

    Notes
    -----
    Every sample of the result adds its taps in the same order wherever it lies in a tile, so that
    the parts of a picture equal the whole to the last bit.
    """
    code = Function(
        f"correlate_{work}_{out}_{rows}x{vectors}",
        ("p_out", "p_in"),
        ("out_pitch", "in_pitch", "height", "width", "groups", *_TABLES),
    )
    vector = vector_of(kind_of(work), lanes)
    slots = {(r, v): (code.slot(vector), code.slot(vector)) for r in range(rows) for v in range(vectors)}
    cursor = (code.slot("i64"), code.slot("i64"))
    with tiles(code, rows, vectors * lanes) as (row, column, tile):
        base = code.at(kind_of(work), "%p_in", code.add(code.mul(row, "%in_pitch"), column))
        code.store("i64", 0, cursor[0])
        code.store("i64", code.mul(tile, "%weights_step"), cursor[1])
        for _, total in slots.values():
            code.store(vector, "zeroinitializer", total, 64)
        with code.loop(0, "%groups") as group:
            for part, _ in slots.values():
                code.store(vector, "zeroinitializer", part, 64)
            counts = code.at("i64", "%p_counts", code.mul(group, 2 * rows + 1))
            alone = [[r] for r in range(rows)]
            members = [*alone, list(range(rows)), *alone]
            for index, active in enumerate(members):
                with code.loop(0, code.load("i64", code.at("i64", counts, index))):
                    _add_tap(code, work, base, cursor, {k: v[0] for k, v in slots.items()}, active, lanes)
            for part, total in slots.values():
                one, other = code.load(vector, part, 64), code.load(vector, total, 64)
                code.store(vector, code.value(f"fadd {vector} {one}, {other}"), total, 64)
        for (r, v), (_, total) in slots.items():
            line = code.add(code.mul(code.add(row, r), "%out_pitch"), code.add(column, v * lanes))
            target = code.at(kind_of(out), "%p_out", line)
            store_as(code, work, out, code.load(vector, total, 64), target, lanes)
    return compiled(code)


class tiles:  # noqa: N801 -- read as a word in a with statement
    """Loop over tiles of rows × columns; the last of each direction overlaps the one before it."""

    def __init__(self, code: Function, rows: int, columns: int) -> None:
        self._code, self._steps = code, (rows, columns)
        self._loops: list[Any] = []

    def __enter__(self) -> tuple[str, str, str]:
        code, starts = self._code, []
        for step, extent in zip(self._steps, ("%height", "%width"), strict=True):
            loop = code.loop(0, extent, step)
            self._loops.append(loop)
            starts.append(loop.__enter__())
        row = code.least(starts[0], code.sub("%height", self._steps[0]))
        column = code.least(starts[1], code.sub("%width", self._steps[1]))
        return row, column, code.value(f"sdiv i64 {starts[0]}, {self._steps[0]}")

    def __exit__(self, *error: object) -> None:
        for loop in reversed(self._loops):
            loop.__exit__(None, None, None)


def _add_tap(
    code: Function,
    work: DType,
    base: str,
    cursor: tuple[str, str],
    sums: dict[tuple[int, int], str],
    active: list[int],
    lanes: int,
) -> None:
    """Add the next sample, times one weight for each active row, and move the cursor on."""
    kind, vector = kind_of(work), vector_of(kind_of(work), lanes)
    place, weight = (code.load("i64", slot) for slot in cursor)
    sample = code.at(kind, base, code.load("i64", code.at("i64", "%p_offsets", place)))
    columns = sorted({v for _, v in sums})
    samples = [code.load(vector, code.at(kind, sample, v * lanes), work.itemsize) for v in columns]
    weights = code.at(kind, "%p_weights", weight)
    for index, row in enumerate(active):
        factor = code.splat(kind, code.load(kind, code.at(kind, weights, index), work.itemsize), lanes)
        for v in columns:
            held = code.load(vector, sums[row, v], 64)
            terms = [(vector, samples[v]), (vector, factor), (vector, held)]
            name = f"llvm.fmuladd.v{lanes}f{8 * work.itemsize}"
            code.store(vector, code.call(vector, name, *terms), sums[row, v], 64)
    code.store("i64", code.add(place, 1), cursor[0])
    code.store("i64", code.add(weight, len(active)), cursor[1])
