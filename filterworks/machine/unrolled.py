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
from filterworks.machine.pointwise import amounts_of, outside_of, sharper
from filterworks.machine.tally import HEADER, Tally

# Constants of a loop that sharpens.
SHARPENING = ("own_row", "own_number", "d_strength", "d_least")
# Distances of the taps from the sample itself, in numbers, for each row of a kernel.
Pattern = tuple[tuple[int, ...], ...]
# Of the data, of the sums, and of the result.
Dtypes = tuple[DType, DType, DType]


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
    sharpens
        Whether the data are wanted with a share of their difference from the sums added.
    """

    rows: tuple[bool, ...]
    line: tuple[int, ...]
    tile: tuple[int, int]
    vectors: int
    fits: bool = False
    sharpens: bool = False


@cache
def both_passes(source: DType, work: DType, out: DType, passes: Passes, lanes: int) -> Loop:
    """Return the loop that combines rows of the data and then the samples of what they make.

    Few rows are between the passes at a time, and nothing is copied before: a row outside of the data is
    another one or zeros, and a column outside is made from other columns of the combined rows.

    Its arguments and constants: those of :func:`loops.unstaged`, weights of both passes. One that sharpens
    has besides: the tap of the sample itself, among rows and in numbers along the line; the share; and the
    least difference that counts. The room begins with a `HEADER`.
    """
    (rows, _), item = passes.tile, work.itemsize
    own = ("p_rows_weights", "p_line_weights", *(SHARPENING if passes.sharpens else ()))
    code = unstaged(f"both_{source}_{work}_{out}", own)
    kind = kind_of(work)
    end = (_Sharpening if passes.sharpens else _Storing)(code, (source, work, out), passes, lanes)
    room = code.at("i8", "%p_between", HEADER)
    with code.loop(0, "%height", rows) as start:
        row = code.least(start, code.sub("%height", rows))
        _combine_rows(code, (source, work), passes, (row, room), lanes)
        with code.loop(0, rows) as r:
            end.begin_row(start, row, r)
            line = code.at(kind, room, code.mul(r, "%pitch"))
            middle = code.at(kind, line, "%before")
            origin = code.at(kind, middle, code.sub(0, "%first"))
            gather(code, work, work, origin, line, ("%before", "%p_before"))
            gather(code, work, work, origin, code.at(kind, middle, "%inside"), ("%after", "%p_after"))
            with code.loop(0, "%width", passes.vectors * lanes) as begin:
                column = code.least(begin, code.sub("%width", passes.vectors * lanes))
                samples = _Line(code, work, code.at(kind, line, column), lanes, joins=True)
                sums = ["zeroinitializer"] * passes.vectors
                for tap, distance in enumerate(passes.line):
                    taken = [samples.at(distance, v) for v in range(passes.vectors)]
                    weight = code.load(kind, code.at(kind, "%p_line_weights", tap), item)
                    sums = _sums(code, work, lanes, taken, weight, sums)
                for v, total in enumerate(sums):
                    end.store(total, begin, column, v)
    end.finish()
    return compiled(code)


class _Storing:
    """Sums become the result."""

    def __init__(self, code: Function, dtypes: Dtypes, passes: Passes, lanes: int) -> None:
        self.code, self.dtypes, self.passes, self.lanes = code, dtypes, passes, lanes
        self.target = ""

    def begin_row(self, start: str, row: str, r: str) -> None:
        """Go to row `r` of the tile that begins at `row`, and would at `start` with room."""
        out, code = self.dtypes[2], self.code
        self.target = code.at(kind_of(out), "%p_out", code.mul(code.add(row, r), "%out_pitch"))

    def store(self, total: str, begin: str, column: str, v: int) -> None:
        """Write vector `v` of those that begin at `column`, and would at `begin` with room."""
        (_, work, out), code = self.dtypes, self.code
        place = code.at(kind_of(out), self.target, code.add(column, v * self.lanes))
        store_as(code, work, out, total, place, self.lanes, fits=self.passes.fits)

    def finish(self) -> None:
        """Write what is left to be written."""


class _Sharpening(_Storing):
    """The data with a share of what the sums leave of them; those that are cut are counted."""

    def __init__(self, code: Function, dtypes: Dtypes, passes: Passes, lanes: int) -> None:
        super().__init__(code, dtypes, passes, lanes)
        self._tally, self._amounts = Tally(code), amounts_of(code, dtypes[1])
        self._data = self._is_counted = ""

    def begin_row(self, start: str, row: str, r: str) -> None:
        """Find the row in the data, too."""
        super().begin_row(start, row, r)
        code, element = self.code, kind_of(self.dtypes[0])
        self._is_counted = code.value(f"icmp sge i64 {r}, {self._tally.rows_from(start, row)}")
        line = place_of_row(code, self.dtypes[0], code.add(code.add(row, r), "%own_row"))
        self._data = code.at(element, line, code.sub("%own_number", "%before"))

    def store(self, total: str, begin: str, column: str, v: int) -> None:
        """Write, and count what is cut."""
        (source, work, out), code, lanes = self.dtypes, self.code, self.lanes
        place = code.at(kind_of(source), self._data, code.add(column, v * lanes))
        value = load_as(code, source, work, place, lanes)
        total = sharper(code, work, (value, total), self._amounts, lanes)
        outside = outside_of(code, work, out, total, lanes)
        first = code.sub(self._tally.lanes_from(begin, column), v * lanes)
        self._tally.add(outside, lanes, self._is_counted, first)
        super().store(total, begin, column, v)

    def finish(self) -> None:
        """Write the count."""
        self._tally.write()


def _combine_rows(
    code: Function, dtypes: tuple[DType, DType], passes: Passes, places: tuple[str, str], lanes: int
) -> None:
    """Write the combined rows of the tile from a row on into the room, for the columns of the line."""
    (source, work), (rows, vectors), (row, room) = dtypes, passes.tile, places
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
        target = code.at(kind, room, code.add("%before", column))
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
