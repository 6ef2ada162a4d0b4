"""Memory that is used again: fresh memory costs more than what is put into it."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

# Pieces that wait: as many as a few blocks need, none of them unusually large.
_MOST, _LARGEST = 48, 1 << 24


class Spares:
    """Pieces of memory that several threads take and put back.

    Examples
    --------
    >>> spares = Spares()
    >>> piece = spares.take(100)
    >>> piece[:] = 7
    >>> spares.put(piece.view(np.int32)[:5])
    >>> spares.take_text(90)[99]
    7
    """

    def __init__(self) -> None:
        self._pieces: list[bytearray] = []
        self._lock = threading.Lock()

    def take(self, size: int) -> NDArray[np.uint8]:
        """Return so many bytes, whatever stands in them."""
        return np.frombuffer(self.take_text(size), np.uint8)[:size]

    def take_text(self, size: int) -> bytearray:
        """Return at least so many bytes, whatever stands in them."""
        with self._lock:
            fitting = [len(piece) for piece in self._pieces if size <= len(piece) <= 2 * size]
            if fitting:
                return self._pieces.pop([len(piece) for piece in self._pieces].index(min(fitting)))
        # An eighth more: the next block may be a little larger.
        return bytearray(size + size // 8)

    def put(self, memory: NDArray[np.generic] | bytes | bytearray) -> None:
        """Take back what was taken, or a view of it; nobody may look at it any more."""
        whole: object = memory
        while isinstance(whole, np.ndarray | memoryview):
            whole = whole.base if isinstance(whole, np.ndarray) else whole.obj
        if isinstance(whole, bytearray) and len(whole) <= _LARGEST:
            with self._lock:
                self._pieces.append(whole)
                # What has not been asked for lately goes first.
                del self._pieces[:-_MOST]


SPARES = Spares()
