"""Give tasks out in a bounded window, small ones in shares, and find the one that kills its workers.

A worker that dies takes the share it was at with it. Nobody can say which file was to blame, so the files of
the share are suspects: they are tried again one per worker, then quite alone, and a file whose worker
dies even then is set aside as a failure.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Protocol

from filterworks.batch.cluster import Death, Lost, Pool
from filterworks.batch.ledger import SET_ASIDE
from filterworks.batch.tasks import Outcome, Task
from filterworks.batch.worklist import Item

# Tasks given out per worker: enough that none waits, few enough that memory stays flat.
_WINDOW = 3
# Of a share: handing over takes a millisecond, a small file not much longer.
_FILES, _BYTES = 128, 1 << 20
# Finished results are recorded together at least this often, in seconds.
COMMIT = 0.25


class Work(Protocol):
    """Whose tasks are given out, and who hears what became of them."""

    def tasks(self, items: Sequence[Item], threads: int) -> list[Task]:
        """Return what a worker is to do."""

    def settle(self, item: Item, outcome: Outcome) -> None:
        """Take in what became of an item."""

    def begin(self) -> None:
        """Record that there is work; called when the first tasks have been given out."""

    def commit(self) -> None:
        """Record what was taken in; called when there is time for it."""

    def is_over(self) -> bool:
        """Whether nothing more is to be given out."""


@dataclass
class _Share:
    """Items that go to a worker together; `deaths`: how often those of a suspect died with it."""

    items: list[Item]
    deaths: int = 0


@dataclass
class Handout:
    """What is on its way.

    Attributes
    ----------
    work, workers, stop
        Whose tasks, who does them, and what ends it before its time.
    items, total
        What is to be done.
    broken
        Why it cannot go on, once it cannot.
    """

    work: Work
    workers: Pool
    stop: threading.Event
    items: Iterator[Item]
    total: int
    broken: str | None = None
    _flying: dict[Future[list[Outcome]], _Share] = field(default_factory=dict)
    _suspects: deque[_Share] = field(default_factory=deque)
    _returned: deque[Item] = field(default_factory=deque)
    _moved: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        """Go on until the worklist or the patience ends, or the workers are lost."""
        self._fill_window()
        # While the first tasks are at work: the disk takes its time.
        self.work.begin()
        while not self.broken:
            self._fill_window()
            if not self._flying:
                break
            ready, _ = wait(self._flying, timeout=COMMIT, return_when=FIRST_COMPLETED)
            for future in ready:
                self._take(future)
                self._moved = time.monotonic()
            if not ready:
                self.work.commit()
                self.broken = self.broken or self.workers.lost(time.monotonic() - self._moved)
        self.work.commit()

    def _fill_window(self) -> None:
        if self.stop.is_set() or self.work.is_over():
            # Those given out first are being done; a cluster would not say so, and drop them too.
            for future in list(self._flying)[self.workers.workers :]:
                if future.cancel():
                    del self._flying[future]
            return
        while share := self._next():
            tasks = self.work.tasks(share.items, self.workers.threads)
            try:
                self._flying[self.workers.submit(tasks)] = share
            except Lost as error:
                self.broken = str(error)
                return

    def _next(self) -> _Share | None:
        """Return what to give out now, or None to wait."""
        if self._suspects:
            return self._next_suspect()
        if any(share.deaths for share in self._flying.values()):
            return None  # whoever flew beside a suspect might die of it, or be taken for it
        if len(self._flying) >= _WINDOW * self.workers.workers:
            return None
        # Even the last files are spread over all workers.
        files = min(_FILES, max(1, self.total // (2 * _WINDOW * self.workers.workers)))
        share, size = _Share([]), 0
        for item in chain(_drained(self._returned), self.items):
            share.items.append(item)
            size += max(item.size, 0)
            if len(share.items) >= files or size >= _BYTES:
                break
        return share if share.items else None

    def _next_suspect(self) -> _Share | None:
        """Suspects fly with nobody else: first one per worker, the second time alone."""
        others = any(not share.deaths for share in self._flying.values())
        is_alone = self._suspects[0].deaths > 1 or any(share.deaths > 1 for share in self._flying.values())
        if others or len(self._flying) >= (1 if is_alone else self.workers.workers):
            return None
        return self._suspects.popleft()

    def _take(self, future: Future[list[Outcome]]) -> None:
        share = self._flying.pop(future)
        try:
            outcomes = future.result()
        except Death as death:
            self._mourn(share, death)
        except BrokenExecutor:
            self._mourn(share, Death(1, "a crash, or too little memory, ended its process"))
        except (Lost, CancelledError) as error:
            self.broken = self.broken or str(error) or self.workers.lost(0) or "the workers were lost"
        except Exception as error:  # what a foreign cluster raises is not ours to foresee
            reason = f"could not be given to a worker: {type(error).__name__}: {error}"
            for item in share.items:
                told = f"{item.input}: {' '.join(reason.split())}"
                self.work.settle(item, Outcome("failed", error=told, tag=""))
        else:
            for item, outcome in zip(share.items, outcomes, strict=False):
                self.work.settle(item, _counted(outcome, share.deaths))
            self._returned.extend(share.items[len(outcomes) :])

    def _mourn(self, share: _Share, death: Death) -> None:
        deaths = share.deaths + death.times
        if share.deaths > 1:
            (item,) = share.items
            reason = f"{item.input}: {SET_ASIDE} {deaths} times ({death.reason})"
            self.work.settle(item, Outcome("failed", error=reason, attempts=deaths, tag=""))
            return
        # Those that died less often go first: the others wait until they can be alone.
        for item in share.items:
            suspect = _Share([item], deaths)
            if deaths > 1:
                self._suspects.append(suspect)
            else:
                self._suspects.appendleft(suspect)


def _drained(queue: deque[Item]) -> Iterator[Item]:
    while queue:
        yield queue.popleft()


def _counted(outcome: Outcome, deaths: int) -> Outcome:
    return replace(outcome, attempts=outcome.attempts + deaths) if deaths else outcome
