"""Scenes as SVG, written by hand: text stays text."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from filterworks.drawing.scene import Dot, Outline, Shape, Sheet

_FONTS = "Helvetica, Arial, 'Liberation Sans', sans-serif"


class _Styles:
    """Short names for what shapes look like: a sheet has thousands of shapes and few looks."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def name(self, style: str) -> str:
        return self._names.setdefault(style, f"s{len(self._names)}")

    def __str__(self) -> str:
        return " ".join(f".{name} {{{style}}}" for style, name in self._names.items())


def to_svg(sheet: Sheet, title: str) -> str:
    """Return the sheet as an SVG document whose name is `title`."""
    styles = _Styles()
    groups: list[str] = []
    for (x, y), scene in sheet.scenes:
        shapes = (_shape(shape, styles) for shape in scene.shapes)
        groups += [f'<g transform="translate({_n(x)} {_n(y)})">', *shapes, "</g>"]
    width, height = _n(sheet.width), _n(sheet.height)
    head = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family={quoteattr(_FONTS)}>',
        f"<title>{escape(title)}</title>",
        f"<style>{styles}</style>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    return "\n".join([*head, *groups, "</svg>", ""])


def _shape(shape: Shape, styles: _Styles) -> str:
    if isinstance(shape, Outline):
        return _outline(shape, styles)
    if isinstance(shape, Dot):
        look = styles.name(f"fill:{shape.fill};stroke:{shape.stroke};stroke-width:1.2px")
        (x, y), radius = shape.centre, shape.radius
        return f'<circle class="{look}" cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}"/>'
    look = styles.name(f"font-size:{_n(shape.size)}px;text-anchor:{shape.anchor};fill:{shape.colour}")
    return f'<text class="{look}" x="{_n(shape.at[0])}" y="{_n(shape.baseline)}">{escape(shape.text)}</text>'


def _outline(shape: Outline, styles: _Styles) -> str:
    marks = [f"fill:{(shape.closed and shape.fill) or 'none'}"]
    if shape.stroke:
        marks.append(f"stroke:{shape.stroke};stroke-width:{_n(shape.width)}px;stroke-linejoin:round")
    if shape.dashed:
        marks.append("stroke-dasharray:4px 3px")
    if shape.opacity != 1:
        marks.append(f"opacity:{_n(shape.opacity)}")
    name = "polygon" if shape.closed else "polyline"
    points = " ".join(f"{_n(x)},{_n(y)}" for x, y in shape.points)
    return f'<{name} class="{styles.name(";".join(marks))}" points="{points}"/>'


def _n(number: float) -> str:
    """Return a number in at most two decimals."""
    return f"{number:.2f}".rstrip("0").rstrip(".")
