"""Curves: a series before and after, the response of a chain; matplotlib draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from filterworks.arguments import Array
from filterworks.drawing.writing import replace_with
from filterworks.errors import ArgumentError, unknown

SUFFIXES = (".png", ".svg", ".pdf")
# Decibels below the largest value that are shown.
_DEPTH = 140.0
_BEFORE, _AFTER, _GAP = "#9aa5b1", "#0b5fa5", "#f6d5d0"


@dataclass(frozen=True)
class Curve:
    """What is drawn of one column.

    Attributes
    ----------
    x, y
        Places (numbers or ``datetime64``) and values; NaN where there is none.
    gaps
        ``(first, last)`` of the places between which values are missing.
    """

    x: Array
    y: Array
    gaps: Sequence[tuple[Any, Any]] = ()


@dataclass(frozen=True)
class Response:
    """What a linear chain does to an impulse and to waves.

    Attributes
    ----------
    places, impulse
        Samples or seconds from the impulse, and the response there.
    frequencies, decibels
        Cycles per sample or Hz, and the gain.
    rate
        Samples per second; None: everything is counted in samples.
    """

    places: Array
    impulse: Array
    frequencies: Array
    decibels: Array
    rate: float | None = None


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise ArgumentError(
            "plots need matplotlib, which is not installed: pip install 'filterworks[plot]'"
        ) from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def check_plot(path: Path) -> None:
    """Refuse a suffix that cannot be drawn, and say so before any work if matplotlib is missing."""
    if path.suffix.lower() not in SUFFIXES:
        raise ArgumentError(unknown("plot suffix", path.suffix, SUFFIXES))
    _pyplot()


def plot_series(path: Path, title: str, axis: str, pairs: Sequence[tuple[str, Curve, Curve]]) -> None:
    """Draw columns below each other, each before and after; gaps are shaded.

    Parameters
    ----------
    axis
        What the places are called.
    pairs
        (name, before, after) of each column.
    """
    pyplot = _pyplot()
    height = 1.2 + 2.6 * len(pairs)
    figure, axes = pyplot.subplots(
        len(pairs), 1, figsize=(11, height), sharex=True, squeeze=False, layout="constrained"
    )
    for place, (name, before, after) in zip(axes[:, 0], pairs, strict=True):
        for number, (start, end) in enumerate(before.gaps):
            place.axvspan(start, end, color=_GAP, lw=0, label="missing" if not number else None)
        place.plot(before.x, before.y, color=_BEFORE, lw=0.9, label="before")
        place.plot(after.x, after.y, color=_AFTER, lw=1.3, label="after")
        place.set_ylabel(name)
        place.grid(alpha=0.25)
        place.margins(x=0.01)
        place.legend(loc="best", frameon=False, fontsize="small", ncols=3)
    axes[0, 0].set_title(title)
    axes[-1, 0].set_xlabel(axis)
    _save(pyplot, figure, path)


def plot_response(path: Path, title: str, response: Response) -> None:
    """Draw the impulse response above, the gain in decibels over frequency below."""
    pyplot = _pyplot()
    figure, (above, below) = pyplot.subplots(2, 1, figsize=(9, 7), layout="constrained")
    above.set_title(title)
    marks = response.impulse.size <= 130
    above.plot(response.places, response.impulse, color=_AFTER, lw=1.2, marker="o" if marks else None, ms=3.5)
    above.axhline(0.0, color="#444", lw=0.6)
    above.set_xlabel("samples" if response.rate is None else "seconds")
    above.set_ylabel("impulse response")
    shown = np.maximum(response.decibels, response.decibels.max() - _DEPTH)
    below.plot(response.frequencies, shown, color=_AFTER, lw=1.3)
    below.axhline(-3.0, color="#c0392b", lw=0.8, ls=":", label="-3 dB")
    below.set_xlabel("cycles per sample" if response.rate is None else "Hz")
    below.set_ylabel("gain (dB)")
    below.set_xlim(0.0, response.frequencies[-1])
    below.legend(loc="best", frameon=False, fontsize="small")
    for place in (above, below):
        place.grid(alpha=0.25)
    _save(pyplot, figure, path)


def _save(pyplot: Any, figure: Any, path: Path) -> None:
    form = path.suffix.lower()[1:]
    # No date inside: the same plot is the same file.
    metadata = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[form]
    try:
        replace_with(path, lambda partial: figure.savefig(partial, format=form, dpi=120, metadata=metadata))
    finally:
        pyplot.close(figure)
