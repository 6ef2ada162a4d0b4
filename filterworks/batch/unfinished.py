"""Large results that survive the death of their run, and are continued where they stood.

Beside the file lies a journal: what was written to the file, in order. A line of it is written once the
bytes that it tells of are on the disk, so that a run that is killed, or a machine that loses power, costs
the work since the last line.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from filterworks import __version__
from filterworks.batch.digests import HashedFile
from filterworks.batch.tasks import STOPPING, LeftError
from filterworks.files import RowSheet, Sheet

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # Windows: large results begin anew there
    flock = None  # type: ignore[assignment]

NAME = ".filterworks-unfinished"
# The journal gets a line at most so often, in seconds.
_EVERY = 1.0


@dataclass
class Unfinished:
    """A file that is being written, and its journal.

    Attributes
    ----------
    path
        Of the file.
    file
        The file, hashed as it is written.
    entries
        What the journal held, oldest first.
    """

    path: Path
    file: HashedFile
    entries: list[dict[str, Any]]
    _journal: BinaryIO
    _noted: float = field(default_factory=time.monotonic)

    def is_due(self) -> bool:
        """Return whether it is time for a line."""
        return time.monotonic() - self._noted >= _EVERY

    def note(self, entry: dict[str, Any]) -> None:
        """Write a line, once all that was written to the file before is on the disk."""
        self.file.flush()
        os.fsync(self.file.file.fileno())
        known = {"end": self.file.tell(), "hash": self.file.digest.hexdigest()}
        line = json.dumps({**entry, **known}, separators=(",", ":"))
        self._journal.write(line.encode() + b"\n")
        self._journal.flush()
        os.fsync(self._journal.fileno())
        self._noted = time.monotonic()

    def finish(self, place: Path) -> None:
        """Give the file, which is complete and closed, another name."""
        self.path.replace(place)


@contextmanager
def unfinished(folder: Path, identity: list[Any]) -> Iterator[Unfinished | None]:
    """Provide the file that an earlier run left, or a new one; nothing if somebody else is writing it.

    What is left when the block fails, or this process dies, is found again by the same identity.

    Parameters
    ----------
    folder
        Where files and journals lie.
    identity
        What the result is made from and how; plain values.
    """
    if flock is None:
        yield None
        return
    key = hashlib.sha256(json.dumps([__version__, *identity]).encode(errors="surrogateescape")).hexdigest()[
        :32
    ]
    folder.mkdir(exist_ok=True)
    path, place = folder / key, folder / f"{key}.journal"
    with place.open("a+b") as journal:
        try:
            flock(journal, LOCK_EX | LOCK_NB)
        except OSError:
            journal.close()
            yield None
            return
        entries, length = _entries(journal)
        with path.open("a+b") as appended:
            if entries and appended.seek(0, os.SEEK_END) < entries[-1]["end"]:
                entries, length = [], 0
            appended.truncate(entries[-1]["end"] if entries else 0)
        journal.truncate(length)
        with path.open("r+b") as file:
            file.seek(0, os.SEEK_END)
            hashed = HashedFile(file)
            if entries and hashed.digest.hexdigest() != entries[-1]["hash"]:
                # Not the bytes that were written: all of it is made again.
                entries = []
                journal.truncate(0)
                file.seek(0)
                file.truncate()
                hashed = HashedFile(file)
            yield Unfinished(path, hashed, entries, journal)
        if not path.exists():
            place.unlink(missing_ok=True)


def _entries(journal: BinaryIO) -> tuple[list[dict[str, Any]], int]:
    """Return the lines of a journal up to the first that is not whole, and where they end."""
    journal.seek(0)
    entries, length = [], 0
    for line in journal:
        try:
            entry = json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n"):
            break
        entries.append(entry)
        length += len(line)
    return entries, length


def sweep(folder: Path) -> None:
    """Remove what nobody is writing any more, and the folder with it if nothing is left."""
    place = folder / NAME
    if not place.is_dir() or flock is None:
        return
    for journal in place.glob("*.journal"):
        with journal.open("rb") as file:
            try:
                flock(file, LOCK_EX | LOCK_NB)
            except OSError:
                continue
            journal.with_suffix("").unlink(missing_ok=True)
            journal.unlink(missing_ok=True)
    try:
        place.rmdir()
    except OSError:
        return  # somebody is still writing


Log = tuple[int, list[tuple[int, int]]]


class Progress:
    """What has been written of a result, page by page, for the journal.

    Parameters
    ----------
    kept
        The file and its journal; without one, nothing is noted.
    """

    def __init__(self, kept: Unfinished | None) -> None:
        self._kept = kept
        self.place: dict[str, Any] = {}
        self._written: dict[int, list[Log]] = {}
        self._sheets: dict[int, RowSheet] = {}
        for entry in kept.entries if kept else ():
            for number, log in entry["logs"]:
                self._written.setdefault(number, []).append(log)
            self.place = entry["place"]

    def restore(self, number: int, sheet: Sheet) -> None:
        """Let the sheet of a page know what the file holds of it, and hear of what is written to it."""
        if self._kept is None:
            return
        rows = cast("RowSheet", sheet)
        for position, log in self._written.pop(number, ()):
            rows.restore(position, log)
        self._sheets[number] = rows

    def reach(self, place: dict[str, Any], done: Container[int] = ()) -> None:
        """Say in the journal, when it is time, what is written; pages in `done` are complete.

        Raises
        ------
        LeftError
            When this process has been asked to end.
        """
        stopping = STOPPING.is_set()
        if self._kept is None or not (stopping or self._kept.is_due()):
            return
        logs = [(number, log) for number, sheet in self._sheets.items() if (log := sheet.log())[1]]
        self._sheets = {number: sheet for number, sheet in self._sheets.items() if number not in done}
        self._kept.note({"place": place, "logs": logs})
        if stopping:
            raise LeftError
