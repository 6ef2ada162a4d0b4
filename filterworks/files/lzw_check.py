"""Which packed bytes imagecodecs may be given where nothing can be compiled.

After a clearing its LZW decoder takes any code for the first one, also that of a string which the table
no longer holds, and reads from wherever that was: damaged bytes can end the process.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import Array

_CLEAR, _END = 256, 257
# Codes between two clearings at most, and those that are looked at first: some clear after every few.
_MOST, _FEW = 4863, 32
# Clearings that are nothing special, however little is packed.
_CLEARINGS = 64


def _widths(is_old: bool) -> NDArray[np.int64]:
    """Return how many bits the codes after a clearing have."""
    counts = np.arange(_MOST) + 258 - 1 + (not is_old)
    widths: NDArray[np.int64] = 9 + np.sum([counts >= grown for grown in (512, 1024, 2048)], axis=0)
    return widths


_WIDTHS = {is_old: _widths(is_old) for is_old in (False, True)}
_PLACES = {is_old: np.cumsum(widths) - widths for is_old, widths in _WIDTHS.items()}


def clears_well(data: bytes, needed: int) -> bool:
    """Whether every clearing is followed by the code of a byte, or by nothing.

    Neither is well that there are many more clearings than `needed` bytes take: each is looked at.
    """
    is_old = len(data) > 1 and data[0] == 0 and data[1] & 1 == 1
    given = np.frombuffer(data + bytes(2), np.uint8).astype(np.int64)
    shifts = (0, 8, 16) if is_old else (16, 8, 0)
    words = given[:-2] << shifts[0] | given[1:-1] << shifts[1] | given[2:] << shifts[2]
    bit: int | None = 9
    left = _CLEARINGS + needed // _FEW
    while bit is not None:
        left -= 1
        if left < 0:
            return False
        for count in (_FEW, _MOST):
            codes, places = _codes(words, bit, count, is_old)
            ends = np.flatnonzero((codes == _CLEAR) | (codes == _END))
            if ends.size:
                break
        if codes.size and codes[0] > _END:
            return False
        goes_on = ends.size and codes[ends[0]] == _CLEAR
        bit = int(places[ends[0]] + _WIDTHS[is_old][ends[0]]) if goes_on else None
    return True


def _codes(words: Array, bit: int, count: int, is_old: bool) -> tuple[Array, Array]:
    """Return the codes from a bit on, up to the end of the data, and where they begin."""
    widths, places = _WIDTHS[is_old][:count], _PLACES[is_old][:count] + bit
    count = int(np.searchsorted(places + widths, 8 * len(words), side="right"))
    widths, places = widths[:count], places[:count]
    shifts = places & 7 if is_old else 24 - widths - (places & 7)
    return (words[places >> 3] >> shifts) & ((1 << widths) - 1), places
