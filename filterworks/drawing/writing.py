"""Pictures into files: the suffix says what kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from filterworks.drawing.scene import Scene, Sheet, sheet
from filterworks.errors import ArgumentError, FileError, unknown

SUFFIXES = (".gif", ".png", ".svg")
# Pixels per unit, and what limits them.
_SCALE = 2.0
_MOST_PIXELS = 24_000_000
_WIDEST_FRAME = 1400
_MOST_ON_A_SHEET = 150
_STEP_MS, _LAST_MS = 700, 1800


def check_picture(path: Path) -> str:
    """Return the suffix of a picture's path, or say which are known."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ArgumentError(unknown("picture suffix", path.suffix, SUFFIXES))
    return suffix


def write_animation(path: Path, scenes: Sequence[Scene]) -> None:
    """Write an animated GIF with one frame per scene; the last one stays longer."""
    from PIL import Image

    from filterworks.drawing.raster import render

    scale = min(_SCALE, _WIDEST_FRAME / max(scenes[0].width, scenes[0].height))

    def frame(scene: Scene) -> Image.Image:
        return render(scene, scale).quantize(64, dither=Image.Dither.NONE)

    durations = [_STEP_MS] * (len(scenes) - 1) + [_LAST_MS]
    first = frame(scenes[0])
    rest = (frame(scene) for scene in scenes[1:])
    replace_with(
        path,
        lambda partial: first.save(
            partial, "GIF", save_all=True, append_images=rest, duration=durations, loop=0
        ),
    )


def write_sheet(
    path: Path,
    scenes: Sequence[Scene],
    title: str,
    *,
    columns: int = 1,
    heading: Scene | None = None,
) -> None:
    """Write all scenes side by side as PNG or SVG."""
    if len(scenes) > _MOST_ON_A_SHEET:
        raise ArgumentError(
            f"a sheet holds at most {_MOST_ON_A_SHEET} steps; got {len(scenes)}: "
            "draw one with --step, or write a .gif"
        )
    page = sheet(scenes, columns=columns, heading=heading)
    if check_picture(path) == ".svg":
        from filterworks.drawing.vector import to_svg

        text = to_svg(page, title)
        replace_with(path, lambda partial: partial.write_text(text, encoding="utf-8"))
    else:
        _write_png(path, page)


def _write_png(path: Path, page: Sheet) -> None:
    from filterworks.drawing.raster import render_sheet

    scale = min(_SCALE, (_MOST_PIXELS / (page.width * page.height)) ** 0.5)
    picture = render_sheet(page, scale)
    replace_with(path, lambda partial: picture.save(partial, "PNG", optimize=True))


def replace_with(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside the name, then rename: nobody ever sees half a picture."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(partial)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise FileError(f"{path}: {error.strerror or error}") from error
