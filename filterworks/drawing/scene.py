"""What a picture consists of, in units of its own; the back ends turn it into pixels or SVG.

x grows to the right and y downwards. Colours are ``#rrggbb``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]

# Width of an average letter, by which texts are wrapped, and of a digit, in units of the text's size.
_LETTER, _DIGIT = 0.52, 0.6


@dataclass(frozen=True)
class Outline:
    """A polygon, or an open line where `closed` is false."""

    points: tuple[Point, ...]
    fill: str | None = None
    stroke: str | None = None
    width: float = 1.0
    dashed: bool = False
    opacity: float = 1.0
    closed: bool = True


@dataclass(frozen=True)
class Dot:
    """A filled circle."""

    centre: Point
    radius: float
    fill: str
    stroke: str


@dataclass(frozen=True)
class Label:
    """A line of text; `at` is its middle in height and, by `anchor`, its start, middle or end."""

    at: Point
    text: str
    size: float
    colour: str
    anchor: Anchor = "middle"

    @property
    def baseline(self) -> float:
        """The y of the line that the letters stand on: both back ends set text there."""
        return self.at[1] + 0.35 * self.size


Shape = Outline | Dot | Label


@dataclass(frozen=True)
class Scene:
    """Shapes in the order in which they are painted, on white."""

    width: float
    height: float
    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class Sheet:
    """Scenes side by side: each with the place of its upper left corner."""

    width: float
    height: float
    scenes: tuple[tuple[Point, Scene], ...] = field(default=())


def rectangle(
    x: float,
    y: float,
    width: float,
    height: float,
    *,
    fill: str | None = None,
    stroke: str | None = None,
    line: float = 1.0,
    dashed: bool = False,
) -> Outline:
    """Return a rectangle from its upper left corner."""
    corners = ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
    return Outline(corners, fill, stroke, line, dashed)


def text_width(text: str, size: float) -> float:
    """Return about how wide a number is at most."""
    return len(text) * _DIGIT * size


def wrapped(text: str, width: float, size: float) -> list[str]:
    """Return the lines into which a text is broken to fit `width`.

    Examples
    --------
    >>> wrapped("input 5 × 5, kernel 3 × 3", 90, 10)
    ['input 5 × 5,', 'kernel 3 × 3']
    """
    # A size such as "5 × 5" is one word.
    joined = text.replace(" × ", "\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}")
    lines = textwrap.wrap(joined, max(8, int(width / (_LETTER * size))))
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def sheet(scenes: Sequence[Scene], *, columns: int = 1, heading: Scene | None = None) -> Sheet:
    """Lay out scenes of one size in rows, under a heading.

    Examples
    --------
    >>> cell = Scene(40, 30, ())
    >>> page = sheet([cell] * 5, columns=3)
    >>> page.width, page.height, page.scenes[4][0]
    (120, 60, (40, 30))
    """
    width, height = scenes[0].width, scenes[0].height
    top = heading.height if heading else 0
    placed = [
        ((number % columns * width, top + number // columns * height), scene)
        for number, scene in enumerate(scenes)
    ]
    total = columns * width
    if heading:
        total = max(total, heading.width)
        placed.insert(0, ((0.0, 0.0), heading))
    return Sheet(total, top + -(-len(scenes) // columns) * height, tuple(placed))
