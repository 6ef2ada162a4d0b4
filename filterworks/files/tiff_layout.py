"""What a TIFF directory says about its page, checked before any pixel is read.

Sources: Adobe, TIFF Revision 6.0, and its supplements; the tags of libtiff.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import Array
from filterworks.files.ifd import Entry
from filterworks.files.page import Alpha
from filterworks.files.source import Source, UnnamedFileError

NONE, CCITT_RLE, CCITT_3, CCITT_4, LZW, JPEG, DEFLATE, PACKBITS, ADOBE_DEFLATE, LZMA, ZSTD = (
    1, 2, 3, 4, 5, 7, 8, 32773, 32946, 34925, 50000,
)  # fmt: skip
COMPRESSIONS = {
    NONE: "none", CCITT_RLE: "CCITT RLE", CCITT_3: "CCITT group 3", CCITT_4: "CCITT group 4",
    LZW: "LZW", JPEG: "JPEG", DEFLATE: "deflate", ADOBE_DEFLATE: "deflate", PACKBITS: "PackBits",
    LZMA: "LZMA", ZSTD: "zstd",
}  # fmt: skip
MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, SEPARATED, YCBCR = 0, 1, 2, 3, 5, 6
# Not CIELAB: its a* and b* are signed samples beside an unsigned L*, and no other format holds them.
BASE_SAMPLES = {MIN_IS_WHITE: 1, MIN_IS_BLACK: 1, RGB: 3, PALETTE: 1, SEPARATED: 4, YCBCR: 3}
_DTYPES = {
    **{(1, bits): f"u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{(2, bits): f"i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{(3, bits): f"f{bits // 8}" for bits in (16, 32, 64)},
    **{(1, bits): "u1" for bits in (1, 2, 4)},
}
_KINDS = {1: "integer", 2: "signed integer", 3: "float", 4: "integer", 5: "complex integer", 6: "complex"}

# What the best packed image, all of one value, comes to with deflate.
_MAX_RATIO = 1100


@dataclass(frozen=True)
class Style:
    """How a page is stored, as far as another page can be stored the same way.

    Parameters
    ----------
    samples, extra
        The number of channels, and the ExtraSamples codes of those beyond the colours.
    tile
        Rows and columns of a tile; None for strips of `strip_rows`.
    """

    photometric: int
    samples: int
    extra: tuple[int, ...] = ()
    compression: int = ADOBE_DEFLATE
    predictor: int = 2
    planar: bool = False
    tile: tuple[int, int] | None = None
    strip_rows: int | None = None
    subsampling: tuple[int, int] = (1, 1)

    @property
    def alpha(self) -> Alpha:
        """The meaning of the last channel."""
        return {1: "premultiplied", 2: "straight"}.get(self.extra[-1] if self.extra else 0, "none")  # type: ignore[return-value]


@dataclass(frozen=True)
class Segments:
    """Strips or tiles that hold some rows of a page, plane by plane from top to bottom.

    Attributes
    ----------
    numbers
        Their places among all of the page.
    planes, tops, lefts
        Where they begin in an image of these rows.
    skipped, rows, columns
        How many rows of each come before those, and the rows and columns that lie in the image.
    stored_rows
        How many rows each has: the last strip may be shorter than the others, a tile never is.
    """

    numbers: list[int]
    planes: NDArray[np.int64]
    tops: NDArray[np.int64]
    lefts: NDArray[np.int64]
    skipped: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    stored_rows: NDArray[np.int64]


def segments_with(
    start: int, stop: int, shape: tuple[int, int], segment: tuple[int, int], planes: int, is_tile: bool
) -> Segments:
    """Return the strips or tiles that hold rows `start` to `stop` of a page.

    Parameters
    ----------
    shape, segment
        Rows and columns of the page, and of a tile or full strip.
    """
    (rows, columns), (height, width) = shape, segment
    down, across = -(-rows // height), -(-columns // width)
    levels = -(-stop // height) - start // height
    plane, level, place = np.indices((planes, levels, across)).reshape(3, -1)
    level += start // height
    first = np.maximum(level * height, start)
    last = np.minimum(np.minimum((level + 1) * height, rows), stop)
    return Segments(
        ((plane * down + level) * across + place).tolist(),
        plane,
        first - start,
        place * width,
        first - level * height,
        last - first,
        np.minimum(width, columns - place * width),
        np.full(len(plane), height) if is_tile else np.minimum(height, rows - level * height),
    )


@dataclass(frozen=True)
class Run:
    """Strips or tiles as they are stored, one behind the other.

    Attributes
    ----------
    numbers, sizes
        Their places among all of the page, and their lengths.
    data
        All of their bytes.
    """

    numbers: list[int]
    sizes: list[int]
    data: bytes | memoryview


@dataclass(frozen=True)
class Directory:
    """Everything that is needed to decode one page.

    ``style`` is what is stored; ``shape``, ``dtype`` and ``written`` are what the page becomes:
    palettes become RGB, fewer than 8 bits become 8, YCbCr becomes RGB.
    """

    rows: int
    columns: int
    bits: int
    stored: np.dtype[Any]
    style: Style
    fill_order: int
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    palette: Array | None  # (entries, 3), uint8
    jpeg_tables: bytes | None
    fax_options: int

    @property
    def channels(self) -> int:
        """The channels of the decoded page."""
        return 3 if self.palette is not None else self.style.samples

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the decoded page."""
        plane = (self.rows, self.columns)
        return plane if self.channels == 1 else (*plane, self.channels)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the decoded samples."""
        return self.stored.newbyteorder("=")

    @property
    def is_plain(self) -> bool:
        """Whether the pixels are strips of bytes as they are, any row of which can be read by itself."""
        return self.style.compression == NONE and self.bits >= 8 and self.style.tile is None

    @property
    def segment(self) -> tuple[int, int]:
        """Rows and columns of a tile or of a full strip."""
        return self.style.tile or (min(self.style.strip_rows or self.rows, self.rows), self.columns)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Planes, segments down and segments across."""
        height, width = self.segment
        planes = self.style.samples if self.style.planar else 1
        return planes, -(-self.rows // height), -(-self.columns // width)


def parse(tags: dict[int, Entry], order: str, source: Source) -> Directory:
    """Return the layout that `tags` describe; refuse what is inconsistent, too large or not supported."""
    rows, columns = _number(tags, 257), _number(tags, 256)
    samples = _number(tags, 277, 1)
    bits = _uniform(tags, 258, 1, "bits per sample")
    stored = _stored_dtype(tags, bits, order)
    if not 1 <= samples <= 4096:
        raise UnnamedFileError(f"is corrupt: it says that it has {samples} samples per pixel")
    if rows < 1 or columns < 1:
        raise UnnamedFileError(f"is corrupt: it says that it holds {columns} × {rows} pixels")
    style = _style(tags, samples, bits)
    offsets, counts = _segments(tags, style)
    directory = Directory(
        rows,
        columns,
        bits,
        stored,
        style,
        _number(tags, 266, 1),
        offsets,
        counts,
        _palette(tags, style, bits),
        tags[347].data if 347 in tags else None,
        _number(tags, 292, 0),
    )
    _check_segments(directory, source)
    return directory


def _values(tags: dict[int, Entry], tag: int) -> tuple[int, ...] | None:
    if tag not in tags or not tags[tag].count:
        return None
    values = tags[tag].values()
    # All values of a tag have one type.
    if not isinstance(values[0], int):
        raise UnnamedFileError(f"is corrupt: its tag {tag} does not hold whole numbers")
    return values


def _number(tags: dict[int, Entry], tag: int, default: int | None = None) -> int:
    values = _values(tags, tag)
    if values is not None:
        return values[0]
    if default is None:
        raise UnnamedFileError(f"is corrupt: its required tag {tag} is missing")
    return default


def _uniform(tags: dict[int, Entry], tag: int, default: int, name: str) -> int:
    values = set(_values(tags, tag) or (default,))
    if len(values) != 1:
        raise UnnamedFileError(f"has channels with different {name}, which is not supported")
    return _number(tags, tag, default)


def _stored_dtype(tags: dict[int, Entry], bits: int, order: str) -> np.dtype[Any]:
    kind = _uniform(tags, 339, 1, "sample formats")
    name = _DTYPES.get((1 if kind == 4 else kind, bits))
    if name is None:
        raise UnnamedFileError(
            f"has samples of {bits} bits ({_KINDS.get(kind, f'format {kind}')}), which is not supported"
        )
    return np.dtype(order + name)


def _style(tags: dict[int, Entry], samples: int, bits: int) -> Style:
    photometric, compression = _number(tags, 262, MIN_IS_BLACK), _number(tags, 259, NONE)
    if compression not in COMPRESSIONS:
        names = ", ".join(dict.fromkeys(COMPRESSIONS.values()))
        raise UnnamedFileError(f"has compression {compression}, which is not supported; supported: {names}")
    if photometric not in BASE_SAMPLES or (photometric == YCBCR and compression != JPEG):
        raise UnnamedFileError(
            f"has colours of a kind (photometric interpretation {photometric}) that is not supported"
        )
    base = BASE_SAMPLES[photometric]
    if samples < base or (photometric == PALETTE and samples != 1):
        raise UnnamedFileError(
            f"is corrupt: photometric interpretation {photometric} with {samples} samples per pixel"
        )
    if bits < 8 and (samples != 1 or photometric not in (MIN_IS_WHITE, MIN_IS_BLACK, PALETTE)):
        raise UnnamedFileError(f"has {samples} channels of {bits} bits, which is not supported")
    extra = (_values(tags, 338) or ())[: samples - base]
    extra += (0,) * (samples - base - len(extra))
    tile = (_number(tags, 323), _number(tags, 322)) if 322 in tags else None
    ratio = _values(tags, 530) or (2, 2)
    planar = _number(tags, 284, 1) == 2 and samples > 1
    strip_rows = None if tile else max(1, _number(tags, 278, 2**32 - 1))
    subsampling = (ratio[0], ratio[-1]) if photometric == YCBCR else (1, 1)
    return Style(
        photometric, samples, extra, compression, _number(tags, 317, 1), planar, tile, strip_rows, subsampling
    )


def _palette(tags: dict[int, Entry], style: Style, bits: int) -> Array | None:
    if style.photometric != PALETTE:
        return None
    colours = np.array(_values(tags, 320) or (), np.int64)
    if bits > 8 or colours.size != 3 << bits:
        raise UnnamedFileError(
            f"has a palette of {colours.size} values for {bits} bits, which is not supported"
        )
    # The map has 16 bits; some writers fill only the lower 8.
    scale = 8 if colours.max() > 255 else 0
    return np.ascontiguousarray((colours >> scale).astype(np.uint8).reshape(3, -1).T)


def _segments(tags: dict[int, Entry], style: Style) -> tuple[tuple[int, ...], tuple[int, ...]]:
    where, how_long = (324, 325) if style.tile else (273, 279)
    offsets, counts = _values(tags, where), _values(tags, how_long)
    if offsets is None:
        raise UnnamedFileError("is corrupt: it does not say where its pixels are")
    return offsets, counts or ()


def _check_segments(directory: Directory, source: Source) -> None:
    height, width = directory.segment
    if height < 1 or width < 1:
        raise UnnamedFileError(f"is corrupt: its tiles have {width} × {height} pixels")
    if not directory.is_plain:
        source.check_pixels(height, width, directory.style.samples * directory.stored.itemsize)
    planes, down, across = directory.grid
    number = planes * down * across
    if len(directory.offsets) < number or (directory.counts and len(directory.counts) < number):
        raise UnnamedFileError(f"is corrupt: it holds {len(directory.offsets)} of {number} strips or tiles")
    if not directory.counts and (number > 1 or directory.style.compression != NONE):
        raise UnnamedFileError("is corrupt: it does not say how long its strips are")
    _check_plausible(directory, number, source)
    for offset, count in zip(directory.offsets[:number], directory.counts[:number], strict=False):
        if count == 0 or offset == 0:
            raise UnnamedFileError(
                "is incomplete: it has strips or tiles without data (a sparse or unfinished file)"
            )
        if offset + count > source.size:
            raise UnnamedFileError(
                f"is truncated: it is {source.size} bytes long and its pixels end at byte {offset + count}"
            )


def _check_plausible(directory: Directory, number: int, source: Source) -> None:
    """Refuse more pixels than the file can hold: it is read in parts, and would keep a run busy for days."""
    pixels = directory.rows * directory.columns
    if pixels <= source.max_pixels:
        return
    packed = sum(directory.counts[:number]) or source.size
    size = pixels * directory.style.samples * directory.bits // 8
    if packed > source.size or size > _MAX_RATIO * packed:
        raise UnnamedFileError(
            f"is {source.size:,} bytes long and says that it holds {directory.columns} × {directory.rows} = "
            f"{pixels:,} pixels; raise --max-pixels if the image is to be trusted"
        )
