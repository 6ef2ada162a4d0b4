"""What results are known by: SHA-256 of the SHA-256s of their pieces.

A piece can be hashed while the next one is still being made, and by several threads at once; the result
of a file of one piece is what ``sha256sum`` prints. SHA-256 is what processors have instructions for.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

from filterworks.batch.folders import digest_of
from filterworks.errors import FileError
from filterworks.files.keeping import Stretches

PIECE = 4 << 20


class Digest:
    """The hash of bytes that come one after the other.

    Examples
    --------
    >>> found = Digest()
    >>> found.update(b"abc")
    >>> found.hexdigest()[:8]
    'ba7816bf'
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._first = bytearray()
        self._piece = hashlib.sha256()
        self._room = PIECE

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes."""
        view = memoryview(data).cast("B")
        while len(view):
            part, view = view[: self._room], view[self._room :]
            if self._pieces:
                self._piece.update(part)
            else:
                self._first += part
            self._room -= len(part)
            if self._room == 0:
                # The first one is hashed last: it may be written again.
                self._pieces.append(b"" if not self._pieces else self._piece.digest())
                self._piece, self._room = hashlib.sha256(), PIECE

    def rewrite(self, start: int, data: bytes) -> bool:
        """Take other bytes for some in the first piece; return whether they lie there."""
        if start + len(data) > len(self._first):
            return False
        self._first[start : start + len(data)] = data
        return True

    def hexdigest(self) -> str:
        """Return the hash of all bytes."""
        first = hashlib.sha256(self._first)
        if not self._pieces:
            return first.hexdigest()
        pieces = [first.digest(), *self._pieces[1:]]
        if self._room < PIECE:
            pieces.append(self._piece.digest())
        return first.hexdigest() if len(pieces) == 1 else hashlib.sha256(b"".join(pieces)).hexdigest()


def digest(path: Path) -> str:
    """Return the hash of a file's content, or of all that a folder holds.

    Raises
    ------
    FileError
        If it is neither: a pipe might never end.
    OSError
        If it cannot be read.
    """
    mode = os.stat(path).st_mode  # noqa: PTH116  # called for every file of a tree
    if stat.S_ISDIR(mode):
        return digest_of(path, digest)
    if not stat.S_ISREG(mode):
        raise FileError(f"{path}: is not a regular file")
    return stretch_of(path, 0, None).hexdigest()


def stretch_of(path: Path, start: int, end: int | None) -> Digest:
    """Return the hash of what a file holds from one place to another, or to its end."""
    found = Digest()
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while data := file.read(PIECE if end is None else min(PIECE, end - file.tell())):
            found.update(data)
    return found


def write_hashed(path: str, data: memoryview) -> str:
    """Write a file in one go and return its hash."""
    with open(path, "wb", buffering=0) as file:  # noqa: PTH123  # called for every file of a tree
        written = file.write(data)
        while written < len(data):
            # Without a buffer the system may take a part only: the next call says why.
            written += file.write(data[written:])
    if len(data) <= PIECE:
        return hashlib.sha256(data).hexdigest()
    found = Digest()
    found.update(data)
    return found.hexdigest()


class HashedFile(io.RawIOBase):
    """A file that is hashed as it is written from its end on, but for its first bytes.

    Parameters
    ----------
    file
        Open for reading and writing, at its end.
    digest
        Of what it holds already; None: it was written in another order.
    stretches
        Told of everything that is written.

    Attributes
    ----------
    digest
        Of what it holds by now; None as soon as it is written in another order.
    end
        How long it is.
    """

    def __init__(self, file: BinaryIO, digest: Digest | None, stretches: Stretches | None = None) -> None:
        super().__init__()
        self.file, self.digest, self._stretches = file, digest, stretches
        self.end = self._position = file.tell()

    @property
    def known(self) -> tuple[str | None, int | None]:
        """The hash and the length, where the hash is known."""
        return (None, None) if self.digest is None else (self.digest.hexdigest(), self.end)

    @property
    def name(self) -> str:
        """The name of the file."""
        return str(self.file.name)

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]  # other buffers do not come here
        """Write, and take into the hash."""
        view = memoryview(data).cast("B")
        size = len(view)
        written = self.file.write(view)
        while written < size:
            # Without a buffer the system may take a part only: the next call says why.
            written += self.file.write(view[written:])
        if self._stretches is not None:
            self._stretches.add("", self._position, size)
        if self.digest is not None and not self._take(view):
            self.digest = None
        self._position += size
        self.end = max(self.end, self._position)
        return size

    def _take(self, data: bytes | memoryview) -> bool:
        """Take bytes into the hash, if they are the next ones or among the first."""
        assert self.digest is not None  # noqa: S101  # else this is not called
        if self._position == self.end:
            self.digest.update(data)
            return True
        return self.digest.rewrite(self._position, bytes(data))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place in the file."""
        self._position = self.file.seek(offset, whence)
        return self._position

    def tell(self) -> int:
        """Return the place in the file."""
        return self._position

    def flush(self) -> None:
        """Hand everything to the system."""
        self.file.flush()
