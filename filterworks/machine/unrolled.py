"""Weighted sums with every tap written out: what :func:`loops.correlate` does, to the last bit.

That loop reads from tables which samples it adds up, so it serves every kernel. One that is written for
the places of the taps keeps samples in registers from tap to tap and has no counters.
"""

from __future__ import annotations

from functools import cache

from filterworks.machine.code import Function
from filterworks.machine.compiler import compiled, vector_bytes
from filterworks.machine.elements import kind_of, store_as, vector_of
from filterworks.machine.loops import DType, Loop, tiles

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
                        factor = code.splat(kind, weight, lanes)
                        sums[r] = [
                            _sum(code, work, lanes, x, factor, y) for x, y in zip(taken, sums[r], strict=True)
                        ]
            place = code.at(kind, place, "%in_pitch")
        target = code.at(kind_of(out), "%p_out", code.add(code.mul(row, "%out_pitch"), column))
        for totals in sums:
            for v, total in enumerate(totals):
                store_as(code, work, out, total, code.at(kind_of(out), target, v * lanes), lanes)
            target = code.at(kind_of(out), target, "%out_pitch")
    return compiled(code)


def _sum(code: Function, work: DType, lanes: int, sample: str, factor: str, total: str) -> str:
    vector = vector_of(kind_of(work), lanes)
    terms = [(vector, term) for term in (sample, factor, total)]
    return code.call(vector, f"llvm.fmuladd.v{lanes}f{8 * work.itemsize}", *terms)


class _Line:
    """The samples of a row from one place on.

    A vector that crosses a line of the cache is read twice, and vectors of 64 bytes nearly all do. Every
    second one of them is put together from two that do not, so that reading and computing take equally long.
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
        if not rest or not self._joins or self._crossing.index(distance) % 2:
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
