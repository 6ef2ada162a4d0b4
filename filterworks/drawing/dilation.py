"""The gridding effect: which input samples one output of a stack of dilated layers reads."""

from __future__ import annotations

from collections.abc import Sequence

from filterworks.arguments import as_int
from filterworks.drawing.scene import Dot, Label, Outline, Point, Scene, Shape, wrapped
from filterworks.errors import ArgumentError
from filterworks.shapes import dilation_coverage, samples_read

_INK, _FAINT = "#1f2d3a", "#5d6b78"
_STEP, _RISE, _RADIUS = 30.0, 70.0, 7.5
_MARGIN, _NAMES, _TITLE = 18.0, 116.0, 13.0
_BLUE, _BLUE_EDGE = "#6ea6dc", "#1b4f86"
_GREEN, _GREEN_EDGE = "#1d9e80", "#14705b"
_BETWEEN, _BETWEEN_EDGE = "#bfe3d9", "#2b9078"
_UNREAD, _UNREAD_EDGE = "#ffffff", "#c3ccd5"
_LARGEST_SPAN, _MOST_LAYERS = 48, 8


def dilation_scenes(layers: Sequence[tuple[int, int]]) -> list[Scene]:
    """Return the layers from the output down, one more in each scene; the last is the whole.

    Parameters
    ----------
    layers
        (kernel, dilation) of each layer, from the input on.

    Raises
    ------
    ArgumentError
        If the stack is too large to be looked at.

    Examples
    --------
    >>> len(dilation_scenes([(3, 1), (3, 2)]))
    3
    """
    stack = [(as_int("kernel", k, 1), as_int("dilation", d, 1)) for k, d in layers]
    if not 1 <= len(stack) <= _MOST_LAYERS:
        raise ArgumentError(f"the layers must be 1 to {_MOST_LAYERS} to be drawn; got {len(stack)}")
    span = dilation_coverage(stack)[1]
    if span > _LARGEST_SPAN:
        raise ArgumentError(f"the samples spanned must be at most {_LARGEST_SPAN} to be drawn; got {span}")
    return [_scene(stack, span, shown) for shown in range(len(stack) + 1)]


def dilation_title(layers: Sequence[tuple[int, int]]) -> str:
    """Return in words what a stack reads.

    Examples
    --------
    >>> dilation_title([(3, 2), (3, 2), (3, 2)])
    'kernel 3, dilations 2, 2, 2: one output reads 7 of 13 samples'
    """
    read, span = dilation_coverage(list(layers))
    kernels = [str(k) for k, _ in layers]
    names = kernels[0] if len(set(kernels)) == 1 else ", ".join(kernels)
    plural = "s" if len(layers) > 1 else ""
    dilations = ", ".join(str(d) for _, d in layers)
    reads = f"all {span} samples" if read == span else f"{read} of {span} samples"
    return f"kernel {names}, dilation{plural} {dilations}: one output reads {reads}"


def _scene(stack: list[tuple[int, int]], span: int, shown: int) -> Scene:
    """Return the picture with the last `shown` layers connected."""
    width = max(2 * _MARGIN + _NAMES + (span - 1) * _STEP + 2 * _RADIUS, 420.0)
    lines = wrapped(dilation_title(stack), width - 2 * _MARGIN, _TITLE)
    top = _MARGIN + len(lines) * 18 + 20
    shapes: list[Shape] = [
        Label((width / 2, _MARGIN + 6 + 18 * row), line, _TITLE, _INK) for row, line in enumerate(lines)
    ]
    nodes: list[Shape] = []
    origin = (_MARGIN + _NAMES + _RADIUS, top + len(stack) * _RISE)
    for level in range(len(stack), -1, -1):
        read = set(samples_read(stack[level:])) if level < len(stack) else {0}
        connected = level >= len(stack) - shown
        if connected and level < len(stack):
            shapes += _wires(stack, level, origin)
        for sample in range(span - sum(d * (k - 1) for k, d in stack[:level])):
            place = _node(stack, level, sample, origin)
            nodes.append(_dot(place, level, len(stack), connected and sample in read))
        y = origin[1] - level * _RISE
        nodes += _names(stack, level, y)
    return Scene(width, origin[1] + 2 * _RADIUS + _MARGIN, (*shapes, *nodes))


def _node(stack: list[tuple[int, int]], level: int, sample: int, origin: Point) -> Point:
    """Return where a sample of a level lies: over the middle of those that it reads."""
    shift = sum(d * (k - 1) for k, d in stack[:level]) / 2
    return origin[0] + (sample + shift) * _STEP, origin[1] - level * _RISE


def _wires(stack: list[tuple[int, int]], level: int, origin: Point) -> list[Shape]:
    """Return the lines from the samples of a level to those that read them."""
    kernel, dilation = stack[level]
    readers = samples_read(stack[level + 1 :]) if level + 1 < len(stack) else (0,)
    return [
        Outline(
            (
                _node(stack, level + 1, reader, origin),
                _node(stack, level, reader + dilation * tap, origin),
            ),
            stroke=_BETWEEN_EDGE,
            width=1.2,
            opacity=0.6,
            closed=False,
        )
        for reader in readers
        for tap in range(kernel)
    ]


def _dot(place: Point, level: int, last: int, is_read: bool) -> Dot:
    if not is_read:
        return Dot(place, _RADIUS, _UNREAD, _UNREAD_EDGE)
    if level == 0:
        return Dot(place, _RADIUS, _BLUE, _BLUE_EDGE)
    if level == last:
        return Dot(place, _RADIUS, _GREEN, _GREEN_EDGE)
    return Dot(place, _RADIUS, _BETWEEN, _BETWEEN_EDGE)


def _names(stack: list[tuple[int, int]], level: int, y: float) -> list[Shape]:
    if level == 0:
        return [Label((_MARGIN, y), "input", 13, _INK, "start")]
    kernel, dilation = stack[level - 1]
    name = "output" if level == len(stack) else f"layer {level}"
    return [
        Label((_MARGIN, y - 7), name, 13, _INK, "start"),
        Label((_MARGIN, y + 9), f"{kernel} taps, dilation {dilation}", 10.5, _FAINT, "start"),
    ]
