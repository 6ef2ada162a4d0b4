"""Inputs and results wherever they lie: their size, their hash, and a copy of them on this machine."""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Protocol

from filterworks.batch.digests import Digest, digest
from filterworks.batch.folders import discard, identity, joined
from filterworks.files import is_store
from filterworks.files.stores import Identity, store_of
from filterworks.files.trees import fetch_tree, tree_identity
from filterworks.files.urls import Url, is_url, parse_url

# Longer ones are no suffixes but parts of a name.
_SUFFIX = 12
# Objects of one folder that are hashed at once.
_ABREAST = 4


class Located(Protocol):
    """A file or a folder that is one image, here or in a store.

    FileNotFoundError: there is none; OSError or StoreError: it cannot be read.
    """

    @property
    def size(self) -> int:
        """Of all that it holds, in bytes."""

    def is_same(self, size: int, mtime_ns: int, tag: str) -> bool:
        """Return whether it is what was recorded, as far as can be told without reading it."""

    def digest(self) -> str:
        """Return the hash of what it holds."""

    def at_hand(self, scratch: Path) -> AbstractContextManager[Path]:
        """Provide it on this machine's disk, in a folder if it has to be fetched."""


def located(path: str) -> Located:
    """Return what lies at a path or an address."""
    return _InStore(parse_url(path)) if is_url(path) else _Here(Path(path))


class _Here:
    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def size(self) -> int:
        return identity(self._path)[0]

    def is_same(self, size: int, mtime_ns: int, tag: str) -> bool:
        return identity(self._path) == (size, mtime_ns)

    def digest(self) -> str:
        return digest(self._path)

    def at_hand(self, scratch: Path) -> AbstractContextManager[Path]:
        return nullcontext(self._path)


class _InStore:
    def __init__(self, url: Url) -> None:
        self._url, self._store = url, store_of(url)

    @cached_property
    def _found(self) -> tuple[Identity, bool]:
        """What it is known by, and whether it is a folder."""
        folder = tree_identity(self._store, self._url.key) if is_store(self._url.name) else None
        found = folder or self._store.identity(self._url.key)
        if found is None:
            raise FileNotFoundError(str(self._url))
        return found, folder is not None

    @property
    def size(self) -> int:
        return self._found[0].size

    def is_same(self, size: int, mtime_ns: int, tag: str) -> bool:
        return self._found[0] == Identity(size, tag)

    def digest(self) -> str:
        found, is_folder = self._found
        return self._digest_of_folder() if is_folder else self._digest(self._url.key, found)

    def _digest(self, key: str, found: Identity) -> str:
        whole = Digest()
        for piece in self._store.pieces(key, found):
            whole.update(piece)
        return whole.hexdigest()

    def _digest_of_folder(self) -> str:
        def named(row: tuple[bytes, int, str]) -> tuple[bytes, str]:
            name, size, tag = row
            return name, self._digest(f"{self._url.key}/{os.fsdecode(name)}", Identity(size, tag))

        # Sorted on disk: there may be millions, and not every store lists them in order.
        with closing(sqlite3.connect("")) as there, ThreadPoolExecutor(_ABREAST) as executor:
            there.execute("CREATE TABLE there (name BLOB PRIMARY KEY, size INTEGER, tag TEXT)")
            listing = self._store.listed(self._url.key, hidden=True)
            there.executemany(
                "INSERT INTO there VALUES (?, ?, ?)",
                ((os.fsencode(name), one.size, one.tag) for name, one in listing),
            )
            rows = there.execute("SELECT * FROM there ORDER BY name")
            some = iter(lambda: list(islice(rows, 16 * _ABREAST)), [])
            return joined(pair for batch in some for pair in executor.map(named, batch))

    def at_hand(self, scratch: Path) -> AbstractContextManager[Path]:
        return fetched(self._url, self._found[0], scratch / uuid.uuid4().hex)


@contextmanager
def fetched(url: Url, expected: Identity, beside: Path) -> Iterator[Path]:
    """Provide a copy of an object, or of a folder of them that is one image, as long as it is needed.

    Parameters
    ----------
    url
        Its address.
    expected
        What it was when it was listed.
    beside
        What the name of the copy begins with.

    Raises
    ------
    StoreError
        If it cannot be read, or is not what it was.
    """
    suffixes = [suffix for suffix in PurePosixPath(url.name).suffixes[-2:] if len(suffix) <= _SUFFIX]
    place = beside.with_name(f"{beside.name}-input{''.join(suffixes)}")
    store = store_of(url)
    try:
        if is_store(url.name):
            fetch_tree(store, url.key, expected, place)
        else:
            store.fetch(url.key, expected, place)
        yield place
    finally:
        discard(place)
