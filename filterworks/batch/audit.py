"""Prove what a ledger says: every result is there and unchanged, and a sample of them is right."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from filterworks.batch.digests import digest
from filterworks.batch.folders import discard, identity
from filterworks.batch.job import AnyJob
from filterworks.batch.kinds import make_any_job
from filterworks.batch.ledger import Ledger, Record
from filterworks.batch.run import is_drawn
from filterworks.batch.tasks import perform
from filterworks.errors import FilterworksError, JobError
from filterworks.files import IMAGE_SUFFIXES, open_image
from filterworks.threads import thread_count

# Results that are looked at together: enough for all threads, few in memory.
_BATCH = 256
# A codec of another version may pack the same pixels otherwise; lossy ones may round otherwise.
_GREY_LEVELS = 1
_LOSSY_LEVELS = 8


@dataclass(frozen=True)
class Finding:
    """A result that is not what the ledger says, or could not be judged, and why."""

    output: str
    input: str
    reason: str


@dataclass
class Audit:
    """What was found.

    Attributes
    ----------
    total, intact, recomputed
        How many results the ledger has, are unchanged, were made again with the same outcome.
    findings
        ``missing``, ``changed`` and ``wrong`` results, and those of the sample that were ``unproved``
        because their input is no longer what it was.
    """

    total: int = 0
    intact: int = 0
    recomputed: int = 0
    findings: dict[str, list[Finding]] = field(
        default_factory=lambda: {"missing": [], "changed": [], "wrong": [], "unproved": []}
    )

    @property
    def exit_code(self) -> int:
        """1 if anything is missing, changed or wrong."""
        return int(any(self.findings[kind] for kind in ("missing", "changed", "wrong")))

    def as_entries(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "total": self.total,
            "intact": self.intact,
            "recomputed": self.recomputed,
            **{kind: [vars(one) for one in found] for kind, found in self.findings.items()},
        }


def audit_folder(folder: Path, ledger: Ledger, sample: float) -> Audit:
    """Re-hash every recorded result and make a share of them again.

    Parameters
    ----------
    folder, ledger
        Where the results lie, and their record.
    sample
        The share to make again, from 0 to 1; the same results in every audit.
    """
    report = Audit()
    recipes: dict[str, AnyJob | str] = {}
    records = ledger.results()
    with ThreadPoolExecutor(thread_count()) as executor, tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "again").mkdir()
        while batch := list(islice(records, _BATCH)):
            for record in batch:
                if record.signature not in recipes:
                    recipes[record.signature] = _job(ledger, record.signature)
            # What is made again may leave something beside its folder.
            judge = _Judge(folder, Path(scratch, "again"), sample, recipes)
            for kind, finding in executor.map(judge, batch):
                report.total += 1
                report.intact += kind in ("intact", "same", "unproved", "wrong")
                report.recomputed += kind == "same"
                if kind in report.findings:
                    report.findings[kind].append(finding)
    return report


def _job(ledger: Ledger, signature: str) -> AnyJob | str:
    """Return the job that a signature stands for, or why there is none."""
    recipe = ledger.recipe(signature)
    if recipe is None:
        return "its ledger is of an older version and does not hold how it was made"
    tables = {**recipe, "input": {**recipe["input"], "paths": ["-"]}}
    tables["output"] = {**recipe["output"], "path": "-"}
    try:
        job = make_any_job(tables, "the ledger")
        is_same = job.signature == signature
    except JobError as error:
        return f"it cannot be made again: {'; '.join(error.problems)}"
    return job if is_same else "a file that its filters name has changed since"


@dataclass(frozen=True)
class _Judge:
    folder: Path
    scratch: Path
    sample: float
    jobs: dict[str, AnyJob | str]

    def __call__(self, record: Record) -> tuple[str, Finding]:
        """Return what a result is: intact, the same when made again, or one of the findings."""
        kind, reason = self._looked_at(record)
        if kind == "intact" and is_drawn(record.output, self.sample):
            kind, reason = self._made_again(record)
        return kind, Finding(str(self.folder / record.output), record.input, reason)

    def _looked_at(self, record: Record) -> tuple[str, str]:
        place = self.folder / record.output
        try:
            size, _ = identity(place)
            if size != record.output_size:
                return "changed", f"has {size} bytes, {record.output_size} are recorded"
            if digest(place) != record.output_hash:
                return "changed", "its content is not what was recorded"
        except FileNotFoundError:
            return "missing", "does not exist"
        except OSError as error:
            return "missing", f"cannot be read: {error.strerror}"
        if record.error:
            return "changed", f"is from before its input changed; since then it failed: {record.error}"
        return "intact", ""

    def _made_again(self, record: Record) -> tuple[str, str]:
        job = self.jobs[record.signature]
        if isinstance(job, str):
            return "unproved", job
        changed = _input_problem(record)
        if changed:
            return "unproved", changed
        task = job.task(
            input=record.input,
            output=str(self.folder / record.output),
            partial=str(self.scratch / f"again{Path(record.output).suffix}"),
            known=None,
            content=None,
            threads=1,
            is_drawn=True,
        )
        outcome = perform(task)
        if outcome.state == "failed":
            return "wrong", outcome.error or ""
        again = Path(outcome.partial)
        try:
            if outcome.digest == record.output_hash:
                return "same", ""
            return _compared(self.folder / record.output, again)
        finally:
            discard(again)


def _input_problem(record: Record) -> str | None:
    """Return why an input is not the one that the result was made from, or None."""
    source = Path(record.input)
    try:
        if record.input_hash is not None:
            same = digest(source) == record.input_hash
        else:
            same = identity(source) == (record.input_size, record.input_mtime_ns)
    except OSError as error:
        return f"its input cannot be read any more: {error.strerror}"
    return None if same else "its input has changed since"


def _compared(place: Path, again: Path) -> tuple[str, str]:
    """Compare what two files hold, where their bytes differ."""
    if place.suffix.lower() not in IMAGE_SUFFIXES:
        return "wrong", "made again from its input it has another content"
    allowed = _LOSSY_LEVELS if place.suffix.lower() in (".jpg", ".jpeg", ".webp") else _GREY_LEVELS
    try:
        worst = max(_differences(place, again), default=0.0)
    except FilterworksError as error:
        return "wrong", str(error)
    if worst <= allowed:
        return "same", ""
    return "wrong", f"made again from its input its pixels differ by up to {worst:g}"


def _differences(first: Path, second: Path) -> Iterator[float]:
    with open_image(first) as one, open_image(second) as other:
        for left, right in zip(one.pages(), other.pages(), strict=True):
            if left.pixels.shape != right.pixels.shape or left.pixels.dtype != right.pixels.dtype:
                yield np.inf
                return
            difference = np.abs(left.pixels.astype(np.float64) - right.pixels)
            exact = left.pixels.dtype.kind in "iu"
            scale = 1.0 if exact else 1e-5 * float(np.abs(right.pixels).max(initial=0.0)) or 1.0
            yield float(np.nanmax(difference, initial=0.0)) / scale
