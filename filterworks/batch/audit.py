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

from filterworks.batch.folders import discard
from filterworks.batch.job import AnyJob
from filterworks.batch.kinds import make_any_job
from filterworks.batch.ledger import Ledger, Record
from filterworks.batch.located import located
from filterworks.batch.places import Place
from filterworks.batch.run import is_drawn
from filterworks.batch.tasks import Task, perform
from filterworks.errors import FileError, FilterworksError, JobError
from filterworks.files import IMAGE_SUFFIXES, open_image
from filterworks.files.retrying import StoreError, is_lost
from filterworks.threads import thread_count

# Results that are looked at together: enough for all threads, few in memory.
_BATCH = 256
# Results in a store are waited for, not computed.
_ABREAST = 8
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


def audit_results(place: Place, ledger: Ledger, sample: float) -> Audit:
    """Re-hash every recorded result and make a share of them again.

    Parameters
    ----------
    place, ledger
        Where the results lie, and their record.
    sample
        The share to make again, from 0 to 1; the same results in every audit.

    Raises
    ------
    StoreError
        If a store is out of reach.
    """
    report = Audit()
    recipes: dict[str, AnyJob | str] = {}
    records = ledger.results()
    threads = max(thread_count(), _ABREAST if place.is_remote else 1)
    with ThreadPoolExecutor(threads) as executor, tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "again").mkdir()
        while batch := list(islice(records, _BATCH)):
            for record in batch:
                if record.signature not in recipes:
                    recipes[record.signature] = _job(ledger, record.signature)
            # What is made again may leave something beside its folder.
            judge = _Judge(place, Path(scratch, "again"), sample, recipes)
            tags = [(ledger.tags(record.output) or ("", ""))[0] for record in batch]
            for kind, finding in executor.map(judge, batch, tags):
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
        return "the ledger does not hold how it was made"
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
    place: Place
    scratch: Path
    sample: float
    jobs: dict[str, AnyJob | str]

    def __call__(self, record: Record, tag: str) -> tuple[str, Finding]:
        """Return what a result is: intact, the same when made again, or one of the findings.

        Parameters
        ----------
        record
            What the ledger says.
        tag
            Of its input, if that lies in a store.
        """
        kind, reason = self._looked_at(record)
        if kind == "intact" and is_drawn(record.output, self.sample):
            kind, reason = self._made_again(record, tag)
        return kind, Finding(self.place.shown(record.output), record.input, reason)

    def _looked_at(self, record: Record) -> tuple[str, str]:
        shown = self.place.shown(record.output)
        result = located(shown)
        try:
            if result.size != record.output_size:
                return "changed", f"has {result.size} bytes, {record.output_size} are recorded"
            if result.digest() != record.output_hash:
                return "changed", "its content is not what was recorded"
        except FileNotFoundError:
            return "missing", "does not exist"
        except (OSError, StoreError) as error:
            return "missing", f"cannot be read: {_told(error, shown)}"
        if record.error:
            return "changed", f"is what an earlier attempt made; the last one failed: {record.error}"
        return "intact", ""

    def _made_again(self, record: Record, tag: str) -> tuple[str, str]:
        job = self.jobs[record.signature]
        if isinstance(job, str):
            return "unproved", job
        changed = _input_problem(record, tag)
        if changed:
            return "unproved", changed
        try:
            with located(record.input).at_hand(self.scratch) as source:
                outcome = perform(self._task(job, record, source))
        except (OSError, FileError) as error:
            return "unproved", f"its input cannot be read any more: {_told(error, record.input)}"
        if outcome.state == "failed":
            return "wrong", (outcome.error or "").replace(str(source), record.input)
        again = Path(outcome.partial)
        try:
            if outcome.digest == record.output_hash:
                return "same", ""
            with located(self.place.shown(record.output)).at_hand(self.scratch) as result:
                return _compared(result, again)
        except (OSError, FileError) as error:
            return "missing", f"cannot be read: {_told(error, self.place.shown(record.output))}"
        finally:
            discard(again)

    def _task(self, job: AnyJob, record: Record, source: Path) -> Task:
        return job.task(
            input=str(source),
            output=record.output,
            partial=str(self.scratch / f"again{Path(record.output).suffix}"),
            known=None,
            content=None,
            threads=1,
            is_drawn=True,
        )


def _told(error: OSError | FileError, shown: str) -> str:
    """Return why something cannot be read, without its name; a store out of reach ends the audit."""
    if is_lost(error):
        raise error
    return (error.strerror or "") if isinstance(error, OSError) else str(error).removeprefix(f"{shown}: ")


def _input_problem(record: Record, tag: str) -> str | None:
    """Return why an input is not the one that the result was made from, or None."""
    source = located(record.input)
    try:
        if record.input_hash is not None:
            same = source.digest() == record.input_hash
        else:
            same = source.is_same(record.input_size, record.input_mtime_ns, tag)
    except FileNotFoundError:
        return "its input does not exist any more"
    except (OSError, StoreError) as error:
        return f"its input cannot be read any more: {_told(error, record.input)}"
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
