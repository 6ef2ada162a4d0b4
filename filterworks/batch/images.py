"""One image: read its pages, filter them, write them as the original was written."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from filterworks.arguments import compute_dtype
from filterworks.batch.memory import MEMORY
from filterworks.batch.render import Rendered, render
from filterworks.batch.tasks import Made, Task
from filterworks.errors import FileError, FilterworksError
from filterworks.files import ImageReader, Page, check_writable, open_image, write_image
from filterworks.operations import Chain


@dataclass(frozen=True)
class ImageTask(Task):
    """An image to be filtered.

    Attributes
    ----------
    chain, range, quality, max_pixels
        As in the job.
    verify
        Whether to recompute the result with scipy.
    """

    chain: str
    range: str
    quality: int
    max_pixels: int
    verify: bool

    def make(self, partial: Path) -> Made:
        """Write the filtered image to `partial`."""
        tally = _filter_file(self, partial)
        return Made(
            pages=tally.pages, clipped=tally.clipped / max(tally.samples, 1), difference=tally.difference
        )


@dataclass
class _Tally:
    pages: int = 0
    samples: int = 0
    clipped: int = 0
    difference: float | None = None


@lru_cache(maxsize=8)
def _chain(text: str) -> Chain:
    return Chain.parse(text)


def _filter_file(task: ImageTask, partial: Path) -> _Tally:
    if cv2.getNumThreads() != task.threads:
        cv2.setNumThreads(task.threads)
    tally = _Tally()
    with open_image(Path(task.input), max_pixels=task.max_pixels) as reader:
        refusal = check_writable(partial.suffix, reader.info)
        if refusal:
            raise FileError(f"{task.input}: {refusal}")
        with MEMORY.held(math.prod(reader.info.shape) * reader.info.dtype.itemsize):
            write_image(partial, _pages(task, reader, tally), reader.info, quality=task.quality)
    return tally


def _pages(task: ImageTask, reader: ImageReader, tally: _Tally) -> Iterator[Page]:
    chain = _chain(task.chain)
    for page in reader.pages():
        try:
            # The verification needs the page as it was.
            rendered = render(page, chain, task.range, reuse=not task.verify)
        except FilterworksError as error:
            raise FileError(f"{task.input}: {error}") from None
        tally.pages += 1
        tally.samples += rendered.page.pixels.size
        tally.clipped += rendered.clipped
        if task.verify:
            tally.difference = max(tally.difference or 0.0, _difference(page, rendered, chain, task.range))
        yield rendered.page


def _difference(page: Page, rendered: Rendered, chain: Chain, range_: str) -> float:
    """Return the largest difference to scipy's result, in units of what is allowed.

    Allowed are one grey level for integers (a tie may round either way; more where double precision
    cannot tell neighbours apart), and for floats the contract's share of the largest value or the
    precision of the file. Where the result is a decision (canny), one pixel in 500 may differ.
    """
    from filterworks.verification import reference_chain  # scipy.signal is slow to load

    exact = page.pixels.astype(np.float64) if page.pixels.dtype.kind == "f" else page.pixels
    expected = render(Page(exact, page.alpha), chain, range_, reference_chain(chain)).page.pixels
    got = rendered.page.pixels.astype(np.float64)
    error = np.abs(got - expected)
    if chain.steps[-1].name == "canny":
        return float((error > 0).mean()) * 500
    scale = float(np.abs(expected).max(initial=0.0)) or 1.0
    if page.pixels.dtype.kind in "iu":
        return float(error.max(initial=0.0)) / max(1.0, scale * 1e-12)
    share = 1e-5 if compute_dtype(page.pixels.dtype) == np.float32 else 1e-12
    return float(error.max(initial=0.0)) / (scale * max(share, float(np.finfo(page.pixels.dtype).eps)))
