"""Small integer kernels on integer data: exact sums in few bits, made pixels while they are in registers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from filterworks.machine.code import Function
from filterworks.machine.compiler import compiled
from filterworks.machine.elements import kind_of, load_as, vector_of
from filterworks.machine.loops import DType, Loop, copy_row, lanes_of, unstaged
from filterworks.machine.tally import HEADER, Tally

# Rows of the result that are made of rows kept together.
ROWS = 8

# For each row the distances of the taps along the line, in numbers, and their weights.
Taps = tuple[tuple[tuple[int, int], ...], ...]


@dataclass(frozen=True)
class Recipe:
    """What is computed of each window.

    Attributes
    ----------
    kernels
        One: the sum of its weighted samples; two: the length √(a² + b²) of theirs.
    absolute
        Whether magnitudes of sums are wanted.
    offset
        What is added to each sum or length.
    """

    kernels: tuple[Taps, ...]
    absolute: bool = False
    offset: int = 0


@cache
def stencil(source: DType, sums: DType, out: DType, recipe: Recipe, lanes: int) -> Loop:
    """Return the loop that writes sums or lengths, rounded half to even and saturated into integers.

    Lengths may also stay floats of single precision.

    `sums` are integers that hold the sums and their magnitudes. The loop's arguments and constants are those
    of :func:`loops.unstaged`; the room begins with a `HEADER`. There are at least `ROWS` rows and `lanes`
    numbers.
    """
    code = unstaged(f"stencil_{source}_{sums}_{out}", ())
    kept, tall = code.at("i8", "%p_between", HEADER), len(recipe.kernels[0])
    tally = Tally(code)
    with code.loop(0, "%height", ROWS) as start:
        row = code.least(start, code.sub("%height", ROWS))
        with code.loop(0, ROWS + tall - 1) as index:
            place = code.at(kind_of(source), kept, code.mul(index, "%pitch"))
            copy_row(code, (source, source), code.add(row, index), place, lanes_of(source))
        first_row = tally.rows_from(start, row)
        with code.loop(0, "%width", lanes) as begin:
            column = code.least(begin, code.sub("%width", lanes))
            first_lane = tally.lanes_from(begin, column)
            place = code.at(kind_of(source), kept, column)
            tile = _Tile(code, (source, sums, out), recipe, lanes)
            for r, totals in tile.sums(place):
                values, outside = tile.finished(totals)
                to = code.at(kind_of(out), "%p_out", code.mul(code.add(row, r), "%out_pitch"))
                to = code.at(kind_of(out), to, column)
                code.store(vector_of(kind_of(out), lanes), values, to, out.itemsize)
                if outside:
                    is_counted = code.value(f"icmp sge i64 {r}, {first_row}")
                    tally.add(outside, lanes, is_counted, first_lane)
    tally.write()
    return compiled(code)


class _Tile:
    """A vector of numbers in each of `ROWS` rows."""

    def __init__(
        self, code: Function, dtypes: tuple[DType, DType, DType], recipe: Recipe, lanes: int
    ) -> None:
        self._code, self._recipe, self._lanes = code, recipe, lanes
        self._source, self._sums, self._out = dtypes
        self._integers = vector_of(kind_of(self._sums), lanes)
        self._floats = vector_of("float", lanes)

    def sums(self, place: str) -> list[tuple[int, list[str]]]:
        """Return each row with the sums of its kernels, for the samples from `place` on."""
        code, kernels = self._code, self._recipe.kernels
        tall = len(kernels[0])
        totals = [["" for _ in kernels] for _ in range(ROWS)]
        for line in range(ROWS + tall - 1):
            samples: dict[int, str] = {}
            for r in range(max(line - tall + 1, 0), min(line + 1, ROWS)):
                for index, kernel in enumerate(kernels):
                    for distance, weight in kernel[line - r]:
                        if distance not in samples:
                            one = code.at(kind_of(self._source), place, distance)
                            samples[distance] = load_as(code, self._source, self._sums, one, self._lanes)
                        totals[r][index] = self._more(totals[r][index], samples[distance], weight)
            place = code.at(kind_of(self._source), place, "%pitch")
        return [(r, [total or "zeroinitializer" for total in row]) for r, row in enumerate(totals)]

    def _more(self, total: str, sample: str, weight: int) -> str:
        """Return a sum with one more tap."""
        code, kind = self._code, self._integers
        if abs(weight) != 1:
            sample = code.value(f"mul {kind} {sample}, {self._all(abs(weight))}")
        if not total:
            total = "zeroinitializer"
        return code.value(f"{'add' if weight > 0 else 'sub'} {kind} {total}, {sample}")

    def _all(self, number: int) -> str:
        return f"splat ({kind_of(self._sums)} {number})"

    def finished(self, totals: list[str]) -> tuple[str, str | None]:
        """Return the numbers to be written, and marks of those that were cut, if they can be."""
        if len(totals) == 2:
            return self._length(totals)
        code, recipe, kind, (total,) = self._code, self._recipe, self._integers, totals
        suffix = f"v{self._lanes}{kind_of(self._sums)}"
        if recipe.absolute:
            total = code.call(kind, f"llvm.abs.{suffix}", (kind, total), ("i1", "false"))
        if recipe.offset:
            total = code.value(f"add {kind} {total}, {self._all(recipe.offset)}")
        info, inside = np.iinfo(self._out), total
        for bound, function in ((info.min, "smax"), (info.max, "smin")):
            inside = code.call(kind, f"llvm.{function}.{suffix}", (kind, inside), (kind, self._all(bound)))
        outside = code.value(f"icmp ne {kind} {inside}, {total}")
        small = vector_of(kind_of(self._out), self._lanes)
        return code.value(f"trunc {kind} {inside} to {small}"), outside

    def _length(self, totals: list[str]) -> tuple[str, str | None]:
        # Each step rounded by itself: the bits are those of pointwise.write_length.
        code, floats, lanes = self._code, self._floats, self._lanes
        squares = []
        for total in totals:
            value = code.value(f"sitofp {self._integers} {total} to {floats}")
            squares.append(code.value(f"fmul {floats} {value}, {value}"))
        value = code.value(f"fadd {floats} {squares[0]}, {squares[1]}")
        value = code.call(floats, f"llvm.sqrt.v{lanes}f32", (floats, value))
        if self._recipe.offset:
            value = code.value(f"fadd {floats} {value}, splat (float {float(self._recipe.offset):.6e})")
        if self._out.kind == "f":
            return value, None
        wide, top = vector_of("i32", lanes), f"splat (i32 {np.iinfo(self._out).max})"
        whole = code.call(wide, f"llvm.lrint.v{lanes}i32.v{lanes}f32", (floats, value))
        inside = code.call(wide, f"llvm.smin.v{lanes}i32", (wide, whole), (wide, top))
        outside = code.value(f"icmp ne {wide} {inside}, {whole}")
        small = vector_of(kind_of(self._out), lanes)
        return code.value(f"trunc {wide} {inside} to {small}"), outside
