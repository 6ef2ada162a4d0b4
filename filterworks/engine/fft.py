"""Overlap-save with scipy.fft: the cost per sample grows with the logarithm of the kernel.

Source: Oppenheim & Schafer, *Discrete-Time Signal Processing*, section 8.7. Blocks that fit the cache are
transformed on all cores at once, each read with its surroundings, so that nothing is padded as a whole.
"""

from __future__ import annotations

import bisect
import itertools
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import Array
from filterworks.boundaries import window
from filterworks.problem import Problem
from filterworks.threads import share, usable_threads

IS_LOCAL = False

_START = 0.15

# Points of one block; beyond it a transform leaves the cache.
_LARGEST = 1 << 18
# What the calls for one block cost, in points times logarithms.
_BLOCK_EFFORT = 4e5
# Blocks of one axis are transformed in groups of so many points: side by side they fill the vector units.
_GROUP = 1 << 18


def refusal(problem: Problem) -> str | None:
    """Every linear problem can be transformed."""
    return None


def keeps_nonfinite(problem: Problem) -> bool:
    """One NaN fills its whole block."""
    return False


@cache
def _fast_lengths() -> list[int]:
    """Return the even lengths whose transform is fast: products of 2, 3 and 5."""
    powers = itertools.product(range(1, 25), range(6), range(4))
    return sorted(n for n in (2**a * 3**b * 5**c for a, b, c in powers) if n <= 1 << 24)


def _lengths(padded: int, span: int) -> list[int]:
    """Return block lengths worth looking at for one axis."""
    fast = _fast_lengths()
    whole = fast[min(bisect.bisect_left(fast, padded), len(fast) - 1)]
    wanted = (span * factor for factor in (1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 12, 16, 24, 32))
    found = {fast[bisect.bisect_left(fast, min(max(length, 32), 1 << 23))] for length in wanted}
    return sorted({min(length, whole) for length in found if length >= span} | {whole})


@dataclass(frozen=True)
class Tiling:
    """How a problem is cut into blocks."""

    problem: Problem
    lengths: tuple[int, ...]

    @cached_property
    def steps(self) -> tuple[int, ...]:
        """Samples of the result that a block gives, per axis."""
        spans = self.problem.spans
        return tuple(length - span + 1 for length, span in zip(self.lengths, spans, strict=True))

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Blocks along each axis."""
        dense = (self.problem.dense_shape[axis] for axis in self.problem.axes)
        return tuple(-(-size // step) for size, step in zip(dense, self.steps, strict=True))

    @property
    def points(self) -> int:
        """Points of one block."""
        return math.prod(self.lengths)

    @property
    def repeats(self) -> int:
        """How many arrays lie side by side on the other axes."""
        return math.prod(n for axis, n in enumerate(self.problem.shape) if axis not in self.problem.axes)

    @property
    def effort(self) -> float:
        """Points times the logarithm of a block, the kernel's own transform included."""
        total = (math.prod(self.counts) * self.repeats + 1) * self.points
        return total * (math.log2(self.points) + 2)


@lru_cache(maxsize=256)
def tiling(problem: Problem) -> Tiling:
    """Return the blocks that take the least time."""
    choices = [
        _lengths(problem.padded_shape[axis], span)
        for axis, span in zip(problem.axes, problem.spans, strict=True)
    ]
    if len(choices) > 2:
        choices = [_thinned(lengths) for lengths in choices]
    tilings = [Tiling(problem, lengths) for lengths in itertools.product(*choices)]
    fitting = [t for t in tilings if t.points <= _LARGEST]
    return min(
        fitting or tilings,
        key=lambda t: t.effort + _BLOCK_EFFORT * math.prod(t.counts) if fitting else t.points,
    )


def _thinned(lengths: list[int]) -> list[int]:
    return lengths[:: max(len(lengths) // 5, 1)] + lengths[-1:]


def start_seconds() -> float:
    """Importing scipy.fft."""
    return 0.0 if "scipy.fft" in sys.modules else _START


def work(problem: Problem) -> dict[str, float]:
    """Blocks, and points of all blocks times the logarithm of a block (in units of four bytes)."""
    plan = tiling(problem)
    blocks = float(math.prod(plan.counts))
    return {
        "call": 1.0,
        "block": blocks,
        "point": plan.effort * problem.work.itemsize / 4,
        "write": float(math.prod(problem.output_shape) * problem.work.itemsize),
    }


def _spectrum(problem: Problem, lengths: tuple[int, ...]) -> NDArray[Any]:
    """Return the kernel's transform, shaped to multiply that of a block."""
    from scipy import fft

    # The conjugate correlates, and leaves the valid part at the block's start.
    spectrum = np.conj(fft.rfftn(problem.spread(problem.weights.array), lengths))
    shape = [1] * len(problem.shape)
    for axis, size in zip(problem.axes, spectrum.shape, strict=True):
        shape[axis] = size
    return np.asarray(spectrum.astype(np.result_type(problem.work, np.complex64)).reshape(shape))


def run(problem: Problem, x: Array) -> Array:
    """Return the result, block by block."""
    plan = tiling(problem)
    spectrum = _spectrum(problem, plan.lengths)
    out = np.empty(problem.dense_shape, problem.work)
    transform = _line_blocks if len(problem.axes) == 1 else _one_block
    group = max(_GROUP // (plan.points * plan.repeats), 1) if len(problem.axes) == 1 else 1
    steps = [*plan.steps[:-1], plan.steps[-1] * group]
    sizes = [problem.dense_shape[axis] for axis in problem.axes]
    corners = itertools.product(*(range(0, size, step) for size, step in zip(sizes, steps, strict=True)))

    def work(_: object, corner: tuple[int, ...]) -> None:
        stops = [min(a + step, size) for a, step, size in zip(corner, steps, sizes, strict=True)]
        where = [slice(None)] * out.ndim
        for axis, start, stop in zip(problem.axes, corner, stops, strict=True):
            where[axis] = slice(start, stop)
        out[tuple(where)] = transform(plan, x, corner, stops, spectrum)

    share(work, corners, usable_threads())
    return problem.thin(out)


def _read(plan: Tiling, x: Array, corner: tuple[int, ...], stops: list[int]) -> Array:
    """Return the padded samples that a part of the result reads."""
    problem = plan.problem
    spans = []
    for start, stop, span, (low, _) in zip(corner, stops, problem.spans, problem.padding, strict=True):
        spans.append((start - low, stop - low + span - 1))
    return window(x, problem.axes, spans, problem.boundary).astype(problem.work, copy=False)


def _one_block(
    plan: Tiling, x: Array, corner: tuple[int, ...], stops: list[int], spectrum: NDArray[Any]
) -> Array:
    from scipy import fft

    problem = plan.problem
    product = fft.rfftn(_read(plan, x, corner, stops), plan.lengths, axes=problem.axes)
    product *= spectrum
    result = fft.irfftn(product, plan.lengths, axes=problem.axes, overwrite_x=True)
    keep = [slice(None)] * x.ndim
    for axis, start, stop in zip(problem.axes, corner, stops, strict=True):
        keep[axis] = slice(0, stop - start)
    return np.asarray(result[tuple(keep)])


def _line_blocks(
    plan: Tiling, x: Array, corner: tuple[int, ...], stops: list[int], spectrum: NDArray[Any]
) -> Array:
    """Transform several blocks of one axis side by side."""
    from scipy import fft

    axis, (length,), (step,) = plan.problem.axes[0], plan.lengths, plan.steps
    samples = np.moveaxis(_read(plan, x, corner, stops), axis, -1)
    count = -(-(stops[0] - corner[0]) // step)
    missing = (count - 1) * step + length - samples.shape[-1]
    samples = np.pad(samples, [(0, 0)] * (samples.ndim - 1) + [(0, missing)])
    blocks = np.lib.stride_tricks.sliding_window_view(samples, length, axis=-1)[..., ::step, :]
    product = fft.rfft(blocks, axis=-1)
    product *= spectrum.ravel()
    result = fft.irfft(product, length, axis=-1, overwrite_x=True)[..., :step]
    joined = result.reshape(*result.shape[:-2], -1)[..., : stops[0] - corner[0]]
    return np.asarray(np.moveaxis(joined, -1, axis))


def prepare(problem: Problem) -> Callable[[Array], Array]:
    """Return a function of the data."""
    return partial(run, problem)
