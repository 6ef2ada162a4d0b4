"""Large results that survive the death of their run, and are continued where they stood.

A result is a file or a folder. Beside it lies a journal: which bytes of which files were written, by their
hashes, and how far that is. A line of it is written once the bytes that it tells of are on the disk, so that
a run that is killed, or a machine that loses power, costs the work since the last line.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, cast

from filterworks import __version__
from filterworks.batch.digests import Digest, HashedFile, stretch_of
from filterworks.batch.folders import discard, files_of, write_through
from filterworks.batch.tasks import STOPPING, LeftError
from filterworks.errors import FileError, FilterworksError
from filterworks.files import RowSheet, Sheet, is_store
from filterworks.files.keeping import Stretches
from filterworks.files.source import UnnamedFileError

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # Windows: large results begin anew there
    flock = None  # type: ignore[assignment]

NAME = ".filterworks-unfinished"
# The journal gets a line at most so often, in seconds.
_EVERY = 1.0
# Of the time that passes, at most one part in so many is spent on lines: disks may be slow.
_PARTS = 10
# A journal that is removed while it is opened is made again so often; one that is held is not waited for.
_TRIES = 10
# What else may change the bytes of a result.
_LIBRARIES = ("numpy", "scipy", "cv2", "imagecodecs")
_Ends = dict[tuple[str, int], tuple[int, str]]


@dataclass
class Unfinished:
    """A result that is being written, and its journal.

    Attributes
    ----------
    path
        Of the result; a folder is there only if something was written to it before.
    file
        The result, unless it is a folder.
    stretches
        To be told of everything that is written to a folder.
    entries
        What the journal held, oldest first.
    """

    path: Path
    file: HashedFile | None
    stretches: Stretches
    entries: list[dict[str, Any]]
    _journal: BinaryIO
    _next: float = field(default_factory=lambda: time.monotonic() + _EVERY)

    def is_due(self) -> bool:
        """Return whether it is time for a line."""
        return time.monotonic() >= self._next

    def note(self, entry: dict[str, Any]) -> None:
        """Write a line, once all that was written before is on the disk."""
        start = time.monotonic()
        stretches = self.stretches.taken()
        if self.file is None:
            write_through(self.path)
        else:
            self.file.flush()
            os.fsync(self.file.file.fileno())
        if self.file is not None and self.file.digest is not None:
            files = [("", 0, self.file.end, self.file.digest.hexdigest())]
        else:
            files = [(*one, self._digest_of(*one)) for one in stretches]
        line = json.dumps({**entry, "files": files}, separators=(",", ":"))
        self._journal.write(line.encode() + b"\n")
        self._journal.flush()
        os.fsync(self._journal.fileno())
        now = time.monotonic()
        self._next = now + max(_EVERY, (_PARTS - 1) * (now - start))

    def _digest_of(self, name: str, start: int, end: int) -> str:
        return stretch_of(self.path / name, start, end).hexdigest()

    def finish(self, place: Path) -> None:
        """Give the result, which is complete and closed, another name."""
        self.path.replace(place)


@contextmanager
def unfinished(folder: Path, identity: list[Any], suffix: str) -> Iterator[Unfinished | None]:
    """Provide the result that an earlier run left, or a new one; nothing if somebody else is writing it.

    What is left when the block fails, or this process dies, is found again by the same identity; not so
    where the block fails for a reason that stays: an input that is corrupt.

    Parameters
    ----------
    folder
        Where results and journals lie.
    identity
        What the result is made from and how; plain values.
    suffix
        Of the result.
    """
    if flock is None:
        yield None
        return
    made_by = [__version__, *(import_module(library).__version__ for library in _LIBRARIES)]
    text = json.dumps([*made_by, *identity]).encode(errors="surrogateescape")
    key = hashlib.sha256(text).hexdigest()[:32]
    path, place = folder / f"{key}{suffix}", folder / f"{key}.journal"
    journal = _held(place)
    if journal is None:
        yield None
        return
    with journal:
        os.utime(place)
        entries, digest = _left(path, journal)
        stretches = Stretches()
        try:
            with nullcontext() if is_store(path.name) else path.open("r+b" if entries else "w+b") as file:
                hashed = None if file is None else HashedFile(_at_end(file), digest, stretches)
                yield Unfinished(path, hashed, stretches, entries, journal)
        except FilterworksError as error:
            if _stays(error):
                discard(path)
            raise
        finally:
            if not path.exists():
                place.unlink(missing_ok=True)


def _held(place: Path) -> BinaryIO | None:
    """Open a journal for this process alone; None if somebody else has it.

    At every step the end of another run may remove what nobody holds yet, the folder included.
    """
    for _ in range(_TRIES):
        try:
            with suppress(FileExistsError):  # also where it has just been there
                place.parent.mkdir()
            journal = place.open("a+b")
        except FileNotFoundError:
            if not place.parent.parent.is_dir():
                raise
            continue
        if _is_ours(journal, place):
            return journal
        journal.close()
    return None


def _is_ours(journal: BinaryIO, place: Path) -> bool:
    """Lock a journal that is open; False if somebody else has, or if it is not there any more."""
    try:
        flock(journal, LOCK_EX | LOCK_NB)
        return os.path.samestat(os.fstat(journal.fileno()), place.stat())
    except OSError:
        return False


def _stays(error: BaseException | None) -> bool:
    """Whether the same would fail again: what a file holds was the reason, not a disk, a share or memory."""
    causes = []
    while error is not None:
        causes.append(error)
        error = error.__cause__
    is_content = any(
        isinstance(cause, UnnamedFileError)
        or (isinstance(cause, FilterworksError) and not isinstance(cause, FileError))
        for cause in causes
    )
    return is_content and not any(isinstance(cause, (OSError, MemoryError)) for cause in causes)


def _at_end(file: BinaryIO) -> BinaryIO:
    file.seek(0, os.SEEK_END)
    return file


def _left(path: Path, journal: BinaryIO) -> tuple[list[dict[str, Any]], Digest | None]:
    """Return the lines of a journal, and the hash of a file that was written from its beginning to its end.

    What the journal does not tell of is removed; all is, if what it tells of is not there.
    """
    entries, length = _entries(journal)
    ends: _Ends = {}
    digest: Digest | None = Digest()
    try:
        for entry in entries:
            ends.update({(name, start): (end, known) for name, start, end, known in entry.pop("files")})
        if entries and _is_cut(path, ends):
            journal.truncate(length)
            for (name, start), (end, known) in ends.items():
                digest = stretch_of(path / name, start, end)
                if digest.hexdigest() != known:
                    break
            else:
                return entries, digest if list(ends) == [("", 0)] else None
    except (FileNotFoundError, NotADirectoryError, LookupError, ValueError, TypeError, AttributeError):
        pass  # neither is it intact, nor a journal of ours
    discard(path)
    journal.truncate(0)
    return [], Digest()


def _is_cut(path: Path, ends: _Ends) -> bool:
    """Remove what the journal does not tell of, and return whether the files are as long as it says."""
    lengths: dict[str, int] = {}
    for (name, _), (end, _) in ends.items():
        lengths[name] = max(lengths.get(name, 0), end)
    for name in files_of(path) if path.is_dir() else [""]:
        if name not in lengths:
            (path / name).unlink()
        elif (path / name).stat().st_size < lengths[name]:
            return False
        else:
            os.truncate(path / name, lengths[name])
    return True


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


def sweep(folder: Path, before: int) -> None:
    """Remove what nobody is writing any more, and the folder with it if nothing is left.

    Parameters
    ----------
    folder
        Of the results.
    before
        What somebody began or continued since then, in nanoseconds, is kept.
    """
    place = folder / NAME
    if flock is None:
        return
    try:
        for journal in list(place.glob("*.journal")):
            with suppress(FileNotFoundError), journal.open("rb") as file:  # whoever held it has removed it
                if _is_ours(file, journal) and os.fstat(file.fileno()).st_mtime_ns < before:
                    # The journal last: while it bears its name, nobody begins the same anew.
                    for left in sorted(place.glob(f"{journal.stem}*"), key=journal.__eq__):
                        discard(left)
        place.rmdir()
    except OSError:
        return  # it is not there, or somebody is still writing, or could not


class Progress:
    """What has been written of a result, sheet by sheet, for the journal.

    Parameters
    ----------
    kept
        The result and its journal; without one, nothing is noted.
    """

    def __init__(self, kept: Unfinished | None) -> None:
        self._kept = kept
        self.place: dict[str, Any] = {}
        self._count = 0
        self._written: dict[int, list[list[Any]]] = {}
        self._sheets: dict[int, RowSheet] = {}
        for entry in kept.entries if kept else ():
            for number, log in entry["logs"]:
                self._written.setdefault(number, []).append(log)
            self.place = entry["place"]

    def restore(self, sheet: Sheet) -> int:
        """Let a sheet know what the result holds of it, and hear of what is written to it; return its number.

        Sheets come in the same order in every run.
        """
        number, self._count = self._count, self._count + 1
        if self._kept is not None:
            rows = cast("RowSheet", sheet)
            for log in self._written.pop(number, ()):
                rows.restore(log)
            self._sheets[number] = rows
        return number

    def reach(self, place: dict[str, Any], done: Container[int] = ()) -> None:
        """Say in the journal, when it is time, what is written; the sheets in `done` are complete.

        Nothing is said while rows wait for those of other pages: they are not in the result yet.

        Raises
        ------
        LeftError
            When this process has been asked to end.
        """
        stopping = STOPPING.is_set()
        if self._kept is None or not (stopping or self._kept.is_due()):
            return
        if any(sheet.waits for sheet in self._sheets.values()):
            return
        logs = [(number, log) for number, sheet in self._sheets.items() if (log := sheet.log())]
        self._sheets = {number: sheet for number, sheet in self._sheets.items() if number not in done}
        self._kept.note({"place": place, "logs": logs})
        if stopping:
            raise LeftError
