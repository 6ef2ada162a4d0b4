"""One level of threads for work that NumPy does without the interpreter lock."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from filterworks.arguments import Array

Task = TypeVar("Task")


class Scratch:
    """Buffers that one thread uses again and again during one call."""

    def __init__(self) -> None:
        self._held: dict[str, Array] = {}

    def take(self, name: str, shape: Sequence[int], dtype: DTypeLike) -> Array:
        """Return an uninitialised array; the next `take` of the same `name` may overwrite it."""
        size = prod(shape)
        held = self._held.get(name)
        if held is None or held.size < size or held.dtype != dtype:
            held = self._held[name] = np.empty(size, dtype)
        return held[:size].reshape(shape)


class _Pool:
    """The one pool of the process, made when first needed and forgotten by a forked child."""

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def get(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(thread_count(), thread_name_prefix="filterworks")
            return self._executor

    def forget(self) -> None:
        self.__init__()  # type: ignore[misc]  # a fork copies neither threads nor a usable lock


_POOL = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_POOL.forget)


def thread_count() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def usable_threads() -> int:
    """Return how many threads a call may use: one unless it runs on the main thread.

    Work that arrives on another thread (a dask worker, a server) is part of a parallel
    program already, and a second level of threads would only get in its way.
    """
    return thread_count() if threading.current_thread() is threading.main_thread() else 1


def share(work: Callable[[Scratch, Task], Any], tasks: Iterable[Task], threads: int) -> None:
    """Call ``work(scratch, task)`` for every task on up to `threads` threads, this one among them.

    The first exception stops the hand-out of further tasks and is raised here.
    """
    queue = list(tasks)
    pending = iter(queue)

    def run() -> None:
        scratch = Scratch()
        try:
            # NaN and infinity are data here, and each thread has its own error state.
            with np.errstate(all="ignore"):
                for task in pending:
                    work(scratch, task)
        except BaseException:
            for _ in pending:
                pass
            raise

    extra = min(threads, len(queue)) - 1
    helpers = [_POOL.get().submit(run) for _ in range(extra)]
    try:
        run()
    finally:
        failures = [helper.exception() for helper in helpers]
    for failure in failures:
        if failure is not None:
            raise failure
