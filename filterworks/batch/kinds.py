"""Which kind of job some tables describe: images, or tables of series."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filterworks.batch.job import AnyJob, make_job
from filterworks.errors import JobError, unknown

KINDS = ("images", "series")


def job_kind(tables: Mapping[str, Any], source: str) -> str:
    """Return the kind that ``[input] kind`` names; without it, ``series`` where every path is one of a table.

    Raises
    ------
    JobError
        If no kind has that name.

    Examples
    --------
    >>> job_kind({"input": {"paths": ["a.csv"]}}, "job"), job_kind({"input": {"paths": ["photos"]}}, "job")
    ('series', 'images')
    """
    section = tables.get("input")
    if "series" in tables or not isinstance(section, Mapping):
        return "series" if "series" in tables else "images"
    if "kind" in section:
        kind = section["kind"]
        if kind not in KINDS:
            raise JobError([f"{source}: [input] kind: {unknown('kind', str(kind), KINDS)}"])
        return str(kind)
    from filterworks.files.tables import table_suffix  # needs NumPy

    paths = section.get("paths")
    texts = paths if isinstance(paths, list | tuple) else []
    are_tables = bool(texts) and all(isinstance(path, str) and table_suffix(path) for path in texts)
    return "series" if are_tables else "images"


def make_any_job(tables: Mapping[str, Any], source: str) -> AnyJob:
    """Return the job that nested tables describe, of whichever kind."""
    if job_kind(tables, source) == "images":
        from filterworks.batch.image_job import Job  # loads what images need

        return make_job(tables, source, Job)
    from filterworks.batch.series_job import SeriesJob  # loads what series need

    return make_job(tables, source, SeriesJob)
