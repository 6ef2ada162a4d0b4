"""An open file with its limits: what a reader may trust before it allocates anything."""

from __future__ import annotations

import io
import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeVar

from filterworks.arguments import Array
from filterworks.errors import FileError

_Result = TypeVar("_Result")

MAX_PIXELS = 300_000_000
# Four 8-bit channels at the default limit: deeper images may have fewer pixels.
_MAX_BYTES_PER_PIXEL = 4
_MAX_METADATA = 256 << 20
# So much of a file is read at once when it is opened: all of a small one.
_BEGINNING = 64 << 10


class UnnamedFileError(FileError):
    """Why a file cannot be read or written; the caller who knows its path puts it in front."""


def decode_with(codec: Callable[..., _Result], *arguments: Any, **options: Any) -> _Result:
    """Call a decoder; whatever it raises becomes an :class:`UnnamedFileError`.

    Codecs raise dozens of types, some of them only for damaged data, so the net is wide, here and below only.
    """
    try:
        return codec(*arguments, **options)
    except Exception as error:
        raise UnnamedFileError(f"is corrupt: {_in_one_line(error)}") from error


def encode_with(codec: Callable[..., _Result], *arguments: Any, **options: Any) -> _Result:
    """Call an encoder; whatever it raises becomes an :class:`UnnamedFileError`."""
    try:
        return codec(*arguments, **options)
    except Exception as error:
        raise UnnamedFileError(f"cannot be encoded: {_in_one_line(error)}") from error


def _in_one_line(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "there is not enough memory for this image"
    return " ".join(str(error).split())[:200] or type(error).__name__


@dataclass(slots=True, eq=False)
class Source:
    """A regular, non-empty file that is open for reading, by one thread at a time.

    Parameters
    ----------
    file
        Open in binary mode, or all of a small file in memory.
    size
        Its length in bytes.
    max_pixels
        The largest number of pixels of one page.
    beginning
        Its first bytes, as far as they have been read already.
    """

    file: BinaryIO
    size: int
    max_pixels: int = MAX_PIXELS
    beginning: bytes = field(default=b"", repr=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def at(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset` on, or say that the file is truncated."""
        if length < 0 or offset < 0 or offset + length > self.size:
            raise UnnamedFileError(
                f"is truncated or corrupt: it ends at byte {self.size}, "
                f"but its header points to byte {offset + max(length, 0)}"
            )
        if offset + length <= len(self.beginning):
            return self.beginning[offset : offset + length]
        with self._turn:
            self.file.seek(offset)
            data = self.file.read(length)
        if len(data) != length:
            raise UnnamedFileError(
                f"is truncated: it changed while it was read, at byte {offset + len(data)}"
            )
        return data

    def read_into(self, offset: int, target: Array) -> None:
        """Fill a contiguous array with the bytes from `offset` on, without a copy."""
        if offset + target.nbytes > self.size:
            raise UnnamedFileError(
                f"is truncated: it ends at byte {self.size} and its pixels at byte {offset + target.nbytes}"
            )
        buffer = memoryview(target).cast("B")  # type: ignore[arg-type]  # arrays are buffers
        with self._turn:
            self.file.seek(offset)
            got = self.file.readinto(buffer)  # type: ignore[attr-defined]  # so are all files here
        if got != target.nbytes:
            raise UnnamedFileError("is truncated: it changed while it was read")

    def head(self, length: int) -> bytes:
        """Return the first `length` bytes, fewer where the file is shorter."""
        return self.at(0, min(length, self.size))

    def check_pixels(self, rows: int, columns: int, pixel_bytes: int) -> None:
        """Refuse sizes that no real picture has, before anything is allocated."""
        if rows < 1 or columns < 1:
            raise UnnamedFileError(f"is corrupt: it says that it holds {columns} × {rows} pixels")
        pixels = rows * columns
        if pixels > self.max_pixels:
            raise UnnamedFileError(
                f"holds {columns} × {rows} = {pixels:,} pixels, above the limit of "
                f"{self.max_pixels:,}; raise it with --max-pixels if the image is to be trusted"
            )
        limit = _MAX_BYTES_PER_PIXEL * max(self.max_pixels, MAX_PIXELS)
        if pixels * pixel_bytes > limit:
            raise UnnamedFileError(
                f"holds {columns} × {rows} pixels of {pixel_bytes} bytes, {pixels * pixel_bytes:,} bytes "
                f"in memory, above the limit of {limit:,}; raise it with --max-pixels"
            )

    def whole(self, decoded: int) -> bytes:
        """Return the whole file, unless it is far too long for an image of `decoded` bytes."""
        limit = 2 * decoded + _MAX_METADATA
        if self.size > limit:
            raise UnnamedFileError(
                f"is {self.size:,} bytes long, too long for the image of {decoded:,} bytes "
                "that its header names"
            )
        return self.at(0, self.size)


def system_reason(error: OSError) -> str:
    """Return what the system says, in words."""
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, IsADirectoryError):
        return "is a folder, not a file"
    return (error.strerror or str(error) or type(error).__name__).lower()


def open_source(path: str, max_pixels: int) -> Source:
    """Open `path`, which must be a regular file that is not empty."""
    # A FIFO would block in open(), so its kind is asked for first.
    mode = os.stat(path).st_mode  # noqa: PTH116  # called for every file of a tree
    if not stat.S_ISREG(mode):
        raise UnnamedFileError("is a folder, not a file" if stat.S_ISDIR(mode) else "is not a regular file")
    file = open(path, "rb", buffering=0)  # noqa: PTH123, SIM115  # as above; whoever reads the source closes it
    try:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise UnnamedFileError("is empty (0 bytes)")
        beginning = file.read(min(size, _BEGINNING))
        if size > len(beginning):
            return Source(io.BufferedReader(file), size, max_pixels, beginning)
    except BaseException:
        file.close()
        raise
    file.close()
    return Source(io.BytesIO(beginning), size, max_pixels, beginning)
