"""Where results lie until they get their names, and what runs that died have left there."""

from __future__ import annotations

import faulthandler
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filterworks.batch.ledger import Ledger
from filterworks.batch.unfinished import NAME as UNFINISHED
from filterworks.batch.unfinished import sweep
from filterworks.batch.worklist import Worklist
from filterworks.errors import JobError

_PREFIX = ".filterworks-"
_CRASH = "crash"


@dataclass(frozen=True)
class Partials:
    """A folder of this run's own.

    Attributes
    ----------
    folder
        Removed in the end.
    after_crash
        Whether an input here has crashed the process that read it, in an earlier run.
    """

    folder: Path
    after_crash: bool


@contextmanager
def partials(worklist: Worklist, ledger: Ledger) -> Iterator[Partials]:
    """Provide the folder of results without a name, and remove those that dead runs left behind.

    Raises
    ------
    JobError
        If the folder cannot be made.
    """
    left = _left_behind(worklist.folder, ledger)
    after_crash = any(map(_tells_of_crash, left)) or any(map(worklist.makes, ledger.set_aside()))
    for one in left:
        shutil.rmtree(one, ignore_errors=True)
    folder = worklist.folder / f"{_PREFIX}{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
    except OSError as error:
        raise JobError([f"{worklist.folder}: cannot be written: {error.strerror}"]) from None
    begun = folder.stat().st_mtime_ns
    try:
        with _watched(folder):
            yield Partials(folder, after_crash)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if next(iter(worklist.unsettled()), None) is None:
        sweep(worklist.folder, begun)


def _left_behind(folder: Path, ledger: Ledger) -> list[Path]:
    """Return the folders of runs that are not alive."""
    alive = {str(run.pid) for run in ledger.living() if run.pid != os.getpid()}
    return [
        left
        for left in folder.glob(f"{_PREFIX}*")
        if left.name != UNFINISHED
        and left.is_dir()
        and left.name.removeprefix(_PREFIX).split("-")[0] not in alive
    ]


@contextmanager
def _watched(folder: Path) -> Iterator[None]:
    """Have a crash inside a library leave a trace in the folder: no Python runs after it."""
    if faulthandler.is_enabled():  # somebody else wants to hear of it
        yield
        return
    with (folder / _CRASH).open("wb") as file:
        faulthandler.enable(file)
        try:
            yield
        finally:
            faulthandler.disable()


def _tells_of_crash(folder: Path) -> bool:
    try:
        return (folder / _CRASH).stat().st_size > 0
    except OSError:
        return False
