"""Loops that are written for one kernel, once that has been worked with enough to repay it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from filterworks.machine.compiler import CompilerError
from filterworks.machine.loops import Loop

# Multiply-adds that the loop for all kernels does before one is written for a kernel: about what that costs.
_REPAYS = 1 << 28
# Multiply-adds that such a loop may hold.
MOST = 1 << 10


@dataclass
class _Tally:
    """How many multiply-adds were done for a loop, and whether it has been written."""

    done: int = 0
    is_ready: bool = False


class Written:
    """A loop for one kernel.

    Its results are those of the loop for all kernels, so it does not matter when it takes over.

    Parameters
    ----------
    make
        Writes and compiles the loop from `key`, or finds it made before.
    key
        What decides it.
    effort
        Multiply-adds of each use.
    waits
        Whether to wait while another thread writes it, rather than to do without.
    """

    tallies: ClassVar[dict[Any, _Tally]] = {}

    def __init__(
        self, make: Callable[..., Loop], key: tuple[Any, ...], effort: int, *, waits: bool = False
    ) -> None:
        self._make, self._key, self._effort, self._waits = make, key, effort, waits
        self._tally = self.tallies.setdefault((make.__name__, key), _Tally())

    def loop(self) -> Loop | None:
        """Return the loop, if it is there by now."""
        tally = self._tally
        before = tally.done
        tally.done = before + self._effort
        is_written_by_another = before >= _REPAYS and not tally.is_ready
        if tally.done < _REPAYS or (is_written_by_another and not self._waits):
            return None
        try:
            found = self._make(*self._key)
        except CompilerError:
            return None
        tally.is_ready = True
        return found
