"""The metadata of a new OME-Zarr 0.5 image, for pages that come from another format.

Source: https://ngff.openmicroscopy.org/0.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filterworks.files.page import Described, ImageInfo

_CHUNK = 512
_MICROMETRES_PER_INCH = 25_400.0
# The units of OME-Zarr that resolutions are found in.
_UNITS = {
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "meter": 1e6,
    "inch": _MICROMETRES_PER_INCH,
}


def new_image(page: Described, like: ImageInfo) -> tuple[str, dict[str, Any]]:
    """Return the name of the array, and the files of metadata of an image of pages like this one.

    Colours become the axis ``c``, pages the axis ``z``.
    """
    rows, columns = page.shape[:2]
    shape, chunks, axes = [rows, columns], [min(rows, _CHUNK), min(columns, _CHUNK)], ["y", "x"]
    if like.page_count > 1:
        shape, chunks, axes = [like.page_count, *shape], [1, *chunks], ["z", *axes]
    if len(page.shape) == 3:
        shape, chunks, axes = [page.shape[2], *shape], [1, *chunks], ["c", *axes]
    blosc = {"cname": "zstd", "clevel": 3, "shuffle": "shuffle", "blocksize": 0}
    blosc["typesize"] = page.dtype.itemsize
    array = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": page.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "blosc", "configuration": blosc},
        ],
        "attributes": {},
        "dimension_names": axes,
    }
    group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": _ome(axes, like)}}
    return "0", {"zarr.json": group, "0/zarr.json": array}


def _ome(axes: list[str], like: ImageInfo) -> dict[str, Any]:
    resolution = like.metadata.resolution
    scale = [1.0] * len(axes)
    unit = {}
    if resolution and min(resolution) > 0:
        across, down = resolution
        scale[-2:] = [_MICROMETRES_PER_INCH / down, _MICROMETRES_PER_INCH / across]
        unit = {"unit": "micrometer"}
    described = [
        {"name": name, "type": "channel"}
        if name == "c"
        else {"name": name, "type": "space", **(unit if name != "z" else {})}
        for name in axes
    ]
    transformation = {"type": "scale", "scale": scale}
    return {
        "version": "0.5",
        "multiscales": [
            {
                "name": "image",
                "axes": described,
                "datasets": [{"path": "0", "coordinateTransformations": [transformation]}],
            }
        ],
    }


def resolution_of(attributes: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return dots per inch along x and y, if the attributes of an OME-Zarr image say it."""
    try:
        ome = attributes.get("ome", attributes)
        scale = ome["multiscales"][0]
        units = {axis["name"]: axis.get("unit") for axis in scale["axes"]}
        names = list(units)
        steps = next(
            one["scale"]
            for one in scale["datasets"][0]["coordinateTransformations"]
            if one["type"] == "scale"
        )
        x, y = (_MICROMETRES_PER_INCH / (steps[names.index(n)] * _UNITS[units[n]]) for n in "xy")
    except (LookupError, TypeError, AttributeError, StopIteration, ZeroDivisionError, ValueError):
        return None  # it does not say so, or not in this way
    return (x, y) if x > 0 and y > 0 else None
