"""Kernels that are one outer product, by both passes at once and from the data as they lie.

Some rows of the data are combined into a few, and those, still in the cache, into rows of the result.
The bits are those of :mod:`~filterworks.engine.separable`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import Array
from filterworks.engine.field import Field
from filterworks.engine.taps import GROUP, pattern_of
from filterworks.engine.unstaged import Unstaged
from filterworks.engine.written import MOST, Written
from filterworks.machine import loops, unrolled
from filterworks.machine.compiler import vector_bytes
from filterworks.machine.tally import HEADER
from filterworks.problem import Problem

# Multiply-adds that take as long as the staging of a number, which is saved.
_STAGING = 16
# Weights that should sum to 1 may do so but for this: times 65535 it is far from half a step.
_ROUNDING = 1e-7

Line = NDArray[np.float64]


def _passes(field: Field, factors: tuple[Line, Line], *, sharpens: bool) -> unrolled.Passes | None:
    """Return how the loop is to be written, if it can be."""
    taps = factors[0].size, factors[1].size
    if field.rows.stride > 1 or field.line.stride > 1 or max(taps) > GROUP:
        return None
    rows, line = pattern_of(field, taps[0], 1), pattern_of(field, 1, taps[1])
    tile, vectors = ((8, 2), 8) if vector_bytes() == 64 else ((4, 2), 6)
    if rows is None or line is None or max(math.prod(tile) * taps[0], vectors * taps[1]) > MOST:
        return None
    fits = not sharpens and _stays(field.problem, factors)
    return unrolled.Passes(tuple(map(bool, rows)), line[0], tile, vectors, fits, sharpens)


def _stays(problem: Problem, factors: tuple[Line, Line]) -> bool:
    """Return whether results are means of small unsigned integers, in their dtype: none leaves its range."""
    is_mean = all((factor >= 0).all() for factor in factors) and problem.weights.total <= 1 + _ROUNDING
    is_small = problem.dtype.kind == "u" and problem.dtype.itemsize <= 2
    return is_mean and is_small and problem.out == problem.dtype


class Fused(Unstaged):
    """A problem on two neighbouring axes whose kernel is one outer product.

    Parameters
    ----------
    problem
        What to compute; its `work` is the dtype of the sums.
    factors
        Weights of the rows and along the line.
    sharpening
        Constants of a loop that sharpens.
    """

    def __init__(
        self, problem: Problem, factors: tuple[Line, Line], sharpening: tuple[int, ...] = ()
    ) -> None:
        taps = factors[0].size, factors[1].size
        own: list[NDArray[Any] | int] = [*(factor.astype(problem.work) for factor in factors), *sharpening]
        super().__init__(problem, sum(taps), own)
        field, passes = self.field, _passes(self.field, factors, sharpens=bool(sharpening))
        self._written = None
        if passes is not None and self._fits(passes):
            self.room = HEADER + passes.tile[0] * field.pitch * field.work.itemsize
            key = (self.source, field.work, problem.out, passes, loops.lanes_of(field.work))
            effort = math.prod(problem.output_shape) * (sum(taps) + _STAGING)
            self._written = Written(unrolled.both_passes, key, effort)

    def _fits(self, passes: unrolled.Passes) -> bool:
        """Return whether tiles do, and columns outside are made from those that are there."""
        field, lanes = self.field, loops.lanes_of(self.field.work)
        if field.height < passes.tile[0] or field.width < passes.vectors * lanes:
            return False
        return self.least_inside >= passes.tile[1] * lanes and self.mirrors_inside()

    @property
    def is_possible(self) -> bool:
        """Whether there can be a loop for this problem."""
        return self._written is not None

    def loop(self) -> loops.Loop | None:
        """Return the loop; None if it is not there, or not yet."""
        return self._written.loop() if self._written else None

    def __call__(self, x: Array) -> Array | None:
        """Return the result; None if there is no loop, or not yet."""
        loop = self.loop()
        return None if loop is None else self.run(loop, x)
