"""Open and write images by their suffix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from filterworks.errors import FileError
from filterworks.files.formats import FORMATS, Pages, format_by_content, format_by_suffix, why_not
from filterworks.files.page import ImageInfo, Page, layout_of
from filterworks.files.source import MAX_PIXELS, Source, UnnamedFileError, open_source, system_reason


class ImageReader:
    """An open image: what it is, and its pages one at a time."""

    def __init__(self, path: Path, info: ImageInfo, pages: Pages) -> None:
        self.info = info
        self._path = path
        self._pages = pages

    def pages(self) -> Iterator[Page]:
        """Decode and yield one page after the other; only the one that is yielded is in memory.

        Raises
        ------
        FileError
            If a page is damaged, truncated or too large; the pages before it were good.
        """
        with naming(self._path):
            yield from self._pages()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the path in front of every failure and turn those of the system into a :class:`FileError`."""
    try:
        yield
    except UnnamedFileError as error:
        raise FileError(f"{path}: {error}") from error
    except OSError as error:
        raise FileError(f"{path}: {system_reason(error)}") from error
    except MemoryError as error:
        raise FileError(f"{path}: there is not enough memory for this image") from error


@contextmanager
def open_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> Iterator[ImageReader]:
    """Open the image at `path`; its header is read and checked, its pixels are not.

    Parameters
    ----------
    path
        A file whose suffix is in ``IMAGE_SUFFIXES`` and fits its content.
    max_pixels
        A page with more pixels (rows × columns) is refused before anything is decoded.

    Raises
    ------
    FileError
        In one line that starts with `path`.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> path = Path(tempfile.mkdtemp()) / "ramp.png"
    >>> ramp = np.arange(6, dtype=np.uint16).reshape(2, 3)
    >>> write_image(path, [Page(ramp)], ImageInfo("png", 1, ramp.shape, ramp.dtype))
    >>> with open_image(path) as image:
    ...     print(image.info.shape, image.info.dtype)
    ...     print(next(image.pages()).pixels)
    (2, 3) uint16
    [[0 1 2]
     [3 4 5]]
    """
    with naming(path):
        source = open_source(path, max_pixels)
    with source.file:
        with naming(path):
            info, pages = _read(path, source)
        yield ImageReader(path, info, pages)


def _read(path: Path, source: Source) -> tuple[ImageInfo, Pages]:
    expected = format_by_suffix(path.suffix)
    found = format_by_content(source.head(32))
    if found is None:
        raise UnnamedFileError(
            f"is not a {FORMATS[expected].title} file: its first bytes are {source.head(8)!r}"
        )
    if found != expected:
        raise UnnamedFileError(
            f"is named {path.suffix} ({FORMATS[expected].title}) but holds {FORMATS[found].title} data; "
            f"rename it to {path.stem}{FORMATS[found].suffixes[0]}"
        )
    return FORMATS[found].codec.read(source)


def check_writable(suffix: str, info: ImageInfo) -> str | None:
    """Return why an image like `info` cannot be written with `suffix`, or None if it can.

    Examples
    --------
    >>> import numpy as np
    >>> check_writable(".jpg", ImageInfo("png", 1, (2, 3), np.dtype("uint16")))
    'JPEG holds one page of uint8, grey, RGB or CMYK; this image has uint16, 1 channel; \
use .png or .tif or .tiff or .pgm or .ppm or .pnm'
    """
    try:
        return why_not(format_by_suffix(suffix), info.layout, info.page_count)
    except UnnamedFileError as error:
        return str(error)


def write_image(path: Path, pages: Iterable[Page], like: ImageInfo, *, quality: int = 95) -> None:
    """Write `pages` to `path`, in the format of its suffix, with the metadata of `like`.

    Pages are taken one at a time. A file that could not be finished stays as it is: write to a
    temporary name and rename it.

    Parameters
    ----------
    path
        Where to; an existing file is replaced.
    pages
        At least one; as many as the format holds.
    like
        The input that the result should resemble; everything it has besides pixels is kept
        as far as the format can hold it.
    quality
        1 to 100, of JPEG and lossy WebP.

    Raises
    ------
    FileError
        In one line that starts with `path`.
    """
    with naming(path):
        name = format_by_suffix(path.suffix)
    checked = _checked(path, name, pages, like)
    with naming(path):
        file = path.open("wb")
    with naming(path), file:
        FORMATS[name].codec.write(file, checked, _owned(like, name), quality)


def _owned(like: ImageInfo, name: str) -> ImageInfo:
    """Leave out what only the format of the input understands."""
    if like.format == name:
        return like
    return replace(like, metadata=replace(like.metadata, own=None))


def _checked(path: Path, name: str, pages: Iterable[Page], like: ImageInfo) -> Iterator[Page]:
    """Yield the pages that fit the format; refuse the first that does not, or one too many."""
    count = 0
    for page in pages:
        count += 1
        layout = layout_of(page, like)
        problem = why_not(name, layout, 1 if FORMATS[name].codec.MANY_PAGES else count)
        if page.pixels.ndim not in (2, 3) or 0 in page.pixels.shape:
            problem = f"an image has rows, columns and perhaps channels; got shape {page.pixels.shape}"
        if problem:
            raise FileError(f"{path}: {problem}")
        yield page
    if count == 0:
        raise FileError(f"{path}: there is no page to write")
