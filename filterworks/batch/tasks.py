"""One task: read a file, filter it, write the result under a provisional name.

Runs in threads, in the processes of a local cluster and on the workers of a remote one; takes and
returns plain values only.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from filterworks.batch.digests import digest
from filterworks.batch.folders import discard, identity
from filterworks.errors import FileError, FilterworksError
from filterworks.files.retrying import is_lost

# How much of a task is done, by its `partial`, while it runs in this process.
SHARES: dict[str, float] = {}
# Whether this process has been asked to end: results that the next run can continue are left to it.
STOPPING = threading.Event()


class LeftError(Exception):
    """A result has been left unfinished, for the next run to continue."""


# A share of small tasks goes back after so many seconds: interruptions are heard, deaths cost little.
_PATIENCE = 0.5
_OPENCV_NO_MEMORY = -4
# What a disk or a quota without room says.
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


@dataclass(frozen=True)
class Made:
    """What was found while a result was made.

    Attributes
    ----------
    digest, size
        Of the result where they are known from writing, else None.
    pages, clipped
        Of an image: how many pages, and the share of their samples that was cut to the range.
    difference
        Verified results: the largest difference to scipy, in units of what is allowed.
    details
        Further entries of the report.
    """

    digest: str | None = None
    size: int | None = None
    pages: int | None = None
    clipped: float = 0.0
    difference: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task(ABC):
    """What one worker is given; each kind of input adds its own settings.

    Attributes
    ----------
    input, output
        Paths of the input and of its result.
    partial
        Where to write, but for a part of the name that each attempt adds; the main process gives
        the file its name.
    known
        (size, hash) of a result that is recorded for just this; if it is intact, nothing is done.
    content
        Hash of the input that `known` was made from, empty if there is none: it is compared, and the
        input's hash is recorded. None: inputs are told apart by size and time.
    threads
        For libraries inside this task.
    """

    input: str
    output: str
    partial: str
    known: tuple[int, str] | None
    content: str | None
    threads: int

    @abstractmethod
    def make(self, partial: str | Path) -> Made:
        """Write the result to `partial`."""

    def here(self) -> Task:
        """Return the task with the paths of the machine that does it."""
        return self

    def delivered(self, outcome: Outcome) -> Outcome:
        """Bring what was made to where it is given its name, if that is not for the main process to do."""
        return outcome


@dataclass
class Outcome:
    """What became of a task.

    Attributes
    ----------
    state
        ``done``, ``skipped`` (an intact result was there), ``failed``, or ``left`` for the next run.
    error, trace
        Why it failed; the traceback only of failures that are nobody's expectation.
    size, digest
        Of the result.
    seconds
        Time taken.
    made
        What was found on the way.
    partial
        Where the result waits for its name.
    content
        Hash of the input, where the task was to tell.
    worker
        Host and process that did it.
    attempts
        How often it was tried in this run.
    tag
        Of a result in a store; of a failure: empty if it may have been put there nevertheless.
    is_lost
        Whether a store was out of reach, so that further tasks would fail as well.
    """

    state: Literal["done", "skipped", "failed", "left"]
    error: str | None = None
    trace: str | None = None
    size: int = 0
    digest: str = ""
    seconds: float = 0.0
    made: Made = Made()
    partial: str = ""
    content: str | None = None
    worker: str = ""
    attempts: int = 1
    tag: str | None = None
    is_lost: bool = False


def perform_all(tasks: Sequence[Task]) -> list[Outcome]:
    """Do one task after the other; those that half a second was too short for have no outcome."""
    end = time.perf_counter() + _PATIENCE
    outcomes: list[Outcome] = []
    for task in tasks:
        outcomes.append(perform(task))
        if time.perf_counter() > end:
            break
    return outcomes


def perform(task: Task) -> Outcome:
    """Do one task; whatever goes wrong with this one file is told in the outcome, not raised."""
    task = task.here()
    start = time.perf_counter()
    # An attempt on a cluster may be repeated while the first one is still alive.
    stem, suffix = os.path.splitext(task.partial)  # noqa: PTH122  # called for every file of a tree
    partial = f"{stem}-{os.urandom(4).hex()}{suffix}"
    try:
        outcome = task.delivered(_performed(task, partial))
    except LeftError:
        outcome = Outcome("left")
    except Exception as error:  # one file's bug must not end the run; it keeps its traceback
        discard(Path(partial))
        reason, trace = _reason(task, partial, error)
        outcome = Outcome("failed", error=reason, trace=trace, is_lost=is_lost(error))
    finally:
        SHARES.pop(task.partial, None)
    outcome.seconds, outcome.worker = time.perf_counter() - start, _worker()
    return outcome


def _performed(task: Task, partial: str) -> Outcome:
    content = None if task.content is None else digest(Path(task.input))
    if task.known is not None and task.content == content and _is_intact(Path(task.output), *task.known):
        return Outcome("skipped", size=task.known[0], digest=task.known[1], content=content)
    made = task.make(partial)
    if made.difference is not None and made.difference > 1:
        raise FileError(
            f"{task.input}: the result differs from scipy's by {made.difference:.3g} times what is allowed"
        )
    size = identity(partial)[0] if made.size is None else made.size
    written = made.digest or digest(Path(partial))
    return Outcome("done", size=size, digest=written, made=made, partial=partial, content=content)


def _reason(task: Task, partial: str, error: Exception) -> tuple[str, str | None]:
    """Return why a task failed, in one line, and the traceback if nobody expects such a failure."""
    if _is_for_memory(error):
        return f"{task.input}: not enough memory to filter it{_memory_limit()}", None
    if isinstance(error, FilterworksError):
        return str(error).replace(partial, f"{task.input}: {task.output}"), None
    if isinstance(error, OSError):
        what = "" if error.errno not in _FULL else f"{task.output} cannot be written: "
        return f"{task.input}: {what}{error.strerror or error}", None
    reason = f"{task.input}: internal error, please report it: {type(error).__name__}: {error}"
    return " ".join(reason.split()), "".join(traceback.format_exception(error))


def _is_for_memory(error: BaseException | None) -> bool:
    """Whether memory ran out: OpenCV has an error of its own for that, readers name the file first."""
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "code", None) == _OPENCV_NO_MEMORY:
            return True
        error = error.__cause__
    return False


def _memory_limit() -> str:
    try:
        import resource  # not on Windows
    except ImportError:
        return ""
    limits = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS)]
    finite = [limit for limit in limits if limit != resource.RLIM_INFINITY]
    return f" ({_worker()} may use {min(finite) / 2**20:,.0f} MiB)" if finite else ""


@lru_cache(maxsize=1)
def _host() -> str:
    return socket.gethostname()


def _worker() -> str:
    return f"{_host()}:{os.getpid()}"


def _is_intact(path: Path, size: int, content: str) -> bool:
    try:
        return identity(path)[0] == size and digest(path) == content
    except OSError:
        return False
