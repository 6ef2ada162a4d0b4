"""``shape``: the arithmetic of convolution as text, with the formula filled in."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from filterworks.cli.console import expected_errors
from filterworks.cli.sizes import Sizes, geometry, per_axis, spread
from filterworks.errors import ArgumentError

if TYPE_CHECKING:
    from filterworks.shapes import Pair


class _Layer(NamedTuple):
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]


class _Layers(click.ParamType[_Layer]):
    """A layer of a stack: ``3``, ``3,s=2``, ``3x5,s=2x1,d=2``."""

    name = "KERNEL[,s=N][,d=N]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> _Layer:
        """Return kernel, stride and dilation."""
        if isinstance(value, _Layer):
            return value
        match = re.fullmatch(r"([^,=]+)((?:,[sd]=[^,=]+)*)", str(value))
        if not match:
            self.fail(f"must be as 3, 3,s=2 or 3x5,s=2x1,d=2; got {value}", param, ctx)
        given = dict(item.split("=") for item in match[2].split(",") if item)
        sizes = Sizes()
        return _Layer(
            *(
                sizes.convert(text, param, ctx)
                for text in (match[1], given.get("s", "1"), given.get("d", "1"))
            )
        )


@click.group()
def shape() -> None:
    """Work out sizes, with the formula filled in.

    \b
    Examples:
      filterworks shape conv --input 5 --kernel 3 --stride 2 --padding 1
      filterworks shape transposed --input 3 --kernel 3 --stride 2 --padding 1 --output-padding 1
      filterworks shape stack 3,d=1 3,d=2 3,d=3
    """


_SIZES = (
    click.option("--input", "size", type=Sizes(), required=True, metavar="I", help="5, or 5x7 per axis."),
    click.option("--kernel", type=Sizes(), required=True, metavar="K", help="3, or 3x2."),
)


def _sizes(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_SIZES):
        command = option(command)
    return command


class _One(NamedTuple):
    """The numbers of one axis."""

    i: int
    k: int
    s: int
    d: int
    a: int
    p: Pair

    @property
    def span(self) -> int:
        return self.d * (self.k - 1) + 1

    @property
    def padding(self) -> tuple[str, str]:
        """Both sides' padding, as a formula and filled in."""
        low, high = self.p
        return ("2p", f"2*{low}") if low == high else ("p_low + p_high", f"{low} + {high}")


def _each_axis(size: tuple[int, ...], kernel: tuple[int, ...], options: dict[str, Any]) -> list[_One]:
    from filterworks.shapes import as_padding

    given = {"input": size, "kernel": kernel, **options}
    lengths = {name: len(v) for name, v in given.items() if not isinstance(v, str) and len(v) > 1}
    if len(set(lengths.values())) > 1:
        raise ArgumentError(f"all options must have one entry, or the same number of them; got {lengths}")
    ndim = next(iter(lengths.values()), 1)
    n = per_axis(ndim, given)
    pairs = as_padding(n["padding"], n["kernel"], n["stride"], n["dilation"])
    columns = (n["input"], n["kernel"], n["stride"], n["dilation"], n["output_padding"], pairs)
    return [_One(*column) for column in zip(*columns, strict=True)]


def _headed(axes: list[_One], number: int) -> None:
    if len(axes) > 1:
        click.echo(f"axis {number}:")


def _spread_line(one: _One) -> None:
    if one.d > 1:
        click.echo(f"  k_eff = d(k - 1) + 1 = {one.d}*({one.k} - 1) + 1 = {one.span}")


@shape.command("conv")
@_sizes
@geometry
@expected_errors
def shape_conv(size: tuple[int, ...], kernel: tuple[int, ...], **options: Any) -> None:
    """Work out the output size of a convolution, and the way back.

    \b
    Example:
      filterworks shape conv --input 5x7 --kernel 3 --stride 2 --padding 1
    """
    from filterworks.shapes import conv_size, same_padding

    if any(options["output_padding"]):
        raise ArgumentError("--output-padding belongs to `shape transposed`")
    axes = _each_axis(size, kernel, options)
    sizes = [conv_size(one.i, one.k, one.s, one.p, one.d) for one in axes]
    click.echo(f"output: {_by(sizes)}")
    for number, (one, out) in enumerate(zip(axes, sizes, strict=True)):
        _headed(axes, number)
        name, filled = one.padding
        k = "k" if one.d == 1 else "k_eff"
        _spread_line(one)
        click.echo(
            f"  o = floor((i + {name} - {k})/s) + 1 = "
            f"floor(({one.i} + {filled} - {one.span})/{one.s}) + 1 = {out}"
        )
        same = same_padding(one.k, dilation=one.d)
        sides = f"{same[0]} on each side" if same[0] == same[1] else f"{same[0]} before and {same[1]} after"
        click.echo(f"  the padding that keeps the size at stride 1: {sides}")
        dropped = (one.i + sum(one.p) - one.span) % one.s
        click.echo(
            f"  back with output_padding a = (i + {name} - {k}) mod s = "
            f"({one.i} + {filled} - {one.span}) mod {one.s} = {dropped}"
        )


@shape.command()
@_sizes
@geometry
@expected_errors
def transposed(size: tuple[int, ...], kernel: tuple[int, ...], **options: Any) -> None:
    """Work out the output size of a transposed convolution, and the direct one that it equals.

    \b
    Example:
      filterworks shape transposed --input 3 --kernel 3 --stride 2 --padding 1 --output-padding 1
    """
    from filterworks.shapes import direct_equivalent, transpose_size

    axes = _each_axis(size, kernel, options)
    sizes = [transpose_size(one.i, one.k, one.s, one.p, one.a, one.d) for one in axes]
    click.echo(f"output: {_by(sizes)}")
    for number, (one, out) in enumerate(zip(axes, sizes, strict=True)):
        _headed(axes, number)
        name, filled = one.padding
        _spread_line(one)
        k = "k" if one.d == 1 else "k_eff"
        name, filled = name.replace(" + ", " - "), filled.replace(" + ", " - ")
        click.echo(
            f"  o' = s(i' - 1) + {k} - {name} + a = "
            f"{one.s}*({one.i} - 1) + {one.span} - {filled} + {one.a} = {out}"
        )
        (equal,) = direct_equivalent(
            (one.k,), stride=one.s, padding=(one.p,), output_padding=one.a, dilation=one.d
        )
        low, high = equal.padding
        zeros = f"{equal.inserted_zeros} zero{'s' * (equal.inserted_zeros != 1)}"
        click.echo(
            f"  equals the direct convolution with k' = {equal.kernel} (flipped), s' = 1, "
            f"{zeros} between the samples,"
        )
        reach = f"{one.d}*({one.k} - 1)"
        click.echo(
            f"  p' = d(k - 1) - p: {reach} - {one.p[0]} = {low} before and "
            f"{reach} - {one.p[1]}{f' + {one.a}' if one.a else ''} = {high} after"
            f"{'; negative: cropped' if min(low, high) < 0 else ''}"
        )


@shape.command()
@click.argument("layers", nargs=-1, required=True, type=_Layers())
@expected_errors
def stack(layers: tuple[_Layer, ...]) -> None:
    """Work out receptive field, jump and coverage of a stack of layers, from the input on.

    A layer is written KERNEL[,s=STRIDE][,d=DILATION], each per axis where it has an x.

    \b
    Examples:
      filterworks shape stack 7,s=2 3,s=2 3,d=2
      filterworks shape stack 3,d=2 3,d=2 3,d=2
    """
    from filterworks.shapes import jump, receptive_field, samples_read

    ndim = max(len(item) for layer in layers for item in layer)
    rows = [tuple(spread(item, ndim) for item in layer) for layer in layers]
    click.echo("layer  kernel  stride  dilation  receptive field  jump")
    for count, row in enumerate(rows, 1):
        field, step = receptive_field(rows[:count]), jump(rows[:count])
        cells = [str(count), *map(_by, row), _by(field), _by(step)]
        click.echo(
            "  ".join(
                f"{cell:<{width}}" for cell, width in zip(cells, (5, 6, 6, 8, 15, 4), strict=True)
            ).rstrip()
        )
    for axis in range(ndim):
        ks, ss, ds = (tuple(row[column][axis] for row in rows) for column in range(3))
        steps = [jump([(1, s, 1) for s in ss[:number]]) for number in range(len(rows))]
        terms = " + ".join(f"{d}*({k} - 1)*{step}" for k, d, step in zip(ks, ds, steps, strict=True))
        # A stride of the layers before spreads a layer's taps on the input like a dilation.
        read = samples_read([(k, d * step) for k, d, step in zip(ks, ds, steps, strict=True)])
        span = read[-1] + 1
        prefix = f"axis {axis}: " if ndim > 1 else ""
        click.echo(f"{prefix}r = 1 + sum of d(k - 1) * strides before = 1 + {terms} = {span}")
        coverage = "every one" if len(read) == span else "the others never (gridding)"
        click.echo(f"{prefix}one output reads {len(read)} of the {span} samples it spans: {coverage}")
        if span <= 100:
            click.echo("  " + "".join("#" if sample in read else "." for sample in range(span)))


def _by(sizes: Any) -> str:
    return " x ".join(map(str, sizes)) if isinstance(sizes, tuple | list) else str(sizes)
