"""The chunks of Zarr arrays: samples to bytes and back, never more bytes than a chunk has.

Sources: https://zarr-specs.readthedocs.io (v3 core and its codecs, v2), and numcodecs for the headers
of its LZ4.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from filterworks.arguments import Array
from filterworks.files.source import UnnamedFileError, decode_with, encode_with

Bytes = bytes | memoryview
# What a compressor may add to data that cannot be compressed.
_OVERHEAD = 1 << 16
_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2, 0: 0, 1: 1, 2: 2}
_BLOSC = ("blosclz", "lz4", "lz4hc", "zlib", "zstd")


@dataclass(frozen=True)
class Packing:
    """How the samples of one chunk are stored.

    Attributes
    ----------
    stored
        The type of the samples, with its byte order.
    order
        The axes of the array in the order in which they are stored, slowest first.
    packers
        (codec, options), in the order in which they pack.
    """

    stored: np.dtype[Any]
    order: tuple[int, ...]
    packers: tuple[tuple[str, Mapping[str, Any]], ...]

    def pack(self, chunk: Array) -> Bytes:
        """Return the bytes of a chunk."""
        lines = np.ascontiguousarray(chunk.transpose(self.order), self.stored)
        data: Bytes = memoryview(lines.reshape(-1).view(np.uint8))  # type: ignore[arg-type]  # a buffer
        for name, options in self.packers:
            data = encode_with(PACKERS[name].pack, data, options)
        return data

    def unpack(self, data: Bytes, shape: tuple[int, ...]) -> Array:
        """Return the samples of a chunk of this shape, in native byte order."""
        size = math.prod(shape) * self.stored.itemsize
        for number, (name, options) in reversed(list(enumerate(self.packers))):
            limit = size if number == 0 else packed_limit(size)
            data = decode_with(PACKERS[name].unpack, data, limit, options)
        if len(data) != size:
            raise UnnamedFileError(f"is corrupt: a chunk holds {len(data):,} of {size:,} bytes")
        lines = np.frombuffer(data, self.stored).reshape([shape[axis] for axis in self.order])
        chunk = lines.transpose(np.argsort(self.order))
        return chunk.astype(self.stored.newbyteorder("="), copy=False)


def packed_limit(size: int) -> int:
    """Return the most bytes that a chunk of `size` bytes can take in a file."""
    return 2 * size + _OVERHEAD


@dataclass(frozen=True)
class Packer:
    """A codec from bytes to bytes; `unpack` is told the most bytes that it may return."""

    pack: Callable[[Bytes, Mapping[str, Any]], Bytes]
    unpack: Callable[[Bytes, int, Mapping[str, Any]], Bytes]


def _pack_blosc(data: Bytes, options: Mapping[str, Any]) -> Bytes:
    import imagecodecs

    # Its stubs know of fewer kinds of bytes than it takes.
    encode: Any = imagecodecs.blosc_encode
    packed: bytes = encode(
        data,
        level=options["clevel"],
        compressor=options["cname"],
        shuffle=options["shuffle"],
        typesize=options["typesize"],
        blocksize=options["blocksize"],
        numthreads=1,
    )
    return packed


def _unpack_blosc(data: Bytes, limit: int, options: Mapping[str, Any]) -> Bytes:
    import imagecodecs

    # The header's sizes of what is packed and of the packed data; the decoder believes the latter.
    size, _, packed = struct.unpack_from("<3I", data, 4)
    if size > limit or packed > len(data):
        raise ValueError(f"{packed:,} of {len(data):,} bytes are said to hold {size:,} of {limit:,}")
    decode: Any = imagecodecs.blosc_decode
    return memoryview(decode(data, numthreads=1, out=_room(size)))


def _room(size: int) -> Any:
    """Return memory that nothing has been written to: no more than it holds can be unpacked."""
    return np.empty(size, np.uint8)


def _packer(name: str, default: int, **fixed: Any) -> Packer:
    """Return a codec of imagecodecs whose only option is its level."""

    def pack(data: Bytes, options: Mapping[str, Any]) -> Bytes:
        import imagecodecs

        packed: bytes = getattr(imagecodecs, f"{name}_encode")(
            data, level=options.get("level", default), **fixed
        )
        return packed

    def unpack(data: Bytes, limit: int, _: Mapping[str, Any]) -> Bytes:
        import imagecodecs

        return memoryview(getattr(imagecodecs, f"{name}_decode")(data, out=_room(limit), **fixed))

    return Packer(pack, unpack)


def _pack_zstd(data: Bytes, options: Mapping[str, Any]) -> Bytes:
    if not options.get("checksum"):
        return _ZSTD.pack(data, options)
    import zstandard

    packer = zstandard.ZstdCompressor(level=options.get("level", 0) or 3, write_checksum=True)
    return packer.compress(data)


def _pack_lz4(data: Bytes, options: Mapping[str, Any]) -> Bytes:
    import imagecodecs

    level = options.get("acceleration", 1)
    return bytes(imagecodecs.lz4_encode(bytes(data), level=level, header=True))


def _unpack_lz4(data: Bytes, limit: int, _: Mapping[str, Any]) -> Bytes:
    import imagecodecs

    (size,) = struct.unpack_from("<I", data)
    if size > limit:
        raise ValueError(f"a chunk of {limit:,} bytes is said to hold {size:,}")
    return memoryview(imagecodecs.lz4_decode(bytes(data[4:]), out=_room(size)))


def checksum(data: Bytes) -> bytes:
    """Return the CRC-32C of some bytes, as it is stored."""
    import google_crc32c

    return struct.pack("<I", google_crc32c.value(bytes(data)))


def checked(data: Bytes) -> Bytes:
    """Return bytes without the CRC-32C that follows them, which must be right."""
    if len(data) < 4 or checksum(data[:-4]) != bytes(data[-4:]):
        raise ValueError("a checksum (CRC-32C) is wrong")
    return data[:-4]


_ZSTD = _packer("zstd", 0)
PACKERS = {
    "blosc": Packer(_pack_blosc, _unpack_blosc),
    "zstd": Packer(_pack_zstd, _ZSTD.unpack),
    "gzip": _packer("gzip", 5),
    "zlib": _packer("zlib", 1),
    "bz2": _packer("bz2", 1),
    "lz4": Packer(_pack_lz4, _unpack_lz4),
    "crc32c": Packer(lambda data, _: bytes(data) + checksum(data), lambda data, limit, _: checked(data)),
}


def packer(name: object, options: Mapping[str, Any], itemsize: int) -> tuple[str, Mapping[str, Any]]:
    """Return a codec with its options, checked.

    Raises
    ------
    UnnamedFileError
        If there is no such codec here, or an option makes no sense.
    """
    if not isinstance(name, str) or name not in PACKERS:
        raise UnnamedFileError(
            f"is packed with the codec {name!r}, which is not supported; supported are "
            f"{', '.join(sorted(PACKERS))} and sharding_indexed"
        )
    if name != "blosc":
        level = options.get("level", 0)
        if type(level) is not int or not -7 <= level <= 22:
            raise UnnamedFileError(f"is corrupt: {name} has the level {level!r}")
        return name, {key: options[key] for key in ("level", "checksum", "acceleration") if key in options}
    shuffle = options.get("shuffle", 1)
    if shuffle == -1:  # numcodecs: bits for bytes, bytes for the rest
        shuffle = 2 if itemsize == 1 else 1
    known = {
        "cname": options.get("cname", "lz4"),
        "clevel": options.get("clevel", 5),
        "shuffle": _SHUFFLES.get(shuffle, -1) if isinstance(shuffle, str | int) else -1,
        "typesize": options.get("typesize") or itemsize,
        "blocksize": options.get("blocksize", 0),
    }
    numbers = [known[key] for key in ("clevel", "shuffle", "typesize", "blocksize")]
    if known["cname"] not in _BLOSC or not all(type(n) is int and 0 <= n < 1 << 31 for n in numbers):
        raise UnnamedFileError(f"is packed with blosc in a way that is not supported: {dict(options)}")
    return name, known
