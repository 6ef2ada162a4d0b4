"""One task: read a file, filter it, write the result under a provisional name.

Runs in threads, in the processes of a local cluster and on the workers of a remote one; takes and
returns plain values only.
"""

from __future__ import annotations

import hashlib
import time
import traceback
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from filterworks.batch.stores import digest_of, discard, identity
from filterworks.errors import FilterworksError

# How much of a task is done, by its `partial`, while it runs in this process.
SHARES: dict[str, float] = {}


@dataclass(frozen=True)
class Made:
    """What was found while a result was made.

    Attributes
    ----------
    digest
        Of the result where it is known from writing, else None.
    pages, clipped
        Of an image: how many pages, and the share of their samples that was cut to the range.
    difference
        Verified results: the largest difference to scipy, in units of what is allowed.
    details
        Further entries of the report.
    """

    digest: str | None = None
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
    threads
        For libraries inside this task.
    """

    input: str
    output: str
    partial: str
    known: tuple[int, str] | None
    threads: int

    @abstractmethod
    def make(self, partial: Path) -> Made:
        """Write the result to `partial`."""


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes
    ----------
    state
        ``done``, ``skipped`` (an intact result was there) or ``failed``.
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
    """

    state: Literal["done", "skipped", "failed"]
    error: str | None = None
    trace: str | None = None
    size: int = 0
    digest: str = ""
    seconds: float = 0.0
    made: Made = Made()
    partial: str = ""


def hasher() -> Any:
    """Return the BLAKE2b hash that results are known by."""
    return hashlib.blake2b(digest_size=16)


def digest(path: Path) -> str:
    """Return the hash of a file's content, or of all that a folder holds."""
    if path.is_dir():
        return digest_of(path, digest, hasher)
    with path.open("rb") as file:
        return hashlib.file_digest(file, hasher).hexdigest()


def perform(task: Task) -> Outcome:
    """Do one task; whatever goes wrong with this one file is told in the outcome, not raised."""
    try:
        return _performed(task)
    finally:
        SHARES.pop(task.partial, None)


def _performed(task: Task) -> Outcome:
    start = time.perf_counter()
    # An attempt on a cluster may be repeated while the first one is still alive.
    partial = Path(task.partial)
    partial = partial.with_stem(f"{partial.stem}-{uuid.uuid4().hex[:8]}")
    try:
        if task.known is not None and _is_intact(Path(task.output), *task.known):
            return Outcome("skipped", size=task.known[0], digest=task.known[1])
        made = task.make(partial)
        size, content = identity(partial)[0], made.digest or digest(partial)
    except FilterworksError as error:
        return _failed(partial, start, str(error).replace(str(partial), f"{task.input}: {task.output}"))
    except OSError as error:
        return _failed(partial, start, f"{task.input}: {error.strerror or error}")
    except MemoryError:
        return _failed(partial, start, f"{task.input}: not enough memory to filter it")
    except Exception as error:  # one file's bug must not end the run; it keeps its traceback
        reason = f"{task.input}: internal error, please report it: {type(error).__name__}: {error}"
        return _failed(partial, start, reason, traceback.format_exc())
    if made.difference is not None and made.difference > 1:
        reason = (
            f"{task.input}: the result differs from scipy's by {made.difference:.3g} times what is allowed"
        )
        return _failed(partial, start, reason)
    seconds = time.perf_counter() - start
    return Outcome("done", size=size, digest=content, seconds=seconds, made=made, partial=str(partial))


def _failed(partial: Path, start: float, reason: str, trace: str | None = None) -> Outcome:
    discard(partial)
    return Outcome("failed", error=reason, trace=trace, seconds=time.perf_counter() - start)


def _is_intact(path: Path, size: int, content: str) -> bool:
    try:
        return identity(path)[0] == size and digest(path) == content
    except OSError:
        return False
