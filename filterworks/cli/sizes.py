"""Sizes on the command line: ``5`` for every axis, ``5x7`` for rows and columns; options made of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click


class Sizes(click.ParamType[tuple[int, ...]]):
    """One integer per axis, separated by ``x``.

    Parameters
    ----------
    minimum
        The smallest that is accepted.
    """

    name = "N[xN]"

    def __init__(self, minimum: int = 1) -> None:
        self.minimum = minimum

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Return one int per axis that was written."""
        if isinstance(value, tuple):
            return value
        text = str(value).strip().replace("×", "x")
        if not re.fullmatch(r"\d+(x\d+)*", text) or any(int(n) < self.minimum for n in text.split("x")):
            self.fail(
                f"must be an integer of at least {self.minimum}, or one per axis as 5x7; got {value}",
                param,
                ctx,
            )
        return tuple(int(n) for n in text.split("x"))


class Paddings(click.ParamType[Any]):
    """``1``, ``1x2`` per axis, ``0:1x2`` for two sides, ``same`` or ``valid``."""

    name = "P"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return what :func:`filterworks.shapes.as_padding` takes."""
        text = str(value).strip().replace("×", "x")
        if text in ("same", "valid"):
            return text
        if not re.fullmatch(r"\d+(:\d+)?(x\d+(:\d+)?)*", text):
            self.fail(f"must be as 1, 1x2, 0:1 (low:high), same or valid; got {value}", param, ctx)
        pairs = tuple(tuple(int(side) for side in axis.split(":")) for axis in text.split("x"))
        return tuple((axis[0], axis[-1]) for axis in pairs)


_GEOMETRY = (
    click.option("--stride", type=Sizes(), default="1", metavar="S", help="One, or one per axis as 2x1."),
    click.option(
        "--padding", type=Paddings(), default="0", metavar="P", help="1, 1x2, 0:1 (low:high), same."
    ),
    click.option("--dilation", type=Sizes(), default="1", metavar="D", help="Spread of the kernel."),
    click.option(
        "--output-padding", type=Sizes(0), default="0", metavar="A", help="Of a transposed convolution."
    ),
)


def geometry(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options stride, padding, dilation and output padding."""
    for option in reversed(_GEOMETRY):
        command = option(command)
    return command


def spread(sizes: tuple[Any, ...], ndim: int) -> Any:
    """Return one entry per axis; a single one holds for all of them."""
    return sizes * ndim if len(sizes) == 1 else sizes


def per_axis(ndim: int, options: dict[str, Any]) -> dict[str, Any]:
    """Return options with one entry per axis; names such as ``same`` stay."""
    return {name: v if isinstance(v, str) else spread(v, ndim) for name, v in options.items()}
