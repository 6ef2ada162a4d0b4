"""Results in a store: put whole by the workers; ledger, lock and what keeps both of them current.

SQLite cannot live in a store. The ledger lies in the user's state directory, and a copy of it beside the
results, so that another machine can go on. An object beside them says which run is alive.
"""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from filterworks.batch.database import NAME, to_sql
from filterworks.batch.ledger import Ledger, Living, Progress
from filterworks.batch.ledger_copy import check, lineage, merge, snapshot
from filterworks.batch.lock import Lock
from filterworks.batch.places import Place
from filterworks.errors import FilterworksError, JobError, LedgerError
from filterworks.files import is_store
from filterworks.files.formats import tree_of
from filterworks.files.retrying import StoreError
from filterworks.files.stores import Identity, store_of
from filterworks.files.trees import grouped, tree_identity
from filterworks.files.urls import Url

# Seconds between signs of life, and the least between copies of the ledger.
_BEAT, _COPY = 30.0, 60.0
# A copy may take this share of the time at most.
_SHARE = 0.05


class RemotePlace(Place):
    """A folder of a store."""

    is_remote: ClassVar[bool] = True

    def __init__(self, url: Url) -> None:
        from platformdirs import user_state_path

        self.url, self.store = url, store_of(url)
        name = hashlib.blake2b(str(url).encode(errors="surrogateescape"), digest_size=16).hexdigest()
        self.folder = user_state_path("filterworks", appauthor=False) / "stores" / name
        self._lock = Lock(self.store, url)
        self._copied = 0
        # What is there, listed once: as many objects as there may be, in flat memory.
        self._there = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._there.execute("CREATE TABLE there (output TEXT PRIMARY KEY, size INTEGER, tag TEXT)")

    def shown(self, output: str = "") -> str:
        """Return the address."""
        return str(self.url.below(output)) if output else str(self.url)

    def prepare(self) -> None:
        """Make the folder of the ledger."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JobError(
                [f"{self.folder}: cannot be made: {error.strerror}; XDG_STATE_HOME names another place"]
            ) from None

    def survey(self, target: str) -> None:
        """List what is there: everything, or just the one output."""
        key = self.url.below(target).key
        if target == ".":
            found = grouped(self.store.listed(self.url.key))
        else:
            one = (tree_identity(self.store, key) if is_store(target) else None) or self.store.identity(key)
            found = iter([(target, one, None)] if one else [])
        self._there.execute("BEGIN")
        self._there.executemany(
            "INSERT OR REPLACE INTO there VALUES (?, ?, ?)",
            ((to_sql(name), identity.size, identity.tag) for name, identity, _ in found),
        )
        self._there.execute("COMMIT")

    def standing(self, output: str) -> Identity | None:
        """Return what was found under the name of a result, or None."""
        query = "SELECT size, tag FROM there WHERE output = ?"
        row = self._there.execute(query, (to_sql(output),)).fetchone()
        return Identity(*row) if row else None

    def stands(self, output: str, known: tuple[int, str], ledger: Ledger) -> bool:
        """Return whether a result is just as it was put, by its size and its tag."""
        tags = ledger.tags(output)
        return bool(tags and tags[1]) and self.standing(output) == Identity(known[0], tags[1] if tags else "")

    def is_taken(self, output: str) -> bool:
        """Say no: the worker that puts a result asks the store in the same breath."""
        return False

    def name(self, partial: str, output: str) -> None:
        """Do nothing: a result was put under its name."""

    def was_left(self) -> bool:
        """Return whether a run died here before its last results were in the copy of its ledger."""
        return self._lock.is_left()

    def living(self, ledger: Ledger) -> list[Living]:
        """Return the run that is alive; of how far it is, what the copy of the ledger said last."""
        run = self._lock.living()
        if run is None:
            return []
        told = {(one.pid, one.host): one for one in ledger.living()}
        return [
            told.get((run.process, run.host), Living(".", run.process, run.host, run.since, 0, Progress()))
        ]

    @contextmanager
    def reading(self) -> Iterator[Ledger]:
        """Provide what is recorded here and in the store, the newer of both."""
        with tempfile.TemporaryDirectory(prefix="filterworks-") as folder:
            copy = Path(folder) / NAME
            if self._fetch_copy(copy) and lineage(self.folder / NAME) == lineage(copy):
                merge(copy, self.folder / NAME)
            with Ledger(Path(folder), create=False, shown=self.shown()) as ledger:
                yield ledger

    @contextmanager
    def held(self, total: int) -> Iterator[None]:
        """Hold the lock; bring the ledger here up to date at the start, the copy in the store at the end."""
        with _refusing():
            self._lock.take(total)
        try:
            with _refusing():
                self._adopt()
                self._put_copy()
            try:
                with _Keeper(self._lock, self._put_copy):
                    yield
            finally:
                self._put_last_copy()
        finally:
            self._lock.end()
            # A store that is out of reach is not waited for again: others see that this process is gone.
            if self.warning is None:
                with suppress(FilterworksError):
                    self._lock.release()

    def _put_last_copy(self) -> None:
        try:
            self._put_copy()
        except (FilterworksError, OSError) as error:
            self.warning = str(error)  # what was done is reported all the same

    def check(self) -> None:
        """Raise LedgerError if another run has taken over."""
        if self._lock.lost is not None:
            raise LedgerError(
                f"{self.shown()}: this run was silent for so long that another one has taken over "
                f"({self._lock.lost}); what it had done is recorded"
            )

    def _adopt(self) -> None:
        """Bring the ledger here up to date; without a copy in the store OUT was emptied: begin afresh."""
        local = self.folder / NAME
        with tempfile.TemporaryDirectory(prefix="copy-", dir=self.folder) as folder:
            copy = Path(folder) / NAME
            if not self._fetch_copy(copy):
                local.unlink(missing_ok=True)
            elif lineage(local) == lineage(copy):
                merge(local, copy)
            else:
                copy.replace(local)
        with Ledger(self.folder, create=True, shown=self.shown()) as ledger:
            ledger.found()
            self.store.drop_unfinished(
                self.url.key, lambda name: ledger.tags(tree_of(name) or name) is not None
            )

    def _fetch_copy(self, place: Path) -> bool:
        address = self.url.below(NAME)
        for _ in range(3):
            found = self.store.identity(address.key)
            if found is None:
                return False
            try:
                self.store.fetch(address.key, found, place)
            except StoreError as error:
                if error.kind == "changed":
                    continue  # a run that is alive has just put a newer one
                raise
            check(place, str(address))
            return True
        raise StoreError(f"{address}: changes all the time; try again", "changed")

    def _put_copy(self) -> None:
        """Put a copy of the ledger beside the results, unless nothing is new."""
        local = self.folder / NAME
        changed = local.stat().st_mtime_ns
        if changed == self._copied:
            return
        with tempfile.TemporaryDirectory(prefix="copy-", dir=self.folder) as folder:
            copy = Path(folder) / NAME
            snapshot(local, copy)
            try:
                self.store.put(copy, self.url.below(NAME).key, replace=True)
            except StoreError as error:
                reason = f"{error}; what is done is safe, and recorded on this machine"
                raise StoreError(reason, error.kind) from None
        self._copied = changed


@contextmanager
def _refusing() -> Iterator[None]:
    """Say of what goes wrong with a store that nothing was done."""
    try:
        yield
    except StoreError as error:
        raise JobError([str(error)]) from None


class _Keeper:
    """A thread that tells others that the run is alive, and now and then puts a copy of the ledger."""

    def __init__(self, lock: Lock, copy: Callable[[], None]) -> None:
        self._lock, self._copy, self._end = lock, copy, threading.Event()
        self._thread = threading.Thread(target=self._keep, name="filterworks-keeper", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _keep(self) -> None:
        due = time.monotonic() + _COPY
        while not self._end.wait(_BEAT):
            # What cannot be reached now may be at the next turn; the end of the run tells it.
            with suppress(FilterworksError, OSError, sqlite3.Error):
                self._lock.beat()
            if time.monotonic() >= due:
                start = time.monotonic()
                with suppress(FilterworksError, OSError, sqlite3.Error):
                    self._copy()
                end = time.monotonic()
                due = end + max(_COPY, (end - start) / _SHARE)
