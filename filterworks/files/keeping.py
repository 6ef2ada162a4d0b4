"""Results that a later run continues if their writer dies: what the writer hears, and what it tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filterworks.files.formats import Sheet

# Hears of a sheet and its rows; returns the first row to be written, and whom to tell of rows that are.
Begun = Callable[["Sheet", int], tuple[int, Callable[[int], None]]]
# A file, by its name inside the result (empty: the result itself), and from where to where.
Stretch = tuple[str, int, int]


class Stretches:
    """Which bytes of which files have been written, in this order.

    Examples
    --------
    >>> found = Stretches()
    >>> found.add("c/0", 0, 300)
    >>> found.add("c/1", 0, 200)
    >>> found.add("c/1", 200, 50)
    >>> found.taken(), found.taken()
    ([('c/0', 0, 300), ('c/1', 0, 250)], [])
    """

    def __init__(self) -> None:
        self._found: list[Stretch] = []

    def add(self, name: str, start: int, size: int) -> None:
        """Know of so many bytes of a file."""
        end = start + size
        if self._found and self._found[-1][0] == name and self._found[-1][2] == start:
            start = self._found.pop()[1]
        self._found.append((name, start, end))

    def taken(self) -> list[Stretch]:
        """Return what was added since the last call."""
        found, self._found = self._found, []
        return found


def anew(_: Sheet, __: int) -> tuple[int, Callable[[int], None]]:
    """Begin a sheet with its first row, and tell nobody."""
    return 0, lambda _: None


@dataclass(frozen=True)
class Keeping:
    """What the writer of a folder needs to continue one.

    Attributes
    ----------
    is_begun
        Whether the folder holds what earlier writers told of, and nothing else.
    stretches
        To be told of everything that is written.
    begun
        To be asked where each sheet begins.
    """

    is_begun: bool
    stretches: Stretches
    begun: Begun
