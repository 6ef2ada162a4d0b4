"""Pictures of what is computed; each is described once, as a scene, and drawn as GIF, PNG or SVG.

Pillow is imported when a picture of pixels is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from filterworks.drawing.convolution import conv_scenes, heading_scene
from filterworks.drawing.dilation import dilation_scenes, dilation_title
from filterworks.drawing.geometry import Arithmetic, conv_arithmetic
from filterworks.drawing.writing import check_picture, write_animation, write_sheet
from filterworks.errors import ArgumentError, must

__all__ = [
    "Arithmetic",
    "check_picture",
    "conv_arithmetic",
    "dilation_title",
    "draw_conv",
    "draw_dilation",
]


def draw_conv(
    path: str | Path, arithmetic: Arithmetic, *, numbers: bool = False, step: int | None = None
) -> None:
    """Draw each step of a convolution of one or two axes.

    Parameters
    ----------
    path
        ``.gif`` (every step, animated), ``.png`` or ``.svg`` (all steps on one sheet).
    arithmetic
        From :func:`conv_arithmetic`.
    numbers
        Write values, weights and results into the cells.
    step
        Draw this one only, counted from 1.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "steps.svg"
    >>> draw_conv(path, conv_arithmetic(values=[[0, 1, 2], [3, 4, 5]], weights=[[1, -2]]), numbers=True)
    >>> path.read_text().count("<g ")  # 4 steps and a heading
    5
    """
    path = Path(path)
    suffix = check_picture(path)
    count = len(arithmetic.positions)
    if step is not None and not 1 <= step <= count:
        raise ArgumentError(must("step", f"from 1 to {count}, the number of outputs", step))
    alone = step is not None or count == 1
    scenes = conv_scenes(arithmetic, numbers=numbers, heading=alone or suffix == ".gif")
    if step is not None:
        scenes = scenes[step - 1 : step]
    if suffix == ".gif":
        write_animation(path, scenes)
    elif alone:
        write_sheet(path, scenes, arithmetic.title)
    else:
        columns = _columns(arithmetic)
        heading = heading_scene(arithmetic.title, columns * scenes[0].width)
        write_sheet(path, scenes, arithmetic.title, columns=columns, heading=heading)


def _columns(arithmetic: Arithmetic) -> int:
    """Return as many columns as the output has, where these are few: the sheet then looks like it."""
    across: int = arithmetic.output.shape[-1]
    few = 8 if len(arithmetic.axes) == 2 else 3
    return across if across <= few else min(4, across)


def draw_dilation(path: str | Path, layers: Sequence[tuple[int, int]]) -> None:
    """Draw which input samples one output of a stack of dilated layers reads.

    Parameters
    ----------
    path
        ``.png`` or ``.svg``, or ``.gif``: layer by layer, from the output down.
    layers
        (kernel, dilation) of each layer, from the input on.
    """
    path = Path(path)
    suffix = check_picture(path)
    scenes = dilation_scenes(layers)
    if suffix == ".gif":
        write_animation(path, scenes)
    else:
        write_sheet(path, scenes[-1:], dilation_title(layers))
