"""One picture per step of a convolution: the input, the kernel on it, and the output so far.

In the manner of the figures in Dumoulin and Visin, "A guide to convolution arithmetic for deep
learning" (2016): the input is blue, padding and inserted zeros are dashed, the kernel is a shadow, the
output is green.
"""

from __future__ import annotations

from dataclasses import dataclass

from filterworks.drawing.geometry import Arithmetic, Kind
from filterworks.drawing.scene import (
    Anchor,
    Label,
    Outline,
    Point,
    Scene,
    Shape,
    rectangle,
    text_width,
    wrapped,
)

INK = "#1f2d3a"
FAINT = "#5d6b78"
_CELL = 36.0
_MARGIN = 18.0
_GAP = 62.0
_TEXT, _SMALL, _TITLE = 13.0, 9.5, 13.0
_LINE = 18.0
# Up to so many products are written out below the grids.
_SPELLED = 9

# Fill, and fill under the kernel.
_FILLS: dict[Kind, tuple[str, str]] = {
    "data": ("#b5d6f4", "#7fb2e5"),
    "inserted": ("#f4f7fa", "#ccd6e0"),
    "padding": ("#ffffff", "#d9e0e7"),
    "cropped": ("#ffffff", "#ffffff"),
}
_EDGES: dict[Kind, str] = {
    "data": "#3f78b0",
    "inserted": "#9dabb8",
    "padding": "#9dabb8",
    "cropped": "#d5dce3",
}
_NUMBERS: dict[Kind, str] = {"data": INK, "inserted": FAINT, "padding": FAINT, "cropped": "#c3ccd5"}
_WINDOW, _WEIGHT = "#1b4f86", "#0b2c52"
_DONE, _NOW, _NEXT = "#a9e2d2", "#1d9e80", "#f0faf7"
_DONE_EDGE, _NEXT_EDGE = "#2b9078", "#9fd4c6"


@dataclass(frozen=True)
class _Layout:
    """Where the two grids of an :class:`Arithmetic` are; the same for all of its steps."""

    arithmetic: Arithmetic
    input_at: Point
    output_at: Point
    width: float
    height: float
    heading: tuple[str, ...]
    notes: int

    @classmethod
    def of(cls, arithmetic: Arithmetic, *, heading: bool, numbers: bool) -> _Layout:
        rows, columns = _two(tuple(len(axis.kinds) for axis in arithmetic.axes))
        out_rows, out_columns = _two(arithmetic.output.shape)
        flat = len(arithmetic.axes) == 1
        if flat:
            # One axis: the output lies above the input, as one row over another.
            width = max(columns, out_columns) * _CELL + 2 * _MARGIN
            depth = 2 * _CELL + _GAP
        else:
            width = (columns + out_columns) * _CELL + _GAP + 2 * _MARGIN
            depth = max(rows, out_rows) * _CELL
        width = max(width, 11 * _CELL if numbers else 6 * _CELL)
        lines = tuple(wrapped(arithmetic.title, width - 2 * _MARGIN, _TITLE)) if heading else ()
        top = _MARGIN + len(lines) * _LINE + (6 if lines else 0)
        middle = top + depth / 2
        if flat:
            output_at = (width / 2 - out_columns * _CELL / 2, top)
            input_at = (width / 2 - columns * _CELL / 2, top + _CELL + _GAP)
        else:
            left = (width - (columns + out_columns) * _CELL - _GAP) / 2
            input_at = (left, middle - rows * _CELL / 2)
            output_at = (left + columns * _CELL + _GAP, middle - out_rows * _CELL / 2)
        notes = max(len(_note(arithmetic, step, numbers, width)) for step in range(len(arithmetic.positions)))
        height = top + depth + 8 + notes * _LINE + _MARGIN / 2
        return cls(arithmetic, input_at, output_at, width, height, lines, notes)

    def input_corner(self, cell: tuple[int, ...]) -> Point:
        row, column = _place(cell)
        return self.input_at[0] + column * _CELL, self.input_at[1] + row * _CELL

    def output_corner(self, position: tuple[int, ...]) -> Point:
        row, column = _place(position)
        return self.output_at[0] + column * _CELL, self.output_at[1] + row * _CELL


def conv_scenes(arithmetic: Arithmetic, *, numbers: bool = False, heading: bool = True) -> list[Scene]:
    """Return one scene per output position, all of one size.

    Parameters
    ----------
    arithmetic
        What to draw.
    numbers
        Write values, weights and results into the cells, and the sum below.
    heading
        Write the parameters above every scene.

    Examples
    --------
    >>> from filterworks.drawing.geometry import conv_arithmetic
    >>> len(conv_scenes(conv_arithmetic(5, 3, stride=2, padding=1)))
    9
    """
    layout = _Layout.of(arithmetic, heading=heading, numbers=numbers)
    return [_scene(layout, step, numbers) for step in range(len(arithmetic.positions))]


def heading_scene(text: str, width: float) -> Scene:
    """Return a title to stand above scenes that together are `width` wide."""
    lines = wrapped(text, width - 2 * _MARGIN, _TITLE + 3)
    labels = tuple(
        Label((width / 2, _MARGIN + 8 + number * (_LINE + 4)), line, _TITLE + 3, INK)
        for number, line in enumerate(lines)
    )
    return Scene(width, _MARGIN + len(lines) * (_LINE + 4), labels)


def _scene(layout: _Layout, step: int, numbers: bool) -> Scene:
    shapes: list[Shape] = [
        Label((layout.width / 2, _MARGIN + number * _LINE + 2), line, _TITLE, INK)
        for number, line in enumerate(layout.heading)
    ]
    shapes += _input(layout, step)
    shapes += _output(layout, step)
    shapes += _beam(layout, step)
    if numbers:
        shapes += _input_numbers(layout, step)
        shapes += _output_numbers(layout, step)
    bottom = layout.height - _MARGIN / 2 - layout.notes * _LINE
    shapes += [
        Label((layout.width / 2, bottom + (number + 0.5) * _LINE), line, _TITLE - 1, FAINT)
        for number, line in enumerate(_note(layout.arithmetic, step, numbers, layout.width))
    ]
    return Scene(layout.width, layout.height, tuple(shapes))


def _input(layout: _Layout, step: int) -> list[Shape]:
    """Return the cells, dashed ones first: where two meet, the solid edge is seen."""
    arithmetic = layout.arithmetic
    under = dict(arithmetic.window(arithmetic.positions[step]))
    cells = [(cell, arithmetic.kind(cell)) for cell in _cells(arithmetic)]
    cells.sort(key=lambda item: item[1] == "data")
    shapes: list[Shape] = []
    for cell, kind in cells:
        x, y = layout.input_corner(cell)
        fill = _FILLS[kind][cell in under]
        shapes.append(rectangle(x, y, _CELL, _CELL, fill=fill, stroke=_EDGES[kind], dashed=kind != "data"))
    return shapes


def _input_numbers(layout: _Layout, step: int) -> list[Shape]:
    """Return the value of each cell, and the weight on it in its lower right corner."""
    arithmetic = layout.arithmetic
    under = dict(arithmetic.window(arithmetic.positions[step]))
    shapes: list[Shape] = []
    for cell in _cells(arithmetic):
        x, y = layout.input_corner(cell)
        colour = _NUMBERS[arithmetic.kind(cell)]
        middle = (x + _CELL / 2, y + _CELL / 2)
        if cell not in under:
            shapes.append(_fitted(middle, arithmetic.grid[cell], _TEXT, colour))
            continue
        shapes.append(_fitted((middle[0] - 2, middle[1] - 5), arithmetic.grid[cell], _TEXT, colour))
        corner = (x + _CELL - 3, y + _CELL - 7.5)
        shapes.append(_fitted(corner, under[cell], _SMALL, _WEIGHT, "end"))
    return shapes


def _output(layout: _Layout, step: int) -> list[Shape]:
    shapes: list[Shape] = []
    for index, position in enumerate(layout.arithmetic.positions):
        x, y = layout.output_corner(position)
        fill = _NOW if index == step else _DONE if index < step else _NEXT
        edge = _DONE_EDGE if index <= step else _NEXT_EDGE
        shapes.append(rectangle(x, y, _CELL, _CELL, fill=fill, stroke=edge))
    # Later cells are painted over the edges of earlier ones: the frontier is drawn last.
    return sorted(shapes, key=lambda shape: isinstance(shape, Outline) and shape.stroke == _DONE_EDGE)


def _output_numbers(layout: _Layout, step: int) -> list[Shape]:
    shapes: list[Shape] = []
    for index, position in enumerate(layout.arithmetic.positions[: step + 1]):
        x, y = layout.output_corner(position)
        colour = "#ffffff" if index == step else INK
        middle = (x + _CELL / 2, y + _CELL / 2)
        shapes.append(_fitted(middle, layout.arithmetic.output[position], _TEXT, colour))
    return shapes


def _beam(layout: _Layout, step: int) -> list[Shape]:
    """Return the kernel's outline and the light from it to the output that it makes."""
    position = layout.arithmetic.positions[step]
    cells = [cell for cell, _ in layout.arithmetic.window(position)]
    (left, top), (right, bottom) = layout.input_corner(cells[0]), layout.input_corner(cells[-1])
    right, bottom = right + _CELL, bottom + _CELL
    x, y = layout.output_corner(position)
    if len(position) == 1:
        corners = ((left, top), (right, top), (x + _CELL, y + _CELL), (x, y + _CELL))
    else:
        corners = ((right, top), (right, bottom), (x, y + _CELL), (x, y))
    ends = ((corners[0], corners[3]), (corners[1], corners[2]))
    return [
        Outline(corners, fill=_NOW, opacity=0.10),
        *(Outline(pair, stroke=_NOW, width=1.0, opacity=0.45, closed=False) for pair in ends),
        rectangle(left, top, right - left, bottom - top, stroke=_WINDOW, line=2.2),
    ]


def _note(arithmetic: Arithmetic, step: int, numbers: bool, width: float) -> list[str]:
    """Return the lines below the grids: the step, and the sum that it computes."""
    position = arithmetic.positions[step]
    place = position[0] if len(position) == 1 else f"({position[0]}, {position[1]})"
    text = f"step {step + 1} of {len(arithmetic.positions)}: output {place}"
    if not numbers:
        return [text]
    window = arithmetic.window(position)
    result = number(arithmetic.output[position])
    if len(window) > _SPELLED:
        return [text, f"the sum of {len(window)} products is {result}"]
    products = [f"{number(arithmetic.grid[cell])}·{_factor(weight)}" for cell, weight in window]
    return [text, *wrapped(f"{' + '.join(products)} = {result}", width - 2 * _MARGIN, _TITLE - 1)]


def _factor(weight: float) -> str:
    return f"({number(weight)})" if weight < 0 else number(weight)


def number(value: float) -> str:
    """Return a number as short as it can be read in a cell.

    Examples
    --------
    >>> number(3.0), number(-0.125), number(1234.56789)
    ('3', '−0.125', '1235')
    """
    return f"{value:.4g}".replace("-", "−") if value else "0"


def _fitted(at: Point, value: float, size: float, colour: str, anchor: Anchor = "middle") -> Label:
    """Return a number in a size in which it does not leave its cell."""
    text = number(value)
    return Label(at, text, min(size, size * (_CELL - 8) / text_width(text, size)), colour, anchor)


def _cells(arithmetic: Arithmetic) -> list[tuple[int, ...]]:
    rows, columns = _two(tuple(len(axis.kinds) for axis in arithmetic.axes))
    if len(arithmetic.axes) == 1:
        return [(column,) for column in range(columns)]
    return [(row, column) for row in range(rows) for column in range(columns)]


def _two(sizes: tuple[int, ...]) -> tuple[int, int]:
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])


def _place(cell: tuple[int, ...]) -> tuple[int, int]:
    return (0, cell[0]) if len(cell) == 1 else (cell[0], cell[1])
