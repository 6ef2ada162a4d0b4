"""Small integer kernels on images of integers, from the data as they lie to pixels, in one pass.

Sums of integers are exact, so the results are those of any engine, rounded and saturated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from filterworks.arguments import Array
from filterworks.engine.field import Field
from filterworks.engine.unstaged import Unstaged
from filterworks.engine.written import Written
from filterworks.machine import compiler, loops
from filterworks.machine.stencil import ROWS, Recipe, Taps, stencil
from filterworks.machine.tally import HEADER
from filterworks.problem import Problem, Weights

# Taps of all kernels together: more are done faster by other engines.
_MOST = 50
# Multiply-adds that take as long as what is done besides for a number.
_STAGING = 16
# Sums below this are exact in single precision, in which the engines add them up.
_EXACT = 1 << 24


class Stencil(Unstaged):
    """Kernels of one shape, ready to be run on data of one kind.

    Parameters
    ----------
    problem
        What to compute with the first kernel; its `wanted` is the dtype of the result: that of the data, or
        for lengths single precision.
    kernels
        One: its sums are wanted; two: the length √(a² + b²) of theirs.
    absolute, offset
        Whether magnitudes of sums are wanted, and what is added to sums or lengths.
    """

    def __init__(
        self, problem: Problem, kernels: Sequence[Weights], *, absolute: bool = False, offset: int = 0
    ) -> None:
        super().__init__(replace(problem, work=_sums_dtype(problem, kernels)), _taps(kernels))
        taps = tuple(_written(kernel, self.field) for kernel in kernels)
        kept = (ROWS + self.field.rows.span - 1) * self.field.pitch * self.source.itemsize
        self.room = HEADER + kept
        lanes = loops.lanes_of(self.field.work)
        out = self.field.problem.out
        key = (self.source, self.field.work, out, Recipe(taps, absolute, offset), lanes)
        effort = math.prod(problem.output_shape) * (_taps(kernels) + _STAGING)
        # What else there is takes several times as long, and memory for floats.
        self._written = Written(stencil, key, effort, waits=True)

    def __call__(self, x: Array) -> tuple[Array, int] | None:
        """Return the result, and how many samples were cut to the range of its dtype; None: no loop yet."""
        loop = self._written.loop()
        if loop is None:
            return None
        tally: list[int] = []
        out = self.run(loop, x, tally)
        return out, sum(tally)


def _sums_dtype(problem: Problem, kernels: Sequence[Weights]) -> np.dtype[np.signedinteger]:
    """Return the narrowest integers that hold every sum, its magnitude, and an offset of half the range."""
    top = np.iinfo(problem.dtype).max
    largest = top * max(kernel.absolute for kernel in kernels) + top
    return np.dtype(np.int16 if largest < 1 << 15 else np.int32)


def _taps(kernels: Sequence[Weights]) -> int:
    return sum(kernel.nonzero for kernel in kernels)


def _written(kernel: Weights, field: Field) -> Taps:
    rows, line = field.rows, field.line
    found: list[tuple[tuple[int, int], ...]] = [()] * rows.span
    for index, row in enumerate(kernel.array.astype(np.int64).tolist()):
        found[index * rows.dilation] = tuple(
            (column * line.dilation * field.inner, weight) for column, weight in enumerate(row) if weight
        )
    return tuple(found)


def is_possible(problem: Problem, kernels: Sequence[Weights]) -> bool:
    """Return whether there is such a loop for a problem: small integers, kernels of them, large data."""
    is_small = problem.dtype.kind == "u" and problem.dtype.itemsize <= 2 and problem.work == np.float32
    if not is_small or compiler.obstacle() or len(problem.axes) != 2 or math.prod(problem.stride) != 1:
        return False
    first, last = problem.axes
    if last != first + 1 or Field.is_wide(problem) or problem.boundary == "omit" or len(kernels) > 2:
        return False
    top = np.iinfo(problem.dtype).max
    if _taps(kernels) > _MOST or max(problem.spans) > ROWS:
        return False
    return all(
        kernel.shape == kernels[0].shape
        and top * kernel.absolute < _EXACT
        and bool((kernel.array == np.rint(kernel.array)).all())
        for kernel in kernels
    )


def is_large(rows: int, numbers: int) -> bool:
    """Return whether a result of so many rows of so many numbers is large enough."""
    return rows >= 4 * ROWS and numbers >= 4 * loops.lanes_of(np.dtype(np.int16))


@lru_cache(maxsize=64)
def prepare(
    problem: Problem, kernels: tuple[Weights, ...], *, absolute: bool = False, offset: int = 0
) -> Stencil | None:
    """Return the stencil of a problem, None where another engine has to do it."""
    if not is_possible(problem, kernels):
        return None
    first, last = problem.axes
    out = problem.output_shape
    if not is_large(out[first], out[last] * math.prod(out[last + 1 :])):
        return None
    found = Stencil(problem, kernels, absolute=absolute, offset=offset)
    fits = found.field.height >= ROWS and found.field.width >= loops.lanes_of(found.field.work)
    return found if fits else None
