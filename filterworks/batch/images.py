"""One image: read its pages, filter them, write them as the original was written."""

from __future__ import annotations

import math
import os
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast

import cv2

from filterworks.batch.check import Check
from filterworks.batch.digests import HashedFile
from filterworks.batch.memory import MEMORY, usual_memory
from filterworks.batch.render import Grid, Rendering, grid, loosened, render
from filterworks.batch.tasks import Made, Task
from filterworks.batch.unfinished import NAME, Unfinished, unfinished
from filterworks.errors import FileError, FilterworksError
from filterworks.files import (
    ImageReader,
    ImageWriter,
    Page,
    Raster,
    RowSheet,
    Sheet,
    check_writable,
    create_image,
    open_image,
    whole,
)
from filterworks.operations import Chain

# A result of at least so many bytes before packing is continued by the next run if this one dies.
_LARGE = 64 << 20

Log = tuple[int, list[tuple[int, int]]]


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
        if cv2.getNumThreads() != self.threads:
            cv2.setNumThreads(self.threads)
        with open_image(Path(self.input), max_pixels=self.max_pixels) as reader:
            refusal = check_writable(partial.suffix, reader.info)
            if refusal:
                raise FileError(f"{self.input}: {refusal}")
            if not _is_worth_keeping(reader, partial):
                return _Work(self, reader, None).into(partial, None)
            with unfinished(partial.parent.parent / NAME, self._identity()) as kept:
                if kept is None:
                    return _Work(self, reader, None).into(partial, None)
                # The suffix says which format it has.
                made = _Work(self, reader, kept).into(kept.path.with_suffix(partial.suffix), kept.file)
                kept.finish(partial)
                return made

    def _identity(self) -> list[Any]:
        """Return what decides the bytes of the result."""
        status = os.stat(self.input)  # noqa: PTH116  # names need not be valid Unicode
        place = os.path.abspath(self.input)  # noqa: PTH100  # Path.resolve would follow a link to its target
        how = [self.chain, self.range, self.quality, self.output]
        return [place, status.st_size, status.st_mtime_ns, *how]


def _is_worth_keeping(reader: ImageReader, partial: Path) -> bool:
    """Return whether the result is so large that a run that comes later should continue it."""
    size = math.prod(reader.info.shape) * reader.info.dtype.itemsize * reader.info.page_count
    return size >= _LARGE and partial.suffix.lower() in (".tif", ".tiff")


@lru_cache(maxsize=8)
def _chain(text: str) -> Chain:
    return Chain.parse(text)


class _Work:
    """One image on its way, and what is found out about it."""

    def __init__(self, task: ImageTask, reader: ImageReader, kept: Unfinished | None) -> None:
        self._task, self._reader, self._kept = task, reader, kept
        self._turn = threading.Lock()
        self._pages = self._samples = self._clipped = 0
        self._difference: float | None = 0.0 if task.verify else None
        # What was written of each page: where it begins, and how long each strip or tile is.
        self._written: dict[int, list[Log]] = {}
        self._noted: dict[str, Any] = {"page": 0, "rows": 0}
        self._logs: list[tuple[int, Log]] = []

    def into(self, place: Path, file: HashedFile | None) -> Made:
        """Write the result to `place`, or to the file."""
        task = self._task
        self._recall()
        with create_image(
            place, self._reader.info, quality=task.quality, file=cast("BinaryIO | None", file)
        ) as writer:
            for number, page in enumerate(self._reader.rasters()):
                try:
                    self._filter(number, loosened(page), writer)
                except FileError:
                    raise
                except FilterworksError as error:
                    raise FileError(f"{task.input}: {error}") from None
        content = file.digest.hexdigest() if file else None
        share = self._clipped / max(self._samples, 1)
        return Made(digest=content, pages=self._pages, clipped=share, difference=self._difference)

    def _filter(self, number: int, page: Raster, writer: ImageWriter) -> None:
        task = self._task
        rendering = Rendering(_chain(task.chain), task.range)
        # The verification needs the page as it was, a periodic outside its first rows until the end.
        needed = task.verify or rendering.wraps or not isinstance(page, Page)
        reusable = None if needed else whole(page).pixels
        sheet = writer.sheet(page, reusable if reusable is not None and reusable.flags.writeable else None)
        threads, size = _share_of_memory(task, page, grid(page, rendering, sheet.unit))
        check = Check(page, rendering, self._settle) if task.verify else None
        before = self._clipped

        def after(rows: int, clipped: int) -> None:
            self._clipped = before + clipped
            self._note(number, rows, sheet)

        start = self._restore(number, page, sheet)
        with MEMORY.held(size, task.memory or usual_memory()):
            render(page, sheet, rendering, threads=threads, start=start, check=check, after=after)
        self._pages += 1
        self._samples += math.prod(page.shape)
        if self._kept is not None:
            self._logs.append((number, cast("RowSheet", sheet).log()))

    def _settle(self, difference: float) -> None:
        with self._turn:
            self._difference = max(self._difference or 0.0, difference)

    def _note(self, number: int, rows: int, sheet: Sheet) -> None:
        """Say in the journal what has been written since the last time, when it is time for it."""
        if self._kept is None or not self._kept.is_due():
            return
        logs = [*self._logs, (number, cast("RowSheet", sheet).log())]
        self._logs.clear()
        found = {"clipped": self._clipped, "difference": self._difference}
        self._kept.note({"page": number, "rows": rows, "logs": logs, **found})

    def _recall(self) -> None:
        """Know what the journal says."""
        for entry in self._kept.entries if self._kept else ():
            for number, log in entry["logs"]:
                self._written.setdefault(number, []).append(log)
            self._noted = entry
            self._clipped, self._difference = entry["clipped"], entry["difference"]

    def _restore(self, number: int, page: Raster, sheet: Sheet) -> int:
        """Return the first row of a page that is not in the file yet."""
        for position, log in self._written.get(number, ()):
            cast("RowSheet", sheet).restore(position, log)
        if number == self._noted["page"]:
            return int(self._noted["rows"])
        return page.shape[0] if number < self._noted["page"] else 0


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
