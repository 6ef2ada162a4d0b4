"""One table: read in blocks, each group through its stream, written as the original was written."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from filterworks.arguments import Array
from filterworks.batch.digests import Digest
from filterworks.batch.lanes import Key, Lane, Lanes, grouped
from filterworks.batch.memory import MEMORY, keep_freed_memory, usual_memory
from filterworks.batch.preparation import in_order, resampled
from filterworks.batch.series_job import SeriesInput, Settings
from filterworks.batch.survey import Clock, Roles, assign
from filterworks.batch.tasks import SHARES, Made, Task
from filterworks.errors import ArgumentError, FileError
from filterworks.files.tables import Block, Sink, Table, open_table, write_table
from filterworks.timeseries import Sampling, SeriesChain

# Peaks that are listed; the rest is only counted.
_LISTED = 1000
# Rows of one group that are computed at once, at most and at least; those of all groups together, and
# the bytes of their text.
_BLOCK, _LEAST_BLOCK, _HELD, _HELD_TEXT = 1 << 16, 1 << 6, 1 << 20, 1 << 26
# Memory that a table takes: so much at most, and for each byte of a small one.
_MOST, _PER_BYTE = 200_000_000, 40
# Bytes after which the disk is told to begin: what is left at the end of a run is waited for.
_BEGUN = 8 << 20
_WRITE = 2  # SYNC_FILE_RANGE_WRITE
# Parsing and rendering run beside filtering; polars has threads of its own.
_THREADS = 3


@dataclass(frozen=True)
class SeriesTask(Task):
    """A table to be filtered.

    Attributes
    ----------
    filters
        One table per filter, as in the job.
    reading, settings
        The sections of the job.
    suffix
        Of the names of added columns; None: results take the place of the values.
    """

    filters: tuple[dict[str, Any], ...]
    reading: SeriesInput
    settings: Settings
    suffix: str | None

    def make(self, partial: str | Path) -> Made:
        """Write the filtered table to `partial`."""
        place = Path(partial)
        with place.open("wb") as file:
            hashed = _Hashed(file)
            details = self.filter_into(place, hashed)
            file.flush()
            # Parquet is written under the file's name, past its hash.
            written = hashed.hash.hexdigest() if place.stat().st_size == hashed.size else None
        return Made(digest=written, details=details)

    def filter_into(self, place: Path, file: Sink) -> dict[str, Any]:
        """Filter the table into an open file and return what is to be reported.

        Raises
        ------
        FileError
            With file, line and column, where the table or a value cannot be used.
        """
        keep_freed_memory()
        # Beside the result: where it fits, copies fit too.
        beside = place.parent if place.name else None
        with (
            MEMORY.held(min(_MOST, _PER_BYTE * _size(Path(self.input))), usual_memory()),
            ThreadPoolExecutor(_THREADS) as executor,
            tempfile.TemporaryDirectory(prefix="filterworks-", dir=beside) as folder,
        ):
            return _Work(self, place, file, executor, Path(folder)).run()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # opening it will say why


def _block(groups: int, row_size: int) -> int:
    """Return how many rows of one group are computed at once: what all groups hold back stays bounded."""
    held = min(_HELD, _HELD_TEXT // row_size) // max(groups, 1)
    return max(_LEAST_BLOCK, 1 << (max(min(held, _BLOCK), 1).bit_length() - 1))


class _Hashed:
    """A file whose hash is known when it has been written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.hash, self.size, self._begun = file, Digest(), 0, 0

    def write(self, data: bytes | memoryview) -> int:
        """Write bytes."""
        self.hash.update(data)
        self.size += len(data)
        written = self._file.write(data)
        if self.size - self._begun >= _BEGUN:
            _begin_writing(self._file.fileno(), self._begun, self.size)
            self._begun = self.size
        return written


def _begin_writing(file: int, start: int, stop: int) -> None:
    """Have the system begin to write part of a file to the disk, without waiting for it."""
    with suppress(AttributeError, OSError):  # other systems begin when they see fit
        ctypes.CDLL(None).sync_file_range(file, ctypes.c_int64(start), ctypes.c_int64(stop - start), _WRITE)


class _Work:
    """The parts of one task while it runs."""

    def __init__(self, task: SeriesTask, place: Path, file: Sink, executor: Executor, folder: Path) -> None:
        given = task.reading
        self.task, self.place, self.file, self.executor = task, place, file, executor
        self.chain = SeriesChain.from_steps(task.filters)
        self.table: Table = open_table(Path(task.input), given.text)
        self.roles: Roles = assign(self.table, given)
        self.left_out = self._left_out()
        self.table = self._prepared(folder)
        self.by = [self.table.names.index(name) for name in self.roles.by]
        self.clock = Clock(self.table, *self.roles.time) if self.roles.time else None
        self.samplings: dict[Key, Sampling] = {}
        self.rows: dict[Key, int] = {}
        self.total, self.passes = 0, 1

    def _left_out(self) -> list[str]:
        """Return what to say of columns that even times leave nothing to stand beside."""
        if self.task.settings.resample is None:
            return []
        time = self.roles.time[0] if self.roles.time else None
        kept = {time, *self.roles.by, *self.roles.values}
        names = [name for name in self.table.names if name not in kept]
        return [f"--resample leaves out what is not filtered: {', '.join(names)}"] if names else []

    def _prepared(self, folder: Path) -> Table:
        """Return the table, sorted and on even times if that is asked for."""
        table, settings = self.table, self.task.settings
        if self.task.reading.sort:
            table = in_order(table, self.roles, self.executor, folder)
        if settings.resample is not None:
            table = resampled(table, self.roles, settings.resample, settings.method, self.executor, folder)
        return table

    def run(self) -> dict[str, Any]:
        """Filter the table and return what is to be reported."""
        self._check_time()
        if (self.clock is not None and self.chain.uses_time) or self.by:
            self._look_ahead()
        adds, values = self.task.suffix is not None, self.roles.values
        replaced = frozenset(() if adds else values)
        kept = [name for name in self.table.names if name not in replaced]
        writer = write_table(
            self.place, self.file, self.table, values, self.task.suffix, self.executor, self.task.output
        )
        lanes = Lanes(self._lane, self._fault)
        with closing(writer):
            looked = [*self.roles.by, *([self.clock.name] if self.clock else ())]
            for block in self.table.blocks(values, kept, self.executor, looked=looked):
                self._moved(last=True)
                for done, results in self._pushed(lanes, block):
                    writer.write(done, results)
            for done, results in lanes.finish():
                writer.write(done, results)
            writer.finish()
        return self._details(lanes)

    def _check_time(self) -> None:
        if self.clock is None and self.chain.needs_time:
            several = ", ".join(self.roles.candidates)
            given = self.task.reading.time_format
            why = f"no column tells it{f' as {given}' if given else ''}"
            if several:
                why = f"several columns may be it ({several})"
            raise FileError(
                f"{self.task.input}: {self.chain} needs the time, and {why}; name it with --time "
                "(and how it is written, as in %d.%m.%Y, with --time-format)"
            )

    def _look_ahead(self) -> None:
        """Read the times and groups alone: streams must know the sampling, and where a group ends."""
        wanted = [*self.roles.by, *([self.clock.name] if self.clock else ())]
        self.passes = 2
        for block in self.table.blocks((), list(dict.fromkeys(wanted)), self.executor):
            self._moved(last=False)
            groups = grouped(block, self.by)
            for key, rows in groups:
                self.rows[key] = self.rows.get(key, 0) + rows.size
            if self.clock is not None:
                self.clock.check(block, self.clock.read(block), groups)
        if self.clock is not None:
            self.samplings = self.clock.samplings()

    def _moved(self, *, last: bool) -> None:
        share = self.table.share / self.passes
        SHARES[self.task.partial] = share + (1 - 1 / self.passes if last else 0)

    def _pushed(self, lanes: Lanes, block: Block) -> Iterator[tuple[Block, Array]]:
        groups = grouped(block, self.by)
        self.total += block.rows
        seconds = None
        if self.clock is not None and (self.chain.uses_time or not self.rows):
            seconds = self.clock.read(block)
            if not self.rows:
                self.clock.check(block, seconds, groups)
        yield from lanes.push(block, groups, seconds if self.chain.uses_time else None)

    def _lane(self, key: Key) -> Lane:
        if not self.roles.values:
            raise FileError(
                f"{self.task.input}: no column here holds numbers; name those to filter with --columns"
            )
        sampling = self.samplings.get(key, Sampling()) if self.chain.uses_time else Sampling()
        if self.clock is not None:
            sampling = self.chain.known(sampling)
        try:
            block = _block(len(self.rows), self.table.row_size)
            stream = self.chain.stream(
                len(self.roles.values), sampling, self.task.settings.options, block=block
            )
        except ArgumentError as error:
            group = f" (group {', '.join(key)})" if key else ""
            raise FileError(f"{self.task.input}{group}: {error}") from None
        return Lane(stream, self.rows.get(key))

    def _fault(self, block: Block, row: int, column: int, message: str) -> FileError:
        return self.table.fault(block.line(row), self.roles.values[column], message)

    def _details(self, lanes: Lanes) -> dict[str, Any]:
        """Return the entries of the report: rows, columns with their gaps, time, groups, peaks."""
        reports = {key: lane.stream.report for key, lane in lanes.lanes.items()}
        columns = {
            name: {
                "missing": sum(report.missing[n] for report in reports.values()),
                "filled": sum(report.filled[n] for report in reports.values()),
            }
            for n, name in enumerate(self.roles.values)
        }
        details: dict[str, Any] = {"rows": self.total, "columns": columns}
        if self.clock is not None:
            details["time"] = {
                "column": self.clock.name,
                "format": self.clock.format.name,
                "found": self.roles.was_found,
                **self._sampling(),
            }
        if self.by:
            details["groups"] = len(reports)
        shorts = [report.short for report in reports.values() if report.short]
        empty = [] if self.total else ["it has a header and no rows"]
        warnings = [*sorted(set(shorts)), *self.left_out, *self.roles.remarks, *empty]
        if warnings:
            details["warnings"] = warnings
        return details | self._peaks(lanes)

    def _sampling(self) -> dict[str, Any]:
        assert self.clock is not None  # noqa: S101  # asked only where there is a time
        found = list(self.clock.samplings().values())
        if len(found) != 1 or found[0].step is None:
            return {"regular": all(one.regular for one in found)} if found else {}
        return {"regular": found[0].regular, "step": found[0].step}

    def _peaks(self, lanes: Lanes) -> dict[str, Any]:
        peaks = [
            {
                **({"group": list(key)} if key else {}),
                "column": self.roles.values[peak.column],
                "row": peak.row + 1,
                **({"line": line} if self.table.unit == "line" else {}),
                **({"seconds": peak.seconds} if peak.seconds is not None else {}),
                "score": round(peak.score, 6),
            }
            for key, lane in lanes.lanes.items()
            for peak, line in zip(lane.stream.report.peaks, lane.lines, strict=True)
        ]
        return {"peaks": peaks[:_LISTED], "peaks_total": len(peaks)} if peaks else {}
