"""Object stores through fsspec: list a tree, know an object without reading it, fetch it, put it whole.

Credentials come from where each library looks for them (environment, ``~/.aws`` and their kin).
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from filterworks.errors import JobError
from filterworks.files.formats import is_store
from filterworks.files.retrying import StoreError, retried
from filterworks.files.urls import Url, is_hidden

# Which extra brings what a scheme needs.
_EXTRAS = {"s3": "s3", "gs": "gcs", "http": "http", "https": "http"}
# Of a response whose length the server does not tell, so many bytes are taken.
_LONGEST_UNTOLD = 4 << 30
# What tells one content from another, the best first: names differ from store to store.
_CHECKSUMS = ("ETag", "md5Hash", "crc32c", "etag", "Content-MD5", "Digest")
_TIMES = ("Last-Modified", "LastModified", "updated", "mtime", "created")
# What a store says where there is something that must not be replaced.
_STANDS = ("exists", "changed")
# Bytes that are held at once, per transfer.
PART = 16 << 20


@dataclass(frozen=True)
class Identity:
    """What tells an object apart without reading it.

    Attributes
    ----------
    size
        In bytes; -1 where the store does not tell.
    tag
        Its checksum or, where there is none, its time; may be empty.
    """

    size: int
    tag: str


class Store:
    """A bucket, or its like.

    Parameters
    ----------
    root
        Its address.
    system
        The fsspec file system.
    """

    def __init__(self, root: Url, system: Any) -> None:
        self.root, self.system = root, system

    def url(self, key: str) -> Url:
        """Return the address of an object or a folder."""
        return Url(self.root.scheme, self.root.root, key)

    def call(self, key: str, call: Callable[[], Any]) -> Any:
        """Make a call about an object, again while its failures are passing ones."""
        return retried(call, str(self.url(key)))

    def listed(
        self, folder: str, *, recursive: bool = True, hidden: bool = False
    ) -> Iterator[tuple[str, Identity]]:
        """Yield (name below the folder, identity) of every object; those of one folder come together.

        Parameters
        ----------
        folder
            Its key.
        recursive
            Whether those of its folders are listed, too; those of folders that are one image always are.
        hidden
            Whether hidden ones are listed, too; those inside a folder that is one image always are.
        """
        waiting = [(folder, hidden)]
        while waiting:
            place, everything = waiting.pop()
            below = []
            for name, info in self._entries(place):
                inside = f"{place}/{name}" if place else name
                if is_hidden(name) and not everything:
                    continue
                if info["type"] != "directory":
                    yield inside[len(folder) :].lstrip("/") if folder else inside, _identity(info)
                elif recursive or everything or is_store(name):
                    below.append((inside, everything or is_store(name)))
            waiting += reversed(below)

    def _entries(self, folder: str) -> list[tuple[str, Mapping[str, Any]]]:
        try:
            found = self.call(folder, lambda: self.system.ls(str(self.url(folder)), detail=True))
        except StoreError as error:
            if error.kind == "missing":
                return []
            raise
        named = [(str(info["name"]).rstrip("/").rpartition("/")[2], info) for info in found]
        return sorted(named, key=lambda one: one[0])

    def is_folder(self, key: str) -> bool:
        """Return whether there are objects below."""
        return next(self.listed(key, hidden=is_store(key)), None) is not None

    def identity(self, key: str) -> Identity | None:
        """Return what an object is known by, or None where there is none."""
        try:
            info = self.call(key, lambda: self.system.info(str(self.url(key))))
        except StoreError as error:
            if error.kind == "missing":
                return None
            raise
        return None if info["type"] == "directory" else _identity(info)

    def fetch(self, key: str, expected: Identity, place: Path) -> None:
        """Copy an object into a local file.

        Raises
        ------
        StoreError
            If it cannot be read, or is not what it was when it was listed.
        OSError
            If the local file cannot be written.
        """
        limit = expected.size if expected.size >= 0 else _LONGEST_UNTOLD
        options = {"headers": {"Accept-Encoding": "identity"}} if self.root.is_http else {}
        self.call(
            key,
            lambda: self.system.get_file(
                str(self.url(key)), str(place), callback=_limit(limit, str(self.url(key))), **options
            ),
        )
        whole = expected.size < 0 or place.stat().st_size == expected.size
        if not whole or self.identity(key) != expected:
            raise self.changed(key)

    def pieces(self, key: str, expected: Identity) -> Iterator[bytes]:
        """Yield the content of an object, some of it at a time.

        Raises
        ------
        StoreError
            If it cannot be read, or is not what it was when it was listed.
        """
        address = str(self.url(key))
        for start in range(0, expected.size, PART):
            stop = min(start + PART, expected.size)
            data = bytes(self.call(key, partial(self.system.cat_file, address, start=start, end=stop)))
            if len(data) != stop - start:
                raise self.changed(key)
            yield data
        if self.identity(key) != expected:
            raise self.changed(key)

    def changed(self, key: str) -> StoreError:
        """Return what to say of an object that is not what it was."""
        return StoreError(
            f"{self.url(key)}: has changed while the run was working; run the same command again", "changed"
        )

    def put(self, place: Path, key: str, *, replace: bool) -> Identity:
        """Copy a local file into an object: it is there whole or not at all.

        Raises
        ------
        StoreError
            If it cannot be written; of kind ``exists`` if there is another object and `replace` is false.
        """
        if not replace and self.identity(key) is not None:
            return self._same(place, key)
        how = self._how(replace)
        try:
            self.call(key, lambda: self.system.put_file(str(place), str(self.url(key)), **how))
        except StoreError as error:
            if how and error.kind in _STANDS:
                return self._same(place, key)
            raise
        found = self.identity(key)
        if found is None or found.size != place.stat().st_size:
            raise StoreError(
                f"{self.url(key)}: is not there after it was written; run the same command again"
            )
        return found

    def _same(self, place: Path, key: str) -> Identity:
        """Return the identity of an object that holds what the file does: an earlier answer was lost."""
        found = self.identity(key)
        if found is not None and found.size == place.stat().st_size:
            with place.open("rb") as file:
                if all(file.read(len(data)) == data for data in self.pieces(key, found)):
                    return found
        raise self.strange(key)

    def strange(self, key: str) -> StoreError:
        """Return what to say of an object that bears the name of a result."""
        return StoreError(
            f"{self.url(key)}: has appeared during the run and was not made by it; left as it is", "exists"
        )

    def read(self, key: str) -> bytes | None:
        """Return the content of a small object, or None where there is none."""
        try:
            return bytes(self.call(key, lambda: self.system.cat_file(str(self.url(key)))))
        except StoreError as error:
            if error.kind == "missing":
                return None
            raise

    def write(self, key: str, data: bytes, *, replace: bool) -> bool:
        """Write a small object; return False where there is one that must not be replaced."""
        if not replace and self.identity(key) is not None:
            return False
        how = self._how(replace)
        try:
            self.call(key, lambda: self.system.pipe_file(str(self.url(key)), data, **how))
        except StoreError as error:
            if how and error.kind in _STANDS:
                return self.read(key) == data  # the answer to an earlier try may have been lost
            raise
        return True

    def _how(self, replace: bool) -> dict[str, str]:
        """Return how to put so that the store itself refuses where there is something, if it can."""
        return {"mode": "create"} if self.root.scheme == "gs" and not replace else {}

    def remove(self, key: str) -> None:
        """Remove an object if it is there."""
        try:
            self.call(key, lambda: self.system.rm_file(str(self.url(key))))
        except StoreError as error:
            if error.kind != "missing":
                raise

    def drop_unfinished(self, folder: str, is_ours: Callable[[str], bool]) -> None:
        """Remove what killed uploads of ours left behind; most stores leave nothing."""


def _identity(info: Mapping[str, Any]) -> Identity:
    size = info.get("size")
    tag: object = next((info[name] for name in (*_CHECKSUMS, *_TIMES) if info.get(name)), "")
    if isinstance(tag, datetime.datetime):
        tag = tag.timestamp()
    return Identity(-1 if size is None else int(size), str(tag).strip('"'))


def _limit(size: int, shown: str) -> Any:
    """Return what stops a transfer that is longer than it was said to be: disks stay within bounds."""
    from fsspec.callbacks import Callback

    class Limit(Callback):  # type: ignore[misc]  # fsspec ships no types
        def relative_update(self, inc: int = 1) -> None:
            super().relative_update(inc)
            if self.value > size:
                raise StoreError(f"{shown}: is longer than the store said; it changed meanwhile", "changed")

    return Limit()


def needed(scheme: str) -> None:
    """Refuse a scheme whose library is not installed, naming the extra that brings it.

    Raises
    ------
    JobError
        If it is missing.
    """
    from fsspec import get_filesystem_class

    try:
        get_filesystem_class(scheme)
    except ImportError as error:
        extra = _EXTRAS[scheme]
        raise JobError(
            [f"{scheme}:// needs {error.name or extra}: pip install 'filterworks[{extra}]'"]
        ) from None


def store_of(url: Url) -> Store:
    """Return the store that an address lies in; one per process."""
    return _store(url.scheme, url.root)


@lru_cache(maxsize=64)
def _store(scheme: str, root: str) -> Store:
    needed(scheme)
    place = Url(scheme, root, "")
    if scheme == "s3":
        from filterworks.files.s3 import S3Store, s3_system

        return S3Store(place, s3_system())
    from fsspec import get_filesystem_class

    kind = get_filesystem_class(scheme)
    if scheme == "gs":
        # It warns on the terminal of every bucket whose kind it may not ask for, and goes on.
        logging.getLogger("gcsfs").addHandler(logging.NullHandler())
    if not place.is_http:
        return Store(place, kind(skip_instance_cache=True, use_listings_cache=False))
    from aiohttp import ClientTimeout

    # Proxies and ~/.netrc count; a large file may take long, a silent server may not.
    timeout = ClientTimeout(total=None, sock_connect=10, sock_read=30)
    return Store(place, kind(skip_instance_cache=True, client_kwargs={"trust_env": True, "timeout": timeout}))


def forget_stores() -> None:
    """Open stores anew when they are needed next, with the credentials and endpoints of then."""
    _store.cache_clear()
