"""Overlap-save with scipy.fft: the cost per sample grows with the logarithm of the kernel.

Source: Oppenheim & Schafer, *Discrete-Time Signal Processing*, section 8.7. Blocks that fit the cache are
transformed on all cores at once, each read with its surroundings, so that nothing is padded as a whole.
"""

from __future__ import annotations

import bisect
import itertools
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import Array
from filterworks.boundaries import window
from filterworks.problem import Problem
from filterworks.threads import Scratch, share, usable_threads

IS_LOCAL = False

_START = 0.15

# Bytes of one block of samples; beyond it a transform leaves the cache.
_LARGEST = 5 << 18
# Bytes of a complex block up to which the second-level cache holds it, and what more of them cost.
_CACHE, _BEYOND = 1.9e6, 1.1
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
        beyond = 2 * self.points * self.problem.work.itemsize > _CACHE
        return total * (math.log2(self.points) + 2) * (_BEYOND if beyond else 1.0)


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
    fitting = [t for t in tilings if t.points * problem.work.itemsize <= _LARGEST]
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
    """Blocks, and points of all blocks times the logarithm of a block."""
    plan = tiling(problem)
    blocks = float(math.prod(plan.counts))
    return {
        "call": 1.0,
        "block": blocks,
        f"point{8 * problem.work.itemsize}": plan.effort,
        "write": float(math.prod(problem.output_shape) * problem.work.itemsize),
    }


@lru_cache(maxsize=8)
def _spectrum(problem: Problem, lengths: tuple[int, ...], real: bool) -> NDArray[Any]:
    """Return the kernel's transform, shaped to multiply that of a block of real or of complex data."""
    from scipy import fft

    # The conjugate correlates, and leaves the valid part at the block's start.
    taps = problem.spread(problem.weights.array)
    spectrum = np.conj(fft.rfftn(taps, lengths) if real else fft.fftn(taps, lengths))
    shape = [1] * len(problem.shape)
    for axis, size in zip(problem.axes, spectrum.shape, strict=True):
        shape[axis] = size
    return np.asarray(spectrum.astype(_complex(problem)).reshape(shape))


def _complex(problem: Problem) -> np.dtype[Any]:
    return np.result_type(problem.work, np.complex64)


@dataclass(frozen=True)
class _Part:
    """A part of the result: its first sample and its end along each kernel axis."""

    problem: Problem
    start: tuple[int, ...]
    stop: tuple[int, ...]

    @property
    def where(self) -> tuple[slice, ...]:
        """Where it lies in the result."""
        return self._placed(slice(*ends) for ends in zip(self.start, self.stop, strict=True))

    @property
    def first(self) -> tuple[slice, ...]:
        """Where it lies in its block: at the beginning."""
        return self._placed(slice(0, b - a) for a, b in zip(self.start, self.stop, strict=True))

    def _placed(self, slices: Iterable[slice]) -> tuple[slice, ...]:
        found = [slice(None)] * len(self.problem.shape)
        for axis, part in zip(self.problem.axes, slices, strict=True):
            found[axis] = part
        return tuple(found)

    def read(self, x: Array) -> Array:
        """Return the samples that it is computed from, those outside of the data included."""
        problem = self.problem
        ends = zip(self.start, self.stop, problem.spans, problem.padding, strict=True)
        spans = [(start - low, stop - low + span - 1) for start, stop, span, (low, _) in ends]
        return window(x, problem.axes, spans, problem.boundary)


def _parts(problem: Problem, steps: Sequence[int]) -> list[_Part]:
    """Cut the result into parts of `steps` samples per kernel axis."""
    sizes = [problem.dense_shape[axis] for axis in problem.axes]
    starts = itertools.product(*(range(0, size, step) for size, step in zip(sizes, steps, strict=True)))
    return [
        _Part(problem, start, tuple(min(a + n, size) for a, n, size in zip(start, steps, sizes, strict=True)))
        for start in starts
    ]


def run(problem: Problem, x: Array) -> Array:
    """Return the result, block by block."""
    plan = tiling(problem)
    out = np.empty(problem.dense_shape, problem.work)
    if len(problem.axes) == 1:
        _run_lines(plan, x, out)
    else:
        _run_pairs(plan, x, out)
    return problem.thin(out)


def _run_pairs(plan: Tiling, x: Array, out: Array) -> None:
    """Transform two blocks at a time, in place: one as real part, one as imaginary part.

    The kernel is real, so that they do not mix; and no memory is asked for between the blocks.
    """
    from scipy import fft

    problem = plan.problem
    spectrum = _spectrum(problem, plan.lengths, real=False)
    shape = list(problem.shape)
    for axis, length in zip(problem.axes, plan.lengths, strict=True):
        shape[axis] = length
    parts = _parts(problem, plan.steps)

    def work(buffers: Scratch, pair: list[_Part]) -> None:
        block = buffers.take("block", shape, spectrum.dtype)
        block[...] = 0
        for part, half in zip(pair, (block.real, block.imag), strict=False):
            samples = part.read(x)
            half[tuple(slice(0, size) for size in samples.shape)] = samples
        block = fft.fftn(block, axes=problem.axes, overwrite_x=True)
        block *= spectrum
        block = fft.ifftn(block, axes=problem.axes, overwrite_x=True)
        for part, half in zip(pair, (block.real, block.imag), strict=False):
            out[part.where] = half[part.first]

    share(work, [parts[i : i + 2] for i in range(0, len(parts), 2)], usable_threads())


def _run_lines(plan: Tiling, x: Array, out: Array) -> None:
    """Transform several blocks of one axis side by side."""
    from scipy import fft

    problem = plan.problem
    spectrum = _spectrum(problem, plan.lengths, real=True).ravel()
    axis, (length,), (step,) = problem.axes[0], plan.lengths, plan.steps
    group = max(_GROUP // (plan.points * plan.repeats), 1)

    def work(_: object, part: _Part) -> None:
        samples = np.moveaxis(part.read(x).astype(problem.work, copy=False), axis, -1)
        wanted = part.stop[0] - part.start[0]
        count = -(-wanted // step)
        missing = (count - 1) * step + length - samples.shape[-1]
        samples = np.pad(samples, [(0, 0)] * (samples.ndim - 1) + [(0, missing)])
        blocks = np.lib.stride_tricks.sliding_window_view(samples, length, axis=-1)[..., ::step, :]
        product = fft.rfft(blocks, axis=-1)
        product *= spectrum
        result = fft.irfft(product, length, axis=-1, overwrite_x=True)[..., :step]
        joined = result.reshape(*result.shape[:-2], -1)[..., :wanted]
        out[part.where] = np.moveaxis(joined, -1, axis)

    share(work, _parts(problem, [step * group]), usable_threads())


def prepare(problem: Problem) -> Callable[[Array], Array]:
    """Return a function of the data."""
    return partial(run, problem)
