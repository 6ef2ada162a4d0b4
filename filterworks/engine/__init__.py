"""The engines: one small module each, one signature, one visible dict.

An engine is a module with

``refusal(problem)``
    None, or why it cannot do this problem.
``seconds(problem)``
    Its estimate, from few constants that were measured.
``run(problem, x)``
    The result of dtype ``problem.work``; `x` is real and has ``problem.shape``.
``keeps_nonfinite(problem)``
    Whether NaN and infinities come out as the definition has them. If not, the engine is given
    finite data only, and they are put back afterwards.
``IS_LOCAL``
    Whether the error of a sample depends on the samples in its own window only.
"""

from __future__ import annotations

from typing import Protocol

from filterworks.arguments import Array
from filterworks.engine import fft, opencv, plain, separable
from filterworks.problem import Problem


class Engine(Protocol):
    """What a module must offer to be an engine."""

    IS_LOCAL: bool

    def refusal(self, problem: Problem) -> str | None:
        """Return why the engine cannot do the problem, or None."""

    def seconds(self, problem: Problem) -> float:
        """Return the estimated time."""

    def run(self, problem: Problem, x: Array) -> Array:
        """Return the result."""

    def keeps_nonfinite(self, problem: Problem) -> bool:
        """Return whether NaN and infinities come out as the definition has them."""


ENGINES: dict[str, Engine] = {
    "opencv": opencv,
    "separable": separable,
    "fft": fft,
    "plain": plain,
}
