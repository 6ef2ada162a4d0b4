"""Run a job: give tasks out in a bounded window, record, name, report."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

from filterworks.batch.cluster import Pool, pool
from filterworks.batch.job import AnyJob
from filterworks.batch.ledger import Ledger, Record
from filterworks.batch.plan import Item, Worklist, covers
from filterworks.batch.stores import discard, give_name
from filterworks.batch.tasks import SHARES, Outcome, Task, perform
from filterworks.errors import JobError, LedgerError

_PARTIAL = ".filterworks-"
# Tasks given out per worker: enough that none waits, few enough that memory stays flat.
_WINDOW = 3
# Finished results are recorded together at least this often, in seconds.
_COMMIT = 0.25
_TALLIES = 1000
# Runs on other machines hear of this one so often, in seconds.
_BEAT = 30.0


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
    interrupted
        Whether the run was stopped before its end.
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
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some failed, 130 interrupted."""
        return 130 if self.interrupted else int(self.failed > 0)


@dataclass
class _Run:
    job: AnyJob
    worklist: Worklist
    ledger: Ledger
    partials: Path
    observer: Observer
    report: Report
    waiting: list[tuple[Item, Outcome]] = field(default_factory=list)
    committed: float = 0.0
    beaten: float = 0.0

    def settle(self, item: Item, outcome: Outcome) -> None:
        """Take an outcome in; recorded and named with others by :meth:`commit`."""
        self.waiting.append((item, outcome))
        if time.monotonic() - self.committed > _COMMIT or len(self.waiting) >= _TALLIES:
            self.commit()

    def commit(self) -> None:
        """Record all waiting results, then give them their names, in this order."""
        kept = [(item, self._nameable(item, outcome)) for item, outcome in self.waiting]
        self.waiting.clear()
        self.committed = time.monotonic()
        if self.committed - self.beaten > _BEAT:
            self.ledger.beat(self.worklist.target)
            self.beaten = self.committed
        self._record(kept)
        for item, outcome in kept:
            self._tell(item, self._named(item, outcome))

    def _record(self, kept: list[tuple[Item, Outcome]]) -> None:
        """Record outcomes; on a full disk the newest half makes room for the others, until they fit."""
        while any(outcome.state != "skipped" for _, outcome in kept):
            try:
                self.ledger.write(_record(self.job, i, o) for i, o in kept if o.state != "skipped")
                return
            except LedgerError as error:
                done = [n for n, (_, outcome) in enumerate(kept) if outcome.state == "done"]
                if not done:
                    raise
                for n in done[len(done) // 2 :]:
                    item, outcome = kept[n]
                    discard(Path(outcome.partial))
                    reason = f"{item.input}: its result cannot be recorded and was not kept: {error}"
                    kept[n] = item, Outcome("failed", error=reason)

    def _named(self, item: Item, outcome: Outcome) -> Outcome:
        """Give a recorded result its name; return the outcome, a failure if that cannot be done."""
        if outcome.state != "done":
            return outcome
        place = self.worklist.folder / item.output
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            give_name(Path(outcome.partial), place)
        except OSError as error:
            failure = Outcome("failed", error=f"{place}: cannot be written: {error.strerror}")
            self.ledger.write([_record(self.job, item, failure)])
            return failure
        return outcome

    def _nameable(self, item: Item, outcome: Outcome) -> Outcome:
        """Return a failure instead if a stranger's file has appeared under the result's name."""
        place = self.worklist.folder / item.output
        if outcome.state != "done" or self.job.output.overwrite or not os.path.lexists(place):
            return outcome
        if covers(self.ledger.find(item.output)):
            return outcome
        return Outcome(
            "failed", error=f"{place}: has appeared during the run and was not made by it; left as it is"
        )

    def _tell(self, item: Item, outcome: Outcome) -> None:
        report = self.report
        report.done += outcome.state == "done"
        report.failed += outcome.state == "failed"
        report.skipped += outcome.state == "skipped"
        report.clipped += outcome.made.clipped > 0.01
        if outcome.made.difference is not None:
            report.verified += 1
            report.worst = max(report.worst, outcome.made.difference)
        self.worklist.settle(item.output, outcome.state, json.dumps(_entry(self.worklist, item, outcome)))
        self.observer.settled(item, outcome)


def run_job(job: AnyJob, worklist: Worklist, observer: Observer) -> Report:
    """Do what the worklist says and return the report.

    Ctrl-C (or SIGTERM) once: what is in flight is finished and recorded, the rest is left for the
    next run. Twice: stop at once; nothing recorded is lost.

    Raises
    ------
    JobError
        If another run works on the same output, the output folder cannot be written, or the cluster
        that the job names cannot be used: nothing was done.
    LedgerError
        If the ledger cannot be written any more.
    """
    start = time.perf_counter()
    report = Report(worklist)
    total = len(worklist)
    try:
        worklist.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JobError([f"{worklist.folder}: cannot be made: {error.strerror}"]) from None
    with (
        Ledger(worklist.folder, create=True) as ledger,
        ledger.running(worklist.target, total),
        _partials(worklist, ledger) as partials,
        _one_interrupt(lambda: shutil.rmtree(partials, True)) as stop,
        pool(job, total) as workers,
    ):
        observer.started(total)
        _give_out(_Run(job, worklist, ledger, partials, observer, report), workers, stop)
    report.seconds = time.perf_counter() - start
    return report


@contextmanager
def _partials(worklist: Worklist, ledger: Ledger) -> Iterator[Path]:
    """Provide the folder of results without a name, and remove those that dead runs left behind."""
    for left in worklist.folder.glob(f"{_PARTIAL}*"):
        target = left.name.removeprefix(_PARTIAL).split("-")[0]
        if left.is_dir() and target not in {
            str(pid) for _, pid, _, _ in ledger.living() if pid != os.getpid()
        }:
            shutil.rmtree(left, ignore_errors=True)
    folder = worklist.folder / f"{_PARTIAL}{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
    except OSError as error:
        raise JobError([f"{worklist.folder}: cannot be written: {error.strerror}"]) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _one_interrupt(abandon: Callable[[], object]) -> Iterator[threading.Event]:
    """Turn the first Ctrl-C or SIGTERM into an event; the second leaves at once."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            abandon()
            os._exit(130)
        stop.set()

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


def _give_out(run: _Run, workers: Pool, stop: threading.Event) -> None:
    """Keep a bounded number of tasks in flight until the worklist or the patience ends."""
    items = iter(run.worklist)
    flying: dict[Future[Outcome], Item] = {}
    counter = 0
    more = True
    while more or flying:
        while more and len(flying) < _WINDOW * workers.workers:
            item = None if stop.is_set() or _has_failed(run) else next(items, None)
            if item is None:
                more = False
                break
            counter += 1
            task = _task(run, item, counter, workers.threads)
            flying[workers.executor.submit(perform, task)] = item
        if stop.is_set() or _has_failed(run):
            more = False
            _drop_queued(flying)
        run.observer.moved(sum(list(SHARES.values())))
        ready, _ = wait(flying, timeout=_COMMIT, return_when=FIRST_COMPLETED)
        for future in ready:
            item = flying.pop(future)
            run.settle(item, _outcome(future, item))
        if not ready:
            run.commit()
    run.commit()
    run.report.interrupted = stop.is_set() and next(iter(run.worklist.unsettled()), None) is not None


def _has_failed(run: _Run) -> bool:
    if not run.job.run.fail_fast:
        return False
    return run.report.failed > 0 or any(outcome.state == "failed" for _, outcome in run.waiting)


def _drop_queued(flying: dict[Future[Outcome], Item]) -> None:
    for future in [future for future in flying if future.cancel()]:
        del flying[future]


def _outcome(future: Future[Outcome], item: Item) -> Outcome:
    try:
        return future.result()
    except Exception as error:  # the worker died; what it raised is not ours to foresee
        return Outcome("failed", error=f"{item.input}: its worker was lost ({type(error).__name__}): {error}")


def _task(run: _Run, item: Item, number: int, threads: int) -> Task:
    job, folder = run.job, run.worklist.folder
    record = run.ledger.find(item.output)
    # The workers of another machine do not share this process' current folder.
    located = os.path.abspath if job.run.scheduler else str
    return job.task(
        input=located(item.input),
        output=located(folder / item.output),
        partial=located(run.partials / f"{number}{Path(item.output).suffix}"),
        known=_known(job, item, record),
        threads=threads,
        is_drawn=_is_drawn(item.output, job.run.verify),
    )


def _known(job: AnyJob, item: Item, record: Record | None) -> tuple[int, str] | None:
    """Return the identity of a result that was made from this very input in this very way."""
    if record is None or record.error is not None or record.output_size is None or record.output_hash is None:
        return None
    same = (record.input, record.input_size, record.input_mtime_ns, record.signature) == (
        _identity(item),
        item.size,
        item.mtime_ns,
        job.signature,
    )
    return (record.output_size, record.output_hash) if same else None


def _identity(item: Item) -> str:
    return os.path.abspath(item.input)  # noqa: PTH100  # Path.resolve would follow a link to its target


def _record(job: AnyJob, item: Item, outcome: Outcome) -> Record:
    done = outcome.state == "done"
    return Record(
        item.output,
        _identity(item),
        item.size,
        item.mtime_ns,
        job.signature,
        outcome.size if done else None,
        outcome.digest if done else None,
        outcome.seconds,
        outcome.error,
    )


def _is_drawn(output: str, share: float) -> bool:
    """Return whether an output belongs to the random share; the same ones in every run."""
    return zlib.crc32(output.encode(errors="surrogateescape")) < share * 2**32


def _entry(worklist: Worklist, item: Item, outcome: Outcome) -> dict[str, object]:
    entry: dict[str, object] = {"input": item.input, "output": str(worklist.folder / item.output)}
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
