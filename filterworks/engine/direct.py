"""Direct evaluation by compiled loops: any number of axes, stride, dilation, channels, any dtype.

Blocks of the padded data are staged in the cache in the working precision; tiles of the result stay
in registers while all taps are added to them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from filterworks.arguments import Array
from filterworks.engine.field import Field
from filterworks.engine.staging import Staged
from filterworks.engine.taps import Correlator, Tap, pattern_of
from filterworks.machine import compiler
from filterworks.problem import Problem

IS_LOCAL = True


def refusal(problem: Problem) -> str | None:
    """Everything can be done where something can be compiled."""
    reason = compiler.obstacle()
    return f"nothing can be compiled here: {reason}" if reason else None


def keeps_nonfinite(problem: Problem) -> bool:
    """Every tap is multiplied, those without weight too, and nothing else is."""
    return True


class Direct(Staged):
    """A problem, ready to be run on data of its kind."""

    def __init__(self, problem: Problem) -> None:
        field = Field(problem)
        super().__init__(field, problem.out)
        size, shift = (field.height, field.width), field.rows.stride * field.pitch
        pattern = None if field.plane_taps > 1 else pattern_of(field, field.rows.taps, field.line.taps)
        self.filter = Correlator(_taps(field), shift, size, field.out_pitch, field.work, problem.out, pattern)


def _taps(field: Field) -> list[list[list[Tap]]]:
    """Return offset and weight of each tap: per plane of the kernel its rows."""
    weights = field.problem.weights.array.reshape(field.plane_taps, field.rows.taps, field.line.taps)
    columns = [field.column_offset(tap) for tap in range(field.line.taps)]
    return [
        [
            [(field.row_offset(plane, row) + column, w) for column, w in zip(columns, line, strict=True)]
            for row, line in enumerate(lines)
        ]
        for plane, lines in enumerate(weights.tolist())
    ]


@lru_cache(maxsize=64)
def _direct(problem: Problem) -> Direct:
    return Direct(problem)


def prepare(problem: Problem) -> Callable[[Array], Array]:
    """Return the problem with its tables and loops ready."""
    return (_direct if problem.is_remembered else Direct)(problem)


def run(problem: Problem, x: Array) -> Array:
    """Return the result."""
    return prepare(problem)(x)


def start_seconds() -> float:
    """Starting the compiler."""
    return compiler.start_seconds()


def work(problem: Problem) -> dict[str, float]:
    """Blocks, bytes staged and written, and multiply-adds of three kinds."""
    field = Field(problem)
    kind = "tap_line" if field.plane_taps * field.rows.taps == 1 else "tap"
    if field.line.taps == 1 and field.rows.taps > 3:
        kind = "tap_rows"
    return {
        "call": 1.0,
        "block": field.block_count * (1.0 + field.plane_taps),
        **field.bytes_moved(problem.out),
        kind: field.numbers * field.taps * problem.work.itemsize / 4,
    }
