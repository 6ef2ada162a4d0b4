"""The engines: one small module each, one signature, one visible dict.

An engine is a module with

``refusal(problem)``
    None, or why it cannot do this problem.
``work(problem)``
    How much of each kind of work the problem is; :mod:`filterworks.costs` turns it into seconds.
``start_seconds()``
    What the first use in this process costs besides: imports and compilation; 0 once it was used.
``run(problem, x)``
    The result of dtype ``problem.work`` (or ``problem.wanted``); `x` is real and has ``problem.shape``.
``prepare(problem)``
    A function of the data that does the same; what does not depend on them is done.
``keeps_nonfinite(problem)``
    Whether NaN and infinities come out as the definition has them. If not, the engine is given
    finite data only, and they are put back afterwards.
``IS_LOCAL``
    Whether the error of a sample depends on the samples in its own window only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from filterworks.arguments import Array
from filterworks.engine import direct, fft, numpy_direct, opencv, opencv_separable, plain, separable
from filterworks.problem import Problem


class Engine(Protocol):
    """What a module must offer to be an engine."""

    IS_LOCAL: bool

    def refusal(self, problem: Problem) -> str | None:
        """Return why the engine cannot do the problem, or None."""

    def work(self, problem: Problem) -> dict[str, float]:
        """Return how much of each kind of work the problem is."""

    def start_seconds(self) -> float:
        """Return what the first use in this process costs besides."""

    def run(self, problem: Problem, x: Array) -> Array:
        """Return the result."""

    def prepare(self, problem: Problem) -> Callable[[Array], Array]:
        """Return a function of the data that does the same."""

    def keeps_nonfinite(self, problem: Problem) -> bool:
        """Return whether NaN and infinities come out as the definition has them."""


ENGINES: dict[str, Engine] = {
    "opencv": opencv,
    "opencv_separable": opencv_separable,
    "direct": direct,
    "separable": separable,
    "fft": fft,
    "numpy": numpy_direct,
    "plain": plain,
}
