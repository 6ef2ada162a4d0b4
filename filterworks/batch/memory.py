"""How much the tasks of one process may hold at once."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache
from typing import Any

import psutil

# What one image that is decoded whole may take, with what it needs besides.
_MOST = 1_200_000_000
# Names of settings of glibc's malloc, and bytes: what is smaller comes of memory that stays.
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
_LARGE, _KEPT = 1 << 25, 1 << 26
_OPEN: AbstractContextManager[Any] = nullcontext()


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
        self._held, self._changed = 0, threading.Condition()
        self._gate: AbstractContextManager[Any] = _OPEN
        self._small: int | None = None

    def share(self, small: int, gate: AbstractContextManager[Any]) -> None:
        """Let inputs above `small` bytes in only through a gate that other processes have too."""
        self._small, self._gate = small, gate

    @contextmanager
    def held(self, size: int, limit: int) -> Iterator[None]:
        """Wait until `size` bytes fit below `limit`, then hold them."""
        with self._gate if self._small is not None and size > self._small else _OPEN:
            with self._changed:
                while self._held and self._held + size > limit:
                    self._changed.wait()
                self._held += size
            try:
                yield
            finally:
                with self._changed:
                    self._held -= size
                    self._changed.notify_all()


MEMORY = Budget()
