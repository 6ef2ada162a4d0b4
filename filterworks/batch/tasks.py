"""One task: read an image, filter it, write the result under a provisional name.

Runs in threads, in the processes of a local cluster and on the workers of a remote one; takes and
returns plain values only.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from filterworks.arguments import compute_dtype
from filterworks.batch.render import Rendered, render
from filterworks.errors import FileError, FilterworksError
from filterworks.files import ImageReader, Page, check_writable, open_image, write_image
from filterworks.operations import Chain


@dataclass(frozen=True)
class Task:
    """What one worker is given.

    Attributes
    ----------
    input, output
        Paths of the image and of its result.
    partial
        Where to write, but for a part of the name that each attempt adds; the main process gives
        the file its name.
    chain, range, quality, max_pixels
        As in the job.
    known
        (size, hash) of a result that is recorded for just this; if it is intact, nothing is done.
    verify
        Whether to recompute the result with scipy.
    threads
        For OpenCV and FFT inside this task.
    """

    input: str
    output: str
    partial: str
    chain: str
    range: str
    quality: int
    max_pixels: int
    known: tuple[int, str] | None
    verify: bool
    threads: int


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes
    ----------
    state
        ``done``, ``skipped`` (an intact result was there) or ``failed``.
    error, trace
        Why it failed; the traceback only of failures that are nobody's expectation.
    size, digest
        Of the result.
    seconds
        Time taken.
    pages, clipped
        How many pages were filtered, and the share of their samples that was cut to the range.
    partial
        Where the result waits for its name.
    difference
        Verified results: the largest difference to scipy, in units of what is allowed.
    """

    state: Literal["done", "skipped", "failed"]
    error: str | None = None
    trace: str | None = None
    size: int = 0
    digest: str = ""
    seconds: float = 0.0
    pages: int = 0
    clipped: float = 0.0
    difference: float | None = None
    partial: str = ""


@dataclass
class _Tally:
    pages: int = 0
    samples: int = 0
    clipped: int = 0
    difference: float | None = None
    problems: list[str] = field(default_factory=list)


class _Budget:
    """Bytes of pixels that the threads of a process hold together; one image is always let in."""

    def __init__(self, limit: int) -> None:
        self._limit, self._held, self._changed = limit, 0, threading.Condition()

    @contextmanager
    def held(self, size: int) -> Iterator[None]:
        """Wait until `size` bytes fit, then hold them."""
        with self._changed:
            self._changed.wait_for(lambda: self._held == 0 or self._held + size <= self._limit)
            self._held += size
        try:
            yield
        finally:
            with self._changed:
                self._held -= size
                self._changed.notify_all()


_MEMORY = _Budget(1_200_000_000)


def digest(path: Path) -> str:
    """Return the BLAKE2b hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def perform(task: Task) -> Outcome:
    """Do one task; whatever goes wrong with this one file is told in the outcome, not raised."""
    start = time.perf_counter()
    # An attempt on a cluster may be repeated while the first one is still alive.
    partial = Path(task.partial)
    partial = partial.with_stem(f"{partial.stem}-{uuid.uuid4().hex[:8]}")
    try:
        if task.known is not None and _is_intact(Path(task.output), *task.known):
            return Outcome("skipped", size=task.known[0], digest=task.known[1])
        tally = _filter_file(task, partial)
        size, content = partial.stat().st_size, digest(partial)
    except FilterworksError as error:
        return _failed(partial, start, str(error).replace(str(partial), f"{task.input}: {task.output}"))
    except OSError as error:
        return _failed(partial, start, f"{task.input}: {error.strerror or error}")
    except MemoryError:
        return _failed(partial, start, f"{task.input}: not enough memory to filter it")
    except Exception as error:  # one file's bug must not end the run; it keeps its traceback
        reason = f"{task.input}: internal error, please report it: {type(error).__name__}: {error}"
        return _failed(partial, start, reason, traceback.format_exc())
    if tally.difference is not None and tally.difference > 1:
        reason = (
            f"{task.input}: the result differs from scipy's by {tally.difference:.3g} times what is allowed"
        )
        return _failed(partial, start, reason)
    return Outcome(
        "done",
        size=size,
        digest=content,
        seconds=time.perf_counter() - start,
        pages=tally.pages,
        clipped=tally.clipped / max(tally.samples, 1),
        difference=tally.difference,
        partial=str(partial),
    )


def _failed(partial: Path, start: float, reason: str, trace: str | None = None) -> Outcome:
    partial.unlink(missing_ok=True)
    return Outcome("failed", error=reason, trace=trace, seconds=time.perf_counter() - start)


def _is_intact(path: Path, size: int, content: str) -> bool:
    try:
        return path.stat().st_size == size and digest(path) == content
    except OSError:
        return False


@lru_cache(maxsize=8)
def _chain(text: str) -> Chain:
    return Chain.parse(text)


def _filter_file(task: Task, partial: Path) -> _Tally:
    if cv2.getNumThreads() != task.threads:
        cv2.setNumThreads(task.threads)
    tally = _Tally()
    with open_image(Path(task.input), max_pixels=task.max_pixels) as reader:
        refusal = check_writable(partial.suffix, reader.info)
        if refusal:
            raise FileError(f"{task.input}: {refusal}")
        with _MEMORY.held(math.prod(reader.info.shape) * reader.info.dtype.itemsize):
            write_image(partial, _pages(task, reader, tally), reader.info, quality=task.quality)
    return tally


def _pages(task: Task, reader: ImageReader, tally: _Tally) -> Iterator[Page]:
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
