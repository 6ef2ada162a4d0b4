"""``draw``: the arithmetic of convolution as pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from filterworks.cli.console import expected_errors
from filterworks.cli.sizes import Sizes, geometry, per_axis, spread
from filterworks.errors import ArgumentError, JobError


@click.group()
def draw() -> None:
    """Draw the arithmetic of convolution.

    \b
    Examples:
      filterworks draw conv --input 5 --kernel 3 --stride 2 --padding 1 -o steps.gif
      filterworks draw dilation --kernel 3 --dilations 1,2,3 -o gridding.png
    """


@draw.command()
@click.option("--input", "size", type=Sizes(), metavar="I", help="5 (5 x 5), or 5x7 (rows x columns).")
@click.option("--kernel", type=Sizes(), metavar="K", help="3, or 3x2.")
@geometry
@click.option("--transposed", is_flag=True, help="Draw the transposed convolution.")
@click.option(
    "--axes", type=click.IntRange(1, 2), metavar="1|2", help="Of the input, where one size is given; 2."
)
@click.option("--numbers", is_flag=True, help="Write values, weights and results into the cells.")
@click.option("--values", metavar="ROWS", help="The input's numbers, as '1,2;3,4', or a .npy or .txt file.")
@click.option("--weights", metavar="ROWS", help="The kernel's, in the same way.")
@click.option("--step", type=click.IntRange(1), metavar="N", help="Draw this step only.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="FILE.gif (animated), .png or .svg (all steps on a sheet).",
)
@click.option("--overwrite", is_flag=True, help="Replace FILE.")
@expected_errors
def conv(size: Any, kernel: Any, output: Path, overwrite: bool, **options: Any) -> None:
    """Draw each step of a convolution: input, padding, kernel and output.

    As layers do it: the kernel is not flipped. A transposed convolution is drawn as the direct one that it
    equals, with zeros between the samples and the kernel flipped.

    \b
    Examples:
      filterworks draw conv --input 5 --kernel 3 --stride 2 --padding 1 -o steps.gif
      filterworks draw conv --input 3 --kernel 3 --stride 2 --transposed -o up.png --step 5
      filterworks draw conv --values '0,1,2;3,4,5;6,7,8' --weights '0,1;2,3' -o numbers.svg
    """
    from filterworks.drawing import conv_arithmetic, draw_conv

    _check_new(output, overwrite)
    values, weights = _numbers("--values", options["values"]), _numbers("--weights", options["weights"])
    for name, sizes, other, given in (
        ("--input", size, "--values", values),
        ("--kernel", kernel, "--weights", weights),
    ):
        if sizes is None and given is None:
            raise click.UsageError(f"give {name}, or its numbers with {other}")
    ndims = [len(sizes) for sizes in (size, kernel) if sizes and len(sizes) > 1]
    ndims += [array.ndim for array in (values, weights) if array is not None]
    ndim = ndims[0] if ndims else options["axes"] or 2
    if options["axes"] not in (None, ndim):
        raise ArgumentError(f"--axes {options['axes']} does not fit the sizes given, which have {ndim}")
    shared = {name: options[name] for name in ("stride", "padding", "dilation", "output_padding")}
    arithmetic = conv_arithmetic(
        size and spread(size, ndim),
        kernel and spread(kernel, ndim),
        **per_axis(ndim, shared),
        transposed=options["transposed"],
        values=values,
        weights=weights,
    )
    numbers = options["numbers"] or values is not None or weights is not None
    draw_conv(output, arithmetic, numbers=numbers, step=options["step"])
    click.echo(f"{arithmetic.title}\n{len(arithmetic.positions)} steps -> {output}")


def _numbers(name: str, text: str | None) -> Any:
    """Return rows of numbers, written out or in a file."""
    if text is None:
        return None
    import numpy as np

    from filterworks.filters.custom import load_kernel

    if Path(text).suffix in (".npy", ".txt"):
        return load_kernel(text)
    try:
        rows = [[float(item) for item in row.split(",")] for row in text.split(";")]
        return np.array(rows[0] if len(rows) == 1 else rows)
    except ValueError:
        raise ArgumentError(
            f"{name} must be rows of numbers of one length, as '1,2;3,4'; got {text!r}"
        ) from None


def _check_new(output: Path, overwrite: bool) -> None:
    from filterworks.drawing import check_picture

    check_picture(output)
    if output.exists() and not overwrite:
        raise JobError([f"-o {output} exists; --overwrite replaces it"])
    if not output.absolute().parent.is_dir():
        raise JobError([f"-o {output}: its folder does not exist"])


@draw.command()
@click.option(
    "--kernel",
    "kernels",
    default="3",
    show_default=True,
    metavar="K[,K...]",
    help="Taps of all layers, or of each.",
)
@click.option("--dilations", required=True, metavar="D,D,...", help="Of each layer, from the input on.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="FILE.png, .svg, or .gif (layer by layer).",
)
@click.option("--overwrite", is_flag=True, help="Replace FILE.")
@expected_errors
def dilation(kernels: str, dilations: str, output: Path, overwrite: bool) -> None:
    """Draw which input samples one output of a stack of dilated layers reads: the gridding effect.

    \b
    Examples:
      filterworks draw dilation --kernel 3 --dilations 2,2,2 -o gaps.png
      filterworks draw dilation --kernel 3 --dilations 1,2,3 -o dense.svg
    """
    from filterworks.drawing import dilation_title, draw_dilation

    _check_new(output, overwrite)
    rates = _integers("--dilations", dilations)
    taps = _integers("--kernel", kernels)
    if len(taps) not in (1, len(rates)):
        raise ArgumentError(f"--kernel must be one number, or {len(rates)}, one per dilation; got {kernels}")
    layers = list(zip(taps * len(rates) if len(taps) == 1 else taps, rates, strict=True))
    draw_dilation(output, layers)
    click.echo(f"{dilation_title(layers)}\n-> {output}")


def _integers(name: str, text: str) -> list[int]:
    if not re.fullmatch(r"\s*[1-9]\d*\s*(,\s*[1-9]\d*\s*)*", text):
        raise ArgumentError(f"{name} must be positive integers as 1,2,3; got {text}")
    return [int(item) for item in text.split(",")]
