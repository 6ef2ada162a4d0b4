"""Where tasks run: threads or processes of this machine, a local Dask cluster, or one that exists already.

All of them are the same :class:`Pool` to the run.
"""

from __future__ import annotations

import re
import signal
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from filterworks.batch.tasks import Outcome, Task, perform_all
from filterworks.errors import JobError
from filterworks.threads import thread_count

if TYPE_CHECKING:
    # Processes that are started for tasks need nothing of jobs.
    from filterworks.batch.job import AnyJob

# Tasks for which it is worth while to start processes.
_MANY = 2000
# Tasks per core that fetch from a store or put into it: most of them wait for the network.
_WAITING = 4
# Seconds in which a scheduler must answer.
_ANSWERING = 10.0


class Lost(Exception):  # noqa: N818  # what became of the workers, not a mistake
    """The workers cannot be reached any more."""


class Death(Exception):  # noqa: N818  # as above
    """The worker that did a share of tasks died.

    Parameters
    ----------
    times
        How often the share was given to a worker that died.
    reason
        What is known of it.
    """

    def __init__(self, times: int, reason: str) -> None:
        super().__init__(times, reason)
        self.times, self.reason = times, reason


class Pool(ABC):
    """Who does tasks: how many shares of them at once, and how many threads each may use inside."""

    def __init__(self, workers: int, threads: int) -> None:
        self.workers, self.threads = workers, threads

    @abstractmethod
    def submit(self, tasks: list[Task]) -> Future[list[Outcome]]:
        """Give tasks to one worker; the future may raise :class:`Death` or :class:`Lost`."""

    def lost(self, idle: float) -> str | None:
        """Return why nothing more will come, if that is so; `idle`: seconds since something came."""
        return None


class _Threads(Pool):
    def __init__(self, executor: ThreadPoolExecutor, workers: int, threads: int) -> None:
        super().__init__(workers, threads)
        self._executor = executor

    def submit(self, tasks: list[Task]) -> Future[list[Outcome]]:
        return self._executor.submit(perform_all, tasks)


@contextmanager
def pool(job: AnyJob, tasks: int, *, are_small: bool, apart: bool = False) -> Iterator[Pool]:
    """Provide the executor that the job asks for.

    One level of parallelism: many tasks run side by side with one thread each; a single task has
    all cores to itself. Thousands of inputs that `are_small` go to processes, which take a second to
    start, where that is good for the kind of job. Inputs that may crash their process are read `apart` from
    this one, whatever they are.

    Raises
    ------
    JobError
        If the scheduler cannot be reached, or runs another version of filterworks.
    """
    if job.run.scheduler is not None:
        with _existing_cluster(job.run.scheduler) as made:
            yield made
    elif apart or job.run.workers is not None:
        with _local_cluster(min(job.run.workers or thread_count(), max(tasks, 1))) as made:
            yield made
    elif are_small and not job.is_remote and tasks >= _MANY and thread_count() > 1 and job.IN_PROCESSES:
        from filterworks.batch.processes import processes

        with processes(thread_count()) as made:
            yield made
    else:
        with _threads(tasks, _WAITING if job.is_remote else 1) as made:
            yield made


@contextmanager
def _threads(tasks: int, share: int) -> Iterator[Pool]:
    # OpenCV is for those who filter images; -1 is its own choice.
    before = sys.modules["cv2"].getNumThreads() if "cv2" in sys.modules else -1
    workers = min(share * thread_count(), max(tasks, 1))
    executor = ThreadPoolExecutor(workers, thread_name_prefix="filterworks")
    try:
        yield _Threads(executor, workers, thread_count() if workers == 1 else 1)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        if "cv2" in sys.modules:
            sys.modules["cv2"].setNumThreads(before)


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Hold Ctrl-C back until the end of the block; processes started inside never see it.

    They inherit the blocked signal: what an interrupt means is the main process' decision.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker  # only for those who ask for processes

    # Started later, by a thread inside, it would unblock the signal for what that thread starts. It
    # cleans up after a second Ctrl-C, and need not tell of it.
    sys.warnoptions.append("ignore:resource_tracker:UserWarning")
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.pop()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def without_main_module() -> Iterator[None]:
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
    from distributed.system import MEMORY_LIMIT

    from filterworks.batch.dask_pool import DaskPool, heard_deaths
    from filterworks.batch.worker import MemoryLimit

    memory = MEMORY_LIMIT // workers
    settings = {
        "distributed.worker.multiprocessing-method": "spawn",
        # The first death already is our affair: whom to suspect is decided in handout.py.
        "distributed.scheduler.allowed-failures": 0,
        # Workers that are started again would tell of it, and others of connections to those that died.
        "distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": "critical",
        # Results are fetched from those who made them: from one that died just then, not for half a minute.
        "distributed.comm.timeouts.connect": "10s",
        # A worker that waits for memory to come back may wait for ever; ours hold nothing between tasks.
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
    }
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(settings))
        stack.enter_context(without_main_module())
        deaths = stack.enter_context(heard_deaths())
        try:
            with interrupts_wait():
                cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=memory,
                    dashboard_address="127.0.0.1:0",
                    silence_logs="CRITICAL",
                )
        except (OSError, RuntimeError, TimeoutError) as error:
            raise JobError([f"--workers {workers}: the processes cannot be started: {error}"]) from None
        stack.enter_context(cluster)
        client = stack.enter_context(Client(cluster, set_as_default=False))
        client.register_plugin(MemoryLimit())
        yield DaskPool(client, workers, f"--workers {workers}", memory, deaths)


@contextmanager
def _existing_cluster(address: str) -> Iterator[Pool]:
    from distributed import Client  # slow to load: only for those who ask for a cluster
    from distributed.versions import VersionMismatchWarning

    from filterworks.batch.dask_pool import DaskPool, check_versions, heard_deaths

    where = f"--scheduler {address}"
    if not re.fullmatch(r"(\w+://)?[^\s:/]+:\d+|\w+://\S+", address):
        raise JobError([f"{where}: must be an address such as tcp://host:8786"])
    with heard_deaths() as deaths:
        try:
            with warnings.catch_warnings():
                # Dask compares what it needs itself; what results depend on is compared below.
                warnings.simplefilter("ignore", VersionMismatchWarning)
                client = Client(address, timeout=_ANSWERING, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise JobError([f"{where}: cannot be reached: {error}"]) from None
        with client:
            threads = client.nthreads()
            if not threads:
                raise JobError([f"{where}: has no workers; start some with `dask worker {address}`"])
            check_versions(client, where)
            limits = [one["memory_limit"] for one in client.scheduler_info(-1)["workers"].values()]
            yield DaskPool(client, sum(threads.values()), where, min(limits), deaths)
