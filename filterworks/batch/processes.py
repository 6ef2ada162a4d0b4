"""Processes of this machine for many small images.

Most of the time that a tiny image takes is Python's own, which one process spends on one core only.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

import cv2

from filterworks.batch.cluster import Pool, interrupts_wait, without_main_module
from filterworks.batch.memory import MEMORY
from filterworks.batch.tasks import Outcome, Task, perform_all

# What all processes may hold of small images together; of larger ones there is one at a time.
_SMALL = 256 << 20
# Seconds after which the executor has not noticed a death.
_NOTICED = 2.0


class Processes(Pool):
    """Spawned processes; if one dies all are started anew, and all that flew is given out again."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers, 1)
        self._context = multiprocessing.get_context("spawn")
        self._executor = self._started()

    def _started(self) -> ProcessPoolExecutor:
        self._spawned = 0
        with interrupts_wait():
            arguments = (_SMALL // self.workers, self._context.Lock())
            made = ProcessPoolExecutor(
                self.workers, mp_context=self._context, initializer=_prepare, initargs=arguments
            )
        if sys.version_info < (3, 11, 5):
            _let_go_of_tasks(made)
        return made

    def submit(self, tasks: list[Task]) -> Future[list[Outcome]]:
        """Give tasks to one process."""
        try:
            return self._submit(tasks)
        except BrokenProcessPool:
            self._executor.shutdown(wait=True)
            self._executor = self._started()
            return self._submit(tasks)

    def _submit(self, tasks: list[Task]) -> Future[list[Outcome]]:
        if self._spawned >= self.workers:
            return self._executor.submit(perform_all, tasks)
        # This is when another process is started.
        self._spawned += 1
        with without_main_module(), interrupts_wait(), _one_blas_thread():
            return self._executor.submit(perform_all, tasks)

    def lost(self, idle: float) -> str | None:
        """Free the executor, if a process has died in the middle of an answer, whose rest it waits for.

        Without a writer the pipe of the answers ends; the executor is broken then, as by any death.
        """
        # It keeps both to itself, and notices a death at once while it is healthy.
        executor: Any = self._executor
        found = list((executor._processes or {}).values())
        if idle > _NOTICED and wait([one.sentinel for one in found], timeout=0):
            for one in found:
                one.kill()
            executor._result_queue._writer.close()
        return None

    def close(self) -> None:
        """End the processes."""
        self._executor.shutdown(wait=True, cancel_futures=True)


def _let_go_of_tasks(executor: Any) -> None:
    """Keep a broken executor from waiting until somebody takes a task out of its pipe (gh-94777).

    The pipe's other end is closed by the thread that ends the executor, before it asks the one that
    writes tasks to end, which closes it as well: at the same time both would.
    """
    queue, manager_closes = executor._call_queue, executor._call_queue.close

    def close() -> None:
        if executor._broken:
            queue._reader.close()
        manager_closes()

    queue.close = close


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Keep the processes that are started inside from starting threads of OpenBLAS.

    They would spin for a tenth of a second each, and images have no use for them.
    """
    name = "OPENBLAS_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def processes(workers: int) -> Iterator[Pool]:
    """Provide so many processes."""
    made = Processes(workers)
    try:
        yield made
    finally:
        made.close()


def _prepare(small: int, gate: Any) -> None:
    """Share the memory with the other processes, and end with the main one, however that ends."""
    MEMORY.share(small, gate)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
