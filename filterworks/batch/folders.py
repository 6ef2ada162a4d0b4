"""Results and inputs that are folders (Zarr stores): size, hash, and how one takes another's place."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from filterworks.files import is_store

# Of Linux (sync_file_range(2)): begin to write what has not been written; offsets have 64 bits.
_BEGIN = 2
_OFFSET = ctypes.c_int64


def identity(path: str | Path) -> tuple[int, int]:
    """Return the size and the time of change of a file, or of all that a folder holds.

    A folder's time is that of the newest thing in it, folders included: a chunk that is written anew,
    added or removed changes it.

    Raises
    ------
    OSError
        If there is nothing at this path.
    """
    status = os.stat(path)  # noqa: PTH116  # called for every file of a tree
    if not stat.S_ISDIR(status.st_mode):
        return status.st_size, status.st_mtime_ns
    size, newest = 0, status.st_mtime_ns
    for entry in _entries(str(path)):
        status = entry.stat(follow_symlinks=False)
        newest = max(newest, status.st_mtime_ns)
        if not entry.is_dir(follow_symlinks=False):
            size += status.st_size
    return size, newest


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """Yield everything below a folder, links not followed, in no order."""
    with os.scandir(folder) as entries:
        for entry in entries:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(entry.path)


def digest_of(folder: Path, digest: Callable[[Path], str]) -> str:
    """Return the hash of a folder: of the names of its files in order, each followed by the file's own hash.

    Parameters
    ----------
    folder
        Links in it count as what they lead to.
    digest
        Returns the hash of a file.
    """
    names = sorted(map(os.fsencode, files_of(folder)))
    return joined((name, digest(folder / os.fsdecode(name))) for name in names)


def joined(files: Iterable[tuple[bytes, str]]) -> str:
    """Return the hash of a folder from the names of its files, in order, and their hashes."""
    whole = hashlib.sha256()
    for name, content in files:
        whole.update(len(name).to_bytes(8, "little") + name)
        whole.update(bytes.fromhex(content))
    return str(whole.hexdigest())


def files_of(folder: Path) -> Iterator[str]:
    """Yield the names of the files below a folder, in no order."""
    for entry in _entries(str(folder)):
        if not entry.is_dir(follow_symlinks=False):
            yield os.path.relpath(entry.path, folder)


def begin_writing(file: BinaryIO) -> None:
    """Let the disk begin with a file that is complete, where it can be told to; do not wait for it."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).sync_file_range(file.fileno(), _OFFSET(0), _OFFSET(0), _BEGIN)


def write_through(folder: Path) -> None:
    """Wait until the disk has everything of the file system that `folder` is on."""
    try:
        place = os.open(folder, os.O_RDONLY)
    except OSError:
        return  # it has vanished, or folders cannot be opened here
    try:
        ctypes.CDLL(None).syncfs(place)
    except (AttributeError, OSError, TypeError):
        getattr(os, "sync", lambda: None)()
    finally:
        os.close(place)


def discard(path: Path) -> None:
    """Remove a file or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def give_name(partial: str, place: str) -> None:
    """Give a finished result its name; what has it so far is replaced as a whole.

    Files are replaced in one step. What a folder replaces is moved aside first: after a crash between the two
    steps the ledger has a record whose result is missing, and it is made again.
    """
    if not (is_store(partial) and os.path.isdir(partial) and os.path.lexists(place)):  # noqa: PTH112  # called for every file of a tree
        os.replace(partial, place)  # noqa: PTH105  # as above
        return
    aside = Path(f"{partial}-old")
    Path(place).rename(aside)
    try:
        Path(partial).rename(place)
    except OSError:
        aside.rename(place)
        raise
    discard(aside)
