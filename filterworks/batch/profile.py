"""Columns of a table as curves of bounded size that keep every extreme."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from filterworks.arguments import Array
from filterworks.batch.series_job import SeriesInput
from filterworks.batch.survey import Clock, assign
from filterworks.drawing.plots import Curve
from filterworks.errors import FileError, unknown
from filterworks.files.tables import open_table

# Parts of a curve, each with its least and greatest value: more than a plot has pixels.
PARTS = 2000


@dataclass
class _Outline:
    """One column, cut into runs of rows: their least and greatest values, and whether one is missing."""

    low: list[Array] = field(default_factory=list)
    high: list[Array] = field(default_factory=list)
    missing: list[Array] = field(default_factory=list)

    def add(self, y: Array, starts: Array) -> None:
        """Take the rows of a block, cut at `starts`."""
        self.low.append(np.fmin.reduceat(y, starts))
        self.high.append(np.fmax.reduceat(y, starts))
        self.missing.append(np.logical_or.reduceat(np.isnan(y), starts))

    def curve(self, x: Array) -> Curve:
        """Return the runs at the places `x` as a curve through all of their extremes."""
        if not self.low:
            return Curve(x, np.empty(0))
        low, high = np.concatenate(self.low), np.concatenate(self.high)
        missing = np.concatenate(self.missing)
        edges = np.diff(np.concatenate([[0], missing.astype(np.int8), [0]]))
        firsts, lasts = np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)
        before, after = np.maximum(firsts - 1, 0), np.minimum(lasts, x.size - 1)
        gaps = list(zip(x[before], x[after], strict=True))
        if np.array_equal(low, high, equal_nan=True):
            return Curve(x, low, gaps)
        return Curve(np.repeat(x, 2), np.column_stack([low, high]).ravel(), gaps)


def outlines(
    path: Path, reading: SeriesInput, names: Sequence[str] | None, parts: int = PARTS
) -> tuple[str, Sequence[str], dict[str, Curve]]:
    """Return what the places are called, the names of all columns, and a curve of each that is drawn.

    Parameters
    ----------
    path, reading
        The table and how it is read.
    names
        Of the columns; None: all numbers.
    parts
        Where a table has more than twice as many rows, they are taken together in so many parts of which
        the least and the greatest value are kept.

    Raises
    ------
    FileError
        If the table or a column cannot be used.
    """
    table = open_table(path, reading.text)
    roles = assign(table, reading.model_copy(update={"columns": None if names is None else tuple(names)}))
    clock = Clock(table, *roles.time) if roles.time else None
    with ThreadPoolExecutor(2) as executor:
        rows = sum(block.rows for block in table.blocks((), table.names[:1], executor))
        size = max(rows // parts, 1) if rows > 2 * parts else 1
        places: list[Array] = []
        found = {name: _Outline() for name in roles.values}
        done = 0
        for block in table.blocks(roles.values, [clock.name] if clock else [], executor):
            starts = np.arange(-done % size, block.rows, size)
            starts = starts if starts.size and starts[0] == 0 else np.concatenate([[0], starts])
            x = clock.format.places(clock.read(block)) if clock else np.arange(done, done + block.rows) + 1
            places.append(x[starts])
            for name, y in zip(roles.values, block.values.T, strict=True):
                found[name].add(y, starts)
            done += block.rows
    x = np.concatenate(places) if places else np.empty(0)
    curves = {name: outline.curve(x) for name, outline in found.items()}
    return (clock.name if clock else "row"), table.names, curves


def paired(
    before: Mapping[str, Curve], after: Mapping[str, Curve], names: Sequence[str], path: Path
) -> list[tuple[str, Curve, Curve]]:
    """Return each column before and after: by its name, or that of the column added for it.

    `names` are those of all columns of the first table: an added column belongs to the longest of them
    that it begins with.

    Raises
    ------
    FileError
        If the second table, at `path`, has no column for one of the first.
    """
    added: dict[str, str] = {}
    for name in after:
        if name not in names:
            sources = [one for one in names if name.startswith(one)]
            added.setdefault(max(sources, key=len, default=""), name)
    pairs = []
    for name, curve in before.items():
        chosen = added.get(name, name)
        if chosen not in after:
            raise FileError(f"{path}: {unknown('column', chosen, after)}")
        pairs.append((name, curve, after[chosen]))
    return pairs
