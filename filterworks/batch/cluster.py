"""Where tasks run: threads of this process, a local Dask cluster, or one that exists already.

All three are the same ``concurrent.futures.Executor`` to the run.
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from filterworks import __version__
from filterworks.batch.job import AnyJob
from filterworks.errors import JobError
from filterworks.threads import thread_count


@dataclass(frozen=True)
class Pool:
    """An executor, how many tasks it runs at once, and how many threads each may use inside."""

    executor: Executor
    workers: int
    threads: int


@contextmanager
def pool(job: AnyJob, tasks: int) -> Iterator[Pool]:
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


@contextmanager
def _threads(tasks: int) -> Iterator[Pool]:
    # OpenCV is for those who filter images; -1 is its own choice.
    before = sys.modules["cv2"].getNumThreads() if "cv2" in sys.modules else -1
    workers = min(thread_count(), max(tasks, 1))
    executor = ThreadPoolExecutor(workers, thread_name_prefix="filterworks")
    try:
        yield Pool(executor, workers, thread_count() if workers == 1 else 1)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        if "cv2" in sys.modules:
            sys.modules["cv2"].setNumThreads(before)


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Hold Ctrl-C back until the end of the block; processes started inside never see it.

    They inherit the blocked signal: what an interrupt means is the main process' decision.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker  # only for those who ask for processes

    # Started later, by a thread inside, it would unblock the signal for what that thread starts.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
        try:
            with _interrupts_wait():
                cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    silence_logs="ERROR",
                )
        except (OSError, RuntimeError, TimeoutError) as error:
            raise JobError([f"--workers {workers}: the processes cannot be started: {error}"]) from None
        stack.enter_context(cluster)
        client = stack.enter_context(Client(cluster, set_as_default=False))
        yield Pool(client.get_executor(pure=False, retries=2), workers, 1)


@contextmanager
def _existing_cluster(address: str) -> Iterator[Pool]:
    from distributed import Client  # slow to load: only for those who ask for a cluster

    if not re.fullmatch(r"(\w+://)?[^\s:/]+:\d+|\w+://\S+", address):
        raise JobError([f"--scheduler {address}: must be an address such as tcp://host:8786"])
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
