"""gzip and zstd around a file: reading tells them by their first bytes, writing by the suffix."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from filterworks.errors import FileError

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# Six is a third slower for one part in fifty.
_GZIP_LEVEL = 5


class Source(Protocol):
    """What gives bytes."""

    def read(self, size: int = ..., /) -> bytes:
        """Return so many bytes, fewer only at the end."""

    def readinto(self, room: memoryview, /) -> int:
        """Read as many bytes as there is room for, and return how many there were."""


@contextmanager
def opened(path: Path) -> Iterator[tuple[Source, Callable[[], float]]]:
    """Provide the content of a file, decompressed while it is read, and what share of it has been.

    Raises
    ------
    FileError
        If the compressed data are damaged or end too soon.
    """
    with path.open("rb") as file:
        magic = file.read(4)
        size = max(file.seek(0, 2), 1)
        file.seek(0)
        try:
            yield _decompressed(file, magic), lambda: file.tell() / size
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise FileError(f"{path}: its compressed data are damaged: {error}") from None
        except Exception as error:
            if type(error).__name__ != "ZstdError":  # not to load zstandard for every table
                raise
            raise FileError(f"{path}: its compressed data are damaged: {error}") from None


def _decompressed(file: io.BufferedReader, magic: bytes) -> Source:
    if magic.startswith(_GZIP):
        return gzip.GzipFile(fileobj=file)
    if magic.startswith(_ZSTD):
        import zstandard  # only for those files

        return _Zstd(file, zstandard.ZstdDecompressor)
    return file


class _Zstd(io.RawIOBase):
    """The content of a zstd file, frame after frame, that tells when the file ends too soon."""

    # A few bytes may stand for 128 KiB each: no more than about 100 MB come of one piece.
    _PIECE = 4096

    def __init__(self, file: BinaryIO, decompressor: Callable[[], Any]) -> None:
        self._file, self._decompressor = file, decompressor
        self._frame: Any = None
        self._input, self._ready = b"", b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts, length = [self._ready], len(self._ready)
        while size < 0 or length < size:
            piece = self._next()
            if piece is None:
                break
            parts.append(piece)
            length += len(piece)
        whole = b"".join(parts)
        cut = len(whole) if size < 0 else size
        self._ready = whole[cut:]
        return whole[:cut]

    def readinto(self, room: memoryview) -> int:  # type: ignore[override]  # other buffers do not come here
        data = self.read(len(room))
        room[: len(data)] = data
        return len(data)

    def _next(self) -> bytes | None:
        """Return what the next piece of the file holds; None at its end."""
        piece = self._input or self._file.read(self._PIECE)
        if not piece:
            if self._frame is not None:
                raise EOFError("it ends inside a frame")
            return None
        if self._frame is None:
            self._frame = self._decompressor().decompressobj()
        content: bytes = self._frame.decompress(piece)
        self._input = self._frame.unused_data if self._frame.eof else b""
        if self._frame.eof:
            self._frame = None
        return content


class Sink(Protocol):
    """What takes bytes."""

    def write(self, data: bytes | memoryview, /) -> int:
        """Write bytes."""


class _Plain:
    """A file that is written as it is."""

    def __init__(self, file: Sink) -> None:
        self._file = file

    def write(self, data: bytes | memoryview) -> None:
        """Write bytes."""
        self._file.write(data)

    def finish(self) -> None:
        """Write what is left."""


class _Compressed(_Plain):
    """A file written through a compressor that has ``compress`` and ``flush``."""

    def __init__(self, file: Sink, compressor: Any) -> None:
        super().__init__(file)
        self._compressor = compressor

    def write(self, data: bytes | memoryview) -> None:
        self._file.write(self._compressor.compress(data))

    def finish(self) -> None:
        self._file.write(self._compressor.flush())


def compressing(file: Sink, suffix: str) -> _Plain:
    """Return what writes into `file`, compressed as the suffix says; the same bytes every time."""
    if suffix.lower() == ".gz":
        # No name and no time in the header: one content, one file.
        return _Compressed(file, zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 31))
    if suffix.lower() == ".zst":
        import zstandard  # only for those files

        return _Compressed(file, zstandard.ZstdCompressor(level=3).compressobj())
    return _Plain(file)
