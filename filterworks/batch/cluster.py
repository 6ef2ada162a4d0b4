"""Where tasks run: threads of this process, a local Dask cluster, or one that exists already.

All three are the same ``concurrent.futures.Executor`` to the run.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import cv2

from filterworks import __version__
from filterworks.batch.job import Job
from filterworks.errors import JobError


@dataclass(frozen=True)
class Pool:
    """An executor, how many tasks it runs at once, and how many threads each may use inside."""

    executor: Executor
    workers: int
    threads: int


@contextmanager
def pool(job: Job, tasks: int) -> Iterator[Pool]:
    """Provide the executor that the job asks for.

    One level of parallelism: many tasks run side by side with one thread each; a single task has
    all cores to itself.

    Raises
    ------
    JobError
        If the scheduler cannot be reached, or runs another version of filterworks.
    """
    if job.run.scheduler is not None:
        with _existing_cluster(job.run.scheduler) as made:
            yield made
    elif job.run.workers is not None:
        with _local_cluster(min(job.run.workers, max(tasks, 1))) as made:
            yield made
    else:
        with _threads(tasks) as made:
            yield made


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _threads(tasks: int) -> Iterator[Pool]:
    before = cv2.getNumThreads()
    workers = min(_cores(), max(tasks, 1))
    executor = ThreadPoolExecutor(workers, thread_name_prefix="filterworks")
    try:
        yield Pool(executor, workers, _cores() if workers == 1 else 1)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        cv2.setNumThreads(before)


@contextmanager
def _interrupts_stay_here() -> Iterator[None]:
    """Let the processes started inside ignore Ctrl-C: the main process decides what it means."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _without_main_module() -> Iterator[None]:
    """Keep spawned processes from importing the caller's script, which may have no ``__main__`` guard.

    Tasks need nothing from it; without this, every worker would run the script again.
    """
    main = sys.modules["__main__"]
    hidden: dict[str, object] = {
        name: main.__dict__.pop(name) for name in ("__file__", "__spec__") if name in main.__dict__
    }
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(hidden)


@contextmanager
def _local_cluster(workers: int) -> Iterator[Pool]:
    import dask  # slow to load: only for those who ask for processes
    from distributed import Client, LocalCluster

    settings = {
        "distributed.worker.multiprocessing-method": "spawn",
        "distributed.admin.log-format": "%(message)s",
    }
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(settings))
        stack.enter_context(_without_main_module())
        with _interrupts_stay_here():
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                silence_logs="ERROR",
            )
        stack.enter_context(cluster)
        client = stack.enter_context(Client(cluster, set_as_default=False))
        yield Pool(client.get_executor(pure=False, retries=2), workers, 1)


@contextmanager
def _existing_cluster(address: str) -> Iterator[Pool]:
    from distributed import Client  # slow to load: only for those who ask for a cluster

    try:
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise JobError([f"--scheduler {address}: cannot be reached: {error}"]) from None
    with client:
        threads = client.nthreads()
        if not threads:
            raise JobError(
                [f"--scheduler {address}: has no workers; start some with `dask worker {address}`"]
            )
        versions = set(client.run(_version).values())
        if versions != {__version__}:
            raise JobError(
                [
                    f"--scheduler {address}: its workers run filterworks {', '.join(sorted(versions))}, "
                    f"here it is {__version__}"
                ]
            )
        yield Pool(client.get_executor(pure=False, retries=2), sum(threads.values()), 1)


def _version() -> str:
    try:
        from filterworks import __version__ as version
    except ImportError:
        return "not at all"
    return version
