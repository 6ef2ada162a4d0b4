"""An object beside the results that says which run is alive."""

from __future__ import annotations

import datetime
import json
import socket
import time
import uuid
from dataclasses import asdict, dataclass

import psutil

from filterworks.batch.ledger import is_living
from filterworks.errors import JobError
from filterworks.files.stores import Store
from filterworks.files.urls import Url

NAME = ".filterworks.lock"
# Two runs that take over the same stale lock find out after so many seconds.
_SETTLED = 1.0
# Runs of this process that have ended, though their locks may be there still: their store was out of reach.
_ENDED: set[str] = set()


@dataclass(frozen=True)
class Run:
    """A run as its lock describes it.

    Attributes
    ----------
    process, host, created
        Which process, where, and when it was born: numbers are used again.
    since, beat
        When the run began, and when it was last heard of.
    total
        How many items it has.
    id
        Of this run alone.
    """

    process: int
    host: str
    created: float
    since: str
    beat: float
    total: int
    id: str

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}, since {self.since}"

    @property
    def is_living(self) -> bool:
        """Whether it is alive, as far as can be told from here."""
        return self.id not in _ENDED and is_living(self.process, self.created, self.host, self.beat)


class Lock:
    """The lock of one folder in a store.

    Attributes
    ----------
    lost
        The run that has taken over, or None.
    """

    def __init__(self, store: Store, folder: Url) -> None:
        self._store, self._folder, self._url = store, folder, folder.below(NAME)
        self._mine: Run | None = None
        self.lost: Run | None = None

    def _read(self) -> Run | None:
        data = self._store.read(self._url.key)
        if data is None:
            return None
        try:
            return Run(**json.loads(data))
        except (ValueError, TypeError):
            raise JobError([f"{self._url}: is no lock of ours; remove it if no run is alive"]) from None

    def _write(self, run: Run, *, replace: bool) -> bool:
        return self._store.write(self._url.key, json.dumps(asdict(run)).encode(), replace=replace)

    def living(self) -> Run | None:
        """Return the run that holds it, if it is alive."""
        run = self._read()
        return run if run is not None and run.is_living else None

    def is_left(self) -> bool:
        """Return whether a run died here: it may have put more than it could tell."""
        run = self._read()
        return run is not None and not run.is_living

    def take(self, total: int) -> None:
        """Hold it for this process.

        Raises
        ------
        JobError
            If a living run holds it.
        """
        me = psutil.Process()
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        mine = Run(me.pid, socket.gethostname(), me.create_time(), now, time.time(), total, uuid.uuid4().hex)
        if not self._write(mine, replace=False):
            self._refuse(self.living())
            self._write(mine, replace=True)
            time.sleep(_SETTLED)
            found = self._read()
            if found != mine:
                self._refuse(found)
        self._mine = mine

    def _refuse(self, run: Run | None) -> None:
        if run is not None:
            raise JobError(
                [
                    f"{self._folder}: another run is working here ({run}); "
                    "wait for it, stop it, or choose another OUT"
                ]
            )

    def beat(self) -> None:
        """Say that this run is alive; notice if another one has taken over."""
        found = self._read()
        if self._mine is not None and found is not None and found.id != self._mine.id:
            self.lost = found
        elif self._mine is not None:
            self._mine = Run(**{**asdict(self._mine), "beat": time.time()})
            self._write(self._mine, replace=True)

    def end(self) -> None:
        """Tell this process that the run has ended, whatever the store says."""
        if self._mine is not None:
            _ENDED.add(self._mine.id)

    def release(self) -> None:
        """Let go, unless another run has taken over."""
        found = self._read()
        if self._mine is not None and found is not None and found.id == self._mine.id:
            self._store.remove(self._url.key)
