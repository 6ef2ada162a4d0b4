"""Which pages of an image are the planes of one volume, and which are channels or times.

Sources: ImageJ's description of hyperstacks; the OME data model, https://docs.openmicroscopy.org/ome-model.
"""

from __future__ import annotations

import re
from typing import Protocol, runtime_checkable

from filterworks.files.page import ImageInfo
from filterworks.files.source import UnnamedFileError

_DESCRIPTION = 270


@runtime_checkable
class Stacked(Protocol):
    """What a format knows of its pages, when it tells them apart itself."""

    def stacks(self) -> list[list[int]]:
        """Return the numbers of the pages of each volume."""


def stacks(info: ImageInfo) -> list[list[int]]:
    """Return the numbers of the pages of each volume, from its first plane to its last.

    Channels and times are volumes of their own where the description in a TIFF (ImageJ, OME) or the names
    of a Zarr array's axes tell them apart; otherwise all pages are planes of one.

    Raises
    ------
    FileError
        If the description does not fit the number of pages.

    Examples
    --------
    >>> import numpy as np
    >>> stacks(ImageInfo("tiff", 3, (20, 30), np.dtype("uint8")))
    [[0, 1, 2]]
    """
    if isinstance(info.metadata.own, Stacked):
        return info.metadata.own.stacks()
    text = _description(info)
    order, sizes = _of_imagej(text) or _of_ome(text) or ("Z", {"Z": info.page_count})
    if _product(sizes) != info.page_count:
        counts = ", ".join(f"{size} {axis}" for axis, size in sizes.items())
        raise UnnamedFileError(f"describes itself as {counts}, and has {info.page_count} pages")
    groups: dict[tuple[int, ...], list[int]] = {}
    for page in range(info.page_count):
        places, rest = {}, page
        for axis in order:
            rest, places[axis] = divmod(rest, sizes[axis])
        key = tuple(place for axis, place in places.items() if axis != "Z")
        groups.setdefault(key, []).append(page)
    return list(groups.values())


def _description(info: ImageInfo) -> str:
    pages = getattr(info.metadata.own, "pages", ())
    for tag in pages[0].tags if pages else ():
        if tag.tag == _DESCRIPTION:
            return str(tag.data.decode("utf-8", "replace"))
    return ""


def _of_imagej(text: str) -> tuple[str, dict[str, int]] | None:
    if not text.startswith("ImageJ="):
        return None
    found = {name: int(value) for name, value in re.findall(r"^(\w+)=(\d{1,9})\s*$", text, re.MULTILINE)}
    images = found.get("images", 1)
    sizes = {"C": found.get("channels", 1), "Z": found.get("slices", 1), "T": found.get("frames", 1)}
    if not {"channels", "slices", "frames"} & set(found):
        sizes["Z"] = images
    return "CZT", sizes


def _of_ome(text: str) -> tuple[str, dict[str, int]] | None:
    pixels = re.search(r"<(?:\w+:)?Pixels\s[^>]*>", text) if "<OME" in text or ":OME" in text else None
    if pixels is None:
        return None
    found = dict(re.findall(r'(\w+)\s*=\s*"([^"]*)"', pixels[0]))
    order = found.get("DimensionOrder", "XYCZT")[2:]
    sizes = {axis: int(found.get(f"Size{axis}", "1") or 1) for axis in "CZT"}
    # Channels of colour lie in one page.
    samples = [int(n) for n in re.findall(r'SamplesPerPixel\s*=\s*"(\d{1,4})"', text)]
    if samples:
        sizes["C"] = max(sizes["C"] // max(samples[0], 1), 1)
    return (order, sizes) if sorted(order) == ["C", "T", "Z"] else None


def _product(sizes: dict[str, int]) -> int:
    return sizes["C"] * sizes["Z"] * sizes["T"] if "C" in sizes else sizes["Z"]
