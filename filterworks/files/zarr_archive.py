"""The files of a Zarr store in one zip file, as zarr-python's ZipStore writes it; read where they are.

Source: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT. What a zip file says is data of
strangers: names that lead out of it, sizes that its bytes do not bear out, more files than anybody needs.
"""

from __future__ import annotations

import os
import struct
import tempfile
import threading
import weakref
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import IO, NamedTuple

from filterworks.files.formats import STORE_METADATA
from filterworks.files.source import MAX_PIXELS, Source, UnnamedFileError, open_source
from filterworks.files.zarr_folder import Files, checked_count, is_inside

_END = struct.Struct("<4s4H2IH")
_END_64_PLACE = struct.Struct("<4sIQI")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_COMMENT = 0xFFFF
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _UTF8 = 1, 0x800
_ELSEWHERE = 0xFFFFFFFF
_MOST_FILES, _LARGEST_LIST = 1 << 20, 128 << 20
# Folders in each other that a result may have.
_DEEPEST = 200
_PIECE = 1 << 20
# What is unpacked onto the disk may take so many times the length of the whole, and so much in any case.
_MOST_PER_BYTE, _UNPACKED = 16, 256 << 20


class Member(NamedTuple):
    """Where a file lies in the archive, how it is packed, its length there and its own, and its checksum."""

    offset: int
    method: int
    packed: int
    size: int
    crc: int


class Archive(Files):
    """A zip file whose files are read by their names, with ``/`` between the parts.

    Files are stored or deflated; of two with one name the later one counts, as for zarr-python. Where all lie
    in one folder, that is the store.

    Parameters
    ----------
    root
        The file.
    scratch
        A folder for files without a name; None: where the system keeps such files.
    """

    def __init__(self, root: Path, scratch: Path | None = None) -> None:
        self.root, self._scratch = root, scratch
        self._loose: IO[bytes] | None = None
        self._places: dict[str, int] = {}
        self._turn = threading.Lock()
        self._source = open_source(str(root), MAX_PIXELS)
        weakref.finalize(self, self._source.file.close)
        self._members = dict(_members(self._source))
        self._names = sorted(self._members)
        self._on_disk = 0
        self._top = ""
        tops = list(self.below(""))
        if len(tops) == 1 and any(f"{tops[0][0]}/{name}" in self._members for name in STORE_METADATA):
            self._top = f"{tops[0][0]}/"

    def stored(self) -> Iterator[int]:
        """Yield numbers of bytes that add up to what is stored; files that overlap do not count twice."""
        yield self._source.size

    def size(self, name: str) -> int | None:
        """Return the length of a file; None if there is none of this name."""
        member = self._members.get(self._top + name)
        return None if member is None else member.size

    def below(self, name: str) -> Iterator[tuple[str, bool]]:
        """Yield (name, whether it is a folder) of what lies in a folder, in order."""
        folder = f"{self._top}{name}/" if name else self._top
        found, at = set(), bisect_left(self._names, folder)
        while at < len(self._names) and self._names[at].startswith(folder):
            one, slash, _ = self._names[at][len(folder) :].partition("/")
            found.add((one, bool(slash)))
            # Past all that lies in it: nothing else sorts between these two.
            at = bisect_left(self._names, f"{folder}{one}0", at) if slash else at + 1
        for one, is_folder in sorted(found):
            yield f"{name}/{one}" if name else one, is_folder

    def pieces(self, name: str) -> Iterator[bytes] | None:
        """Return the content of a file piece by piece; None if there is none of this name."""
        member = self._members.get(self._top + name)
        if member is None:
            return None
        self._on_disk += member.size
        if self._on_disk > _MOST_PER_BYTE * self._source.size + _UNPACKED:
            raise UnnamedFileError(
                f"has {self._source.size:,} bytes, and what is to be unpacked of it takes "
                f"{self._on_disk:,} and more; unpack it yourself if it is to be trusted"
            )
        return self._unpacked(name, member)

    def read(self, name: str, limit: int, start: int = 0, length: int | None = None) -> bytes | None:
        """Return the content of a file, or `length` bytes from `start` on; None if there is no such file."""
        member = self._members.get(self._top + name)
        if member is None:
            return None
        count = checked_count(name, member.size, limit, start, length)
        if count == member.size:
            return b"".join(self._unpacked(name, member))
        if member.method == _STORED:
            return self._source.at(self._data(name, member) + start, count)
        return self._part(name, start, count)

    def _part(self, name: str, start: int, count: int) -> bytes:
        """Return some bytes of a deflated file (a shard), which is unpacked once, onto the disk."""
        with self._turn:
            if self._loose is None:
                self._loose = tempfile.TemporaryFile(dir=self._scratch)  # noqa: SIM115  # closed with the archive
                weakref.finalize(self, self._loose.close)
            if name not in self._places:
                place = self._loose.seek(0, os.SEEK_END)
                self._loose.writelines(self.pieces(name) or ())
                self._places[name] = place
            self._loose.seek(self._places[name] + start)
            return self._loose.read(count)

    def _data(self, name: str, member: Member) -> int:
        """Return where the bytes of a file begin."""
        local = _LOCAL.unpack(self._source.at(member.offset, _LOCAL.size))
        if local[0] != b"PK\x03\x04":
            raise UnnamedFileError(f"is corrupt: {name} does not lie where its list says")
        return member.offset + _LOCAL.size + int(local[9]) + int(local[10])

    def _unpacked(self, name: str, member: Member) -> Iterator[bytes]:
        """Yield the content of a file, never more than it should have, and compare its checksum."""
        size = crc = 0
        packed = self._packed(name, member)
        for piece in packed if member.method == _STORED else _inflated(packed, name):
            size, crc = size + len(piece), zlib.crc32(piece, crc)
            if size > member.size:
                break
            yield piece
        if (size, crc) != (member.size, member.crc):
            raise _other_than_said(name)

    def _packed(self, name: str, member: Member) -> Iterator[bytes]:
        """Yield the bytes of a file as they lie in the archive."""
        place = self._data(name, member)
        for start in range(0, member.packed, _PIECE):
            yield self._source.at(place + start, min(_PIECE, member.packed - start))


def _inflated(packed: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Yield what deflated bytes hold, a piece at a time; they must end where it ends."""
    unpack = zlib.decompressobj(-zlib.MAX_WBITS)
    for given in packed:
        waiting = given
        if unpack.eof:
            raise _other_than_said(name)
        # All may be taken in while some of what it holds is still to come.
        while not unpack.eof:
            try:
                piece = unpack.decompress(waiting, _PIECE)
            except zlib.error as error:
                raise UnnamedFileError(f"is corrupt: {name} in it cannot be unpacked: {error}") from None
            waiting = unpack.unconsumed_tail
            if not piece and not waiting:
                break
            yield piece
    if not unpack.eof or unpack.unused_data:
        raise _other_than_said(name)


def _other_than_said(name: str) -> UnnamedFileError:
    return UnnamedFileError(f"is corrupt: {name} in it is not what its length and checksum say")


def _members(source: Source) -> Iterator[tuple[str, Member]]:
    """Yield the names of all files, and where they are."""
    count, length, place = _list_of(source)
    if count > _MOST_FILES or length > _LARGEST_LIST:
        raise UnnamedFileError(
            f"says that it holds {count:,} files, more than {_MOST_FILES:,} or with names that are too long; "
            "unpack it first"
        )
    entries = memoryview(source.at(place, length))
    at = 0
    for _ in range(count):
        entry = _ENTRY.unpack_from(entries, at) if at + _ENTRY.size <= length else (b"",)
        ends = list(accumulate(entry[10:13], initial=at + _ENTRY.size))
        if entry[0] != b"PK\x01\x02" or ends[-1] > length:
            raise UnnamedFileError("is corrupt: the list of its files is not whole")
        name = _name(bytes(entries[ends[0] : ends[1]]), entry[3])
        if not is_inside(name.removesuffix("/")) or name.count("/") > _DEEPEST:
            raise UnnamedFileError(f"is corrupt: it holds a file named {name[:100]!r}")
        if not name.endswith("/"):
            yield name, _member(name, entry, bytes(entries[ends[1] : ends[2]]))
        at = ends[-1]
    if at != length:
        raise UnnamedFileError(f"is corrupt: it says that it holds {count:,} files, and lists others")


def _list_of(source: Source) -> tuple[int, int, int]:
    """Return how many files there are, and the length and the place of their list."""
    length = min(source.size, _END.size + _COMMENT)
    tail = source.at(source.size - length, length)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > length:
        raise UnnamedFileError("is no zip file, or is truncated: it does not end as one")
    _, _, _, _, count, size, place, _ = _END.unpack_from(tail, at)
    if at >= _END_64_PLACE.size and _ELSEWHERE in (size, place, count | 0xFFFF0000):
        mark, _, where, _ = _END_64_PLACE.unpack_from(tail, at - _END_64_PLACE.size)
        if mark == b"PK\x06\x07":
            found = _END_64.unpack(source.at(where, _END_64.size))
            count, size, place = found[7:10]
    return count, size, place


def _name(raw: bytes, flags: int) -> str:
    try:
        return raw.decode("utf-8" if flags & _UTF8 else "cp437")
    except UnicodeDecodeError:
        raise UnnamedFileError(f"is corrupt: it holds a file named {raw[:100]!r}") from None


def _member(name: str, entry: tuple[int, ...], extra: bytes) -> Member:
    flags, method, crc = entry[3], entry[4], entry[7]
    if flags & _ENCRYPTED or method not in (_STORED, _DEFLATED):
        how = "encrypted" if flags & _ENCRYPTED else f"packed with method {method}"
        raise UnnamedFileError(f"holds {name}, which is {how}; files that are stored or deflated can be read")
    # Those that do not fit into four bytes stand in the extra field, in this order.
    sizes, wide = [entry[9], entry[8], entry[16]], _wide(extra)
    for number, value in enumerate(sizes):
        if value == _ELSEWHERE:
            sizes[number] = next(wide, _ELSEWHERE)
    size, packed, offset = sizes
    # Deflate never makes much more of anything.
    if (packed != size) if method == _STORED else (packed > 2 * size + 1024):
        raise UnnamedFileError(f"is corrupt: {name} in it cannot have the length that its list says")
    return Member(offset, method, packed, size, crc)


def _wide(extra: bytes) -> Iterator[int]:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            data = extra[at + 4 : at + 4 + length]
            for start in range(0, len(data) - 7, 8):
                yield int.from_bytes(data[start : start + 8], "little")
            return
        at += 4 + length
