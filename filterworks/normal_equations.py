"""The normal equations of a kernel: sums of products of the input with its own shifts.

They are accumulated block by block, so neither the number of samples nor that of the examples costs
memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from filterworks.arguments import Array
from filterworks.errors import ArgumentError, MissingDataError, UndeterminedError

Floats = NDArray[np.float64]

# Doubles of one unrolled block: small enough to stay in a core's cache while its shifts are multiplied.
_BLOCK = 1 << 17
_HEIGHT, _WIDTH = 16, 64
# Directions whose share of the data is below this are rounding: the answer along them would be noise.
_NEGLIGIBLE = 1e-12


def valid_target(x: Array, y: Array, size: tuple[int, ...]) -> Array:
    """Return the part of a target that a kernel of `size` computes without a sample outside.

    Parameters
    ----------
    x, y
        Input (C, *spatial) and target (C_out, *spatial) or (C_out, *valid).
    size
        The kernel's length per axis.
    """
    shape = x.shape[1:]
    if any(n < k for n, k in zip(shape, size, strict=True)):
        raise ArgumentError(f"an input of {shape} is smaller than the kernel of {size}")
    valid = tuple(n - k + 1 for n, k in zip(shape, size, strict=True))
    if y.shape[1:] == valid:
        return y
    if y.shape[1:] == shape:
        return y[(slice(None), *(slice(k // 2, k // 2 + v) for k, v in zip(size, valid, strict=True)))]
    raise ArgumentError(
        f"a target must be {valid} (the valid size) or {shape} (its input's) for a kernel of {size}; "
        f"got {y.shape[1:]}"
    )


class NormalEquations:
    """The sums that determine a kernel; examples are added one at a time and not kept.

    Parameters
    ----------
    size
        The kernel's length per axis.
    channels, outputs
        Of inputs (C, *spatial) and targets (C_out, *valid).

    Examples
    --------
    >>> equations = NormalEquations((2,))
    >>> equations.add(np.array([[1, 4, 2, 8]]), np.array([[9, 8, 18]]))  # x[n] + 2 x[n + 1]
    >>> kernel, _ = equations.solve()
    >>> kernel.round(12)
    array([[[1., 2.]]])
    """

    def __init__(self, size: tuple[int, ...], channels: int = 1, outputs: int = 1) -> None:
        self.size, self.channels, self.outputs = size, channels, outputs
        # Weights are ordered (first axis, channel, other axes): products of whole rows follow the first.
        self._columns = channels * math.prod(size[1:])
        self._gram = np.zeros((size[0], self._columns, size[0], self._columns))
        self._cross = np.zeros((size[0], self._columns, outputs + 1))
        self._inner = np.zeros((outputs + 1, outputs + 1))

    @property
    def samples(self) -> int:
        """The number of output samples added so far, of each output channel."""
        return int(self._inner[-1, -1])

    def add(self, x: Array, y: Array) -> None:
        """Add an input (C, *spatial) and its target (C_out, *valid); both must be finite."""
        if x.shape[0] != self.channels or y.shape[0] != self.outputs:
            raise ArgumentError(
                f"all examples must have the same channels; got {x.shape[0]} -> {y.shape[0]} "
                f"after {self.channels} -> {self.outputs}"
            )
        check_finite("inputs", x)
        check_finite("targets", y)
        for here in blocks(y.shape[1:], self.size, self._columns):
            there = tuple(slice(s.start, s.stop + k - 1) for s, k in zip(here, self.size, strict=True))
            # Overflow is found and named when the equations are solved.
            with np.errstate(over="ignore", invalid="ignore"):
                self._add(x[(slice(None), *there)].astype(np.float64), y[(slice(None), *here)])

    def _add(self, x: Floats, y: Array) -> None:
        rows = _unrolled(x, self.size[1:])
        constant = np.ones((1, *y.shape[1:]))
        wanted = np.concatenate([y.astype(np.float64), constant])
        wanted = np.moveaxis(wanted, 0, -1).reshape(y.shape[1], -1, self.outputs + 1)
        flat = wanted.reshape(-1, self.outputs + 1)
        self._inner += flat.T @ flat
        edges = _edges(rows, self.size[0])
        for shift in range(self.size[0]):
            part = rows[shift : shift + y.shape[1]].reshape(-1, self._columns)
            self._cross[shift] += part.T @ flat
            for first, total in enumerate(_window_sums(rows, shift, self.size[0], edges)):
                self._gram[first, :, first + shift] += total
                if shift:
                    self._gram[first + shift, :, first] += total.T

    def merge(self, other: NormalEquations) -> None:
        """Add all that another has been given."""
        self._gram += other._gram
        self._cross += other._cross
        self._inner += other._inner

    def solve(self, *, bias: bool = False, ridge: float = 0.0) -> tuple[Floats, Floats]:
        """Return the kernel (C_out, C, *size) and the bias (C_out,), zeros where it is not asked for."""
        system = self.system(bias, ridge)
        values, vectors = system.spectrum
        projected = vectors.T @ (system.right / system.scale[:, None])
        return self.unpack((vectors @ (projected / values[:, None])) / system.scale[:, None], bias)

    def system(self, bias: bool, ridge: float) -> System:
        """Return matrix and right side; raise where they leave unknowns open."""
        count = self.size[0] * self._columns
        matrix = np.zeros((count + 1, count + 1))
        matrix[:count, :count] = self._gram.reshape(count, count)
        matrix[:count, count] = matrix[count, :count] = self._cross[..., -1].ravel()
        matrix[count, count] = self.samples
        matrix[np.arange(count), np.arange(count)] += ridge * self.samples
        right = np.concatenate([self._cross[..., :-1].reshape(count, -1), self._inner[-1:, :-1]])
        used = count + bool(bias)
        energy = np.diag(self._inner)[:-1]
        return _checked(System(matrix[:used, :used], right[:used], energy), self.samples, bias, ridge)

    def unpack(self, solution: Floats, bias: bool) -> tuple[Floats, Floats]:
        """Return kernel and bias from a column of unknowns per output."""
        weights = solution[: len(solution) - bool(bias)].T
        weights = weights.reshape(self.outputs, self.size[0], self.channels, *self.size[1:])
        offset = solution[-1].copy() if bias else np.zeros(self.outputs)
        return np.ascontiguousarray(np.moveaxis(weights, 1, 2)), offset


@dataclass(frozen=True)
class System:
    """``matrix @ unknowns = right``, one column per output, and the sum of squares of the targets."""

    matrix: Floats
    right: Floats
    energy: Floats

    @property
    def scale(self) -> Floats:
        """The unknowns' units: with them the matrix has ones on its diagonal."""
        diagonal = np.diag(self.matrix)
        return np.sqrt(np.where(diagonal > 0, diagonal, 1.0))

    @cached_property
    def spectrum(self) -> tuple[Floats, Floats]:
        """Eigenvalues, ascending, and eigenvectors of the scaled matrix."""
        scale = self.scale
        values, vectors = np.linalg.eigh(self.matrix / np.multiply.outer(scale, scale))
        return values, vectors

    def loss(self, unknowns: Floats) -> float:
        """Return the sum of squared errors (and the ridge's share)."""
        model = np.sum(unknowns * (self.matrix @ unknowns - 2 * self.right))
        return max(0.0, float(self.energy.sum() + model))


def _checked(system: System, samples: int, bias: bool, ridge: float) -> System:
    """Return the system if it determines all of its unknowns."""
    if not (np.isfinite(system.matrix).all() and np.isfinite(system.right).all()):
        raise ArgumentError("the values are too large: their squares overflow; divide the data by a constant")
    values, _ = system.spectrum
    determined = int(np.count_nonzero(values > _NEGLIGIBLE * values[-1])) if samples else 0
    if determined == len(values):
        return system
    what = f"{len(values)} unknowns ({len(values) - bool(bias)} weights{' and a bias' if bias else ''})"
    remedy = f"a larger `ridge` than {ridge:g}" if ridge else "`ridge` (such as 1e-3 of the data's variance)"
    raise UndeterminedError(
        f"the data determine only {determined} of {what}: {samples} samples do not vary enough; "
        f"give more varied data, a smaller `size`, or {remedy}"
    )


def check_finite(name: str, array: Array) -> None:
    """Refuse NaN and infinity, and say how many there are."""
    if array.dtype.kind == "f":
        bad = array.size - int(np.count_nonzero(np.isfinite(array)))
        if bad:
            raise MissingDataError(
                f"`{name}` must be finite; got {bad} NaN or infinite among {array.size} samples"
            )


def blocks(valid: tuple[int, ...], size: tuple[int, ...], columns: int) -> Iterator[tuple[slice, ...]]:
    """Yield blocks of output positions whose unrolled input is small."""
    lengths = list(valid)
    # Rows near a block's edge are multiplied one by one: blocks are much higher than the kernel.
    high = _HEIGHT * size[0]
    limit = max(_BLOCK // columns, _WIDTH * high)
    rows = min(lengths[0], high) + size[0] - 1
    while rows * math.prod(lengths[1:]) > limit and max(lengths[1:], default=1) > 1:
        widest = max(range(1, len(lengths)), key=lengths.__getitem__)
        lengths[widest] = -(-lengths[widest] // 2)
    fitting = limit // max(1, math.prod(lengths[1:])) - size[0] + 1
    lengths[0] = min(lengths[0], max(fitting, high))
    starts = (range(0, n, step or 1) for n, step in zip(valid, lengths, strict=True))
    for corner in product(*starts):
        yield tuple(slice(a, min(a + m, n)) for a, m, n in zip(corner, lengths, valid, strict=True))


def _unrolled(x: Floats, size: tuple[int, ...]) -> Floats:
    """Return (rows, positions, columns): under each position the channels and taps of its row."""
    axes = tuple(range(2, 2 + len(size)))
    windows = sliding_window_view(x, size, axis=axes) if size else x
    order = (1, *axes, 0, *(axis + len(size) for axis in axes))
    positions = math.prod(n - k + 1 for n, k in zip(x.shape[2:], size, strict=True))
    return np.ascontiguousarray(windows.transpose(order)).reshape(x.shape[1], positions, -1)


def _edges(rows: Floats, taps: int) -> Floats:
    """Return ``rows[r].T @ rows[r + shift]`` as (2, taps - 1, taps, columns, columns).

    Of the rows r that only some of the windows hold, at both ends; one product gives all shifts.
    """
    positions, columns = rows.shape[1:]
    valid = len(rows) - taps + 1
    found = np.zeros((2, taps - 1, taps, columns, columns))
    for side, start in enumerate((0, valid)):
        for number in range(taps - 1):
            ahead = rows[start + number : start + number + taps]
            joined = ahead.transpose(1, 0, 2).reshape(positions, -1)
            products = (rows[start + number].T @ joined).reshape(columns, len(ahead), columns)
            found[side, number, : len(ahead)] = products.transpose(1, 0, 2)
    return found


def _window_sums(rows: Floats, shift: int, taps: int, edges: Floats) -> Floats:
    """Return ``Σ rows[r].T @ rows[r + shift]`` over each window of rows that a tap reads.

    The rows that all windows share are multiplied once; sums only ever grow, so nothing cancels.
    """
    count, length, columns = taps - shift, len(rows) - taps + 1, rows.shape[-1]
    if length < count:
        left, right = rows[: len(rows) - shift], rows[shift:]
        each = left.transpose(0, 2, 1) @ right
        return np.stack([each[first : first + length].sum(axis=0) for first in range(count)])
    shared = rows[count - 1 : length].reshape(-1, columns)
    ahead = rows[count - 1 + shift : length + shift].reshape(-1, columns)
    sums = np.repeat((shared.T @ ahead)[None], count, axis=0)
    before, after = edges[:, : count - 1, shift]
    sums[:-1] += before[::-1].cumsum(axis=0)[::-1]
    sums[1:] += after.cumsum(axis=0)
    return sums
