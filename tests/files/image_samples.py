from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from filterworks.arguments import Array
from filterworks.files import ImageInfo, Page, open_image, write_image

Recode = Callable[..., Path]


def pattern(dtype: str = "uint8", channels: int = 1, rows: int = 37, columns: int = 53) -> Array:
    """Pixels that no transposition, flip or exchange of channels leaves unchanged."""
    shape = (rows, columns) if channels == 1 else (rows, columns, channels)
    values = np.random.default_rng(7).random(shape)
    values += np.arange(columns).reshape(1, -1, *(1,) * (channels > 1)) / columns
    if channels > 1:
        values *= np.linspace(0.4, 1.0, channels)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return (values * 3 - 1).astype(kind)
    info = np.iinfo(kind)
    return (info.min + values / 2 * (float(info.max) - info.min) * 0.999).astype(kind)


def load(path: Path, **options: int) -> tuple[ImageInfo, list[Page]]:
    with open_image(path, **options) as image:
        return image.info, list(image.pages())


def save(path: Path, pixels: Array | Iterable[Array], like: ImageInfo, **options: int) -> Path:
    arrays = [pixels] if isinstance(pixels, np.ndarray) else pixels
    write_image(path, (Page(array, like.alpha) for array in arrays), like, **options)
    return path


def picture(path: Path) -> Array:
    """The pixels, as Pillow reads them."""
    with Image.open(path) as image:
        return np.asarray(image)


def mode(path: Path) -> str:
    """The channels, as Pillow calls them."""
    with Image.open(path) as image:
        return image.mode
