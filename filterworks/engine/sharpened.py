"""Images of small integers, sharpened by what a smooth kernel of one outer product leaves, in one pass."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from filterworks.arguments import Array
from filterworks.engine import separable
from filterworks.engine.field import Field
from filterworks.engine.fused import Fused, Line
from filterworks.problem import Problem


class Sharpened(Fused):
    """Data + strength · (data - smooth), details below the least left out, as integers of their dtype.

    The bits are those of :func:`~filterworks.machine.pointwise.write_sharpened`.

    Parameters
    ----------
    problem
        What smooths; its `wanted` is the dtype of the data.
    factors
        Weights of the rows and along the line.
    centre
        The taps that lie on the sample itself.
    strength, least
        How much is added of a detail, and from which size on.
    """

    def __init__(
        self,
        problem: Problem,
        factors: tuple[Line, Line],
        centre: tuple[int, int],
        strength: float,
        least: float,
    ) -> None:
        inner = math.prod(problem.shape[problem.axes[-1] + 1 :])
        amounts = np.array([strength, least]).view(np.int64).tolist()
        super().__init__(problem, factors, (centre[0], centre[1] * inner, *amounts))

    def sharpen(self, x: Array) -> tuple[Array, int] | None:
        """Return the result, and how many samples were cut; None if there is no loop, or not yet."""
        loop = self.loop()
        if loop is None:
            return None
        tally: list[int] = []
        out = self.run(loop, x, tally)
        return out, sum(tally)


@lru_cache(maxsize=64)
def prepare(problem: Problem, centre: tuple[int, int], strength: float, least: float) -> Sharpened | None:
    """Return a problem that smooths images of small integers, ready to sharpen them; None if it cannot be."""
    is_small = problem.dtype.kind == "u" and problem.dtype.itemsize <= 2 and problem.wanted == problem.dtype
    if not is_small or separable.refusal(problem) or len(problem.axes) != 2 or problem.boundary == "omit":
        return None
    first, last = problem.axes
    factors = problem.weights.factors
    if factors is None or last != first + 1 or Field.is_wide(problem):
        return None
    # Equal weights are added up in another way.
    if separable.precision(problem) != np.float32 or any(np.ptp(f) == 0 for f in factors):
        return None
    found = Sharpened(problem, (factors[0], factors[1]), centre, strength, least)
    return found if found.is_possible else None
