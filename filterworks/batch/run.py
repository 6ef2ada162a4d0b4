"""Run a job: give tasks out in a bounded window, record, name, report."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

from filterworks import __version__
from filterworks.batch.cluster import pool
from filterworks.batch.folders import discard, write_through
from filterworks.batch.handout import COMMIT, Handout
from filterworks.batch.job import AnyJob
from filterworks.batch.ledger import Ledger, Progress, Record
from filterworks.batch.partials import partials
from filterworks.batch.plan import covers
from filterworks.batch.tasks import SHARES, STOPPING, Outcome, Task
from filterworks.batch.worklist import Item, Worklist
from filterworks.errors import FileError, LedgerError, NoSpaceError
from filterworks.files.urls import is_url

_TALLIES = 1000
# Others hear of this run so often, in seconds, and of its rate over so many such times.
_BEAT = 1.0
_PACE = 20


class Observer(Protocol):
    """Who is told about progress."""

    def started(self, total: int) -> None:
        """Hear how many items there are."""

    def moved(self, share: float) -> None:
        """Hear how much of the items at work is done, in items."""

    def settled(self, item: Item, outcome: Outcome) -> None:
        """Hear what became of one."""


@dataclass
class Report:
    """What became of a job.

    Attributes
    ----------
    worklist
        The items with their outcomes.
    done, failed, skipped
        How many of each.
    clipped
        How many results had more than 1 % of their samples cut to the range of the pixels.
    verified, worst
        How many results were recomputed with scipy, and the largest difference in units of what is allowed.
    after_crash
        Whether an input here had crashed the process that read it, so that all were read in processes.
    interrupted
        Whether the run was stopped before its end.
    broken
        Why it could not go on to its end, or None.
    lost
        Whether it ended because a store was out of reach.
    seconds
        Time taken.
    """

    worklist: Worklist
    done: int = 0
    failed: int = 0
    skipped: int = 0
    clipped: int = 0
    verified: int = 0
    worst: float = 0.0
    after_crash: bool = False
    interrupted: bool = False
    broken: str | None = None
    lost: bool = False
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some failed or the run could not go on, 130 interrupted."""
        ended = self.broken is not None or self.worklist.place.warning is not None
        return 130 if self.interrupted else int(self.failed > 0 or ended)


@dataclass
class _Run:
    job: AnyJob
    worklist: Worklist
    ledger: Ledger
    partials: Path
    observer: Observer
    report: Report
    set_aside: Mapping[str, str]
    workers: int = 0
    counter: int = 0
    waiting: list[tuple[Item, Outcome]] = field(default_factory=list)
    has_recipe: bool = False
    committed: float = 0.0
    beaten: float = 0.0
    # When how many were settled, lately: the rate that others are told.
    pace: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_PACE))

    def tasks(self, items: Sequence[Item], threads: int) -> list[Task]:
        """Return what a worker is to do."""
        first = self.counter + 1
        self.counter += len(items)
        found = {} if self.job.run.force else self.ledger.find_all([item.output for item in items])
        return [
            _task(self, item, found.get(item.output), number, threads)
            for number, item in enumerate(items, first)
        ]

    def begin(self) -> None:
        """Record what the results are made by, and that the run is alive."""
        with suppress(NoSpaceError):  # each file will say so; whatever can be recorded comes after this
            self._keep_recipe()
        self.beat()

    def _keep_recipe(self) -> None:
        if not self.has_recipe:
            self.ledger.keep_recipe(self.job.signature, self.job.recipe)
            self.has_recipe = True

    def settle(self, item: Item, outcome: Outcome) -> None:
        """Take an outcome in; recorded and named with others by :meth:`commit`."""
        if outcome.state == "left":
            return
        self.report.lost = self.report.lost or outcome.is_lost
        self.waiting.append((item, outcome))
        if time.monotonic() - self.committed > COMMIT or len(self.waiting) >= _TALLIES:
            self.commit()

    def commit(self) -> None:
        """Record all waiting results, then give them their names, in this order."""
        self.observer.moved(sum(list(SHARES.values())))
        if self.waiting and not self.partials.is_dir():
            raise LedgerError(f"{self.worklist.folder}: has vanished during the run")
        kept = [(item, self._nameable(item, outcome)) for item, outcome in self.waiting]
        self.waiting.clear()
        self.committed = time.monotonic()
        self.worklist.place.check()
        self._record(kept)
        settled: list[tuple[str, str, str]] = []
        try:
            for item, outcome in kept:
                settled.append(self._told(item, self._named(item, outcome)))
        finally:
            self.worklist.settle(settled)
        if self.committed - self.beaten > _BEAT:
            self.beat()

    def is_over(self) -> bool:
        """Whether one has failed and that is enough."""
        if self.report.lost or not self.job.run.fail_fast:
            return self.report.lost
        return self.report.failed > 0 or any(outcome.state == "failed" for _, outcome in self.waiting)

    def beat(self) -> None:
        """Tell other processes how far this run is."""
        report, now = self.report, time.monotonic()
        settled = report.done + report.failed + report.skipped
        self.pace.append((now, settled))
        since, before = self.pace[0]
        rate = (settled - before) / (now - since) if now > since else 0.0
        progress = Progress(self.workers, report.done, report.failed, report.skipped, rate)
        with suppress(NoSpaceError):
            self.ledger.beat(self.worklist.target, progress)
        self.beaten = now

    def _record(self, kept: list[tuple[Item, Outcome]]) -> None:
        """Record outcomes; on a full disk the newest half makes room for the others, until they fit.

        Failures that do not fit are only told: the next run tries their inputs as those of the recorded ones.
        """
        while any(_is_news(outcome) for _, outcome in kept):
            try:
                self._keep_recipe()
                self.ledger.write(_record(self.job, i, o) for i, o in kept if _is_news(o))
                self._tag(kept)
                return
            except LedgerError as error:
                done = [n for n, (_, outcome) in enumerate(kept) if outcome.state == "done"]
                if not done and isinstance(error, NoSpaceError):
                    return
                if not done:
                    raise
                for n in done[len(done) // 2 :]:
                    item, outcome = kept[n]
                    if outcome.partial:
                        discard(Path(outcome.partial))
                    reason = f"{item.input}: its result cannot be recorded and was not kept: {error}"
                    kept[n] = item, Outcome("failed", error=reason, tag="")

    def _tag(self, kept: list[tuple[Item, Outcome]]) -> None:
        """Record by what remote inputs and results are known; forget results that were not put after all."""
        remote = self.is_remote
        told = [(i, o) for i, o in kept if (o.state == "done" if remote else i.tag and _is_news(o))]
        rows = [(i.output, i.tag, o.tag or "") for i, o in told]
        unput = [i.output for i, o in kept if remote and o.state == "failed" and o.tag is None]
        if rows:
            self.ledger.tag(rows)
        if unput:
            self.ledger.withdraw(unput)

    @property
    def is_remote(self) -> bool:
        """Whether results go into a store."""
        return self.worklist.place.is_remote

    def _named(self, item: Item, outcome: Outcome) -> Outcome:
        """Give a recorded result its name; return the outcome, a failure if that cannot be done."""
        if outcome.state != "done":
            return outcome
        try:
            self.worklist.place.name(outcome.partial, item.output)
        except FileError as error:
            failure = Outcome("failed", error=str(error))
            with suppress(NoSpaceError):  # recorded is a result that is not there: it is made again
                self.ledger.write([_record(self.job, item, failure)])
            return failure
        return outcome

    def _nameable(self, item: Item, outcome: Outcome) -> Outcome:
        """Return a failure instead if a stranger's file has appeared under the result's name."""
        place = self.worklist.place
        if outcome.state != "done" or self.job.output.overwrite or not place.is_taken(item.output):
            return outcome
        if covers(self.ledger.find(item.output)):
            return outcome
        shown = place.shown(item.output)
        reason = f"{shown}: has appeared during the run and was not made by it; left as it is"
        return Outcome("failed", error=reason)

    def _told(self, item: Item, outcome: Outcome) -> tuple[str, str, str]:
        """Count and tell what became of an item; return it for the worklist."""
        report = self.report
        report.done += outcome.state == "done"
        report.failed += outcome.state == "failed"
        report.skipped += outcome.state == "skipped"
        report.clipped += outcome.made.clipped > 0.01
        if outcome.made.difference is not None:
            report.verified += 1
            report.worst = max(report.worst, outcome.made.difference)
        self.observer.settled(item, outcome)
        return item.output, outcome.state, json.dumps(_entry(self.worklist, item, outcome))


def run_job(job: AnyJob, worklist: Worklist, observer: Observer) -> Report:
    """Do what the worklist says and return the report.

    Ctrl-C (or SIGTERM) once: what is in flight is finished and recorded, large results are left where they
    stand, the rest is left for the next run. Twice: stop at once; nothing recorded is lost.

    Raises
    ------
    JobError
        If another run works on the same output, the output folder cannot be written, or the cluster
        that the job names cannot be used: nothing was done.
    """
    start = time.perf_counter()
    report = Report(worklist)
    total = len(worklist)
    worklist.place.prepare()
    with (
        worklist.place.held(total),
        Ledger(worklist.folder, create=True, shown=worklist.place.shown()) as ledger,
        ledger.running(worklist.target, total),
        partials(job, worklist, ledger) as place,
        _one_interrupt(lambda: shutil.rmtree(place.folder, True)) as stop,
        pool(job, total, are_small=worklist.are_small(), apart=place.after_crash) as workers,
    ):
        observer.started(total)
        report.after_crash = place.after_crash and job.run.workers is None and job.run.scheduler is None
        run = _Run(job, worklist, ledger, place.folder, observer, report, place.set_aside, workers.workers)
        handout = Handout(run, workers, stop, _pending(run), total)
        try:
            handout.run()
        except LedgerError as error:
            vanished = f"{worklist.folder}: has vanished during the run"
            handout.broken = str(error) if place.folder.is_dir() else vanished
        report.broken = handout.broken
        report.interrupted = stop.is_set() and next(iter(worklist.unsettled()), None) is not None
    if report.done and not worklist.place.is_remote:
        write_through(worklist.folder)
    report.seconds = time.perf_counter() - start
    return report


@contextmanager
def _one_interrupt(abandon: Callable[[], object]) -> Iterator[threading.Event]:
    """Turn the first Ctrl-C or SIGTERM into an event; the second leaves at once."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            abandon()
            os._exit(130)
        stop.set()
        STOPPING.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, handle) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        STOPPING.clear()


def _pending(run: _Run) -> Iterator[Item]:
    """Yield the items that a worker has to look at; not what was set aside, nor what a tag tells all of."""
    place, force = run.worklist.place, run.job.run.force
    for item in run.worklist:
        if item.output in run.set_aside:
            run.settle(item, Outcome("failed", error=run.set_aside[item.output], attempts=0, tag=""))
            continue
        known = _known(run, item, None if force else run.ledger.find(item.output)) if run.is_remote else None
        if known is not None and place.stands(item.output, known, run.ledger):
            run.settle(item, Outcome("skipped", size=known[0], digest=known[1]))
            continue
        yield item


def _is_news(outcome: Outcome) -> bool:
    """Whether the ledger is to hear of it: something was tried."""
    return outcome.state != "skipped" and outcome.attempts > 0


def _task(run: _Run, item: Item, record: Record | None, number: int, threads: int) -> Task:
    job, place = run.job, run.worklist.place
    known = _known(run, item, record)
    far = is_url(item.input)
    by_content = job.run.check == "content" and not far
    # The workers of another machine do not share this process' current folder.
    located = os.path.abspath if job.run.scheduler else str
    at_worker = run.is_remote and job.run.scheduler is not None
    name = f"{number}{os.path.splitext(item.output)[1]}"  # noqa: PTH122  # called for every file of a tree
    task = job.task(
        input=item.input if far else located(item.input),
        output=place.shown(item.output) if run.is_remote else located(place.shown(item.output)),
        partial=f"{os.getpid()}-{name}" if at_worker else located(f"{run.partials}{os.sep}{name}"),
        known=None if run.is_remote else known,
        content=((record and known and record.input_hash) or "") if by_content else None,
        threads=threads,
        is_drawn=is_drawn(item.output, job.run.verify),
    )
    if not far and not run.is_remote:
        return task
    from filterworks.batch.carried import carried  # only for those who use a store

    return carried(task, item, run.ledger, overwrite=job.output.overwrite, at_worker=at_worker)


def _known(run: _Run, item: Item, record: Record | None) -> tuple[int, str] | None:
    """Return the identity of a result that was made from this very input in this very way.

    Where inputs are told apart by their content, the worker compares that.
    """
    if record is None or record.error is not None or record.output_size is None or record.output_hash is None:
        return None
    if item.tag and (run.ledger.tags(item.output) or ("", ""))[0] != item.tag:
        return None
    same = (record.input, record.signature) == (item.place, run.job.signature)
    if run.job.run.check == "time":
        same = same and (record.input_size, record.input_mtime_ns) == (item.size, item.mtime_ns)
    return (record.output_size, record.output_hash) if same else None


def _record(job: AnyJob, item: Item, outcome: Outcome) -> Record:
    done = outcome.state == "done"
    return Record(
        item.output,
        item.place,
        item.size,
        item.mtime_ns,
        job.signature,
        outcome.size if done else None,
        outcome.digest if done else None,
        outcome.seconds,
        outcome.error,
        outcome.content,
        outcome.worker,
        __version__,
        outcome.attempts,
    )


def is_drawn(output: str, share: float) -> bool:
    """Return whether an output belongs to the random share; the same ones in every run."""
    return share > 0 and zlib.crc32(output.encode(errors="surrogateescape")) < share * 2**32


def _entry(worklist: Worklist, item: Item, outcome: Outcome) -> dict[str, object]:
    entry: dict[str, object] = {"input": item.input, "output": worklist.place.shown(item.output)}
    if outcome.state == "failed":
        entry["error"] = outcome.error
        if outcome.trace:
            entry["trace"] = outcome.trace
    if outcome.state == "done":
        made = outcome.made
        entry |= {"seconds": round(outcome.seconds, 4), "bytes": outcome.size}
        if made.pages is not None:
            entry["pages"] = made.pages
        if made.clipped:
            entry["clipped"] = round(made.clipped, 6)
        if made.difference is not None:
            entry["verified"] = round(made.difference, 4)
        entry |= made.details
    return entry
