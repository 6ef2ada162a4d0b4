"""What is known about an image: its pixels, page by page, and all that is not pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Literal, Protocol

import numpy as np

from filterworks.arguments import Array

Alpha = Literal["none", "straight", "premultiplied"]
# What colour profiles call the kinds of channels that they describe.
_SPACES = {"grey": b"GRAY", "grey+alpha": b"GRAY", "rgb": b"RGB ", "rgb+alpha": b"RGB ", "cmyk": b"CMYK"}


@dataclass(frozen=True)
class Page:
    """One page of an image.

    Parameters
    ----------
    pixels
        (rows, columns) or (rows, columns, channels), at least 2 channels, in native byte order.
        Files of 1, 2 and 4 bits give uint8 from 0 to 255. Four channels without alpha are CMYK,
        where 0 means no ink.
    alpha
        What the last channel means: ``straight`` and ``premultiplied`` are opacities.
    """

    pixels: Array
    alpha: Alpha = "none"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the pixels."""
        return self.pixels.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the samples."""
        return self.pixels.dtype

    @property
    def unit(self) -> int:
        """Any row can be had by itself."""
        return 1

    def rows(self, start: int, stop: int) -> Array:
        """Return a view of some rows."""
        return self.pixels[start:stop]


class Described(Protocol):
    """What is known of a page before any pixel is."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, columns) or (rows, columns, channels)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the samples."""

    @property
    def alpha(self) -> Alpha:
        """What the last channel means."""


class Raster(Described, Protocol):
    """A page whose rows are decoded when they are asked for, by several threads at once if need be."""

    @property
    def unit(self) -> int:
        """How many rows are stored together: whoever asks for some of them has all decoded."""

    def rows(self, start: int, stop: int) -> Array:
        """Return the pixels of some rows; they are not to be written to."""


@dataclass(frozen=True)
class Metadata:
    r"""Everything in a file that is not pixels.

    Parameters
    ----------
    exif
        An Exif block: a small TIFF file, without the prefix ``Exif\0\0`` of JPEG.
    icc, xmp
        The colour profile and the XMP packet, as they are.
    resolution
        Dots per inch along columns (x) and rows (y).
    cmyk
        Whether four channels without alpha are inks.
    own
        What only a file of the same format can take over; each format knows its own.
    """

    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None
    resolution: tuple[float, float] | None = None
    cmyk: bool = False
    own: Any = None


@dataclass(frozen=True)
class ImageInfo:
    """What is needed to write results that look like their input; picklable.

    Parameters
    ----------
    format
        The name of the format: ``png``, ``jpeg``, ...
    page_count
        The number of pages.
    shape, dtype, alpha
        Of the first page, as in :class:`Page`.
    metadata
        All that is not pixels.

    Examples
    --------
    >>> ImageInfo("png", 1, (200, 300, 3), np.dtype("uint8")).channels
    3
    """

    format: str
    page_count: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    alpha: Alpha = "none"
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def channels(self) -> int:
        """The number of channels, 1 for a grey page."""
        return self.shape[2] if len(self.shape) == 3 else 1

    @property
    def layout(self) -> Layout:
        """What a format has to be able to hold."""
        return _layout(self.dtype, self.channels, self.alpha, self.metadata.cmyk)


@dataclass(frozen=True)
class Layout:
    """Sample type, channels and their meaning: what decides whether a format can hold a page.

    Examples
    --------
    >>> str(Layout("uint16", 4, "straight"))
    'uint16, 4 channels with alpha'
    """

    dtype: str
    channels: int
    alpha: Alpha = "none"
    cmyk: bool = False

    def __str__(self) -> str:
        names = {"none": "", "straight": " with alpha", "premultiplied": " with premultiplied alpha"}
        channels = "1 channel" if self.channels == 1 else f"{self.channels} channels"
        return f"{self.dtype}, {channels}{' (CMYK)' if self.kind == 'cmyk' else names[self.alpha]}"

    @cached_property
    def kind(self) -> str:
        """The name of the channels: ``grey``, ``grey+alpha``, ``rgb``, ``rgb+alpha``, ``cmyk`` or ``other``.

        Examples
        --------
        >>> Layout("uint8", 3).kind, Layout("uint8", 4, "straight").kind
        ('rgb', 'rgb+alpha')
        """
        if self.alpha == "none":
            opaque = {1: "grey", 3: "rgb", 4: "cmyk" if self.cmyk else "other"}
            return opaque.get(self.channels, "other")
        if self.alpha == "straight":
            return {2: "grey+alpha", 4: "rgb+alpha"}.get(self.channels, "other")
        return "other"


@lru_cache(maxsize=256)
def _layout(dtype: np.dtype[Any], channels: int, alpha: Alpha, cmyk: bool) -> Layout:
    # NumPy takes longer to spell the name of a dtype than a small image takes to be decoded.
    return Layout(dtype.name, channels, alpha, cmyk)


def layout_of(page: Described, like: ImageInfo) -> Layout:
    """Return the layout of `page`, whose four channels are inks where those of `like` are."""
    channels = page.shape[2] if len(page.shape) == 3 else 1
    return _layout(page.dtype, channels, page.alpha, like.metadata.cmyk)


def icc_for(like: ImageInfo, kind: str) -> bytes | None:
    """Return the colour profile of `like` if it describes this kind of channels.

    The profile of an RGB photo means nothing for the grey result of an edge filter, and readers reject it.
    """
    profile = like.metadata.icc
    if profile is None or len(profile) < 20 or profile[16:20] != _SPACES.get(kind, profile[16:20]):
        return None
    return profile
