"""Weighted sums with every tap written out: what :func:`loops.correlate` does, to the last bit.

That loop reads from tables which samples it adds up, so it serves every kernel. One that is written for
the places of the taps keeps samples in registers from tap to tap and has no counters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from filterworks.machine.code import Function
from filterworks.machine.compiler import compiled, vector_bytes
from filterworks.machine.elements import kind_of, load_as, store_as, vector_of
from filterworks.machine.loops import DType, Loop, gather, place_of_row, tiles, unstaged

# Distances of the taps from the sample itself, in numbers, for each row of a kernel.
Pattern = tuple[tuple[int, ...], ...]


@cache
def correlate(work: DType, out: DType, pattern: Pattern, tile: tuple[int, int], lanes: int) -> Loop:
    """Return the loop that adds up weighted samples: tiles of rows × vectors stay in registers.

    Its arguments: the result and the staged buffer. Its constants: their pitches, the height and width of
    the result (at least one tile), and the weights, row by row.
    """
    rows, vectors = tile
    names = ("out_pitch", "in_pitch", "height", "width", "p_weights")
    code = Function(f"unrolled_{work}_{out}_{rows}x{vectors}", ("p_out", "p_in"), names)
    kind = kind_of(work)
    first = [sum(map(len, pattern[:row])) for row in range(len(pattern))]
    with tiles(code, rows, vectors * lanes) as (row, column, _):
        place = code.at(kind, "%p_in", code.add(code.mul(row, "%in_pitch"), column))
        sums = [["zeroinitializer"] * vectors for _ in range(rows)]
        for line in range(rows + len(pattern) - 1):
            samples = _Line(code, work, place, lanes, joins=rows == 1)
            met = [(r, line - r) for r in range(rows) if 0 <= line - r < len(pattern)]
            for distance in sorted({one for _, tap in met for one in pattern[tap]}):
                taken = [samples.at(distance, v) for v in range(vectors)]
                for r, tap in met:
                    if distance in pattern[tap]:
                        index = first[tap] + pattern[tap].index(distance)
                        weight = code.load(kind, code.at(kind, "%p_weights", index), work.itemsize)
                        sums[r] = _sums(code, work, lanes, taken, weight, sums[r])
            place = code.at(kind, place, "%in_pitch")
        target = code.at(kind_of(out), "%p_out", code.add(code.mul(row, "%out_pitch"), column))
        for totals in sums:
            for v, total in enumerate(totals):
                store_as(code, work, out, total, code.at(kind_of(out), target, v * lanes), lanes)
            target = code.at(kind_of(out), target, "%out_pitch")
    return compiled(code)


@dataclass(frozen=True)
class Passes:
    """A kernel that is one outer product, and the tiles that its two passes keep in registers.

    Attributes
    ----------
    rows
        Whether each row from the first tap to the last has one.
    line
        Distances of the taps along the line, in numbers.
    tile
        Rows and vectors of the first pass.
    vectors
        Vectors of the second pass.
    fits
        Whether every result is in the range of its dtype when it is rounded.
    """

    rows: tuple[bool, ...]
    line: tuple[int, ...]
    tile: tuple[int, int]
    vectors: int
    fits: bool = False


@cache
def both_passes(source: DType, work: DType, out: DType, passes: Passes, lanes: int) -> Loop:
    """Return the loop that combines rows of the data and then the samples of what they make.

    Few rows are between the passes at a time, and nothing is copied before: a row outside of the data is
    another one or zeros, and a column outside is made from other columns of the combined rows.

    Its arguments and constants: those of :func:`loops.unstaged`, weights of both passes.
    """
    (rows, _), item = passes.tile, work.itemsize
    code = unstaged(f"both_{source}_{work}_{out}", ("p_rows_weights", "p_line_weights"))
    kind = kind_of(work)
    with code.loop(0, "%height", rows) as start:
        row = code.least(start, code.sub("%height", rows))
        _combine_rows(code, (source, work), passes, row, lanes)
        with code.loop(0, rows) as r:
            line = code.at(kind, "%p_between", code.mul(r, "%pitch"))
            middle = code.at(kind, line, "%before")
            origin = code.at(kind, middle, code.sub(0, "%first"))
            gather(code, work, work, origin, line, ("%before", "%p_before"))
            gather(code, work, work, origin, code.at(kind, middle, "%inside"), ("%after", "%p_after"))
            target = code.at(kind_of(out), "%p_out", code.mul(code.add(row, r), "%out_pitch"))
            with code.loop(0, "%width", passes.vectors * lanes) as begin:
                column = code.least(begin, code.sub("%width", passes.vectors * lanes))
                samples = _Line(code, work, code.at(kind, line, column), lanes, joins=True)
                sums = ["zeroinitializer"] * passes.vectors
                for tap, distance in enumerate(passes.line):
                    taken = [samples.at(distance, v) for v in range(passes.vectors)]
                    weight = code.load(kind, code.at(kind, "%p_line_weights", tap), item)
                    sums = _sums(code, work, lanes, taken, weight, sums)
                for v, total in enumerate(sums):
                    place = code.at(kind_of(out), target, code.add(column, v * lanes))
                    store_as(code, work, out, total, place, lanes, fits=passes.fits)
    return compiled(code)


def _combine_rows(code: Function, dtypes: tuple[DType, DType], passes: Passes, row: str, lanes: int) -> None:
    """Write the combined rows of a tile for the columns of the line."""
    (source, work), (rows, vectors) = dtypes, passes.tile
    kind, element = kind_of(work), kind_of(source)
    count = rows + len(passes.rows) - 1
    lines = [place_of_row(code, source, code.add(row, index)) for index in range(count)]
    tap_of = {row: index for index, row in enumerate(r for r, has in enumerate(passes.rows) if has)}
    with code.loop(0, "%inside", vectors * lanes) as begin:
        column = code.least(begin, code.sub("%inside", vectors * lanes))
        sums = [["zeroinitializer"] * vectors for _ in range(rows)]
        for index, line in enumerate(lines):
            met = [(r, tap_of[index - r]) for r in range(rows) if index - r in tap_of]
            place = code.at(element, line, column)
            taken = [
                load_as(code, source, work, code.at(element, place, v * lanes), lanes)
                for v in range(vectors if met else 0)
            ]
            for r, tap in met:
                weight = code.load(kind, code.at(kind, "%p_rows_weights", tap), work.itemsize)
                sums[r] = _sums(code, work, lanes, taken, weight, sums[r])
        target = code.at(kind, "%p_between", code.add("%before", column))
        for totals in sums:
            for v, total in enumerate(totals):
                code.store(vector_of(kind, lanes), total, code.at(kind, target, v * lanes), work.itemsize)
            target = code.at(kind, target, "%pitch")


def _sums(
    code: Function, work: DType, lanes: int, samples: Sequence[str], weight: str, sums: Sequence[str]
) -> list[str]:
    """Return sums with one more tap."""
    factor = code.splat(kind_of(work), weight, lanes)
    return [_sum(code, work, lanes, x, factor, y) for x, y in zip(samples, sums, strict=True)]


def _sum(code: Function, work: DType, lanes: int, sample: str, factor: str, total: str) -> str:
    vector = vector_of(kind_of(work), lanes)
    terms = [(vector, term) for term in (sample, factor, total)]
    return code.call(vector, f"llvm.fmuladd.v{lanes}f{8 * work.itemsize}", *terms)


class _Line:
    """The samples of a row from one place on.

    A vector that crosses a line of the cache is read twice, and vectors of 64 bytes nearly all do. Every
    third one of them is put together from two that do not, so that reading and computing take equally long.
    """

    def __init__(self, code: Function, work: DType, place: str, lanes: int, *, joins: bool) -> None:
        self._code, self._work, self._place, self._lanes = code, work, place, lanes
        self._joins = joins and lanes * work.itemsize == vector_bytes() == 64
        self._held: dict[int, str] = {}
        self._crossing: list[int] = []

    def at(self, distance: int, v: int) -> str:
        """Return the samples that lie so many numbers beyond those of vector `v`."""
        rest = distance % self._lanes
        if rest and distance not in self._crossing:
            self._crossing.append(distance)
        if not rest or not self._joins or self._crossing.index(distance) % 3:
            return self._read(distance + v * self._lanes)
        # A staged row is at least a vector longer than what is read of it.
        start = distance - rest + v * self._lanes
        low, high = self._read(start), self._read(start + self._lanes)
        return self._joined(low, high, rest)

    def _read(self, start: int) -> str:
        if start not in self._held:
            place = self._code.at(kind_of(self._work), self._place, start)
            vector = vector_of(kind_of(self._work), self._lanes)
            self._held[start] = self._code.load(vector, place, self._work.itemsize)
        return self._held[start]

    def _joined(self, low: str, high: str, rest: int) -> str:
        # Left to itself, LLVM takes an instruction that needs a table and destroys an operand.
        vector = vector_of(kind_of(self._work), self._lanes)
        name = "valignd" if self._work.itemsize == 4 else "valignq"
        text = f'asm "{name} $${rest}, $2, $1, $0", "=v,v,v"'
        return self._code.value(f"call {vector} {text}({vector} {high}, {vector} {low})")
