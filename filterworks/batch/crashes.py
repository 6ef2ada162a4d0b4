"""Inputs that crash those who read them: the traces of such crashes, and what is not tried again."""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filterworks.batch.job import AnyJob
from filterworks.batch.ledger import Ledger, Record
from filterworks.batch.worklist import Item, Worklist
from filterworks.errors import NoSpaceError

_TRACE = "crash"
_MOST = 64 << 10


@contextmanager
def watched(folder: Path, target: str) -> Iterator[None]:
    """Have a crash inside a library leave a trace in the folder: no Python runs after it.

    Before the trace stands what the run held: the ledger's `target`.
    """
    if faulthandler.is_enabled():  # somebody else wants to hear of it
        yield
        return
    with (folder / _TRACE).open("wb", buffering=0) as file:
        file.write(os.fsencode(target) + b"\0")
        faulthandler.enable(file)
        try:
            yield
        finally:
            faulthandler.disable()


def crashed_target(folder: Path) -> str | None:
    """Return what the run held that left the folder, if an input crashed it."""
    try:
        with (folder / _TRACE).open("rb") as file:
            target, _, trace = file.read(_MOST).partition(b"\0")
    except OSError:
        return None
    return os.fsdecode(target) if trace else None


def is_feared(worklist: Worklist, ledger: Ledger) -> bool:
    """Whether an input of an earlier run, perhaps one of these, crashed it and has not been found yet."""
    return any(target in (".", worklist.target) or worklist.item(target) for target in ledger.crashes())


def forget(worklist: Worklist, ledger: Ledger) -> None:
    """Forget the crashes of runs whose inputs have all been reached by this one."""
    known = [
        target
        for target in ledger.crashes()
        if target == worklist.target or worklist.item(target) is not None
    ]
    with suppress(NoSpaceError):  # then they are feared once more than they need be
        ledger.forget_crashes(known)


def set_aside(job: AnyJob, worklist: Worklist, ledger: Ledger) -> tuple[dict[str, str], bool]:
    """Return which outputs are not tried again, and why; and whether others are that were set aside.

    An input that has changed since, or is asked for in another way, is tried; so is everything that
    the user wants to have tried.
    """
    reasons, tries = {}, False
    for record in ledger.set_aside():
        item = worklist.item(record.output)
        if item is None:
            continue
        if job.run.force or job.run.retry_failed or not _is_same(record, item, job, ledger):
            tries = True
        else:
            reasons[record.output] = f"{record.error}; not tried again without --retry-failed"
    return reasons, tries


def _is_same(record: Record, item: Item, job: AnyJob, ledger: Ledger) -> bool:
    if item.tag and (ledger.tags(item.output) or ("", ""))[0] != item.tag:
        return False
    found = (item.place, item.size, item.mtime_ns, job.signature)
    return found == (record.input, record.input_size, record.input_mtime_ns, record.signature)
