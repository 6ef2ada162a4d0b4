"""What has been done, in SQLite beside the output: why nothing is lost or done twice.

A result is recorded before it gets its name. After a crash in between, the record's file is absent or
old, does not match its hash, and is made again. One run at a time may work on an output: its process
is registered here while it lives.

Power loss: the ledger itself is written through to the disk with each commit, the results are not:
waiting for the disk with every small file would take longer than filtering it. What was lost does not
match its recorded hash: the next run makes it again, and ``filterworks audit`` names it. Before a run ends,
everything is written through once: what an ended run has reported survives.
"""

from __future__ import annotations

import datetime
import json
import socket
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

import psutil

from filterworks.batch.database import Database, from_sql, to_sql
from filterworks.errors import JobError, LedgerError

# What is said of inputs that kill those who read them.
SET_ASIDE = "set aside: its worker died each of"
# A run on another machine that has not been heard of for so many seconds is dead.
_SILENT = 300.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS results (
    output TEXT PRIMARY KEY, input TEXT NOT NULL, input_size INTEGER, input_mtime_ns INTEGER,
    signature TEXT NOT NULL, output_size INTEGER, output_hash TEXT, seconds REAL, error TEXT,
    attempts INTEGER NOT NULL DEFAULT 1, finished_at TEXT NOT NULL,
    input_hash TEXT, worker TEXT, version TEXT);
CREATE TABLE IF NOT EXISTS recipes (signature TEXT PRIMARY KEY, recipe TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS runs (
    target TEXT PRIMARY KEY, pid INTEGER, created REAL, host TEXT, started_at TEXT, total INTEGER, beat REAL,
    workers INTEGER, done INTEGER, failed INTEGER, skipped INTEGER, rate REAL);
CREATE TABLE IF NOT EXISTS objects (output TEXT PRIMARY KEY, input_tag TEXT, output_tag TEXT);
CREATE TABLE IF NOT EXISTS lineage (id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS crashes (target TEXT PRIMARY KEY);
"""


class Record(NamedTuple):
    """One line of the ledger: a result, or a failure.

    Attributes
    ----------
    output, input
        Path of the result inside the folder, and of what it was made from.
    input_size, input_mtime_ns, input_hash
        The input's identity; its hash only if the run was asked to tell inputs apart by it.
    signature
        What was done to it.
    output_size, output_hash
        The result's identity; None if there never was one.
    seconds
        Time taken.
    error
        Why it failed, or None.
    worker
        Host and process that did it.
    version
        Of filterworks.
    attempts
        How often it was tried, in all runs; written, in this one.
    """

    output: str
    input: str
    input_size: int
    input_mtime_ns: int
    signature: str
    output_size: int | None = None
    output_hash: str | None = None
    seconds: float = 0.0
    error: str | None = None
    input_hash: str | None = None
    worker: str | None = None
    version: str | None = None
    attempts: int = 1


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    workers
        How many tasks it does at once.
    done, failed, skipped
        How many inputs of each.
    rate
        Inputs per second, lately.
    """

    workers: int = 0
    done: int = 0
    failed: int = 0
    skipped: int = 0
    rate: float = 0.0


@dataclass(frozen=True)
class Living:
    """A run that is alive: what it holds, where it runs, since when, how much it has to do, how far it is."""

    target: str
    pid: int
    host: str
    since: str
    total: int
    progress: Progress


_FIELDS = Record._fields


class Ledger(Database):
    """The record of one output folder: the database `NAME` in it, and what it is asked and told."""

    schema = _SCHEMA

    def find(self, output: str) -> Record | None:
        """Return what is recorded for an output (its path inside the folder), or None."""
        return self.find_all([output]).get(output)

    def find_all(self, outputs: Sequence[str]) -> dict[str, Record]:
        """Return what is recorded for some outputs, up to a few hundred, by output."""
        marks = ", ".join("?" * len(outputs))
        query = f"SELECT {', '.join(_FIELDS)} FROM results WHERE output IN ({marks})"  # noqa: S608  # our own column names
        found = map(_record, self._rows(query, tuple(map(to_sql, outputs))))
        return {record.output: record for record in found}

    def failures(self) -> list[Record]:
        """Return the records of inputs that failed last time."""
        query = f"SELECT {', '.join(_FIELDS)} FROM results WHERE error IS NOT NULL ORDER BY output"  # noqa: S608  # our own column names
        return [_record(row) for row in self._rows(query)]

    def counts(self) -> dict[str, int]:
        """Return how many results are recorded as done and as failed."""
        rows = self._rows("SELECT count(*) - count(error), count(error) FROM results")
        done, failed = rows[0] if rows else (0, 0)
        return {"done": done, "failed": failed}

    def results(self) -> Iterator[Record]:
        """Yield the records of all results that were made, in the order of their names."""
        query = f"SELECT {', '.join(_FIELDS)} FROM results WHERE output_hash IS NOT NULL AND output > ? ORDER BY output LIMIT 1000"  # noqa: S608, E501  # our own column names
        # Page by page: a reader that holds on would keep a run from writing.
        last: Any = ""
        while rows := self._rows(query, (last,)):
            yield from map(_record, rows)
            last = rows[-1][0]

    def recipe(self, signature: str) -> dict[str, Any] | None:
        """Return the tables of the job that a signature stands for, or None if nobody recorded it."""
        rows = self._rows("SELECT recipe FROM recipes WHERE signature = ?", (to_sql(signature),))
        recipe: dict[str, Any] | None = json.loads(rows[0][0]) if rows else None
        return recipe

    def keep_recipe(self, signature: str, recipe: dict[str, Any]) -> None:
        """Record what a signature stands for."""
        values = (to_sql(signature), json.dumps(recipe))
        self._write("INSERT OR REPLACE INTO recipes VALUES (?, ?)", [values])

    def set_aside(self) -> list[Record]:
        """Return the records of inputs that kill those who read them."""
        query = f"SELECT {', '.join(_FIELDS)} FROM results WHERE instr(error, ?) ORDER BY output"  # noqa: S608  # our own column names
        return [_record(row) for row in self._rows(query, (f": {SET_ASIDE} ",))]

    def crashes(self) -> list[str]:
        """Return the targets of runs that were crashed by an input nobody has found yet."""
        return [from_sql(row[0]) for row in self._rows("SELECT target FROM crashes")]

    def note_crashes(self, targets: Iterable[str]) -> None:
        """Record that inputs crashed the runs on these targets."""
        self._write("INSERT OR IGNORE INTO crashes VALUES (?)", [(to_sql(target),) for target in targets])

    def forget_crashes(self, targets: Iterable[str]) -> None:
        """Record that all inputs of these targets have been reached since."""
        self._write("DELETE FROM crashes WHERE target = ?", [(to_sql(target),) for target in targets])

    def signatures(self) -> list[tuple[str, int]]:
        """Return which chains made the results, and how many each."""
        return [
            (str(s), int(n))
            for s, n in self._rows(
                "SELECT signature, count(*) FROM results WHERE error IS NULL GROUP BY 1 ORDER BY 2 DESC"
            )
        ]

    def write(self, records: Iterable[Record]) -> None:
        """Record results and failures, durably, in one transaction."""
        columns, marks = ", ".join(_FIELDS), ", ".join("?" * len(_FIELDS))
        # A failure keeps what is known of the result that still stands from before.
        kept = ("output_size", "output_hash")
        replaced = [name for name in (*_FIELDS[1:], "finished_at") if name not in (*kept, "attempts")]
        updates = ", ".join(f"{name} = excluded.{name}" for name in replaced)
        updates += ", " + ", ".join(f"{name} = coalesce(excluded.{name}, {name})" for name in kept)
        statement = (
            f"INSERT INTO results ({columns}, finished_at) VALUES ({marks}, ?) "  # noqa: S608  # our own column names
            f"ON CONFLICT (output) DO UPDATE SET {updates}, attempts = attempts + excluded.attempts"
        )
        # Where two machines work in turns, which of their records is the later one is told by this alone.
        now = _now("microseconds")
        self._write(statement, ((*_values(record), now) for record in records))

    def found(self) -> None:
        """Give a ledger its lineage, by which its copies are known."""
        self._write(
            "INSERT INTO lineage SELECT ? WHERE NOT EXISTS (SELECT 1 FROM lineage)", [(uuid.uuid4().hex,)]
        )

    def tags(self, output: str) -> tuple[str, str] | None:
        """Return the tags of a remote input and its remote result, empty if unknown; None: never meant."""
        rows = self._rows(
            "SELECT coalesce(input_tag, ''), coalesce(output_tag, '') FROM objects WHERE output = ?",
            (to_sql(output),),
        )
        return (str(rows[0][0]), str(rows[0][1])) if rows else None

    def tag(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """Record (output, tag of the input, tag of the result); an empty one: the result is on its way.

        That is recorded before a result is put, so that after a crash the object is known as ours.
        """
        statement = "INSERT OR REPLACE INTO objects (output, input_tag, output_tag) VALUES (?, ?, ?)"
        self._write(statement, [(to_sql(output), given, made) for output, given, made in rows])

    def withdraw(self, outputs: Iterable[str]) -> None:
        """Forget results that were on their way and have never been put."""
        statement = "DELETE FROM objects WHERE output = ? AND coalesce(output_tag, '') = ''"
        self._write(statement, [(to_sql(output),) for output in outputs])

    @contextmanager
    def running(self, target: str, total: int) -> Iterator[None]:
        """Hold `target` (the folder ``.`` or one file in it) for this process.

        Raises
        ------
        JobError
            If a living process holds it, or the whole folder.
        """
        me = psutil.Process()
        values = (to_sql(target), me.pid, me.create_time(), socket.gethostname(), _now(), total, time.time())
        with self._writing() as connection:
            self._refuse_living(target)
            connection.execute(
                "INSERT OR REPLACE INTO runs (target, pid, created, host, started_at, total, beat) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                values,
            )
        try:
            yield
        finally:
            # Where OUT has vanished the entry stays; a dead process holds nothing.
            with suppress(LedgerError), self._writing() as connection:
                connection.execute("DELETE FROM runs WHERE target = ?", (to_sql(target),))

    def beat(self, target: str, progress: Progress) -> None:
        """Tell other processes and machines that the run on `target` is alive, and how far it is."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE runs SET beat = ?, workers = ?, done = ?, failed = ?, skipped = ?, rate = ? "
                "WHERE target = ?",
                (time.time(), *astuple(progress), to_sql(target)),
            )

    def _refuse_living(self, target: str) -> None:
        for run in self.living():
            if run.target == target or "." in (run.target, target):
                raise JobError(
                    [
                        f"{self.shown}: another run is working here (process {run.pid} on {run.host}, "
                        f"since {run.since}); wait for it, stop it, or choose another OUT"
                    ]
                )

    def living(self) -> list[Living]:
        """Return the runs that are alive; a dead process holds nothing."""
        rows = self._rows(
            "SELECT created, beat, target, pid, host, started_at, total, "
            "workers, done, failed, skipped, rate FROM runs"
        )
        return [
            Living(from_sql(target), pid, host, since, total, Progress(*(value or 0 for value in progress)))
            for created, beat, target, pid, host, since, total, *progress in rows
            if is_living(pid, created, host, beat)
        ]

    def workers(self, since: str) -> list[tuple[str, int]]:
        """Return which workers have made results since a time, and how many each."""
        query = (
            "SELECT worker, count(*) FROM results WHERE finished_at >= ? AND worker > '' "
            "GROUP BY 1 ORDER BY 1"
        )
        return [(from_sql(worker), int(count)) for worker, count in self._rows(query, (since,))]


def is_living(pid: int, created: float, host: str, beat: float) -> bool:
    """Return whether a run is alive: here its process is; elsewhere it has been heard of lately."""
    return _is_alive(pid, created) if host == socket.gethostname() else time.time() - beat < _SILENT


def _is_alive(pid: int, created: float) -> bool:
    """A process with that number and that time of birth exists (numbers are used again).

    One that has ended and that nobody has waited for (killed in a container without an init) is dead.
    """
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - created) < 2 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _values(record: Record) -> list[Any]:
    return [to_sql(value) if isinstance(value, str) else value for value in record]


def _record(row: tuple[Any, ...]) -> Record:
    values: list[Any] = [from_sql(value) if isinstance(value, bytes) else value for value in row]
    return Record(*values)


def _now(grain: str = "seconds") -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec=grain)
