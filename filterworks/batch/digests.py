"""What results are known by: SHA-256 of the SHA-256s of their pieces.

A piece can be hashed while the next one is still being made, and by several threads at once; the result
of a file of one piece is what ``sha256sum`` prints. SHA-256 is what processors have instructions for.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import BinaryIO

from filterworks.batch.folders import digest_of

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

    def rewrite(self, start: int, data: bytes) -> None:
        """Take other bytes for some in the first piece."""
        if start + len(data) > len(self._first):
            raise ValueError("only bytes of the first piece can be written again")
        self._first[start : start + len(data)] = data

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
    """Return the hash of a file's content, or of all that a folder holds."""
    if path.is_dir():
        return digest_of(path, digest)
    found = Digest()
    with path.open("rb", buffering=0) as file:
        while data := file.read(PIECE):
            found.update(data)
    return found.hexdigest()


class HashedFile(io.RawIOBase):
    """A file that is written from its end on, but for its first bytes, and hashed on the way.

    Parameters
    ----------
    file
        Open for reading and writing, at its end: what it holds already is hashed first.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self.file, self.digest = file, Digest()
        self._end = self._position = left = file.tell()
        if left:
            file.seek(0)
        while left:
            data = file.read(min(left, PIECE))
            self.digest.update(data)
            left -= len(data)

    @property
    def size(self) -> int:
        """How many bytes the file holds."""
        return self._end

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
        if self._position == self._end:
            self.digest.update(view)
            self._end += size
        else:
            self.digest.rewrite(self._position, bytes(view))
        self._position += size
        return size

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
