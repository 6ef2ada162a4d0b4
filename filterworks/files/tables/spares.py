"""Memory that is used again: fresh memory costs more than what is put into it."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

# Pieces that wait: as many as a few blocks need, none of them unusually large.
_MOST, _LARGEST = 16, 1 << 24

Piece = NDArray[np.uint8]


class Spares:
    """Pieces of memory that several threads take and put back.

    Examples
    --------
    >>> spares = Spares()
    >>> piece = spares.take(100)
    >>> spares.put(piece[:20])
    >>> spares.take(90).base is piece.base
    True
    """

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self._lock = threading.Lock()

    def take(self, size: int) -> Piece:
        """Return so many bytes, whatever stands in them."""
        with self._lock:
            fitting = [piece.size for piece in self._pieces if size <= piece.size <= 2 * size]
            if fitting:
                place = [piece.size for piece in self._pieces].index(min(fitting))
                return self._pieces.pop(place)[:size]
        # An eighth more: the next block may be a little larger.
        return np.empty(size + size // 8, np.uint8)[:size]

    def put(self, array: NDArray[np.generic]) -> None:
        """Take back what came of :meth:`take`, or a view of it; nobody may look at it any more."""
        whole = array
        while isinstance(whole.base, np.ndarray):
            whole = whole.base
        if whole.dtype == np.uint8 and whole.size <= _LARGEST:
            with self._lock:
                self._pieces.append(whole)
                # What has not been asked for lately goes first.
                del self._pieces[:-_MOST]


SPARES = Spares()
