"""How much the tasks of one process may hold at once."""

from __future__ import annotations

import ctypes
import math
import threading
from contextlib import AbstractContextManager, suppress
from functools import cache
from typing import Any

import psutil

# What one image that is decoded whole may take, with what it needs besides.
_MOST = 1_200_000_000
# Names of settings of glibc's malloc, and bytes: what is smaller comes of memory that stays.
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
_LARGE, _KEPT = 1 << 25, 1 << 26


@cache
def usual_memory() -> int:
    """Return the bytes that a process may hold unless told otherwise.

    A quarter of what is free when it is first asked for, at most 1.2 GB.
    """
    return min(int(psutil.virtual_memory().available) // 4, _MOST)


@cache
def keep_freed_memory() -> None:
    """Have this process use freed memory again rather than give it back and ask for it with each block."""
    with suppress(AttributeError, OSError, TypeError):  # other systems do as they see fit
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_TRIM_THRESHOLD, _KEPT)


class Budget:
    """Bytes that the threads of a process hold together; one input is always let in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held, self._waiting, self._changed = 0, 0, threading.Condition(self._lock)
        self._small: float = math.inf
        self._gate: Any = None

    def share(self, small: int, gate: Any) -> None:
        """Let inputs above `small` bytes in only through a gate (a lock) that other processes have too."""
        self._small, self._gate = small, gate

    def held(self, size: int, limit: int) -> AbstractContextManager[None]:
        """Wait until `size` bytes fit below `limit`, then hold them."""
        return _Hold(self, size, limit)

    def take(self, size: int, limit: int) -> None:
        """Wait until `size` bytes fit below `limit`."""
        if size > self._small:
            self._gate.acquire()
        with self._lock:
            while self._held and self._held + size > limit:
                self._waiting += 1
                self._changed.wait()
                self._waiting -= 1
            self._held += size

    def give_back(self, size: int) -> None:
        """Let others have `size` bytes."""
        with self._lock:
            self._held -= size
            if self._waiting:
                self._changed.notify_all()
        if size > self._small:
            self._gate.release()


class _Hold:
    """Bytes that are held in a ``with`` block; a generator would take longer than a tiny image may."""

    __slots__ = ("_budget", "_limit", "_size")

    def __init__(self, budget: Budget, size: int, limit: int) -> None:
        self._budget, self._size, self._limit = budget, size, limit

    def __enter__(self) -> None:
        self._budget.take(self._size, self._limit)

    def __exit__(self, *_: object) -> None:
        self._budget.give_back(self._size)


MEMORY = Budget()
