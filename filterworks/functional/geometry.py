"""The door of every layer: what a caller may write becomes arrays with three spatial axes, or a message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from filterworks.arguments import Array, as_choice, as_int, as_signal, compute_dtype, per_axis
from filterworks.errors import ArgumentError, ArgumentTypeError
from filterworks.shapes import Padding, Pair, as_padding, conv_size, transpose_size
from filterworks.tiles import Window, Windows

PADDING_MODES = {"zeros": None, "reflect": "mirror", "replicate": "nearest", "circular": "wrap"}


@dataclass(frozen=True)
class Layer:
    """The shapes and integers of one layer, all of them checked.

    `channels` and `outputs` count all groups; `out` is the output's spatial shape.
    """

    name: str
    batch: int | None
    channels: int
    outputs: int
    groups: int
    spatial: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[Pair, ...]
    out: tuple[int, ...]

    @property
    def windows(self) -> Windows:
        """How the direct correlation reads each of three axes."""
        sizes = (self.spatial, self.out, self.kernel, self.stride, self.dilation)
        lows = (low for low, _ in self.padding)
        found = [Window(*values) for values in zip(*sizes, lows, strict=True)]
        z, y, x = [Window(1, 1)] * (3 - len(found)) + found
        return z, y, x

    @property
    def lead(self) -> tuple[int, ...]:
        """The axes of length one that make three of fewer spatial axes."""
        return (1,) * (3 - len(self.spatial))

    def in_three(self, array: Array, *front: int) -> Array:
        """Return `array` with the axes `front` and then three spatial ones."""
        spatial = array.shape[array.ndim - len(self.spatial) :]
        return array.reshape(*front, *self.lead, *spatial)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of the output, with the batch where there is one."""
        front = () if self.batch is None else (self.batch,)
        return (*front, self.outputs, *self.out)


def as_real(array: ArrayLike, name: str) -> Array:
    """Return an array of real numbers with at least one axis."""
    found = as_signal(array, name)
    if found.dtype.kind == "c":
        raise ArgumentTypeError(
            f"`{name}` must be real here; got {found.dtype}: pass real and imaginary part apart"
        )
    return found


def layer_dtype(signal: Array, *operands: Array | None) -> np.dtype[Any]:
    """Return the dtype of the result: the signal decides the precision, any operand can make it complex."""
    real = compute_dtype(signal.dtype)
    if any(array is not None and array.dtype.kind == "c" for array in (signal, *operands)):
        return np.result_type(real, np.complex64)
    return real


def direct_layer(
    name: str,
    shape: Sequence[int],
    weight: Sequence[int],
    stride: Any,
    padding: Padding,
    dilation: Any,
    groups: Any,
) -> Layer:
    """Return the layer of a convolution of input `shape` with `weight` (C_out, C_in/groups, *kernel)."""
    return _layer(name, shape, weight, stride, padding, dilation, groups, None)


def transposed_layer(
    name: str,
    shape: Sequence[int],
    weight: Sequence[int],
    stride: Any,
    padding: Padding,
    output_padding: Any,
    dilation: Any,
    groups: Any,
) -> Layer:
    """Return the layer of a transposed convolution with `weight` (C_in, C_out/groups, *kernel)."""
    ndim = _ndim(name)
    extra = per_axis("output_padding", output_padding, ndim, 0)
    if isinstance(padding, str):
        raise ArgumentTypeError(
            f"{name}: `padding` must be integers; got {padding!r}, which only a direct convolution can have"
        )
    return _layer(name, shape, weight, stride, padding, dilation, groups, extra)


def _ndim(name: str) -> int:
    """Return the 2 of ``conv2d``."""
    return int(name[-2])


def _layer(
    name: str,
    shape: Sequence[int],
    weight: Sequence[int],
    stride: Any,
    padding: Padding,
    dilation: Any,
    groups: Any,
    extra: tuple[int, ...] | None,
) -> Layer:
    ndim = _ndim(name)
    given = f"got `input` {tuple(shape)} and `weight` {tuple(weight)}"
    _check_axes(name, ndim, shape, weight, extra is not None, given)
    steps = per_axis("stride", stride, ndim, 1)
    holes = per_axis("dilation", dilation, ndim, 1)
    count = as_int("groups", groups, 1)
    kernel, spatial = tuple(weight[2:]), tuple(shape[len(shape) - ndim :])
    pairs = as_padding(padding, kernel, steps, holes)
    given += f", groups={count}, stride {steps}, padding {pairs}, dilation {holes}"
    batch = shape[0] if len(shape) == ndim + 2 else None
    front, per_group = weight[:2]
    if extra is None:
        channels, outputs = count * per_group, front
    else:
        channels, outputs = front, count * per_group
    sizes = _sizes(name, given, spatial, kernel, steps, pairs, holes, extra)
    expected = (*(() if batch is None else (batch,)), outputs, *sizes)
    if front % count:
        raise ArgumentError(
            f"{name}: `weight` must have a multiple of groups={count} at axis 0; {given}. "
            f"The spatial size of the output would be {sizes}"
        )
    found = shape[len(shape) - ndim - 1]
    if found != channels:
        rule = f"groups · weight.shape[1] = {channels}" if extra is None else f"weight.shape[0] = {channels}"
        raise ArgumentError(
            f"{name}: `input` must have {rule} channels, not {found}; {given}. "
            f"With {channels} channels the output would be {expected}"
        )
    if outputs == 0:
        raise ArgumentError(f"{name}: `weight` must give at least one output channel; {given}")
    if 0 in spatial and batch != 0 and channels != 0:
        raise ArgumentError(f"{name}: only the batch or the channels may be empty, not the space; {given}")
    return Layer(name, batch, channels, outputs, count, spatial, kernel, steps, holes, pairs, sizes)


def _check_axes(
    name: str, ndim: int, shape: Sequence[int], weight: Sequence[int], transposed: bool, given: str
) -> None:
    letters = "DHW"[3 - ndim :] if ndim > 1 else "L"
    spatial = ", ".join(letters)
    order = "C_in, C_out/groups" if transposed else "C_out, C_in/groups"
    if len(shape) not in (ndim + 1, ndim + 2):
        raise ArgumentError(f"{name}: `input` must be (N, C_in, {spatial}) or (C_in, {spatial}); {given}")
    if len(weight) != ndim + 2 or 0 in weight[2:]:
        axes = ", ".join("k" + letter for letter in letters)
        raise ArgumentError(f"{name}: `weight` must be ({order}, {axes}) with a non-empty kernel; {given}")


def _sizes(
    name: str,
    given: str,
    spatial: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[Pair],
    dilation: Sequence[int],
    extra: Sequence[int] | None,
) -> tuple[int, ...]:
    try:
        if extra is None:
            return tuple(map(conv_size, spatial, kernel, stride, padding, dilation))
        return tuple(map(transpose_size, spatial, kernel, stride, padding, extra, dilation))
    except ArgumentError as error:
        raise ArgumentError(f"{name}: {error}; {given}") from None


def as_padding_mode(layer: Layer, padding_mode: object) -> str | None:
    """Return the boundary for a padding mode (None: zeros); reaching too far out is refused as in torch."""
    mode = as_choice("padding_mode", padding_mode, list(PADDING_MODES))
    limits: dict[str, Callable[[int], int]] = {
        "reflect": lambda size: size - 1,
        "circular": lambda size: size,
    }
    for size, pair in zip(layer.spatial, layer.padding, strict=True):
        if mode in limits and max(pair) > limits[mode](size) and layer.batch != 0:
            raise ArgumentError(
                f"{layer.name}: padding_mode={mode!r} must not pad more than {limits[mode](size)} samples "
                f"on a side of an axis of {size}; got {pair}. The output would be {layer.output_shape}"
            )
    return PADDING_MODES[mode]


def as_bias(layer: Layer, bias: ArrayLike | None) -> Array | None:
    """Return the bias as an array of one number per output channel, or None."""
    if bias is None:
        return None
    found = as_signal(bias, "bias")
    if found.shape != (layer.outputs,):
        raise ArgumentError(
            f"{layer.name}: `bias` must have shape ({layer.outputs},), one number per output channel; "
            f"got {found.shape}. The output would be {layer.output_shape}"
        )
    return found
