"""A convolution problem in its one canonical form: what every engine is given.

Whatever a caller asked for has become a *correlation of real, finite data with real weights*:
``y[i] = Σ_j padded[i·stride + j·dilation] · weights[j]`` along `axes`, where ``padded`` is the data
extended by `padding` under `boundary` (``constant`` means zeros here).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import Array
from filterworks.boundaries import pad
from filterworks.kernels import outer
from filterworks.shapes import spread_size

# Kernels of more weights than this are not remembered: they would crowd out the memory.
SMALL_KERNEL = 1 << 15
# A kernel is an outer product if what is left of it is rounding: this share of Σ|k| at most.
_ROUNDING = 4e-15
# A sum of more outer products than this is not looked for.
_FEW = 4
# Nor one whose terms cancel to less than this share of their size.
_CANCELLING = 8.0
# Samples along an axis up to which its tables are kept.
_LONGEST = 1 << 20

Factors = tuple[NDArray[np.float64], ...]


class Weights:
    """Real kernel weights and what is worth knowing about them, found once per content.

    Parameters
    ----------
    array
        The weights, drawn as they slide; None if they are known by their factors.
    factors
        1-D arrays, one per axis, whose outer product the kernel is.
    """

    def __init__(self, array: NDArray[np.float64] | None, factors: Factors | None = None) -> None:
        if array is not None:
            self.array = array
        if factors is not None:
            self.factors = factors
        self.shape = array.shape if array is not None else tuple(f.size for f in factors or ())

    @cached_property
    def array(self) -> NDArray[np.float64]:
        """The weights as one array."""
        return outer(*self.factors or ())

    @cached_property
    def factors(self) -> Factors | None:
        """The 1-D factors, one per axis, if the kernel is their outer product to rounding; else None."""
        if self.array.ndim == 1:
            return (self.array,)
        pivot = np.unravel_index(int(np.abs(self.array).argmax()), self.shape)
        peak = self.array[pivot]
        if peak == 0:
            return tuple(np.zeros(size) for size in self.shape)
        found = []
        for axis in range(self.array.ndim):
            line = self.array[tuple(slice(None) if i == axis else pivot[i] for i in range(self.array.ndim))]
            found.append(line / _unit(line, peak))
        found[0] = found[0] * (peak / math.prod(float(f[p]) for f, p in zip(found, pivot, strict=True)))
        remainder = float(np.abs(outer(*found) - self.array).sum())
        return tuple(found) if remainder <= _ROUNDING * self.absolute else None

    @cached_property
    def terms(self) -> tuple[Factors, ...] | None:
        """Few outer products whose sum the kernel is to rounding, as their factors; None if it takes many.

        Found one after the other at the largest weight that is left: cross approximation (E. Tyrtyshnikov,
        Computing 64 (2000) 367).
        """
        if self.factors is not None:
            return (self.factors,)
        if self.array.ndim != 2 or min(self.shape) < 2 * _FEW:
            return None
        found: list[Factors] = []
        rest = self.array.copy()
        for _ in range(min(_FEW, min(self.shape) // 3)):
            row, column = np.unravel_index(int(np.abs(rest).argmax()), self.shape)
            found.append((rest[:, column].copy(), rest[row] / rest[row, column]))
            rest -= outer(*found[-1])
            if float(np.abs(rest).sum()) <= _ROUNDING * self.absolute:
                sizes = [float(np.abs(a).sum() * np.abs(b).sum()) for a, b in found]
                return tuple(found) if sum(sizes) <= _CANCELLING * self.absolute else None
        return None

    @property
    def _parts(self) -> Factors:
        """The factors where they are known already, otherwise the array."""
        known = self.__dict__.get("factors")
        return known if known is not None else (self.array,)

    @cached_property
    def total(self) -> float:
        """Σk."""
        return math.prod(math.fsum(part.ravel()) for part in self._parts)

    @cached_property
    def absolute(self) -> float:
        """Σ|k|, the scale of every error bound."""
        return math.prod(float(np.abs(part).sum()) for part in self._parts)

    @cached_property
    def nonzero(self) -> int:
        """How many taps carry weight."""
        return math.prod(int(np.count_nonzero(part)) for part in self._parts)

    @cached_property
    def smallest(self) -> float:
        """The least |k| of the taps that carry weight, or of the factors' where they are known; at most 1."""
        sizes = np.concatenate([np.abs(part).ravel() for part in self._parts])
        return float(sizes[sizes > 0].min(initial=1.0))

    @property
    def has_zero(self) -> bool:
        """Whether a tap of the window carries no weight (a NaN under it still counts)."""
        return self.nonzero < math.prod(self.shape)


def _unit(line: NDArray[np.float64], peak: float) -> float:
    """Return what to divide a line by: integers stay integers, so that integer data stay exact."""
    if np.abs(line).max() < 2**53 and (line == np.rint(line)).all():
        return float(np.gcd.reduce(line.astype(np.int64)))
    return peak


@lru_cache(maxsize=128)
def _analysed(content: bytes, shape: tuple[int, ...]) -> Weights:
    return Weights(np.frombuffer(content, dtype=np.float64).reshape(shape))


def weights(array: NDArray[np.float64]) -> Weights:
    """Return the analysed weights; the same small content is analysed once."""
    analysed = _analysed if array.size <= SMALL_KERNEL else _analysed.__wrapped__
    return analysed(np.ascontiguousarray(array, dtype=np.float64).tobytes(), array.shape)


@lru_cache(maxsize=256)
def _analysed_factors(contents: tuple[bytes, ...]) -> Weights:
    return Weights(None, tuple(np.frombuffer(content, dtype=np.float64) for content in contents))


def outer_weights(factors: Factors) -> Weights:
    """Return the analysed outer product of 1-D float64 factors, which is not formed."""
    return _analysed_factors(tuple(factor.tobytes() for factor in factors))


@dataclass(frozen=True)
class Problem:
    """What to compute, without the data.

    Attributes
    ----------
    shape, dtype
        Of the data.
    work
        float32 or float64: the dtype of the result.
    weights
        Real weights, drawn as they slide.
    axes
        The axes of the data that the kernel's axes lie on, ascending.
    padding
        (before, after) samples per kernel axis; negative numbers crop.
    boundary
        What the padding holds; ``constant`` is zero.
    stride, dilation
        Per kernel axis.
    wanted
        An integer dtype that the result is rounded to, if no sum can be NaN; an engine may return
        `work` instead.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    work: np.dtype[Any]
    weights: Weights
    axes: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    boundary: str
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    wanted: np.dtype[Any] | None = None

    @property
    def out(self) -> np.dtype[Any]:
        """What an engine returns that can round as it goes."""
        return self.work if self.wanted is None else self.wanted

    @cached_property
    def spans(self) -> tuple[int, ...]:
        """Length of the dilated kernel along each of its axes."""
        return tuple(spread_size(k, d) for k, d in zip(self.weights.shape, self.dilation, strict=True))

    def _resized(self, sizes: list[int]) -> tuple[int, ...]:
        shape = list(self.shape)
        for axis, size in zip(self.axes, sizes, strict=True):
            shape[axis] = size
        return tuple(shape)

    @cached_property
    def padded_shape(self) -> tuple[int, ...]:
        """Shape of the data after padding."""
        pairs = zip(self.axes, self.padding, strict=True)
        return self._resized([max(self.shape[axis] + low + high, 0) for axis, (low, high) in pairs])

    @cached_property
    def dense_shape(self) -> tuple[int, ...]:
        """Shape of the result before striding."""
        pairs = zip(self.axes, self.spans, strict=True)
        return self._resized([max(self.padded_shape[axis] - span + 1, 0) for axis, span in pairs])

    @cached_property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        pairs = zip(self.axes, self.stride, strict=True)
        return self._resized([-(-self.dense_shape[axis] // step) for axis, step in pairs])

    @property
    def is_remembered(self) -> bool:
        """Whether the tables of the problem are small enough to be kept for the next call."""
        return max(self.padded_shape) <= _LONGEST

    @property
    def is_strided(self) -> bool:
        """Whether samples of the result are skipped."""
        return any(step > 1 for step in self.stride)

    @property
    def is_dilated(self) -> bool:
        """Whether there are holes between the taps."""
        return self.spans != self.weights.shape

    def pad(self, x: Array) -> Array:
        """Return the data with its padding in place."""
        return pad(x, self.axes, self.padding, self.boundary)

    def thin(self, dense: Array) -> Array:
        """Return every stride-th sample of the dense result."""
        if not self.is_strided:
            return dense
        keep = [slice(None)] * dense.ndim
        for axis, step in zip(self.axes, self.stride, strict=True):
            keep[axis] = slice(None, None, step)
        return np.ascontiguousarray(dense[tuple(keep)])

    def spread(self, taps: NDArray[np.float64], axis: int | None = None) -> NDArray[np.float64]:
        """Return `taps` with zeros in the holes of the dilation: the whole kernel, or one axis' factor."""
        if axis is not None:
            row = np.zeros(self.spans[axis])
            row[:: self.dilation[axis]] = taps
            return row
        if not self.is_dilated:
            return taps
        full = np.zeros(self.spans)
        full[tuple(slice(None, None, step) for step in self.dilation)] = taps
        return full
