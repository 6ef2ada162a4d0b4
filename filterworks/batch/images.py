"""One image: read its pages, filter them, write them as the original was written."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from filterworks.arguments import Array, compute_dtype
from filterworks.batch.flow import Band
from filterworks.batch.memory import MEMORY, usual_memory
from filterworks.batch.render import Grid, Limits, Rendering, grid, loosened, render
from filterworks.batch.tasks import Made, Task
from filterworks.errors import FileError, FilterworksError
from filterworks.files import ImageWriter, Page, Raster, check_writable, create_image, open_image, whole
from filterworks.operations import Chain

# A page of more samples is compared in part.
_COMPARED = 64 << 20


@dataclass(frozen=True)
class ImageTask(Task):
    """An image to be filtered.

    Attributes
    ----------
    chain, range, quality, max_pixels, memory
        As in the job.
    verify
        Whether to recompute the result with scipy.
    """

    chain: str
    range: str
    quality: int
    max_pixels: int
    memory: int | None
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
    with open_image(Path(task.input), max_pixels=task.max_pixels, scratch=partial.parent) as reader:
        refusal = check_writable(partial.suffix, reader.info)
        if refusal:
            raise FileError(f"{task.input}: {refusal}")
        with create_image(partial, reader.info, quality=task.quality, threads=task.threads) as writer:
            for page in reader.rasters():
                try:
                    _filter_page(task, loosened(page), writer, tally)
                except FileError:
                    raise
                except FilterworksError as error:
                    raise FileError(f"{task.input}: {error}") from None
    return tally


def _filter_page(task: ImageTask, page: Raster, writer: ImageWriter, tally: _Tally) -> None:
    rendering = Rendering(_chain(task.chain), task.range)
    # The verification needs the page as it was, a periodic outside its first rows until the end.
    needed = task.verify or rendering.wraps or not isinstance(page, Page) or not page.pixels.flags.writeable
    sheet = writer.sheet(page, None if needed else whole(page).pixels)
    threads, size = _share_of_memory(task, page, grid(page, rendering, sheet.unit))
    check = _Check(page, rendering, tally) if task.verify else None
    with MEMORY.held(size, task.memory or usual_memory()):
        tally.clipped += render(page, sheet, rendering, threads=threads, check=check)
    tally.pages += 1
    tally.samples += math.prod(page.shape)


def _share_of_memory(task: ImageTask, page: Raster, cut: Grid) -> tuple[int, int]:
    """Return how many threads may filter the page, and how many bytes they hold."""
    limit = task.memory or usual_memory()
    kept = math.prod(page.shape) * page.dtype.itemsize if isinstance(page, Page) else 0
    threads = next((n for n in range(task.threads, 1, -1) if kept + cut.memory(page, n) <= limit), 1)
    size = kept + cut.memory(page, threads)
    if task.memory is not None and size > limit:
        raise FileError(
            f"{task.input}: needs about {size >> 20} MiB to be filtered like this, and --memory allows "
            f"{limit >> 20} MiB"
        )
    return threads, size


class _Check:
    """Compares bands of the result with scipy: all of a page of usual size, some of a large one.

    Allowed are one grey level for integers (a tie may round either way; more where double precision
    cannot tell neighbours apart), and for floats the contract's share of the largest value or the
    precision of the file. Where the result is a decision (canny), one pixel in 500 may differ.
    """

    def __init__(self, page: Raster, rendering: Rendering, tally: _Tally) -> None:
        from filterworks.verification import reference_chain  # scipy.signal is slow to load

        self._page, self._tally, self._turn = page, tally, threading.Lock()
        self._rendering = replace(rendering, apply=reference_chain(rendering.chain))
        tally.difference = tally.difference or 0.0

    def __call__(self, band: Band, shown: Array, limits: Limits | None) -> None:
        """Compare one band, on rows twice as far around it as the result should look."""
        write = band[2]
        if (write.start // (write.stop - write.start)) % _stride(self._page):
            return
        reach = self._rendering.chain.reach[0]
        margin = self._page.shape[0] if self._rendering.wraps or math.isinf(reach) else 2 * int(reach) + 2
        first, last = max(write.start - margin, 0), min(write.stop + margin, self._page.shape[0])
        pixels = self._page.rows(first, last)
        exact = pixels.astype(np.float64) if pixels.dtype.kind == "f" else pixels
        values, opacity = self._rendering.values(exact, self._page.alpha)
        rendering = replace(self._rendering, limits=limits)
        expected, _ = rendering.pixels(values, opacity, exact.dtype)
        found = self._difference(shown, expected[write.start - first : write.stop - first])
        with self._turn:
            self._tally.difference = max(self._tally.difference or 0.0, found)

    def _difference(self, got: Array, expected: Array) -> float:
        """Return the largest difference in units of what is allowed."""
        dtype = self._page.dtype
        error = np.abs(got.astype(np.float64) - expected)
        if self._rendering.chain.steps[-1].name == "canny":
            return float((error > 0).mean()) * 500
        scale = float(np.abs(expected).max(initial=0.0)) or 1.0
        if dtype.kind in "iu":
            return float(error.max(initial=0.0)) / max(1.0, scale * 1e-12)
        share = 1e-5 if compute_dtype(dtype) == np.float32 else 1e-12
        return float(error.max(initial=0.0)) / (scale * max(share, float(np.finfo(dtype).eps)))


def _stride(page: Raster) -> int:
    """Return which share of the bands is compared: one in so many."""
    return 1 + math.prod(page.shape) // _COMPARED
