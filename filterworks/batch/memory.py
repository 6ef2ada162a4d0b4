"""How much the tasks of one process may hold at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any


class Budget:
    """Bytes that the threads of a process hold together; one input is always let in."""

    def __init__(self, limit: int) -> None:
        self._limit, self._held, self._changed = limit, 0, threading.Condition()
        self._gate: AbstractContextManager[Any] = nullcontext()
        self._small = limit

    def share(self, small: int, gate: AbstractContextManager[Any]) -> None:
        """Let inputs above `small` bytes in only through a gate that other processes have too."""
        self._small, self._gate = small, gate

    @contextmanager
    def held(self, size: int) -> Iterator[None]:
        """Wait until `size` bytes fit, then hold them."""
        with self._gate if size > self._small else nullcontext():
            with self._changed:
                self._changed.wait_for(lambda: self._held == 0 or self._held + size <= self._limit)
                self._held += size
            try:
                yield
            finally:
                with self._changed:
                    self._held -= size
                    self._changed.notify_all()


MEMORY = Budget(1_200_000_000)
