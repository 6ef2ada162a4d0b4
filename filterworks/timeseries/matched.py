"""Where a template occurs: normalised cross-correlation and its peaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import as_int, as_number
from filterworks.errors import ArgumentError
from filterworks.timeseries.custom import as_taps
from filterworks.timeseries.linear import Design, Taps, any_in_windows, missing_in, reach
from filterworks.timeseries.options import Setting
from filterworks.timeseries.parts import Lines, Window
from filterworks.timeseries.stages import Blocks, InTurn, Stage
from filterworks.timeseries.stream import Peak, Report


def matched(
    template: str | None = None,
    taps: str | Sequence[float] | None = None,
    threshold: float = 0.8,
    distance: int | None = None,
) -> Design:
    """How well each window matches a template, from -1 to 1; peaks are reported.

    Parameters
    ----------
    template, taps
        The file of a template, or its samples, such as 0/1/3/1/0.
    threshold
        The least score of a peak.
    distance
        Two peaks are more than this many samples apart; half the template unless given.

    Notes
    -----
    The score is the correlation coefficient of window and template, so neither offset nor scale of
    the data counts (Lewis, "Fast normalized cross-correlation", 1995). A window that is flat scores 0. With
    ``nan_policy=omit`` a window scores by the samples it has, if it has half of them.

    Examples
    --------
    >>> from filterworks.timeseries import SeriesChain
    >>> stream = SeriesChain.parse("matched:taps=0/1/3").stream(1)
    >>> scores = stream.push(np.array([[5.0], [5], [7], [11], [5], [5]])), stream.finish()
    >>> [(peak.column, peak.row, round(peak.score, 9)) for peak in stream.report.peaks]
    [(0, 2, 1.0)]
    """
    shape = as_taps(taps, template, ("taps", "template"))
    centred = shape - shape.mean()
    norm = float(np.sqrt(np.sum(centred**2)))
    if norm <= 1e-12 * float(np.abs(shape).max()):
        raise ArgumentError("the template is flat: there is no shape to look for")
    apart = max(shape.size // 2, 1) if distance is None else as_int("distance", distance, 1)
    return Matched(tuple((centred / norm).tolist()), as_number("threshold", threshold, -1, 1), apart)


@dataclass(frozen=True)
class Matched:
    """A template, of mean 0 and norm 1, and which scores are peaks."""

    template: tuple[float, ...]
    threshold: float
    distance: int
    averages: bool = False
    timed: bool = False
    clocked: bool = False

    def stage(self, columns: int, setting: Setting, report: Report) -> Stage:
        """Return the filter at work on one series."""
        template = np.array(self.template)
        before, after = reach(template.size, setting.is_past)

        def scores(window: Window) -> Lines:
            return _scores(window, template, setting)

        def peaks(window: Window) -> Lines:
            return _find_peaks(window, self.threshold, self.distance, report.peaks)

        return InTurn(
            Blocks(columns, before, after, setting.boundary, scores),
            Blocks(columns, self.distance, self.distance, "omit", peaks),
        )


def _scores(window: Window, template: Taps, setting: Setting) -> Lines:
    from filterworks.timeseries import loops  # compiled when first needed

    lines = window.part.lines
    result = loops.by_line(loops.scores, lines, lines.shape[1] - template.size + 1, template)
    if not setting.omit:
        missing = missing_in(window, setting.boundary == "omit")
        result[any_in_windows(missing, template.size)] = np.nan
    return result


def _find_peaks(window: Window, threshold: float, distance: int, peaks: list[Peak]) -> Lines:
    """Add the peaks of a block of scores to `peaks`; the scores themselves pass."""
    inside = window.inside
    for column, line in enumerate(window.part.lines):
        scores = np.where(np.isnan(line), -np.inf, line)
        for place in _candidates(scores, inside, threshold):
            around = scores[place - distance : place + distance + 1]
            score = scores[place]
            # Of equal scores the first is the peak.
            if score > around[:distance].max() and score >= around[distance + 1 :].max():
                seconds = window.part.seconds
                time = None if seconds is None else float(seconds[place])
                row = window.first + int(place) - window.before
                peaks.append(Peak(column, row, time, float(score)))
    return window.part.lines[:, inside]


def _candidates(scores: Lines, inside: slice, threshold: float) -> NDArray[np.intp]:
    """Return the places of scores that reach the threshold and do not grow on either side."""
    middle = scores[inside]
    before, after = scores[inside.start - 1 : inside.stop - 1], scores[inside.start + 1 : inside.stop + 1]
    places = np.flatnonzero((middle >= threshold) & (middle > before) & (middle >= after))
    return np.asarray(places + inside.start)
