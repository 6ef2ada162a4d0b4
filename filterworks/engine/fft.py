"""Overlap-save with scipy.fft: the cost per sample grows with the logarithm of the kernel.

Source: Oppenheim & Schafer, *Discrete-Time Signal Processing*, section 8.7. Blocks of a bounded size
keep the workspace small and the rounding error below that of one transform of everything.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from filterworks.arguments import Array
from filterworks.problem import Problem

IS_LOCAL = False

# Samples in a block of all kernel axes together; beyond it a transform leaves the cache.
_BLOCK = 1 << 18
# Share of the contract's 1e-5 that single precision may use up by its estimated rounding.
_SINGLE_ERROR = 2e-6
_CALL = 2.5e-4
# Seconds per point and factor of two, forward and back, on two cores at 2.3 GHz.
_PER_POINT = 1e-9


def refusal(problem: Problem) -> str | None:
    """Every linear problem can be transformed."""
    return None


def keeps_nonfinite(problem: Problem) -> bool:
    """One NaN fills its whole block."""
    return False


def _wanted_sizes(problem: Problem) -> tuple[int, ...]:
    """Return the block's length per axis: long against the kernel, short against `_BLOCK`."""
    budget = max(_BLOCK ** (1 / len(problem.spans)), 1.0)
    padded = [problem.padded_shape[axis] for axis in problem.axes]
    return tuple(int(min(n, max(budget, 4.0 * span))) for n, span in zip(padded, problem.spans, strict=True))


def seconds(problem: Problem) -> float:
    """Points of all blocks times the logarithm of a block."""
    sizes = _wanted_sizes(problem)
    points = float(math.prod(n for axis, n in enumerate(problem.shape) if axis not in problem.axes))
    blocks = 1
    for axis, size, span in zip(problem.axes, sizes, problem.spans, strict=True):
        count = -(-problem.dense_shape[axis] // (size - span + 1)) if size >= span else 0
        blocks *= count
        points *= count * size
    return _CALL * (1 + blocks) + points * math.log2(math.prod(sizes) + 1) * _PER_POINT


def _precision(problem: Problem, sizes: tuple[int, ...]) -> np.dtype[Any]:
    """Single precision where its rounding, eps · log₂ n · ‖x‖₂ · ‖k‖₂, surely stays in the bound."""
    points = math.prod(sizes)
    energy = math.sqrt(points) * float(np.linalg.norm(problem.weights.array))
    error = np.finfo(np.float32).eps * math.log2(points + 1) * energy
    single = problem.work == np.float32 and error <= _SINGLE_ERROR * problem.weights.absolute
    return np.dtype(np.float32 if single else np.float64)


def _spans(
    problem: Problem, sizes: tuple[int, ...]
) -> Iterator[tuple[list[slice], list[slice], list[slice]]]:
    """Yield where each block is read, where in the block the result lies, and where it is written."""
    steps = [size - span + 1 for size, span in zip(sizes, problem.spans, strict=True)]
    starts = [
        range(0, problem.dense_shape[axis], step) for axis, step in zip(problem.axes, steps, strict=True)
    ]
    ndim = len(problem.shape)
    for corner in itertools.product(*starts):
        read, keep, write = ([slice(None)] * ndim for _ in range(3))
        for axis, start, size, step in zip(problem.axes, corner, sizes, steps, strict=True):
            stop = min(start + step, problem.dense_shape[axis])
            read[axis] = slice(start, start + size)
            keep[axis] = slice(0, stop - start)
            write[axis] = slice(start, stop)
        yield read, keep, write


def run(problem: Problem, x: Array) -> Array:
    """Return the result, block by block."""
    from scipy import fft  # a quarter of a second, and most kernels never need it

    sizes = tuple(fft.next_fast_len(n, real=True) for n in _wanted_sizes(problem))
    precision = _precision(problem, sizes)
    padded = problem.pad(x)
    out = np.empty(problem.dense_shape, problem.work)
    workers = max(cv2.getNumThreads(), 1)
    # The conjugate transform of the kernel correlates, and leaves the valid part at the block's start.
    spectrum = np.conj(fft.rfftn(problem.spread(problem.weights.array).astype(precision), sizes))
    shape = [1] * len(problem.shape)
    for axis, size in zip(problem.axes, spectrum.shape, strict=True):
        shape[axis] = size
    spectrum = spectrum.reshape(shape)
    for read, keep, write in _spans(problem, sizes):
        block = padded[tuple(read)].astype(precision, copy=False)
        product = fft.rfftn(block, sizes, axes=problem.axes, workers=workers)
        product *= spectrum
        result = fft.irfftn(product, sizes, axes=problem.axes, workers=workers)
        out[tuple(write)] = result[tuple(keep)]
    return problem.thin(out)
