"""One image: read its pages, filter them, write them as the original was written."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import cv2

from filterworks.arguments import Array
from filterworks.batch.check import Check
from filterworks.batch.digests import Digest, HashedFile, digest
from filterworks.batch.folders import identity
from filterworks.batch.memory import MEMORY, usual_memory
from filterworks.batch.overviews import overviews as add_overviews
from filterworks.batch.render import Grid, Rendering, grid, loosened, render
from filterworks.batch.tasks import SHARES, Made, Task
from filterworks.batch.unfinished import NAME, Progress, Unfinished, unfinished
from filterworks.batch.volume import Volume
from filterworks.errors import FileError, FilterworksError
from filterworks.files import (
    ImageReader,
    ImageWriter,
    Page,
    Raster,
    Sheet,
    check_writable,
    create_image,
    is_store,
    naming,
    open_image,
    stacks,
)
from filterworks.files.keeping import Keeping
from filterworks.files.tiff_writer import TiffSheet
from filterworks.operations import Chain

# A result of at least so many bytes before packing is continued by the next run if this one dies.
_LARGE = 64 << 20
# A page of more bytes is overwritten by its result: both would not fit.
_TWICE = 128 << 20
_TIFF = (".tif", ".tiff")


@dataclass(frozen=True)
class ImageTask(Task):
    """An image to be filtered.

    Attributes
    ----------
    chain, range, quality, max_pixels, memory, volume, overviews
        As in the job.
    verify
        Whether to recompute the result with scipy.
    """

    chain: str
    range: str
    quality: int
    max_pixels: int
    memory: int | None
    volume: bool
    overviews: bool
    verify: bool

    def make(self, partial: Path) -> Made:
        """Write the filtered image to `partial`."""
        if cv2.getNumThreads() != self.threads:
            cv2.setNumThreads(self.threads)
        with open_image(Path(self.input), max_pixels=self.max_pixels, scratch=partial.parent) as reader:
            refusal = check_writable(partial.suffix, reader.info)
            if refusal:
                raise FileError(f"{self.input}: {refusal}")
            if self.overviews and (self.volume or partial.suffix.lower() not in _TIFF):
                raise FileError(f"{self.input}: --overviews are for TIFFs, page by page")
            if _is_worth_keeping(reader, partial):
                with unfinished(partial.parent.parent / NAME, self._identity(), partial.suffix) as kept:
                    if kept is not None:
                        return self._continued(reader, kept, partial)
            if is_store(partial.name):
                return _Work(self, reader).into(partial, None)
            with naming(partial), partial.open("wb", buffering=0) as file:
                return _Work(self, reader).into(partial, HashedFile(file, Digest()))

    def _continued(self, reader: ImageReader, kept: Unfinished, partial: Path) -> Made:
        try:
            made = _Work(self, reader, kept).into(kept.path, kept.file)
        except FileError as error:
            raise FileError(str(error).replace(str(kept.path), str(partial))) from error
        kept.finish(partial)
        return made

    def _identity(self) -> list[Any]:
        """Return what decides the bytes of the result."""
        place = os.path.abspath(self.input)  # noqa: PTH100  # Path.resolve would follow a link to its target
        content = None if self.content is None else digest(Path(self.input))
        # What was not compared while it was made cannot be verified later.
        how = [self.chain, self.range, self.quality, self.volume, self.overviews, self.verify, self.output]
        return [place, *identity(self.input), content, *how]


def _is_worth_keeping(reader: ImageReader, partial: Path) -> bool:
    """Return whether the result is so large that a run that comes later should continue it."""
    size = math.prod(reader.info.shape) * reader.info.dtype.itemsize * reader.info.page_count
    return size >= _LARGE and (partial.suffix.lower() in _TIFF or is_store(partial.name))


@lru_cache(maxsize=8)
def _rendering(chain: str, range_: str, volume: bool) -> Rendering:
    return Rendering(Chain.parse(chain), range_, axes=(0, 1, 2) if volume else (0, 1))


class _Work:
    """One image on its way, and what is found out about it."""

    def __init__(self, task: ImageTask, reader: ImageReader, kept: Unfinished | None = None) -> None:
        self._task, self._reader, self._kept, self._progress = task, reader, kept, Progress(kept)
        self._rendering = _rendering(task.chain, task.range, task.volume)
        self._turn = threading.Lock()
        self._pages = self._steps = self._samples = 0
        self._clipped: int = self._progress.place.get("clipped", 0)
        self._difference: float | None = self._progress.place.get("difference", 0.0) if task.verify else None

    def into(self, place: Path, file: HashedFile | None) -> Made:
        """Write the result to `place`, or to the file; what is kept of it is continued."""
        kept = self._kept
        how: Any = {"quality": self._task.quality, "threads": self._task.threads, "file": file}
        keeping = Keeping(bool(kept.entries), kept.stretches, self._begun) if kept else None
        with create_image(place, self._reader.info, **how, keeping=keeping) as writer:
            try:
                if self._task.volume:
                    self._filter_volumes(writer)
                else:
                    for page in self._reader.rasters():
                        self._filter(loosened(page), writer)
            except FileError:
                raise
            except FilterworksError as error:
                raise FileError(f"{self._task.input}: {error}") from error
        written, size = (file.digest.hexdigest(), file.end) if file and file.digest else (None, None)
        share = self._clipped / max(self._samples, 1)
        return Made(written, size, pages=self._pages, clipped=share, difference=self._difference)

    def _filter(self, page: Raster, writer: ImageWriter) -> None:
        task, rendering, before = self._task, self._rendering, self._clipped
        room = self._room(page)
        sheet = writer.sheet(page, room)
        cut = grid(page, rendering, sheet.unit)
        threads, size = self._share_of_memory(page, cut)
        check = Check(page, rendering, self._settle) if task.verify else None
        start, reached = self._begun(sheet, page.shape[0])

        def after(rows: int, clipped: int) -> None:
            self._clipped = before + clipped
            SHARES[task.partial] = (self._pages + rows / page.shape[0]) / self._reader.info.page_count
            reached(rows)

        with MEMORY.held(size, task.memory or usual_memory()):
            how: Any = {"cut": cut, "threads": threads, "start": start, "overwritten": room is not None}
            self._clipped = before + render(page, sheet, rendering, **how, check=check, after=after)
            reached(page.shape[0])
            if self._has_overviews():
                add_overviews(page, cast("TiffSheet", sheet), threads, self._begun)
        self._pages += 1
        self._samples += math.prod(page.shape)

    def _room(self, page: Raster) -> Array | None:
        """Return pixels that the result may be written over: those of a page too large to have twice."""
        # The verification needs the page as it was, a periodic outside its first rows until the end.
        if not isinstance(page, Page) or page.pixels.nbytes <= _TWICE:
            return None
        is_needed = self._task.verify or self._rendering.wraps or not page.pixels.flags.writeable
        return None if is_needed else page.pixels

    def _has_overviews(self) -> bool:
        own = self._reader.info.metadata.own
        is_wanted = self._task.overviews or getattr(own, "has_overviews", False)
        return is_wanted and self._task.output.lower().endswith(_TIFF)

    def _begun(self, sheet: Sheet, rows: int) -> tuple[int, Callable[[int], None]]:
        """Return the first row of a new sheet that is not in the file yet, and whom to tell of rows."""
        return self._step(rows, range(self._progress.restore(sheet)))

    def _step(self, rows: int, done: Container[int] = ()) -> tuple[int, Callable[[int], None]]:
        """Return the first row of the next step that is not in the result yet, and whom to tell of rows."""
        number, self._steps = self._steps, self._steps + 1
        reached = self._progress.place.get("step", 0)
        start = self._progress.place.get("rows", 0) if number == reached else rows if number < reached else 0

        def reach(row: int) -> None:
            place = {"step": number, "rows": row, "clipped": self._clipped, "difference": self._difference}
            if number >= reached:
                self._progress.reach(place, done)

        return start, reach

    def _filter_volumes(self, writer: ImageWriter) -> None:
        """Filter along the pages too, each stack of them by itself."""
        pages = [loosened(page) for page in self._reader.rasters()]
        sheets = writer.sheets(pages)
        for sheet in sheets:
            self._progress.restore(sheet)
        settled = self._settle if self._task.verify else None
        for members in stacks(self._reader.info):
            stack = Volume([pages[i] for i in members], [sheets[i] for i in members], self._rendering)
            threads, size = self._fitting(stack.memory)
            with MEMORY.held(size, self._task.memory or usual_memory()):
                stack.render(threads, settled, self._step, self._count)
        self._pages, self._samples = len(pages), sum(math.prod(page.shape) for page in pages)

    def _count(self, clipped: int) -> None:
        self._clipped += clipped

    def _settle(self, difference: float) -> None:
        with self._turn:
            self._difference = max(self._difference or 0.0, difference)

    def _share_of_memory(self, page: Raster, cut: Grid) -> tuple[int, int]:
        """Return how many threads may filter the page, and how many bytes they hold."""
        kept = self._kept_bytes(page)
        return self._fitting(lambda threads: kept + cut.memory(page, threads))

    def _kept_bytes(self, page: Raster) -> int:
        """Return how many bytes a page that is decoded whole takes, and its result."""
        size = math.prod(page.shape) * page.dtype.itemsize if isinstance(page, Page) else 0
        return size if size > _TWICE else 2 * size

    def _fitting(self, memory: Callable[[int], int]) -> tuple[int, int]:
        """Return how many threads fit into the memory that may be used, and what they hold."""
        limit = self._task.memory or usual_memory()
        threads = next((n for n in range(self._task.threads, 1, -1) if memory(n) <= limit), 1)
        size = memory(threads)
        if self._task.memory is not None and size > limit:
            raise FileError(
                f"{self._task.input}: needs about {size >> 20} MiB to be filtered like this, and --memory "
                f"allows {limit >> 20} MiB"
            )
        return threads, size
