"""Sizes and padding: arithmetic on integers, no data.

Every function takes ints and returns an int, or takes at least one tuple (one entry per axis) and returns
a tuple; ints beside tuples hold for every axis. In the formulas *i* is the input length, *k* the
kernel's, *s* the stride, *d* the dilation, *p* the padding on each side and *a* the output padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from filterworks.arguments import Mode, as_choice, as_int
from filterworks.errors import ArgumentError, ArgumentTypeError, must

Size: TypeAlias = int | Sequence[int]
Pair = tuple[int, int]
Padding: TypeAlias = int | str | Sequence[int] | Sequence[Pair]

_PADDING = 'a non-negative integer, one per axis, one (low, high) pair per axis, "same" or "valid"'


def spread_size(kernel: int, dilation: int = 1) -> int:
    """Return the length that `kernel` taps span when `dilation` - 1 holes lie between them.

    Examples
    --------
    >>> spread_size(3, dilation=2)
    5
    """
    return dilation * (kernel - 1) + 1


def mode_padding(mode: Mode, span: int, origin: int = 0) -> tuple[int, int]:
    """Return how many samples before and after the input a `mode` reads, for a kernel of length `span`.

    ``same`` follows scipy.signal for even kernels too: the correlation reads
    ``x[i + j - span//2 - origin]``.

    Examples
    --------
    >>> mode_padding("same", 4), mode_padding("full", 4), mode_padding("valid", 4)
    ((2, 1), (3, 3), (0, 0))
    """
    if mode == "valid":
        return 0, 0
    if mode == "full":
        return span - 1, span - 1
    before = span // 2 + origin
    return before, span - 1 - before


def is_per_axis(value: object) -> bool:
    """Return whether `value` holds one entry per axis (a sequence) rather than one for all."""
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes)


def _spread_axes(minima: dict[str, int], values: dict[str, Any]) -> tuple[bool, dict[str, tuple[int, ...]]]:
    """Return whether any value is per axis, and every value as one int per axis."""
    lengths = {name: len(value) for name, value in values.items() if is_per_axis(value)}
    if len(set(lengths.values())) > 1:
        raise ArgumentError(f"per-axis arguments must have the same number of axes; got {lengths}")
    ndim = next(iter(lengths.values()), 1)
    ints = {}
    for name, minimum in minima.items():
        items = values[name] if name in lengths else [values[name]] * ndim
        ints[name] = tuple(as_int(name, item, minimum) for item in items)
    return bool(lengths), ints


def same_padding(kernel: Size, *, dilation: Size = 1) -> Any:
    """Return the (low, high) padding that keeps the size at stride 1: ``d(k − 1)`` samples in all.

    The two sides are equal where that is even; else the far end gets one more, as in torch.
    (:func:`mode_padding` gives the other rule, scipy.signal's.)

    Examples
    --------
    >>> same_padding(3, dilation=2), same_padding((5, 4))
    ((2, 2), ((2, 2), (1, 2)))
    """
    tuples, n = _spread_axes({"kernel": 1, "dilation": 1}, {"kernel": kernel, "dilation": dilation})
    pairs = tuple(
        (d * (k - 1) // 2, d * (k - 1) - d * (k - 1) // 2)
        for k, d in zip(n["kernel"], n["dilation"], strict=True)
    )
    return pairs if tuples else pairs[0]


def as_padding(
    padding: Padding, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[Pair, ...]:
    """Return one (low, high) pair per axis from any of the ways to write a padding.

    Parameters
    ----------
    padding
        An int, one int per axis, one (low, high) pair per axis, ``"same"`` (stride 1 only) or ``"valid"``.
    kernel, stride, dilation
        One int per axis each.

    Examples
    --------
    >>> as_padding("same", (3, 4), (1, 1), (2, 1)), as_padding([(0, 2), (1, 0)], (3, 4), (1, 1), (1, 1))
    (((2, 2), (1, 2)), ((0, 2), (1, 0)))
    """
    ndim = len(kernel)
    if isinstance(padding, str):
        if as_choice("padding", padding, ("same", "valid")) == "valid":
            return ((0, 0),) * ndim
        if any(s != 1 for s in stride):
            raise ArgumentError(f"padding='same' needs stride 1; got stride {tuple(stride)}")
        pairs: tuple[Pair, ...] = same_padding(tuple(kernel), dilation=tuple(dilation))
        return pairs
    if not is_per_axis(padding):
        return ((as_int("padding", padding, 0),) * 2,) * ndim
    items = list(padding)  # type: ignore[arg-type]  # is_per_axis has just said so
    if len(items) != ndim:
        raise ArgumentError(must("padding", f"{_PADDING}, for {ndim} axes", padding))
    return tuple(_as_pair(item, padding) for item in items)


def _as_pair(item: object, padding: object) -> Pair:
    if not is_per_axis(item):
        return (as_int("padding", item, 0),) * 2
    sides = list(item)  # type: ignore[call-overload]  # is_per_axis has just said so
    if len(sides) != 2:
        raise ArgumentError(must("padding", _PADDING, padding))
    return as_int("padding", sides[0], 0), as_int("padding", sides[1], 0)


def conv_size(i: int, k: int, s: int, p: Pair, d: int) -> int:
    """Return ``⌊(i + p_low + p_high − d(k − 1) − 1)/s⌋ + 1`` for one axis, or say why there is none."""
    span, padded = spread_size(k, d), i + sum(p)
    if span > padded:
        raise ArgumentError(
            f"the kernel does not fit: {k} taps with dilation {d} span {span} samples, the padded input has "
            f"{i} + {p[0]} + {p[1]} = {padded}; "
            f"the output size would be ⌊({padded} − {span})/{s}⌋ + 1 = {(padded - span) // s + 1}"
        )
    return (padded - span) // s + 1


def transpose_size(i: int, k: int, s: int, p: Pair, a: int, d: int) -> int:
    """Return ``s(i − 1) + d(k − 1) + 1 − p_low − p_high + a`` for one axis, or say why there is none."""
    if a >= max(s, d):
        raise ArgumentError(
            f"`output_padding` must be smaller than the stride or the dilation; "
            f"got {a} with stride {s} and dilation {d}"
        )
    out = s * (i - 1) + spread_size(k, d) - sum(p) + a
    if out < 1:
        raise ArgumentError(
            f"the padding cuts everything away: the output size would be "
            f"{s}·({i} − 1) + {spread_size(k, d)} − {p[0]} − {p[1]} + {a} = {out}; it must be at least 1"
        )
    return out


_GEOMETRY = {"input": 1, "kernel": 1, "stride": 1, "dilation": 1}


def _per_axis(
    formula: Callable[..., int], values: dict[str, Any], padding: Padding, extra: Any = 0
) -> int | tuple[int, ...]:
    """Return `formula` of (i, k, s, p, d, a), as an int or once per axis."""
    everything = {**values, "output_padding": extra, "padding": padding}
    tuples, n = _spread_axes({**_GEOMETRY, "output_padding": 0}, everything)
    pairs = as_padding(padding, n["kernel"], n["stride"], n["dilation"])
    sizes = tuple(
        map(formula, n["input"], n["kernel"], n["stride"], pairs, n["dilation"], n["output_padding"])
    )
    return sizes if tuples else sizes[0]


def conv_output_size(
    input: Size, kernel: Size, *, stride: Size = 1, padding: Padding = 0, dilation: Size = 1
) -> Any:
    """Return the output size of a convolution layer: ``⌊(i + 2p − d(k − 1) − 1)/s⌋ + 1``.

    Parameters
    ----------
    input, kernel, stride, dilation
        Positive ints, or one per axis.
    padding
        As in :func:`as_padding`.

    Raises
    ------
    ArgumentError
        If the spread kernel is longer than the padded input.

    Examples
    --------
    >>> conv_output_size(5, 2, stride=2, padding=1)
    3
    >>> conv_output_size((8, 8), (3, 5), stride=(3, 4), padding=(0, 1))
    (2, 2)
    """
    values = {"input": input, "kernel": kernel, "stride": stride, "dilation": dilation}
    return _per_axis(lambda i, k, s, p, d, _: conv_size(i, k, s, p, d), values, padding)


def conv_transpose_output_size(
    input: Size,
    kernel: Size,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    dilation: Size = 1,
) -> Any:
    """Return the output size of a transposed convolution: ``s(i − 1) + d(k − 1) + 1 − 2p + a``.

    Raises
    ------
    ArgumentError
        If `output_padding` is not smaller than the stride or the dilation, or nothing is left.

    Examples
    --------
    >>> conv_transpose_output_size(3, 3, stride=2, padding=1, output_padding=1)
    6
    >>> conv_transpose_output_size((3, 4), (3, 2), stride=2)
    (7, 8)
    """
    values = {"input": input, "kernel": kernel, "stride": stride, "dilation": dilation}
    return _per_axis(
        lambda i, k, s, p, d, a: transpose_size(i, k, s, p, a, d), values, padding, output_padding
    )


def output_padding(
    input: Size, kernel: Size, *, stride: Size = 1, padding: Padding = 0, dilation: Size = 1
) -> Any:
    """Return *a*, with which the transposed convolution gives the input's size back.

    It is what the floor in :func:`conv_output_size` dropped: ``(i + 2p − d(k − 1) − 1) mod s``.

    Examples
    --------
    >>> output_padding(6, 3, stride=2, padding=1), output_padding(5, 3, stride=2, padding=1)
    (1, 0)
    """

    def dropped(i: int, k: int, s: int, p: Pair, d: int, _: int) -> int:
        conv_size(i, k, s, p, d)
        return (i + sum(p) - spread_size(k, d)) % s

    values = {"input": input, "kernel": kernel, "stride": stride, "dilation": dilation}
    return _per_axis(dropped, values, padding)


class DirectEquivalent(NamedTuple):
    """The direct convolution that computes a transposed one (one axis).

    Put `inserted_zeros` zeros between the samples, pad with `padding` (low, high) zeros (negative: crop), of
    which `extra` lie at the far end alone, flip the kernel of `kernel` taps, correlate with `stride`.
    """

    kernel: int
    stride: int
    padding: Pair
    inserted_zeros: int
    extra: int


def direct_equivalent(
    kernel: Size, *, stride: Size = 1, padding: Padding = 0, output_padding: Size = 0, dilation: Size = 1
) -> Any:
    """Return the direct convolution equal to a transposed one: k' = k, s' = 1, p' = d(k − 1) − p.

    The dilation stays. Per-axis tuples in, a tuple of :class:`DirectEquivalent` out.

    Examples
    --------
    >>> direct_equivalent(4, stride=2, padding=1, output_padding=1)
    DirectEquivalent(kernel=4, stride=1, padding=(2, 3), inserted_zeros=1, extra=1)
    """
    values = {"kernel": kernel, "stride": stride, "dilation": dilation, "output_padding": output_padding}
    minima = {"kernel": 1, "stride": 1, "dilation": 1, "output_padding": 0}
    tuples, n = _spread_axes(minima, {**values, "padding": padding})
    pairs = as_padding(padding, n["kernel"], n["stride"], n["dilation"])
    found = []
    for k, s, d, a, (low, high) in zip(*n.values(), pairs, strict=True):
        transpose_size(low + high + 1, k, s, (low, high), a, d)
        reach = d * (k - 1)
        found.append(DirectEquivalent(k, 1, (reach - low, reach - high + a), s - 1, a))
    return tuple(found) if tuples else found[0]


def _layers(layers: Iterable[Any], names: Sequence[str]) -> tuple[bool, list[dict[str, tuple[int, ...]]]]:
    """Return whether any layer is per axis, and the layers with one int per axis each."""
    rows = [tuple(layer) if is_per_axis(layer) else (layer,) for layer in layers]
    for row in rows:
        if len(row) != len(names):
            raise ArgumentTypeError(must("layers", f"({', '.join(names)}) for each layer", row))
    flat = {
        f"{name} of layer {i}": item
        for i, row in enumerate(rows)
        for name, item in zip(names, row, strict=True)
    }
    tuples, ints = _spread_axes(dict.fromkeys(flat, 1), flat)
    columns = iter(ints.values())
    return tuples, [{name: next(columns) for name in names} for _ in rows]


def receptive_field(layers: Iterable[tuple[Size, Size, Size]]) -> Any:
    """Return how many input samples one output of a stack sees: ``1 + Σ_l d_l (k_l − 1) Π_{j<l} s_j``.

    Parameters
    ----------
    layers
        (kernel, stride, dilation) of each layer, from the input on.

    Examples
    --------
    >>> receptive_field([(7, 2, 1), (3, 2, 1), (3, 1, 2)])
    27
    """
    tuples, rows = _layers(layers, ("kernel", "stride", "dilation"))
    ndim = len(rows[0]["kernel"]) if rows else 1
    field, step = [1] * ndim, [1] * ndim
    for row in rows:
        for axis in range(ndim):
            field[axis] += row["dilation"][axis] * (row["kernel"][axis] - 1) * step[axis]
            step[axis] *= row["stride"][axis]
    return tuple(field) if tuples else field[0]


def jump(layers: Iterable[tuple[Size, Size, Size]]) -> Any:
    """Return how many input samples lie between neighbouring outputs of a stack: ``Π s_j``.

    Examples
    --------
    >>> jump([(7, 2, 1), (3, (2, 3), 1)])
    (4, 6)
    """
    tuples, rows = _layers(layers, ("kernel", "stride", "dilation"))
    ndim = len(rows[0]["kernel"]) if rows else 1
    steps = tuple(prod(row["stride"][axis] for row in rows) for axis in range(ndim))
    return steps if tuples else steps[0]


def samples_read(layers: Iterable[tuple[Size, Size]]) -> Any:
    """Return which input samples one output of a stack of dilated layers (stride 1) reads.

    Parameters
    ----------
    layers
        (kernel, dilation) of each layer.

    Returns
    -------
    tuple of int
        Offsets from the first sample read; one such tuple per axis where per-axis tuples came in.
        What is missing between 0 and the last one is the gridding effect.

    Examples
    --------
    >>> samples_read([(3, 2), (2, 4)])
    (0, 2, 4, 6, 8)
    """
    tuples, rows = _layers(layers, ("kernel", "dilation"))
    ndim = len(rows[0]["kernel"]) if rows else 1
    offsets = tuple(
        _offsets([(row["kernel"][axis], row["dilation"][axis]) for row in rows]) for axis in range(ndim)
    )
    return offsets if tuples else offsets[0]


def _offsets(layers: Iterable[Pair]) -> tuple[int, ...]:
    offsets = {0}
    for kernel, dilation in layers:
        offsets = {offset + dilation * tap for offset in offsets for tap in range(kernel)}
    return tuple(sorted(offsets))


def dilation_coverage(layers: Iterable[tuple[Size, Size]]) -> Any:
    """Return (samples read, samples spanned) of a stack of dilated layers; unequal means gridding.

    Parameters
    ----------
    layers
        (kernel, dilation) of each layer.

    Examples
    --------
    >>> dilation_coverage([(3, 2), (3, 2), (3, 2)]), dilation_coverage([(3, 1), (3, 2), (3, 3)])
    ((7, 13), (13, 13))
    """
    offsets = samples_read(list(layers))
    if offsets and isinstance(offsets[0], tuple):
        return tuple(len(axis) for axis in offsets), tuple(axis[-1] + 1 for axis in offsets)
    return len(offsets), offsets[-1] + 1
