"""Shares of tasks on a Dask cluster: what its exceptions and its logs mean to a run."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from typing import Any

from distributed import Client, KilledWorker

from filterworks.batch.cluster import Death, Lost, Pool
from filterworks.batch.tasks import Outcome, Task
from filterworks.batch.worker import SkewError, perform_checked, skew, versions
from filterworks.errors import JobError

# Without any worker for so many seconds, none will come back.
_PATIENCE = 30.0
# How often a share is done whose result cannot be fetched.
_FETCHES = 3


class DaskPool(Pool):
    """The workers of one cluster.

    Parameters
    ----------
    client
        Connected to its scheduler.
    workers
        How many tasks they do at once.
    where
        The option that asked for it, for messages.
    memory
        What a worker may use, in bytes; 0 if there is no limit.
    deaths
        What is heard of dying workers.
    """

    def __init__(self, client: Client, workers: int, where: str, memory: int, deaths: deque[str]) -> None:
        super().__init__(workers, 1)
        self._client, self._where, self._memory, self._deaths = client, where, memory, deaths

    def submit(self, tasks: list[Task]) -> Future[list[Outcome]]:
        """Give tasks to one worker."""
        if self._client.status != "running":
            raise Lost(self._gone())
        result: Future[list[Outcome]] = _Given()
        self._send(tasks, result, _FETCHES)
        return result

    def _send(self, tasks: list[Task], result: Future[list[Outcome]], tries: int) -> None:
        future = self._client.submit(perform_checked, tasks, versions(), pure=False)
        result.add_done_callback(lambda done: future.cancel() if done.cancelled() else None)
        future.add_done_callback(lambda done: self._pass_on(done, tasks, result, tries - 1))

    def _pass_on(self, done: Any, tasks: list[Task], result: Future[list[Outcome]], tries: int) -> None:
        """Tell the run what became of a share, in its own terms."""
        if result.cancelled():
            return
        try:
            if done.status not in ("finished", "error"):
                raise CancelledError
            result.set_result(done.result())
        except KilledWorker as error:
            result.set_exception(Death(error.allowed_failures + 1, self._reason()))
        except SkewError as error:
            result.set_exception(Lost(f"{self._where}: a worker has other versions: {error}"))
        except (OSError, CancelledError):
            self._again(tasks, result, tries)
        except Exception as error:  # what a cluster raises besides is told as it is
            result.set_exception(error)

    def _again(self, tasks: list[Task], result: Future[list[Outcome]], tries: int) -> None:
        """Have a share done again whose worker died between the end of it and the fetching of its result."""
        if tries and self._client.status == "running":
            with suppress(Exception):  # whatever it is: the scheduler cannot be reached
                self._send(tasks, result, tries)
                return
        result.set_exception(Lost(self._gone()))

    def lost(self, idle: float) -> str | None:
        """Return why nothing more will come, if that is so."""
        if self._client.status != "running":
            return self._gone()
        if idle > _PATIENCE and not self._client.nthreads():
            return f"{self._where}: has no workers any more"
        return None

    def _gone(self) -> str:
        return f"{self._where}: the connection to the scheduler was lost"

    def _reason(self) -> str:
        """Return what is known of the last death."""
        limit = f"a worker's memory limit is {self._memory / 2**20:,.0f} MiB" if self._memory else ""
        heard = list(dict.fromkeys(list(self._deaths)[-2:]))
        return "; ".join([*heard, limit] if limit else heard) or "nothing is known of why"


class _Given(Future[list[Outcome]]):
    """A share that is on its way: it can be taken back until its result is there."""


@contextmanager
def heard_deaths() -> Iterator[deque[str]]:
    """Keep Dask's log from the terminal, and provide what it says of dying workers of this process."""
    heard: deque[str] = deque(maxlen=8)
    logger = logging.getLogger("distributed")
    before = logger.handlers[:], logger.level, logger.propagate
    handler = _Ear(heard)
    # These have levels and handlers of their own.
    levels = {"client": logging.CRITICAL, "nanny": logging.INFO, "nanny.memory": logging.INFO}
    others = [(logging.getLogger(f"distributed.{name}"), level) for name, level in levels.items()]
    theirs = [one.level for one, _ in others]
    logger.handlers[:], logger.propagate = [handler], False
    logger.setLevel(logging.CRITICAL)
    for one, level in others:
        one.setLevel(level)
    try:
        yield heard
    finally:
        logger.handlers[:], logger.propagate = before[0], before[2]
        logger.setLevel(before[1])
        for (one, _), level in zip(others, theirs, strict=True):
            one.setLevel(level)


class _Ear(logging.Handler):
    def __init__(self, heard: deque[str]) -> None:
        super().__init__()
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if re.search(r"was killed by|exited with status", text):
            self._heard.append(re.sub(r"^Worker process \d+ ", "its process ", text))
        elif "memory budget" in text:
            self._heard.append("it exceeded its memory limit")


def check_versions(client: Client, where: str) -> None:
    """Refuse workers that run other versions.

    Raises
    ------
    JobError
        With one sentence for each set of versions.
    """
    here = versions()
    found: dict[str, list[str]] = {}
    for worker, there in client.run(versions, on_error="return").items():
        # An error says that there is no filterworks at all, or one that cannot be asked.
        difference = skew(here, there) if isinstance(there, dict) else "no filterworks, or an older one"
        if difference:
            found.setdefault(difference, []).append(worker)
    if found:
        raise JobError(
            [
                f"{where}: {len(workers)} of its workers ({workers[0]}"
                f"{', …' if len(workers) > 1 else ''}) run {difference}; results could differ"
                for difference, workers in found.items()
            ]
        )
