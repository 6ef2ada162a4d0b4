"""The files of a Zarr store: read by name, never outside of their folder; and room on disk for what waits."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from filterworks.arguments import Array
from filterworks.files.source import UnnamedFileError

_MAX_JSON = 64 << 20


class Files(ABC):
    """What a store consists of: files that are read by their names, with ``/`` between the parts."""

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Return the length of a file; None if there is none of this name."""

    @abstractmethod
    def below(self, name: str) -> Iterator[tuple[str, bool]]:
        """Yield (name, whether it is a folder) of what lies in a folder, in order."""

    @abstractmethod
    def pieces(self, name: str) -> Iterator[bytes] | None:
        """Return the content of a file piece by piece; None if there is none of this name."""

    @abstractmethod
    def stored(self) -> Iterator[int]:
        """Yield numbers of bytes that add up to what is stored."""

    @abstractmethod
    def read(self, name: str, limit: int, start: int = 0, length: int | None = None) -> bytes | None:
        """Return the content of a file, or `length` bytes from `start` on; None if there is no such file."""

    def json(self, name: str) -> dict[str, Any] | None:
        """Return the object in a file of metadata; None if there is no such file."""
        data = self.read(name, _MAX_JSON)
        if data is None:
            return None
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise UnnamedFileError(f"is corrupt: {name} in it is not JSON: {error}") from None
        if not isinstance(found, dict):
            raise UnnamedFileError(f"is corrupt: {name} in it is not a JSON object")
        return found


def checked_count(name: str, size: int, limit: int, start: int, length: int | None) -> int:
    """Return how many bytes are to be read of a file of this size: at most `limit`, none behind its end."""
    count = size - start if length is None else length
    if count < 0 or start < 0 or start + count > size:
        raise UnnamedFileError(f"is corrupt: {name} in it has only {size:,} bytes")
    if count > limit:
        raise UnnamedFileError(f"is corrupt: {name} in it has {count:,} bytes where at most {limit:,} can be")
    return count


class Folder(Files):
    """A folder of files.

    Links that lead out of it are refused, and so is everything that is neither a folder nor a file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real = os.path.realpath(root)
        self._inside: set[str] = set()

    def _open(self, name: str) -> BinaryIO | None:
        """Open a file for reading; None if there is none of this name."""
        place = os.path.join(self.root, name)  # noqa: PTH118  # called for every chunk
        try:
            status = os.lstat(place)
            if stat.S_ISLNK(status.st_mode):
                self._check(place, name)
                status = os.stat(place)  # noqa: PTH116  # as above
        except (FileNotFoundError, NotADirectoryError):
            return None
        parent = place[: -len(name.rpartition("/")[2])]
        if parent not in self._inside:
            self._check(parent, name)
            self._inside.add(parent)
        if not stat.S_ISREG(status.st_mode):  # a pipe would wait for ever
            raise UnnamedFileError(f"{name} in it is not a regular file")
        return open(place, "rb")  # noqa: PTH123  # as above

    def _check(self, place: str, name: str) -> None:
        real = os.path.realpath(place)
        if real != self._real and not real.startswith(self._real + os.sep):
            raise UnnamedFileError(f"{name} in it is a link that leads out of it, to {real}")

    def read(self, name: str, limit: int, start: int = 0, length: int | None = None) -> bytes | None:
        """Return the content of a file, or `length` bytes from `start` on; None if there is no such file."""
        file = self._open(name)
        if file is None:
            return None
        with file:
            size = os.fstat(file.fileno()).st_size
            count = checked_count(name, size, limit, start, length)
            file.seek(start)
            return file.read(count)

    def size(self, name: str) -> int | None:
        """Return the length of a file; None if there is none of this name."""
        file = self._open(name)
        if file is None:
            return None
        with file:
            return os.fstat(file.fileno()).st_size

    def pieces(self, name: str) -> Iterator[bytes] | None:
        """Return the content of a file piece by piece; None if there is none of this name."""
        file = self._open(name)
        return None if file is None else _pieces(file)

    def stored(self) -> Iterator[int]:
        """Yield the lengths of all files."""
        for place, _, names in os.walk(self.root):
            for name in names:
                yield os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118  # many files

    def below(self, name: str) -> Iterator[tuple[str, bool]]:
        """Yield (name, whether it is a folder) of what lies in a folder, in order."""
        place = self.root / name if name else self.root
        for entry in sorted(os.scandir(place), key=lambda entry: entry.name):
            inside = f"{name}/{entry.name}" if name else entry.name
            if entry.is_symlink():
                self._check(entry.path, inside)
                if entry.is_dir():
                    raise UnnamedFileError(f"{inside} in it is a link to a folder, which is not followed")
            yield inside, entry.is_dir()


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while data := file.read(1 << 20):
            yield data


def is_inside(name: str) -> bool:
    """Return whether a path, with ``/`` between its parts, cannot lead out of where it begins."""
    parts = name.split("/")
    return not any(part in ("", ".", "..") or "\\" in part or ":" in part or "\0" in part for part in parts)


def inside(name: object) -> str:
    """Return a path that metadata name, if it cannot lead out of the store."""
    if not isinstance(name, str) or not is_inside(name):
        raise UnnamedFileError(f"is corrupt: its metadata name an array {str(name)[:100]!r}")
    return name


class Spool:
    """Cells of equal size in a file without a name, which vanishes with its process.

    Planes that share chunks pass through it one after the other: every chunk is unpacked and packed once,
    and memory does not depend on how many planes share it.

    Parameters
    ----------
    folder
        Where the file is made; None: where the system keeps such files.
    cell
        Bytes of a cell.
    per_slot
        Cells that are taken and given back together.
    """

    def __init__(self, folder: Path | None, cell: int, per_slot: int) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  # closed by close()
        # Or by a failure that ends all.
        weakref.finalize(self, self._file.close)
        self._cell, self._per_slot = cell, per_slot
        self._free: list[int] = []
        self._slots = 0
        self._turn = threading.Lock()

    def take(self) -> int:
        """Return the first cell of a free slot."""
        if self._free:
            return self._free.pop()
        self._slots += 1
        return (self._slots - 1) * self._per_slot

    def give_back(self, first: int) -> None:
        """Let the slot that begins with this cell be taken again."""
        self._free.append(first)

    def write(self, cell: int, values: Array) -> None:
        """Keep the values of one or more cells."""
        left = _bytes(np.ascontiguousarray(values))
        with self._turn:
            self._file.seek(cell * self._cell)
            while left:
                left = left[self._file.write(left) :]

    def read(self, cell: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Return the values of as many cells as the shape has room for; of others than were written, any."""
        values = np.empty(shape, dtype)
        left = _bytes(values)
        with self._turn:
            self._file.seek(cell * self._cell)
            while left:
                got = self._file.readinto(left)
                if not got:  # behind the last cell that was written
                    break
                left = left[got:]
        return values

    def close(self) -> None:
        """Give the room back."""
        self._file.close()


def _bytes(values: Array) -> memoryview:
    return memoryview(values.reshape(-1).view(np.uint8))  # type: ignore[arg-type]  # arrays are buffers
