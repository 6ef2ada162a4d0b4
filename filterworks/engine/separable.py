"""Kernels that are one or a few outer products, by compiled passes over blocks that stay in the cache.

Per block: rows are combined into as many intermediate blocks as the kernel has terms, then their lines into
the result. A factor whose weights are all equal is a moving sum and costs about the logarithm of its length.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import Array
from filterworks.engine.field import Field, address, scratch
from filterworks.engine.fused import Fused
from filterworks.engine.integer_box import IntegerBox, dtype_of_sums
from filterworks.engine.staging import Staged
from filterworks.engine.taps import Correlator, pattern_of
from filterworks.machine import box, compiler, loops
from filterworks.problem import Problem, outer_weights

IS_LOCAL = True

# From so many equal weights on there are moving sums. Up to some forty, both passes at once would be faster,
# but rounded weights add up to something else than 1: by 8e-7 in single precision. One number for rows and
# lines and for both at once: which of these it will be depends on the data's size, and the bits must not.
_MOVING = 16
# More terms than this are added up in double precision: equal samples make rounding systematic.
_SINGLE_TAPS = 127
# Taps of the rows and of the line that take as long as converting a number and rounding it.
_BOTH = 5, 3
# Bytes of the sums of rows that are kept, unless one vector of each is more.
_KEPT = 1 << 20
# Sums of integers below this are exact in single precision.
_EXACT = 1 << 24

Line = NDArray[np.float64]


def refusal(problem: Problem) -> str | None:
    """The kernel must be a sum of a few outer products of 1-D factors."""
    reason = compiler.obstacle()
    if reason:
        return f"nothing can be compiled here: {reason}"
    terms = problem.weights.terms
    if not terms:
        return "the kernel is not a sum of few outer products of 1-D factors"
    if len(terms) > 1 and len(problem.axes) > 1 and not _is_plane(problem):
        return "a sum of outer products must lie on two neighbouring axes, with few channels behind them"
    return None


def keeps_nonfinite(problem: Problem) -> bool:
    """Several terms would meet infinity as ∞ - ∞."""
    return len(problem.weights.terms or ()) == 1


def is_moving(factor: Line, stride: int, dilation: int, least: int = _MOVING) -> bool:
    """Return whether a factor is a moving sum of `least` samples or more."""
    plain = stride == dilation == 1 and factor.size >= least
    return plain and factor[0] != 0 and bool((factor == factor[0]).all())


def precision(problem: Problem) -> np.dtype[Any]:
    """Return the dtype of the sums.

    Double for long moving sums, whose rounding single precision would pile up; integers where windows of
    equal weights hold small integers whose sums fit.
    """
    if problem.work.itemsize == 8:
        return problem.work
    terms = problem.weights.terms or ()
    steps = list(zip(terms[0], problem.stride, problem.dilation, strict=True)) if len(terms) == 1 else []
    count = math.prod(factor.size for factor, *_ in steps)
    if problem.dtype.kind in "iub" and count > 1 and all(is_moving(*step, 1) for step in steps):
        integers = dtype_of_sums(problem.dtype, count)
        if integers is not None:
            return integers
    moving = [factor.size for factor, *step in steps if is_moving(factor, *step)]
    if problem.dtype.kind in "iub" and moving:
        peak = 1 << (8 * problem.dtype.itemsize)
        if peak * math.prod(moving) >= _EXACT:
            return np.dtype(np.float64)
    return np.dtype(np.float64 if max(moving, default=0) > _SINGLE_TAPS else np.float32)


def _field(problem: Problem) -> Field:
    effort = len(problem.weights.terms or ()) * sum(problem.weights.shape)
    return Field(replace(problem, work=precision(problem)), effort)


class _MovingRows:
    """The moving sum of rows."""

    def __init__(
        self, field: Field, factor: Line, size: tuple[int, int], pitch: int, out: np.dtype[Any]
    ) -> None:
        lanes = min(loops.lanes_of(field.work), 1 << (size[1].bit_length() - 1))
        kept = sum(box.kept_sums(factor.size)) * lanes * field.work.itemsize
        most = min(size[1] // lanes, _KEPT // kept)
        vectors = next((n for n in (8, 4, 2) if n <= most), 1)
        self._sums = kept * vectors
        self._constants = _constants((pitch, field.pitch, *size), float(factor[0]))
        self._loop = box.box_columns(field.work, out, factor.size, vectors, lanes)

    def __call__(self, staged: int, out: int) -> None:
        """Write the sums for staged samples."""
        self._loop(out, staged, scratch("sums", self._sums), address(self._constants))


class _MovingLines:
    """The moving sum along the lines."""

    def __init__(self, field: Field, factor: Line, out: np.dtype[Any]) -> None:
        sizes = field.out_pitch, field.pitch, field.height, field.width
        self._constants = _constants(sizes, float(factor[0]))
        levels, room = len(box.kept_sums(factor.size)), box.line_room(factor.size, field.inner)
        self._sums = levels * room * field.work.itemsize
        self._loop = box.box_line(field.work, out, factor.size, field.inner, loops.lanes_of(field.work))

    def __call__(self, rows: int, out: int) -> None:
        """Write the sums for rows of samples."""
        self._loop(out, rows, scratch("sums", self._sums), address(self._constants))


def _constants(sizes: tuple[int, ...], factor: float) -> NDArray[np.int64]:
    return np.array([*sizes, np.float64(factor).view(np.int64)], np.int64)


def _rows_pass(
    field: Field, factor: Line, size: tuple[int, int], pitch: int, out: np.dtype[Any], *, writes: bool
) -> Callable[[int, int], None]:
    """Return what combines rows into those of one term, or of the result."""
    if is_moving(factor, field.rows.stride, field.rows.dilation):
        return _MovingRows(field, factor, size, pitch, out)
    taps = [[(field.row_offset(0, tap), weight)] for tap, weight in enumerate(factor.tolist())]
    shift, pattern = field.rows.stride * field.pitch, pattern_of(field, factor.size, 1) if writes else None
    return Correlator([taps], shift, size, pitch, field.work, out, pattern)


def _lines_pass(
    field: Field, factors: list[Line], apart: int, out: np.dtype[Any], *, writes: bool
) -> Callable[[int, int], None]:
    """Return what combines the samples of lines, all terms together."""
    line = field.line
    if len(factors) == 1 and is_moving(factors[0], line.stride, line.dilation):
        return _MovingLines(field, factors[0], out)
    taps = [
        (term * apart + field.column_offset(tap), weight)
        for term, factor in enumerate(factors)
        for tap, weight in enumerate(factor.tolist())
    ]
    size = (field.height, field.width)
    pattern = pattern_of(field, 1, factors[0].size) if writes and len(factors) == 1 else None
    return Correlator([[taps]], field.pitch, size, field.out_pitch, field.work, out, pattern)


class Separable(Staged):
    """A problem along one axis or two neighbouring ones, ready to be run on data of its kind."""

    def __init__(self, problem: Problem) -> None:
        field = _field(problem)
        super().__init__(field, problem.out)
        self._fused: Fused | None = None
        terms = problem.weights.terms or ()
        rows = [term[field.rows.position] for term in terms if field.rows.position is not None]
        lines = [term[field.line.position] for term in terms if field.line.position is not None]
        size = (field.height, field.width)
        if not lines:
            self.filter = _rows_pass(field, rows[0], size, field.out_pitch, problem.out, writes=True)
            return
        self._fused = _fused(field)
        writes = self._fused is None
        apart = field.height * field.pitch
        self._lines = self.filter = _lines_pass(field, lines, apart, problem.out, writes=writes)
        if rows:
            size = (field.height, field.part * field.line.stride)
            self._rows = [
                _rows_pass(field, row, size, field.pitch, field.work, writes=writes) for row in rows
            ]
            self._apart = apart * field.work.itemsize
            self.filter = self._both

    def __call__(self, x: Array) -> Array:
        """Return the result."""
        found = self._fused(x) if self._fused else None
        return super().__call__(x) if found is None else found

    def _both(self, staged: int, out: int) -> None:
        between = scratch("between", len(self._rows) * self._apart)
        for index, combine in enumerate(self._rows):
            combine(staged, between + index * self._apart)
        self._lines(between, out)


def _fused(field: Field) -> Fused | None:
    """Return both passes as one, if they can be."""
    rows, line = field.rows, field.line
    terms = field.problem.weights.terms or ()
    if len(terms) != 1 or rows.position is None or line.position is None:
        return None
    factors = terms[0][rows.position], terms[0][line.position]
    if is_moving(factors[0], rows.stride, rows.dilation) or is_moving(factors[1], line.stride, line.dilation):
        return None
    fused = Fused(field.problem, factors)
    return fused if fused.is_possible else None


def _made(problem: Problem) -> IntegerBox | Separable:
    work = precision(problem)
    if work.kind == "f":
        return Separable(problem)
    return IntegerBox(replace(problem, work=work, wanted=problem.out))


@lru_cache(maxsize=64)
def _plane(problem: Problem) -> IntegerBox | Separable:
    return _made(problem)


def prepare(problem: Problem) -> Callable[[Array], Array]:
    """Return the problem with its tables and loops ready."""
    steps = [(_plane if step.is_remembered else _made)(step) for step in _steps(problem)]
    return steps[0] if len(steps) == 1 else lambda x: reduce(lambda data, step: step(data), steps, x)


def steps_of(problem: Problem) -> list[Problem]:
    """Return the problems, one after the other, of one axis or two neighbouring ones each."""
    factors = problem.weights.factors
    steps = []
    while len(problem.axes) > 1 and not _is_plane(problem):
        if factors is None:
            raise ValueError("only kernels that are one outer product have more than two axes")
        first = outer_weights(factors[:1])
        alone = replace(
            problem,
            weights=first,
            axes=problem.axes[:1],
            padding=problem.padding[:1],
            stride=problem.stride[:1],
            dilation=problem.dilation[:1],
            wanted=None,
        )
        steps.append(alone)
        factors = factors[1:]
        problem = replace(
            problem,
            shape=alone.output_shape,
            dtype=problem.work,
            weights=outer_weights(factors),
            axes=problem.axes[1:],
            padding=problem.padding[1:],
            stride=problem.stride[1:],
            dilation=problem.dilation[1:],
        )
    return [*steps, problem]


def _is_plane(problem: Problem) -> bool:
    """Return whether two axes are the rows and the line of a field."""
    first, last = problem.axes[0], problem.axes[-1]
    return len(problem.axes) == 2 and last == first + 1 and not Field.is_wide(problem)


@lru_cache(maxsize=64)
def _steps(problem: Problem) -> tuple[Problem, ...]:
    return tuple(steps_of(problem))


def run(problem: Problem, x: Array) -> Array:
    """Return the result."""
    return prepare(problem)(x)


def start_seconds() -> float:
    """Starting the compiler."""
    return compiler.start_seconds()


def work(problem: Problem) -> dict[str, float]:
    """The work of all steps: blocks, bytes, multiply-adds of both passes, additions of moving sums."""
    total: dict[str, float] = {"call": 1.0}
    for step in _steps(problem):
        for name, amount in _step_work(step).items():
            total[name] = total.get(name, 0.0) + amount
    return total


def _step_work(problem: Problem) -> dict[str, float]:
    if precision(problem).kind != "f":
        # Kept for the problem itself: nothing is compiled before it is run.
        made = (_plane if problem.is_remembered else _made)(problem)
        if isinstance(made, IntegerBox):
            return made.work()
    field = _field(problem)
    found = {"block": 2.0 * field.block_count, **field.bytes_moved(problem.out)}
    fused = _fused(field)
    if fused:
        numbers = field.numbers * field.work.itemsize / 4
        rows, line = (
            float(axis.taps + more) for axis, more in zip((field.rows, field.line), _BOTH, strict=True)
        )
        taps = {"tap_rows": numbers * rows, "tap_line": numbers * line}
        return {"block": float(fused.block_count), "write": found["write"], **taps}
    for term in problem.weights.terms or ():
        for axis, kind in ((field.rows, "rows"), (field.line, "line")):
            if axis.position is None:
                continue
            factor = term[axis.position]
            numbers = field.numbers * field.work.itemsize / 4
            if kind == "rows":
                numbers *= field.staged / field.width if field.line.position is not None else 1.0
            if is_moving(factor, axis.stride, axis.dilation):
                name, amount = (f"sum_{kind}", axis.taps.bit_length() / (6.0 if kind == "rows" else 1.0))
            else:
                name, amount = f"tap_{kind}", float(axis.taps)
            found[name] = found.get(name, 0.0) + numbers * amount
    return found
