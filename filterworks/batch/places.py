"""Where results get their names: a local folder, or a store (:mod:`filterworks.batch.remote_place`)."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import ClassVar

from filterworks.batch.folders import give_name
from filterworks.batch.ledger import Ledger, Living
from filterworks.errors import FileError, JobError
from filterworks.files.below import make_below


class Place(ABC):
    """Where results live.

    Attributes
    ----------
    folder
        Of the ledger and of results that have no name yet, on this machine.
    warning
        What could not be completed at the end of a run, or None.
    """

    folder: Path
    is_remote: ClassVar[bool] = False
    warning: str | None = None

    @abstractmethod
    def shown(self, output: str = "") -> str:
        """Return what people call a result, or the whole."""

    @abstractmethod
    def prepare(self) -> None:
        """Make the folder."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Ledger]:
        """Provide what is recorded, without writing anything."""

    def held(self, total: int) -> AbstractContextManager[None]:
        """Keep other machines out during a run of `total` items."""
        return nullcontext()

    def living(self, ledger: Ledger) -> list[Living]:
        """Return the runs that are alive."""
        return ledger.living()

    def check(self) -> None:  # noqa: B027  # a folder of this machine is not taken over
        """Raise LedgerError if another run has taken over."""

    def stands(self, output: str, known: tuple[int, str], ledger: Ledger) -> bool:
        """Return whether a recorded result is known to be intact without reading it."""
        return False

    @abstractmethod
    def is_taken(self, output: str) -> bool:
        """Return whether something bears the name of a result."""

    @abstractmethod
    def name(self, partial: str, output: str) -> None:
        """Give a result its name; FileError if that cannot be done."""


class LocalPlace(Place):
    """A folder of this machine, or of a share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._inside = os.path.join("" if folder == Path() else str(folder), "")  # noqa: PTH118  # ends with a separator

    def shown(self, output: str = "") -> str:
        """Return the path."""
        return self._inside + output if output else str(self.folder)

    def prepare(self) -> None:
        """Make the folder."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JobError([f"{self.folder}: cannot be made: {error.strerror}"]) from None

    @contextmanager
    def reading(self) -> Iterator[Ledger]:
        """Provide the ledger in the folder."""
        with Ledger(self.folder, create=False) as ledger:
            yield ledger

    def is_taken(self, output: str) -> bool:
        """Return whether there is a file, a folder or a link."""
        return os.path.lexists(self.shown(output))

    def name(self, partial: str, output: str) -> None:
        """Rename the file."""
        place = self.shown(output)
        try:
            try:
                give_name(partial, place)
            except FileNotFoundError:
                make_below(self.folder, Path(place).parent)
                give_name(partial, place)
        except OSError as error:
            raise FileError(f"{place}: cannot be written: {error.strerror}") from None
