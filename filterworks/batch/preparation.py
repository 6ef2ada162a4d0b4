"""What a table goes through before it is filtered, if asked for: its rows sorted, its times made even."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np

from filterworks.arguments import Array
from filterworks.batch.lanes import Key, grouped
from filterworks.batch.survey import Clock, Roles
from filterworks.errors import ArgumentError, FileError
from filterworks.files.tables import Table, TextTable, copy_rows, in_groups, sorted_parquet, sorted_text
from filterworks.timeseries import Resampler
from filterworks.timeseries.lengths import as_seconds


def in_order(table: Table, roles: Roles, executor: Executor, folder: Path) -> Table:
    """Return a copy of the table whose rows ascend by their times.

    Raises
    ------
    FileError
        If there is no time, or something is wrong with a row: its line is that of the original.
    """
    if roles.time is None:
        raise FileError(f"{table.shown}: --sort needs the time; name its column with --time")
    clock = Clock(table, *roles.time)
    seconds = [clock.read(block) for block in table.blocks(roles.values, [clock.name], executor)]
    place = folder / "sorted"
    if isinstance(table, TextTable):
        return sorted_text(table, np.concatenate([*seconds, np.empty(0)]), place)
    return sorted_parquet(table, clock.name, place)


def resampled(table: Table, roles: Roles, step: str, method: str, executor: Executor, folder: Path) -> Table:
    """Return a table of time, groups and values at even times; one group after the other.

    Raises
    ------
    FileError
        If there is no time, or something is wrong with a row.
    """
    if roles.time is None:
        raise FileError(f"{table.shown}: --resample needs the time; name its column with --time")
    clock = Clock(table, *roles.time)
    names = [clock.name, *roles.by, *roles.values]
    parts = _even(table, roles, clock, (step, method), executor)
    apart = as_seconds("step", step)
    numbers: dict[Key, int] = {}
    groups: list[Array] = []

    def rows() -> Iterator[tuple[Any, Key, Array]]:
        for key, seconds, values in parts:
            groups.append(np.full(seconds.size, numbers.setdefault(key, len(numbers))))
            yield _written(clock, seconds, apart, table), key, values

    try:
        even = copy_rows(table, names, rows(), folder / "even")
        clock.format.name = clock.format.finer(apart)  # as they are written now
    except ArgumentError as error:
        raise FileError(f"{table.shown}: --resample {step}: {error}") from None
    # Rows came as they were determined, which is not the same for blocks of another size.
    return in_groups(even, np.concatenate(groups), folder / "grouped") if len(numbers) > 1 else even


def _written(clock: Clock, seconds: Array, step: float, table: Table) -> Any:
    """Return times as the table writes them: counts with its sign before the decimals."""
    texts = clock.format.texts(seconds, step)
    if isinstance(table, TextTable) and clock.format.counts is not None:
        return texts.str.replace(".", table.reading.decimal, literal=True)
    return texts


def _even(
    table: Table, roles: Roles, clock: Clock, how: tuple[str, str], executor: Executor
) -> Iterator[tuple[Key, Array, Array]]:
    """Yield (group, times, values) as they are determined."""
    by = [table.names.index(name) for name in roles.by]
    resamplers: dict[Key, Resampler] = {}
    try:
        for block in table.blocks(roles.values, [clock.name, *roles.by], executor):
            groups, seconds = grouped(block, by), clock.read(block)
            clock.check(block, seconds, groups)
            for key, rows in groups:
                if key not in resamplers:
                    resamplers[key] = Resampler(*how, columns=len(roles.values))
                yield (key, *resamplers[key].push(seconds[rows], block.values[rows]))
        for key, resampler in resamplers.items():
            yield (key, *resampler.finish())
    except ArgumentError as error:
        raise FileError(f"{table.shown}: {error}") from None
