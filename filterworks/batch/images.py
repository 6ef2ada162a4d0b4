"""One image: read its pages, filter them, write them as the original was written."""

from __future__ import annotations

import io
import math
import os
import threading
from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from filterworks.arguments import Array
from filterworks.batch.check import Check
from filterworks.batch.digests import Digest, HashedFile, digest, write_hashed
from filterworks.batch.folders import begin_writing, identity
from filterworks.batch.memory import MEMORY, keep_freed_memory, usual_memory
from filterworks.batch.overviews import overviews as add_overviews
from filterworks.batch.render import Grid, Rendering, grid, loosened, plain, render
from filterworks.batch.tasks import SHARES, Made, Task
from filterworks.batch.unfinished import NAME, Progress, Unfinished, unfinished
from filterworks.batch.volume import Volume
from filterworks.chains import Chain
from filterworks.errors import FileError, FilterworksError
from filterworks.files import (
    ImageReader,
    ImageWriter,
    Layout,
    Page,
    Raster,
    Sheet,
    check_writable,
    create_image,
    is_archive,
    is_store,
    named,
    naming,
    open_image,
    stacks,
    suffix_of,
)
from filterworks.files.keeping import Keeping
from filterworks.files.tiff_writer import TiffSheet

# A result of at least so many bytes before packing is continued by the next run if this one dies.
_LARGE = 64 << 20
# One of at most so many is made in memory and written in one go.
_SMALL = 1 << 20
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

    def make(self, partial: str | Path) -> Made:
        """Write the filtered image to `partial`."""
        place = os.fspath(partial)
        keep_freed_memory()
        if cv2.getNumThreads() != self.threads:
            cv2.setNumThreads(self.threads)
        scratch = Path(place).parent if is_store(self.input) or is_archive(self.input) else None
        with open_image(self.input, max_pixels=self.max_pixels, scratch=scratch) as reader:
            info = reader.info
            key = (info.layout, info.shape, info.page_count, suffix_of(place), self.volume, self.overviews)
            refusal, way = _way(*key)
            if refusal:
                raise FileError(f"{self.input}: {refusal}")
            if way == "at once" and reader.is_small:
                return self._at_once(reader, place)
            if way == "to be continued":
                kept_in = Path(place).parent.parent / NAME
                with unfinished(kept_in, self._identity(), suffix_of(place)) as kept:
                    if kept is not None:
                        return self._continued(reader, kept, Path(place))
            work = _Work(self, reader)
            if is_store(place):
                work.into(place, None)
                return work.made()
            with naming(place), Path(place).open("wb", buffering=0) as file:
                hashed = HashedFile(file, Digest())
                work.into(place, hashed)
                begin_writing(file)
                return work.made(*hashed.known)

    def _at_once(self, reader: ImageReader, place: str) -> Made:
        """Make a small result in memory, and write it in one go."""
        work, file = _Work(self, reader), io.BytesIO()
        work.into(place, file)
        data = file.getbuffer()
        try:
            return work.made(write_hashed(place, data), len(data))
        except OSError as error:
            raise named(place, error) from error

    def _continued(self, reader: ImageReader, kept: Unfinished, partial: Path) -> Made:
        work = _Work(self, reader, kept)
        try:
            work.into(kept.path, kept.file)
        except FileError as error:
            raise FileError(str(error).replace(str(kept.path), str(partial))) from error
        kept.finish(partial)
        return work.made(*kept.file.known if kept.file else ())

    def _identity(self) -> list[Any]:
        """Return what decides the bytes of the result."""
        place = os.path.abspath(self.input)  # noqa: PTH100  # Path.resolve would follow a link to its target
        content = None if self.content is None else digest(Path(self.input))
        # What was not compared while it was made cannot be verified later.
        how = [self.chain, self.range, self.quality, self.volume, self.overviews, self.verify, self.output]
        return [place, *identity(self.input), content, *how]


@lru_cache(maxsize=256)
def _way(
    layout: Layout, shape: tuple[int, ...], pages: int, suffix: str, volume: bool, overviews: bool
) -> tuple[str | None, str]:
    """Return why the result of an image cannot be made, and else how it is written.

    ``to be continued``: so large that a run that comes later should continue it; ``at once``: small, as
    far as its pixels go.
    """
    is_tiff = suffix.lower() in _TIFF
    refusal = check_writable(suffix, layout, pages)
    if refusal is None and overviews and (volume or not is_tiff):
        refusal = "--overviews are for TIFFs, page by page"
    size = math.prod(shape) * np.dtype(layout.dtype).itemsize * pages
    if size >= _LARGE and (is_tiff or is_store(suffix)):
        return refusal, "to be continued"
    return refusal, "at once" if size <= _SMALL and not is_store(suffix) else "as it comes"


def _untold(rows: int) -> None:
    """Hear of rows of a result that nobody will continue."""


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

    def into(self, place: str | Path, file: HashedFile | io.BytesIO | None) -> None:
        """Write the result to `place`, or to the file; what is kept of it is continued."""
        kept, quality, threads = self._kept, self._task.quality, self._task.threads
        keeping = Keeping(bool(kept.entries), kept.stretches, self._begun) if kept else None
        how: Any = {"quality": quality, "threads": threads, "file": file, "keeping": keeping}
        with create_image(place, self._reader.info, **how) as writer:
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
        if file is not None:
            file.flush()

    def made(self, digest: str | None = None, size: int | None = None) -> Made:
        """Return what was found out on the way; the hash and the size of the result where they are known."""
        share = self._clipped / max(self._samples, 1)
        return Made(digest, size, self._pages, share, self._difference)

    def _filter(self, page: Raster, writer: ImageWriter) -> None:
        task, rendering, before = self._task, self._rendering, self._clipped
        room = self._room(page)
        sheet = writer.sheet(page, room)
        whole = isinstance(page, Page)
        kind = (page.shape, page.dtype, page.unit, sheet.unit, whole, plain(page))
        cut, threads, size = _course(rendering, *kind, task.threads, task.memory)
        self._check_memory(size)
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
            add_overviews(page, cast("TiffSheet", sheet), self._overviews(), threads, self._begun)
        self._pages += 1
        self._samples += math.prod(page.shape)

    def _room(self, page: Raster) -> Array | None:
        """Return pixels that the result may be written over: those of a page too large to have twice."""
        # The verification needs the page as it was, a periodic outside its first rows until the end.
        if not isinstance(page, Page) or page.pixels.nbytes <= _TWICE:
            return None
        is_needed = self._task.verify or self._rendering.wraps or not page.pixels.flags.writeable
        return None if is_needed else page.pixels

    def _overviews(self) -> int | None:
        """Return how many overviews there are to be at least, or None for none at all."""
        own: int = getattr(self._reader.info.metadata.own, "overviews", 0)
        is_wanted = self._task.overviews or own
        return own if is_wanted and self._task.output.lower().endswith(_TIFF) else None

    def _begun(self, sheet: Sheet, rows: int) -> tuple[int, Callable[[int], None]]:
        """Return the first row of a new sheet that is not in the file yet, and whom to tell of rows."""
        if self._kept is None:
            return 0, _untold
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
            threads, size = _fitting(self._task.threads, self._task.memory, stack.memory)
            self._check_memory(size)
            with MEMORY.held(size, self._task.memory or usual_memory()):
                stack.render(threads, settled, self._step, self._count)
        self._pages, self._samples = len(pages), sum(math.prod(page.shape) for page in pages)

    def _count(self, clipped: int) -> None:
        self._clipped += clipped

    def _settle(self, difference: float) -> None:
        with self._turn:
            self._difference = max(self._difference or 0.0, difference)

    def _check_memory(self, size: int) -> None:
        limit = self._task.memory
        if limit is not None and size > limit:
            raise FileError(
                f"{self._task.input}: needs about {size >> 20} MiB to be filtered like this, and --memory "
                f"allows {limit >> 20} MiB"
            )


@lru_cache(maxsize=256)
def _course(
    rendering: Rendering,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    stored: int,
    unit: int,
    whole: bool,
    held: np.dtype[Any] | None,
    threads: int,
    memory: int | None,
) -> tuple[Grid, int, int]:
    """Return how a page is cut, how many threads filter it, and about how many bytes are held.

    Of the page and of its result `stored` and `unit` rows belong together; `whole`: it is decoded at once.
    """
    cut = grid(shape, stored, rendering, unit, held)
    size = math.prod(shape) * dtype.itemsize if whole else 0
    # A page that is decoded whole is held, and its result unless that takes its place.
    kept = size if size > _TWICE else 2 * size
    return cut, *_fitting(threads, memory, lambda n: kept + cut.memory(shape, dtype, n))


def _fitting(most: int, limit: int | None, memory: Callable[[int], int]) -> tuple[int, int]:
    """Return how many threads fit into the memory that may be used, and what they hold."""
    limit = limit or usual_memory()
    threads = next((n for n in range(most, 1, -1) if memory(n) <= limit), 1)
    return threads, memory(threads)
