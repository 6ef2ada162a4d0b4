"""Where results lie until they get their names, and what runs that died have left there."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filterworks.batch.crashes import crashed_target, forget, is_feared, set_aside, watched
from filterworks.batch.job import AnyJob
from filterworks.batch.ledger import Ledger
from filterworks.batch.unfinished import NAME as UNFINISHED
from filterworks.batch.unfinished import sweep
from filterworks.batch.worklist import Worklist
from filterworks.errors import JobError

_PREFIX = ".filterworks-"


@dataclass(frozen=True)
class Partials:
    """A folder of this run's own.

    Attributes
    ----------
    folder
        Removed in the end.
    after_crash
        Whether an input that is to be read has crashed the process that read it, in an earlier run, or may
        be the one that has.
    set_aside
        Why inputs are not to be tried again, by their outputs.
    """

    folder: Path
    after_crash: bool
    set_aside: Mapping[str, str]


@contextmanager
def partials(job: AnyJob, worklist: Worklist, ledger: Ledger) -> Iterator[Partials]:
    """Provide the folder of results without a name, and remove those that dead runs left behind.

    Raises
    ------
    JobError
        If the folder cannot be made.
    """
    left = _left_behind(worklist.folder, ledger)
    crashed = [target for target in map(crashed_target, left) if target is not None]
    if crashed:
        # Until their inputs have been reached: this run may end before that, as they did.
        ledger.note_crashes(crashed)
    for one in left:
        shutil.rmtree(one, ignore_errors=True)
    reasons, tries = set_aside(job, worklist, ledger)
    after_crash = tries or is_feared(worklist, ledger)
    folder = worklist.folder / f"{_PREFIX}{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
    except OSError as error:
        raise JobError([f"{worklist.folder}: cannot be written: {error.strerror}"]) from None
    begun = folder.stat().st_mtime_ns
    try:
        with watched(folder, worklist.target):
            yield Partials(folder, after_crash, reasons)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if next(iter(worklist.unsettled()), None) is None:
        if not job.run.retry_failed:
            forget(worklist, ledger)
        sweep(worklist.folder, begun)


def _left_behind(folder: Path, ledger: Ledger) -> list[Path]:
    """Return the folders of runs that are not alive."""
    # In this order: whoever makes such a folder has said before that it is alive.
    found = [one for one in folder.glob(f"{_PREFIX}*") if one.name != UNFINISHED and one.is_dir()]
    alive = {str(run.pid) for run in ledger.living() if run.pid != os.getpid()}
    return [left for left in found if left.name.removeprefix(_PREFIX).split("-")[0] not in alive]
