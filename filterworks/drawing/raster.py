"""Scenes as pixels, with Pillow."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

from filterworks.drawing.scene import Dot, Label, Outline, Point, Scene, Sheet

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Pillow does not smooth edges: everything is painted this much larger, then reduced.
_OVERSAMPLING = 3
_DASH = (4.0, 3.0)
# Pillow's own font has no more signs than these.
_SIGNS = str.maketrans({"×": "x", "−": "-"})
_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


def render(scene: Scene, scale: float) -> Image.Image:
    """Return the scene as an RGB image with `scale` pixels per unit."""
    size = (round(scene.width * scale), round(scene.height * scale))
    large = Image.new("RGB", (size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING), "white")
    pen = ImageDraw.Draw(large, "RGBA")  # this mode blends translucent colours into the picture
    for shape in scene.shapes:
        if isinstance(shape, Outline):
            _outline(pen, shape, scale * _OVERSAMPLING)
        elif isinstance(shape, Dot):
            _dot(pen, shape, scale * _OVERSAMPLING)
        else:
            _label(pen, shape, scale * _OVERSAMPLING)
    return large.resize(size, Image.Resampling.BOX)


def render_sheet(sheet: Sheet, scale: float) -> Image.Image:
    """Return the sheet as an RGB image with `scale` pixels per unit."""
    page = Image.new("RGB", (round(sheet.width * scale), round(sheet.height * scale)), "white")
    for (x, y), scene in sheet.scenes:
        page.paste(render(scene, scale), (round(x * scale), round(y * scale)))
    return page


def _rgba(colour: str, opacity: float = 1.0) -> tuple[int, int, int, int]:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return red, green, blue, round(255 * opacity)


def _outline(pen: ImageDraw.ImageDraw, shape: Outline, scale: float) -> None:
    points = [(x * scale, y * scale) for x, y in shape.points]
    if shape.fill and shape.closed:
        pen.polygon(points, fill=_rgba(shape.fill, shape.opacity))
    if not shape.stroke:
        return
    width = max(1, round(shape.width * scale))
    colour = _rgba(shape.stroke, shape.opacity)
    if not shape.dashed:
        # Past the first corner once more, which closes the joint.
        around = [*points, *points[:2]] if shape.closed else points
        pen.line(around, fill=colour, width=width, joint="curve")
        return
    for start, end in pairwise([*points, *points[: shape.closed]]):
        for piece in _dashes(start, end, scale):
            pen.line(piece, fill=colour, width=width)


def _dashes(start: Point, end: Point, scale: float) -> list[tuple[Point, Point]]:
    """Return the strokes of a dashed line: half a dash at both ends, so that corners are closed."""
    length = math.dist(start, end)
    count = max(1, round(length / (sum(_DASH) * scale)))
    share = _DASH[0] / sum(_DASH)

    def point(position: float) -> Point:
        part = min(max(position / count, 0.0), 1.0)
        return start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1])

    return [(point(number - share / 2), point(number + share / 2)) for number in range(count + 1)]


def _dot(pen: ImageDraw.ImageDraw, shape: Dot, scale: float) -> None:
    x, y, radius = shape.centre[0] * scale, shape.centre[1] * scale, shape.radius * scale
    pen.ellipse(
        (x - radius, y - radius, x + radius, y + radius),
        fill=_rgba(shape.fill),
        outline=_rgba(shape.stroke),
        width=max(1, round(1.2 * scale)),
    )


@lru_cache(maxsize=32)
def _font(size: float) -> Font:
    return ImageFont.load_default(size=size)


def _label(pen: ImageDraw.ImageDraw, shape: Label, scale: float) -> None:
    place = (shape.at[0] * scale, shape.baseline * scale)
    pen.text(
        place,
        shape.text.translate(_SIGNS),
        font=_font(shape.size * scale),
        fill=_rgba(shape.colour),
        anchor=_ANCHORS[shape.anchor],
    )
