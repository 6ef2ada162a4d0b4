"""What the metadata of a Zarr array say, checked before anything is allocated.

Sources: https://zarr-specs.readthedocs.io/en/latest/v3/core and /v2.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from filterworks.files.source import UnnamedFileError
from filterworks.files.zarr_codecs import Packing, packer

# A chunk is unpacked as a whole.
MAX_CHUNK = 512 << 20
# The table of a shard: 16 bytes for each of its chunks.
_MAX_INNER = 1 << 20
_TYPES = re.compile(r"(u?int(8|16|32|64)|float(16|32|64))")
_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_KNOWN_V3 = frozenset((
    "zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value",
    "codecs", "attributes", "dimension_names", "storage_transformers", "consolidated_metadata",
))  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """How an array is stored.

    Attributes
    ----------
    shape, dtype
        Of the array, in native byte order.
    outer, inner
        Shapes of what one file holds, and of what is packed together: different only for shards.
    packing
        Of a chunk.
    fill
        The value of chunks that are not stored; None: undefined.
    prefix, separator
        Of the names of chunks: ``c`` and ``/`` for ``c/0/1``.
    index_first, index_checked
        Of shards: where their table is, and whether a checksum follows it.
    names
        Of the axes, where they have some.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    outer: tuple[int, ...]
    inner: tuple[int, ...]
    packing: Packing
    fill: Any
    prefix: str
    separator: str
    names: tuple[str | None, ...]
    is_sharded: bool = False
    index_first: bool = False
    index_checked: bool = True
    attributes: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def per_shard(self) -> tuple[int, ...]:
        """How many chunks a file holds along each axis."""
        return tuple(o // i for o, i in zip(self.outer, self.inner, strict=True))

    def name(self, place: tuple[int, ...]) -> str:
        """Return the name of a file, by its place in the grid."""
        parts = [self.prefix] if self.prefix else []
        return self.separator.join([*parts, *map(str, place)])


def _tuple(document: Mapping[str, Any], key: str, least: int, *, rank: int | None = None) -> tuple[int, ...]:
    values = document.get(key)
    if (
        not isinstance(values, list)
        or not all(type(v) is int and least <= v < 1 << 48 for v in values)
        or len(values) > 32
        or (rank is not None and len(values) != rank)
    ):
        raise UnnamedFileError(f"is corrupt: its metadata say {key} = {str(values)[:100]}")
    return tuple(values)


def _mapping(value: object, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UnnamedFileError(f"is corrupt: its metadata say {key} = {str(value)[:100]}")
    return value


def _type(name: str) -> np.dtype[Any]:
    if not _TYPES.fullmatch(name):
        raise UnnamedFileError(
            f"holds samples of type {name}, which are no picture; filtered are integers of 8 to 64 bits and "
            "float16, float32 and float64"
        )
    return np.dtype(name)


def _fill(value: object, dtype: np.dtype[Any]) -> Any:
    """Return the value of what is not stored."""
    if value is None:
        return None
    if isinstance(value, str) and dtype.kind == "f":
        if value in _FLOATS:
            return dtype.type(_FLOATS[value])
        if re.fullmatch(rf"0x[0-9a-fA-F]{{{2 * dtype.itemsize}}}", value):
            return np.frombuffer(bytes.fromhex(value[2:]), dtype.newbyteorder(">"))[0].astype(dtype)
    try:
        if type(value) in (int, float) and (dtype.kind == "f" or value == int(value)):  # type: ignore[call-overload]  # a number
            return dtype.type(value)
    except (OverflowError, ValueError):
        pass  # infinity, or beyond the range
    raise UnnamedFileError(f"is corrupt: its metadata say fill_value = {str(value)[:100]}")


def _checked(layout: Layout) -> Layout:
    inner = math.prod(layout.inner) * layout.dtype.itemsize
    if inner > MAX_CHUNK:
        raise UnnamedFileError(
            f"has chunks of {inner:,} bytes, above the limit of {MAX_CHUNK:,}; store it in smaller ones"
        )
    if math.prod(layout.per_shard) > _MAX_INNER:
        raise UnnamedFileError(f"has shards of more than {_MAX_INNER:,} chunks")
    return layout


def parse_v2(document: Mapping[str, Any], attributes: Mapping[str, Any]) -> Layout:
    """Return what a ``.zarray`` says."""
    shape = _tuple(document, "shape", 0)
    chunks = _tuple(document, "chunks", 1, rank=len(shape))
    text = document.get("dtype")
    try:
        stored = np.dtype(text) if isinstance(text, str) else None
    except (TypeError, ValueError, SyntaxError):
        stored = None
    dtype = _type(str(stored.newbyteorder("=")) if stored is not None else str(text)[:100])
    assert stored is not None  # noqa: S101  # it was a name of ours
    if document.get("filters"):
        raise UnnamedFileError(
            f"is packed with filters, which are not supported: {str(document['filters'])[:100]}"
        )
    order = tuple(range(len(shape)))
    if document.get("order") == "F":
        order = order[::-1]
    packers = []
    if document.get("compressor") is not None:
        compressor = _mapping(document["compressor"], "compressor")
        packers.append(packer(compressor.get("id"), compressor, dtype.itemsize))
    separator = document.get("dimension_separator", ".")
    named = attributes.get("_ARRAY_DIMENSIONS")  # as xarray writes it
    return _checked(
        Layout(
            shape,
            dtype,
            chunks,
            chunks,
            Packing(stored, order, tuple(packers)),
            _fill(document.get("fill_value"), dtype),
            "",
            _separator(separator),
            _names(named, len(shape)),
            attributes=attributes,
        )
    )


def _separator(value: object) -> str:
    if value not in (".", "/"):
        raise UnnamedFileError(f"is corrupt: its metadata say separator = {str(value)[:100]}")
    return str(value)


def _names(value: object, rank: int) -> tuple[str | None, ...]:
    if isinstance(value, list) and len(value) == rank:
        return tuple(name if isinstance(name, str) else None for name in value)
    return (None,) * rank


def parse_v3(document: Mapping[str, Any]) -> Layout:
    """Return what the ``zarr.json`` of an array says."""
    for key, value in document.items():
        if key not in _KNOWN_V3 and not (
            isinstance(value, Mapping) and value.get("must_understand") is False
        ):
            raise UnnamedFileError(f"has metadata that are not understood here: {key[:100]!r}")
    if document.get("storage_transformers"):
        raise UnnamedFileError("uses storage transformers, which are not supported")
    shape = _tuple(document, "shape", 0)
    grid = _mapping(document.get("chunk_grid"), "chunk_grid")
    if grid.get("name") != "regular":
        raise UnnamedFileError(f"has a chunk grid {str(grid.get('name'))[:100]!r}; supported is 'regular'")
    outer = _tuple(_mapping(grid.get("configuration"), "chunk_grid"), "chunk_shape", 1, rank=len(shape))
    kind = document.get("data_type")
    dtype = _type(kind if isinstance(kind, str) else str(kind)[:100])
    keys = _mapping(document.get("chunk_key_encoding"), "chunk_key_encoding")
    if keys.get("name") not in ("default", "v2"):
        raise UnnamedFileError(f"names its chunks in an unknown way: {str(keys.get('name'))[:100]!r}")
    is_default = keys["name"] == "default"
    settings = _mapping(keys.get("configuration") or {}, "chunk_key_encoding")
    codecs = _codecs(document.get("codecs"))
    shards: dict[str, Any] = {}
    inner = outer
    if codecs and codecs[0][0] == "sharding_indexed":
        inner, codecs, shards = _sharding(codecs, outer)
    return _checked(
        Layout(
            shape,
            dtype,
            outer,
            inner,
            _packing(codecs, dtype, len(shape)),
            _fill(document.get("fill_value"), dtype),
            "c" if is_default else "",
            _separator(settings.get("separator", "/" if is_default else ".")),
            _names(document.get("dimension_names"), len(shape)),
            **shards,
            attributes=_mapping(document.get("attributes") or {}, "attributes"),
        )
    )


_Codec = tuple[str, Mapping[str, Any]]


def _codecs(value: object) -> list[_Codec]:
    """Return names and options of codecs; a codec without options may be its name alone."""
    if not isinstance(value, list) or len(value) > 16:
        raise UnnamedFileError(f"is corrupt: its metadata say codecs = {str(value)[:100]}")
    found = []
    for one in value:
        codec = {"name": one} if isinstance(one, str) else _mapping(one, "codecs")
        found.append((str(codec.get("name")), _mapping(codec.get("configuration") or {}, "codecs")))
    return found


def _sharding(
    codecs: list[_Codec], outer: tuple[int, ...]
) -> tuple[tuple[int, ...], list[_Codec], dict[str, Any]]:
    if len(codecs) > 1:
        raise UnnamedFileError(f"packs its shards once more ({codecs[1][0]}), which is not supported")
    options = codecs[0][1]
    inner = _tuple(options, "chunk_shape", 1, rank=len(outer))
    if any(o % i for o, i in zip(outer, inner, strict=True)):
        raise UnnamedFileError(f"is corrupt: its shards of {outer} cannot be divided into chunks of {inner}")
    index = _codecs(options.get("index_codecs"))
    names = [name for name, _ in index]
    place = options.get("index_location", "end")
    if (
        names not in (["bytes"], ["bytes", "crc32c"])
        or index[0][1].get("endian") != "little"
        or place not in ("start", "end")
    ):
        raise UnnamedFileError(f"has shards whose table is stored in an unknown way: {names}, at {place!r}")
    shards = {"is_sharded": True, "index_first": place == "start", "index_checked": len(names) == 2}
    return inner, _codecs(options.get("codecs")), shards


def _packing(codecs: list[_Codec], dtype: np.dtype[Any], rank: int) -> Packing:
    order = tuple(range(rank))
    waiting = list(codecs)
    while waiting and waiting[0][0] == "transpose":
        chosen = _tuple(waiting.pop(0)[1], "order", 0, rank=rank)
        if sorted(chosen) != list(range(rank)):
            raise UnnamedFileError(f"is corrupt: its metadata say order = {chosen}")
        order = tuple(order[axis] for axis in chosen)
    if not waiting or waiting[0][0] != "bytes":
        packer(waiting[0][0] if waiting else None, {}, 1)
        raise UnnamedFileError("is corrupt: its codecs do not begin with 'bytes'")
    endian = waiting.pop(0)[1].get("endian", "little" if dtype.itemsize == 1 else None)
    if endian not in ("little", "big"):
        raise UnnamedFileError(f"is corrupt: its metadata say endian = {endian!r}")
    packers = tuple(packer(name, options, dtype.itemsize) for name, options in waiting)
    return Packing(dtype.newbyteorder("<" if endian == "little" else ">"), order, packers)


def places(shape: tuple[int, ...], chunks: tuple[int, ...]) -> itertools.product[tuple[int, ...]]:
    """Yield the place of every chunk in the grid."""
    return itertools.product(*(range(-(-n // c)) for n, c in zip(shape, chunks, strict=True)))
