"""One table to or from a pipe: no ledger, and a file gets its name only when it is whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from filterworks.batch.series import SeriesTask
from filterworks.batch.series_job import SeriesJob
from filterworks.errors import FileError, JobError
from filterworks.files.tables import is_parquet
from filterworks.files.urls import is_url, redacted


def refuse_addresses(job: SeriesJob) -> None:
    """Refuse a pipe to or from a store: it has neither ledger nor a put that is whole.

    Raises
    ------
    JobError
        If the input or the output is an address.
    """
    for text in (job.input.paths[0], job.output.path):
        if is_url(text):
            raise JobError(
                [f"{redacted(text, strictly=True)}: cannot be used with -; name files on both sides"]
            )


def filter_piped(job: SeriesJob, source: str, stdout: BinaryIO) -> Mapping[str, Any]:
    """Filter the table `source` to the job's output, ``-`` being `stdout`; return what is to be reported.

    Raises
    ------
    JobError
        If the output is a folder, or exists and may not be replaced.
    FileError
        If the table cannot be filtered; a file of the output's name is then as it was.
    """
    out = job.output.path
    name = f"-{''.join(Path(job.input.paths[0]).suffixes[-2:])}" if out == "-" else out
    task: SeriesTask = job.task(
        input=source, output=name, partial="", known=None, content=None, threads=1, is_drawn=False
    )
    shown = job.input.paths[0] if job.input.paths[0] != "-" else "standard input"
    try:
        if out == "-":
            return _to_stdout(task, stdout)
        return _to_file(task, Path(out), job.output.overwrite)
    except FileError as error:
        raise FileError(str(error).replace(source, shown)) from None


def _to_stdout(task: SeriesTask, stdout: BinaryIO) -> Mapping[str, Any]:
    """Filter a table to standard output: Parquet when it is whole, for it is not written in order."""
    if not is_parquet(Path(task.input)):
        return task.filter_into(Path(), stdout)
    with tempfile.TemporaryDirectory(prefix="filterworks-") as folder:
        partial = Path(folder) / "table"
        made = task.make(partial)
        with partial.open("rb") as file:
            shutil.copyfileobj(file, stdout)
        return made.details


def _to_file(task: SeriesTask, place: Path, overwrite: bool) -> Mapping[str, Any]:
    if place.is_dir():
        raise JobError([f"{place}: is a folder; standard input needs a file as its OUT"])
    if os.path.lexists(place) and not overwrite:
        raise JobError([f"{place}: exists; --overwrite replaces it"])
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".filterworks-", dir=place.parent) as folder:
            partial = Path(folder) / "table"
            made = task.make(partial)
            partial.replace(place)
            return made.details
    except OSError as error:
        raise FileError(f"{place}: cannot be written: {error.strerror}") from None
