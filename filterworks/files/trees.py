"""Folders of a store that are one image (``x.zarr``): known by their listing, fetched and put as one thing.

An object is put whole or not at all, a folder of them is not. So what makes a folder a Zarr store, the
metadata at its root, goes first when one is replaced and comes last: who opens it finds all or no store.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from filterworks.errors import FileError
from filterworks.files.below import make_below
from filterworks.files.formats import STORE_METADATA, tree_of
from filterworks.files.retrying import StoreError
from filterworks.files.stores import Identity, Store
from filterworks.files.urls import unsafe

# Objects of one folder that are on their way at once, and those that wait for their turn.
_ABREAST, _WAITING = 8, 64
_LARGEST = (1 << 63) - 1


class Sum:
    """What a folder of objects is known by: how many there are, their sizes, and names and tags of all.

    The order does not matter: stores differ in how they sort.
    """

    def __init__(self) -> None:
        self.count = self._size = self._names = 0

    def add(self, name: str, identity: Identity) -> None:
        """Take in an object by its name in the folder."""
        told = f"{len(name)} {name} {identity.size} {identity.tag}".encode(errors="surrogatepass")
        self.count += 1
        self._size += max(identity.size, 0)
        self._names += int.from_bytes(hashlib.sha256(told).digest(), "little")

    @property
    def identity(self) -> Identity:
        """Size and tag of the whole."""
        return Identity(min(self._size, _LARGEST), f"{self.count}-{self._names % (1 << 256):064x}")


def grouped(listing: Iterable[tuple[str, Identity]]) -> Iterator[tuple[str, Identity, str | None]]:
    """Yield (name, identity, why it cannot be used or None), a folder that is one image as one thing.

    Parameters
    ----------
    listing
        Names and identities, those of one folder one after the other; any number of them.
    """
    tree, whole, flaw = "", Sum(), None
    for name, identity in listing:
        found = tree_of(name)
        if tree and found != tree:
            yield tree, whole.identity, flaw
        if found is None:
            yield name, identity, None
        elif found != tree:
            whole, flaw = Sum(), None
        tree = found or ""
        if tree:
            inside = name[len(tree) + 1 :]
            whole.add(inside, identity)
            flaw = flaw or _flaw(inside)
    if tree:
        yield tree, whole.identity, flaw


def _flaw(inside: str) -> str | None:
    problem = unsafe(inside)
    return f"the object {inside[:100]!r} in it cannot be fetched: {problem}" if problem else None


def tree_identity(store: Store, key: str) -> Identity | None:
    """Return what a folder of objects is known by, or None if there are none."""
    whole = Sum()
    for name, identity in store.listed(key, hidden=True):
        whole.add(name, identity)
    return whole.identity if whole.count else None


def fetch_tree(store: Store, key: str, expected: Identity, place: Path) -> None:
    """Copy a folder of objects into a local folder that is not there yet.

    Raises
    ------
    FileError
        If it does not fit on this machine's disk, or has names that no files can have.
    StoreError
        If it cannot be read, or is not what it was when it was listed.
    OSError
        If the local files cannot be written.
    """
    shown = str(store.url(key))
    free = shutil.disk_usage(place.parent).free
    if expected.size > free:
        raise FileError(
            f"{shown}: its {expected.size >> 20:,} MiB have to be fetched as a whole, and {place.parent} has "
            f"only {free >> 20:,} MiB free"
        )
    place.mkdir()
    whole = Sum()

    def tasks() -> Iterator[Callable[[], None]]:
        for name, identity in store.listed(key, hidden=True):
            whole.add(name, identity)
            problem = _flaw(name)
            if problem:
                raise FileError(f"{shown}: {problem}")
            if whole.identity.size > expected.size:
                raise store.changed(key)  # of what was listed first, the disk has room for
            yield partial(_fetch, store, key, name, identity, place)

    _abreast(tasks())
    if not whole.count and store.identity(key) is not None:
        raise FileError(f"{shown}: is a single object; a Zarr store is a folder of them")
    if whole.identity != expected:
        raise store.changed(key)


def _fetch(store: Store, key: str, name: str, identity: Identity, place: Path) -> None:
    target = place / name
    try:
        make_below(place, target.parent)
        target.open("xb").close()
    except (FileExistsError, NotADirectoryError):
        raise FileError(
            f"{store.url(key)}: {name[:100]!r} and another object in it cannot both be files of this machine"
        ) from None
    store.fetch(f"{key}/{name}", identity, target)


def put_tree(store: Store, place: Path, key: str, *, replace: bool) -> Identity:
    """Copy a local folder into objects; what makes it a store of Zarr comes last.

    Parameters
    ----------
    store, place, key
        Where to, the folder, and what it becomes.
    replace
        Whether the objects that are there may be replaced and removed.

    Raises
    ------
    StoreError
        If it cannot be written; of kind ``exists`` if there are others' objects and `replace` is false.
    """
    if replace:
        _unmake(store, place, key)
        before: set[str] = set()
    else:
        before = _own_leftovers(store, place, key)
    whole, put, turn = Sum(), list[str](), threading.Lock()

    def send(name: str) -> None:
        identity = store.put(place / name, f"{key}/{name}", replace=replace)
        with turn:
            whole.add(name, identity)
            put.append(name)

    try:
        for names in _in_order(place):
            _abreast(partial(send, name) for name in names)
        if tree_identity(store, key) != whole.identity and not replace:
            _own_leftovers(store, place, key)
    except StoreError as error:
        if error.kind == "exists":
            # A stranger came in between: nothing of ours stays among what is not ours.
            with suppress(StoreError):
                _abreast(partial(store.remove, f"{key}/{name}") for name in put if name not in before)
        raise
    return whole.identity


def _unmake(store: Store, place: Path, key: str) -> None:
    """Make what is there no store any more, and remove of it what the new one lacks or completes it."""
    for name in STORE_METADATA:
        store.remove(f"{key}/{name}")

    def gone() -> Iterator[Callable[[], None]]:
        for name, _ in store.listed(key, hidden=True):
            is_metadata = name.rpartition("/")[2] in STORE_METADATA
            if is_metadata or unsafe(name) or not (place / name).is_file():
                yield partial(store.remove, f"{key}/{name}")

    _abreast(gone())


def _own_leftovers(store: Store, place: Path, key: str) -> set[str]:
    """Return what is there, if it may be of an earlier try: putting it again compares the content."""
    found: set[str] = set()
    for name, _ in store.listed(key, hidden=True):
        if unsafe(name) or not (place / name).is_file():
            raise StoreError(
                f"{store.url(key)}: has appeared during the run and was not made by it; left as it is",
                "exists",
            )
        found.add(name)
    return found


def _in_order(place: Path) -> Iterator[Iterator[str]]:
    """Yield the names of files below a folder in turns: chunks, metadata in it, metadata of the whole."""

    def names(wanted: Callable[[bool, str], bool]) -> Iterator[str]:
        for folder, _, files in os.walk(place):
            inside = Path(folder).relative_to(place).as_posix()
            is_root = inside == "."
            yield from (name if is_root else f"{inside}/{name}" for name in files if wanted(is_root, name))

    yield names(lambda _, name: name not in STORE_METADATA)
    yield names(lambda is_root, name: name in STORE_METADATA and not is_root)
    # The documents that make it a store are the first ones there.
    yield (name for name in reversed(STORE_METADATA) if (place / name).is_file())


def _abreast(calls: Iterable[Callable[[], None]]) -> None:
    """Make calls, several at a time; the first failure ends it."""
    flying: deque[Future[None]] = deque()
    with ThreadPoolExecutor(_ABREAST) as executor:
        try:
            for call in calls:
                flying.append(executor.submit(call))
                if len(flying) >= _WAITING:
                    flying.popleft().result()
            while flying:
                flying.popleft().result()
        finally:
            for future in flying:
                future.cancel()
