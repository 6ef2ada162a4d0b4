"""A task whose input or result lies in a store: fetched to this machine's disk, filtered, put whole."""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path

from filterworks.batch.folders import discard
from filterworks.batch.ledger import Ledger
from filterworks.batch.located import fetched
from filterworks.batch.plan import covers
from filterworks.batch.tasks import Made, Outcome, Task
from filterworks.batch.worklist import Item
from filterworks.errors import FileError, FilterworksError
from filterworks.files.retrying import is_lost
from filterworks.files.stores import Identity, store_of
from filterworks.files.trees import put_tree
from filterworks.files.urls import is_url, parse_url


def carried(task: Task, item: Item, ledger: Ledger, *, overwrite: bool, at_worker: bool) -> CarriedTask:
    """Return a task with its way from and to stores.

    A result that goes into a store is announced in the ledger before anything is put: after a crash the
    object is known as ours.
    """
    replaces = overwrite or is_ours(ledger, item.output)
    if is_url(task.output):
        ledger.tag([(item.output, item.tag, "")])
    common = {
        name: getattr(task, name) for name in ("input", "output", "partial", "known", "content", "threads")
    }
    expected = Identity(item.size, item.tag) if is_url(item.input) else None
    return CarriedTask(**common, inner=task, expected=expected, replace=replaces, at_worker=at_worker)


def is_ours(ledger: Ledger, output: str) -> bool:
    """Return whether the ledger knows of a result that was put, or was about to be."""
    return ledger.tags(output) is not None or covers(ledger.find(output))


@dataclass(frozen=True)
class CarriedTask(Task):
    """A task between stores.

    Attributes
    ----------
    inner
        What is done in between.
    expected
        What a remote input was when the run began; None: it is a local file.
    replace
        Whether a remote result may take the place of an object.
    at_worker
        Whether `partial` is a mere name: on the disk of whichever machine does it.
    """

    inner: Task
    expected: Identity | None
    replace: bool
    at_worker: bool

    def here(self) -> Task:
        """Return the task with its provisional result on this machine's disk."""
        return dataclasses.replace(self, partial=str(_scratch() / self.partial)) if self.at_worker else self

    def make(self, partial: str | Path) -> Made:
        """Fetch the input beside `partial`, if it is remote, and write the result there."""
        if self.expected is None:
            return self.inner.make(partial)
        with fetched(parse_url(self.input), self.expected, Path(partial)) as copy:
            try:
                return dataclasses.replace(self.inner, input=str(copy)).make(partial)
            except FilterworksError as error:
                raise FileError(str(error).replace(str(copy), self.input)) from None

    def delivered(self, outcome: Outcome) -> Outcome:
        """Put a result into the store; the outcome then bears its tag there."""
        if outcome.state != "done" or not is_url(self.output):
            return outcome
        url, partial = parse_url(self.output), Path(outcome.partial)
        try:
            if partial.is_dir():
                identity = put_tree(store_of(url), partial, url.key, replace=self.replace)
            else:
                identity = store_of(url).put(partial, url.key, replace=self.replace)
        except (FilterworksError, OSError) as error:
            stands = getattr(error, "kind", "") == "exists"
            # Whether it arrived is unknown, unless it was refused.
            tag = None if stands else ""
            return Outcome("failed", error=_reason(self.input, error), tag=tag, is_lost=is_lost(error))
        finally:
            discard(partial)
        return dataclasses.replace(outcome, partial="", tag=identity.tag)


def _reason(source: str, error: Exception) -> str:
    return f"{source}: {error.strerror or error}" if isinstance(error, OSError) else f"{source}: {error}"


def _scratch() -> Path:
    """Return a folder for what passes through this worker; a worker's own is removed with it."""
    from distributed import get_worker  # this is one

    try:
        base = Path(get_worker().local_directory)
    except ValueError:
        base = Path(tempfile.gettempdir())
    folder = base / "filterworks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
