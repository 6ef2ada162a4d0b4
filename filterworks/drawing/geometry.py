"""Which cells a convolution has, where its kernel stands, and what it computes there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from filterworks.arguments import as_kernel, as_signal, per_axis
from filterworks.convolution import correlate
from filterworks.errors import ArgumentError, ArgumentTypeError
from filterworks.shapes import Padding, Pair, Size, as_padding, conv_size, direct_equivalent, transpose_size

Floats = NDArray[np.float64]
Kind: TypeAlias = Literal["data", "inserted", "padding", "cropped"]

# What still can be looked at: input, kernel, and everything else after padding and spreading.
_LARGEST_INPUT = 12
_LARGEST_GRID = 32
_MOST_STEPS = 400


@dataclass(frozen=True)
class Axis:
    """One axis of the grid on which the kernel stands.

    Attributes
    ----------
    kinds
        Of each cell: data, zeros inserted between them, padding, or cropped away by a negative padding.
    sources
        The input sample in each cell, or None.
    starts
        The cell under the first tap, for each output.
    taps
        The cells under the kernel, counted from the first.
    """

    kinds: tuple[Kind, ...]
    sources: tuple[int | None, ...]
    starts: tuple[int, ...]
    taps: tuple[int, ...]


@dataclass(frozen=True)
class Arithmetic:
    """A convolution of one or two axes, worked out.

    Attributes
    ----------
    axes
        One or two.
    grid
        The values in all cells: the input, and zeros.
    weights
        As they slide: flipped for a transposed convolution.
    output
        What they compute, from :func:`filterworks.correlate`.
    title
        The parameters in words.
    """

    axes: tuple[Axis, ...]
    grid: Floats
    weights: Floats
    output: Floats
    input_shape: tuple[int, ...]
    title: str

    @property
    def positions(self) -> list[tuple[int, ...]]:
        """The outputs, row by row: one step each."""
        return list(product(*(range(n) for n in self.output.shape)))

    def window(self, position: tuple[int, ...]) -> list[tuple[tuple[int, ...], float]]:
        """Return the cells under the kernel at an output, each with its weight."""
        cells = [
            [axis.starts[at] + tap for tap in axis.taps] for axis, at in zip(self.axes, position, strict=True)
        ]
        return list(zip(product(*cells), self.weights.ravel().tolist(), strict=True))

    def kind(self, cell: tuple[int, ...]) -> Kind:
        """Return what a cell is: the least real of what its axes say."""
        found = [axis.kinds[at] for axis, at in zip(self.axes, cell, strict=True)]
        order: tuple[Kind, ...] = ("cropped", "padding", "inserted")
        return next((kind for kind in order if kind in found), "data")


def conv_arithmetic(
    input: Size | None = None,
    kernel: Size | None = None,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    transposed: bool = False,
    output_padding: Size = 0,
    values: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Arithmetic:
    """Work out a convolution of one or two axes, as a layer computes it: without a flip.

    Parameters
    ----------
    input, kernel
        Sizes, one per axis, or an int for each of two axes (of as many as another argument has). Not
        needed where `values` and `weights` are given.
    stride, padding, dilation, output_padding
        As in :func:`filterworks.shapes.conv_output_size`.
    transposed
        Draw the transposed convolution, as the direct one that it equals: zeros between the input's
        samples, the kernel flipped.
    values, weights
        Input and kernel; 0, 1, 2, ... unless given.

    Raises
    ------
    ArgumentError
        If it has no output, or is too large to be looked at.

    Examples
    --------
    >>> steps = conv_arithmetic((5, 5), 3, stride=2, padding=1)
    >>> len(steps.positions), steps.title
    (9, 'input 5 × 5, kernel 3 × 3, stride 2, padding 1: output 3 × 3')
    >>> conv_arithmetic(values=[0, 1, 2, 3], weights=[1, -2]).output
    array([-2., -3., -4.])
    """
    x, taps = _arrays(input, kernel, values, weights)
    ndim = x.ndim
    layer = {"kernel": taps.shape, "stride": per_axis("stride", stride, ndim, 1)}
    layer["dilation"] = per_axis("dilation", dilation, ndim, 1)
    layer["output_padding"] = per_axis("output_padding", output_padding, ndim, 0)
    if not transposed and any(layer["output_padding"]):
        raise ArgumentError("`output_padding` belongs to a transposed convolution")
    pairs = as_padding(padding, taps.shape, layer["stride"], layer["dilation"])
    columns = zip(x.shape, *layer.values(), pairs, strict=True)
    axes = tuple((_transposed if transposed else _direct)(*column) for column in columns)
    _check_steps(axes)
    slid = np.flip(taps) if transposed else taps
    grid = x[np.ix_(*([source or 0 for source in axis.sources] for axis in axes))]
    for number, axis in enumerate(axes):
        empty = [source is None for source in axis.sources]
        grid[(slice(None),) * number + (empty,)] = 0
    title = _title(x.shape, layer, pairs, transposed)
    output = _output(grid, slid, axes)
    return Arithmetic(axes, grid, slid, output, x.shape, f"{title}: output {_by(output.shape)}")


def _arrays(
    input: Size | None, kernel: Size | None, values: ArrayLike | None, weights: ArrayLike | None
) -> tuple[Floats, Floats]:
    """Return input and kernel as arrays of one or two axes."""
    x = None if values is None else as_signal(values, "values")
    taps = None if weights is None else as_kernel(weights)
    for name, array in (("values", x), ("weights", taps)):
        if array is not None and (array.dtype.kind == "c" or not np.isfinite(array).all()):
            raise ArgumentTypeError(f"`{name}` must be real and finite; got others")
    known = [array.ndim for array in (x, taps) if array is not None]
    known += [len(size) for size in (input, kernel) if isinstance(size, Sequence)]
    ndim = known[0] if known else 2
    if ndim not in (1, 2) or len(set(known)) > 1:
        raise ArgumentError(f"a drawing has one or two axes, the same for input and kernel; got {known}")
    return _filled("input", x, input, ndim), _filled("kernel", taps, kernel, ndim)


def _filled(name: str, given: Any, size: Size | None, ndim: int) -> Floats:
    """Return what is given, or 0, 1, 2, ... in the shape of `size`."""
    if given is None and size is None:
        raise ArgumentError(f"give the size of the {name}, or its numbers")
    shape = given.shape if size is None else per_axis(name, size, ndim, 1)
    for length in shape:
        _check_size(f"the {name}", length, _LARGEST_INPUT)
    if given is None:
        return np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    if given.shape != shape:
        raise ArgumentError(f"the {name} must be {shape}; got numbers of shape {given.shape}")
    if given.size == 0:
        raise ArgumentError(f"the {name} must hold at least one number; got shape {given.shape}")
    return np.asarray(given, np.float64)


def _check_size(what: str, found: int, limit: int) -> None:
    if found > limit:
        raise ArgumentError(f"{what} must be at most {limit} to be drawn; got {found}")


def _check_steps(axes: tuple[Axis, ...]) -> None:
    for axis in axes:
        _check_size("the padded input's length", len(axis.kinds), _LARGEST_GRID)
        _check_size("the output's length", len(axis.starts), _LARGEST_GRID)
    _check_size("the number of steps", math.prod(len(axis.starts) for axis in axes), _MOST_STEPS)


def _direct(i: int, k: int, s: int, d: int, a: int, p: Pair) -> Axis:
    """Return the axis of a convolution: padding, input, padding."""
    count = conv_size(i, k, s, p, d)
    padding: tuple[Kind, ...] = ("padding",)
    data: tuple[Kind, ...] = ("data",)
    sources = [None] * p[0] + list(range(i)) + [None] * p[1]
    starts = tuple(s * number for number in range(count))
    return Axis(
        padding * p[0] + data * i + padding * p[1], tuple(sources), starts, tuple(d * tap for tap in range(k))
    )


def _transposed(i: int, k: int, s: int, d: int, a: int, p: Pair) -> Axis:
    """Return the axis of the direct convolution that equals a transposed one."""
    count = transpose_size(i, k, s, p, a, d)
    equal = direct_equivalent(k, stride=s, padding=(p,), output_padding=a, dilation=d)[0]
    spread = s * (i - 1) + 1
    low, high = equal.padding
    kinds: list[Kind] = ["inserted" if at % s else "data" for at in range(spread)]
    sources = [None if at % s else at // s for at in range(spread)]
    for at in range(spread):
        if at < -low or at >= spread + high:
            kinds[at] = "cropped"
    before, after = max(low, 0), max(high, 0)
    starts = tuple(max(-low, 0) + number for number in range(count))
    return Axis(
        ("padding",) * before + tuple(kinds) + ("padding",) * after,
        (None,) * before + tuple(sources) + (None,) * after,
        starts,
        tuple(d * tap for tap in range(k)),
    )


def _output(grid: Floats, weights: Floats, axes: tuple[Axis, ...]) -> Floats:
    """Correlate what the kernel may stand on."""
    inside = tuple(slice(axis.starts[0], axis.starts[-1] + axis.taps[-1] + 1) for axis in axes)
    stride = tuple(axis.starts[1] - axis.starts[0] if len(axis.starts) > 1 else 1 for axis in axes)
    dilation = tuple(axis.taps[1] if len(axis.taps) > 1 else 1 for axis in axes)
    return np.asarray(correlate(grid[inside], weights, mode="valid", stride=stride, dilation=dilation))


def _by(sizes: Sequence[int]) -> str:
    return " × ".join(map(str, sizes))


def _title(shape: tuple[int, ...], layer: dict[str, Any], pairs: tuple[Pair, ...], transposed: bool) -> str:
    """Return the parameters in words; those that do nothing are left out."""
    parts = [f"{'transposed: ' if transposed else ''}input {_by(shape)}", f"kernel {_by(layer['kernel'])}"]
    for name, usual in (("stride", 1), ("padding", 0), ("dilation", 1), ("output_padding", 0)):
        if name == "padding":
            values: list[Any] = [low if low == high else f"({low}, {high})" for low, high in pairs]
        else:
            values = list(layer[name])
        if any(value != usual for value in values):
            text = str(values[0]) if len(set(values)) == 1 else _by(values)
            parts.append(f"{name.replace('_', ' ')} {text}")
    return ", ".join(parts)
