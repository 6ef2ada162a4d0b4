"""Moving sums of small integers in rows × samples, times one factor: exact, from the data as they lie."""

from __future__ import annotations

import math
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from filterworks.arguments import Array
from filterworks.engine.field import Table, address, scratch
from filterworks.engine.unstaged import Unstaged
from filterworks.machine import loops
from filterworks.machine.integer_box import Box, integer_box
from filterworks.problem import Problem

# Windows of more rows than this keep the sums of columns; of more samples than this, by the bytes of their
# sum, running totals.
_ANEW, _WRITTEN = 2, {2: 21, 4: 13}
# What a second pass over a line costs, in samples; what running totals cost, what rows and a result do, and
# what results of 16-bit sums do that have to be made by floats.
_PASS, _TOTALS, _BASE, _FLOATS = 2, 10, 4, 4
# Bytes of each row that is kept beyond its numbers: it begins a little later, and vectors reach further.
_BEYOND = 1024
# So many sums are looked at before all are.
_FIRST = 1024
# Dtypes of data, sums and result for which a multiplication of 16-bit numbers will do.
_BYTES: tuple[Any, ...] = tuple(map(np.dtype, (np.uint8, np.uint16, np.uint8)))


def range_of(source: np.dtype[Any]) -> tuple[int, int]:
    """Return the least and the greatest number of integers or booleans."""
    info = np.iinfo(np.uint8 if source.kind == "b" else source)
    return int(info.min), int(info.max)


def dtype_of_sums(source: np.dtype[Any], count: int) -> np.dtype[Any] | None:
    """Return the smallest integers, of 16 bits or more, that the sum of so many numbers always fits.

    Examples
    --------
    >>> [str(dtype_of_sums(np.dtype(np.uint8), count)) for count in (257, 258, 1 << 24)]
    ['uint16', 'int32', 'None']
    """
    low, high = range_of(source)
    for dtype in (np.int16 if low else np.uint16, np.int32):
        info = np.iinfo(dtype)
        if info.min <= low * count and high * count <= info.max:
            return np.dtype(dtype)
    return None


@lru_cache(maxsize=256)
def multiplier(factor: float, most: int) -> tuple[int, int, int] | None:
    """Return a, m and s for which (sum + a)·m >> 16 >> s is the rounded product of sum and factor.

    For every sum from 0 to `most`, in 16 bits but for the product; None if no such numbers are found near
    the factor and half of its inverse.

    Examples
    --------
    >>> multiplier(1 / 9, 9 * 255)
    (5, 58254, 3)
    """
    if not 2.0**-16 < factor < 1.0:
        return None
    sums = np.arange(most + 1, dtype=np.uint32)
    wanted = np.rint(sums.astype(np.float32) * np.float32(factor))
    if wanted[-1] > np.iinfo(np.uint8).max:
        return None
    shift = math.floor(-math.log2(factor))
    exact, half = factor * 2.0 ** (16 + shift), math.floor(0.5 / factor)
    for m in range(math.floor(exact), math.ceil(exact) + 2):
        for add in range(max(half - 1, 0), half + 2):
            fits = m < 1 << 16 and add + most < 1 << 16
            # Most numbers fail at one of the first sums.
            if fits and all(
                ((sums[part] + add) * m >> 16 + shift == wanted[part]).all()
                for part in (slice(_FIRST), slice(None))
            ):
                return add, m, shift
    return None


@lru_cache(maxsize=256)
def parts_of(size: int, bytes_of_sum: int) -> tuple[int, ...]:
    """Return how a line of samples is added up in two passes: first, times, rest; empty: by totals.

    Examples
    --------
    >>> parts_of(3, 2), parts_of(9, 2), parts_of(11, 2)
    ((3, 1, 0), (3, 3, 0), (2, 5, 1))
    """
    if size > _WRITTEN[bytes_of_sum]:
        return ()
    ways = [(size, 1, 0)]
    ways += [(first, size // first, size % first) for first in range(2, size // 2 + 1)]
    return min(ways, key=_samples)


def _samples(parts: tuple[int, ...]) -> int:
    """Return what adding up a line costs, in samples."""
    first, times, rest = parts
    return first + (times + rest + _PASS if times > 1 else 0)


class IntegerBox(Unstaged):
    """A problem along one axis or two neighbouring ones whose weights are all equal.

    Parameters
    ----------
    problem
        What to compute; its `work` is the dtype of the sums.
    """

    def __init__(self, problem: Problem) -> None:
        terms = problem.weights.terms or ()
        self._factor = math.prod(float(factor[0]) for factor in terms[0])
        self._count = math.prod(factor.size for factor in terms[0])
        self._table = np.zeros(5, np.int64)
        super().__init__(problem, (_BASE + _TOTALS) * problem.work.itemsize // 4, [self._table])
        field = self.field
        self._columns = dtype_of_sums(self.source, field.rows.taps) or problem.work
        self._parts = parts_of(field.line.taps, field.work.itemsize)
        first = (field.staged * self._columns.itemsize // _BEYOND + 2) * _BEYOND
        self.room = first + field.staged * problem.work.itemsize + _BEYOND
        self._table[:4] = field.rows.taps, field.line.taps, first, np.float64(self._factor).view(np.int64)

    @cached_property
    def _loop(self) -> loops.Loop:
        """The loop; what it reads from its table is there with it."""
        field, found = self.field, self._multiplier
        rows = field.rows.taps if field.rows.taps <= _ANEW else 0
        self._table[4] = found[2] if found else 0
        dtypes = self.source, self._columns, field.work, field.problem.out
        facts = self.mirrors_inside(), self._saturates
        box = Box(*dtypes, rows, self._parts, field.inner, *facts, found[:2] if found else ())
        return integer_box(box, loops.lanes_of(self._columns))

    @cached_property
    def _all_rows(self) -> Table:
        """The place of each row in data without gaps."""
        return self._tables.rows_of(math.prod(self.field.problem.shape[self.field.row_axis + 1 :]))

    @cached_property
    def _multiplier(self) -> tuple[int, int, int] | None:
        if (self.source, self.field.work, self.field.problem.out) != _BYTES:
            return None
        return multiplier(self._factor, self._count * range_of(self.source)[1])

    @property
    def _saturates(self) -> bool:
        """Whether a rounded result may lie beyond the numbers of its dtype."""
        out, single = self.field.problem.out, np.float32
        if out.kind == "f" or out.itemsize > 2:
            return True
        ends = np.array([end * self._count for end in range_of(self.source)], np.int32)
        results = np.rint(ends.astype(single) * single(self._factor))
        info = np.iinfo(out)
        return bool(results.min() < info.min or results.max() > info.max)

    def __call__(self, x: Array) -> Array:
        """Return the result."""
        if self._only is None or not x.flags.c_contiguous:
            return self.run(self._loop, x)
        # Small data take less time than looking at how they lie.
        problem = self.field.problem
        out = np.empty(problem.output_shape, problem.out)
        room = scratch("between", self.room)
        self._loop(address(out), address(x), address(self._all_rows), room, self._only)
        return out

    def work(self) -> dict[str, float]:
        """Return the work of the problem."""
        field, out = self.field, self.field.problem.out
        size = field.work.itemsize
        each = _BASE + (_samples(self._parts) if self._parts else _TOTALS)
        if size == 2 and not self._multiplier and out.kind != "f":
            each += _FLOATS
        # A short line is mostly what lies outside of it.
        numbers = field.numbers * field.staged / field.width
        written = float(math.prod(field.problem.output_shape) * out.itemsize)
        return {"block": float(self.block_count), "write": written, "sum_integer": numbers * each * size / 4}
