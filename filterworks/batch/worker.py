"""What runs in the processes of a Dask cluster besides tasks."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil
from distributed import WorkerPlugin

from filterworks import __version__
from filterworks.batch.tasks import Outcome, Task, perform_all

# On whose versions the bytes of a result may depend.
_PACKAGES = (
    "numpy",
    "scipy",
    "opencv-python-headless",
    "llvmlite",
    "numba",
    "imagecodecs",
    "pillow",
    "polars",
)
# Of the memory that the cluster gives a worker, so much is for data: the rest is for what no limit counts.
_FOR_DATA = 0.9


class SkewError(Exception):
    """A worker runs other versions than the main process."""


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Return what this process runs, by name."""
    found = {"python": ".".join(platform.python_version_tuple()[:2]), "filterworks": __version__}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def skew(here: dict[str, str], there: dict[str, str]) -> str:
    """Return which versions differ, in words; empty if none does.

    Examples
    --------
    >>> skew({"python": "3.12", "numpy": "2.4.1"}, {"python": "3.12", "numpy": "2.2.0"})
    'numpy 2.2.0 (here 2.4.1)'
    """
    names = [name for name in here if there.get(name, "missing") != here[name]]
    return ", ".join(f"{name} {there.get(name, 'missing')} (here {here[name]})" for name in names)


def perform_checked(tasks: Sequence[Task], expected: dict[str, str]) -> list[Outcome]:
    """Do tasks, unless this worker runs other versions; workers may join while a run goes on."""
    difference = skew(expected, versions())
    if difference:
        raise SkewError(difference)
    return perform_all(tasks)


class MemoryLimit(WorkerPlugin):
    """Makes allocations beyond the worker's limit fail, as one file's error, before the worker is killed."""

    name = "filterworks-memory-limit"

    def setup(self, worker: Any) -> None:
        """Set the limit of this process from that of its worker."""
        try:
            import resource  # not on Windows
        except ImportError:
            return
        given = worker.memory_manager.memory_limit
        used = psutil.Process().memory_info()
        if given and hasattr(used, "data"):
            # The system counts what is reserved, not only what is used.
            limit = int(_FOR_DATA * given) - used.rss + used.data
            hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
            if hard == resource.RLIM_INFINITY or limit < hard:
                resource.setrlimit(resource.RLIMIT_DATA, (max(limit, used.data), hard))
