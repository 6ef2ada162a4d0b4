"""What people see: errors in one line each, progress on a terminal, a summary at the end."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TextIO

import click

from filterworks.errors import ArgumentError, FilterworksError, JobError

if TYPE_CHECKING:
    from filterworks.batch.run import Report
    from filterworks.batch.tasks import Outcome
    from filterworks.batch.worklist import Item, Worklist


class Share(click.ParamType[float]):
    """A share of all, written ``5%`` or ``0.05``."""

    name = "SHARE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the share as a number from 0 to 1."""
        match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(%?)\s*", str(value))
        share = float(match[1]) / (100 if match[2] else 1) if match else -1
        if not 0 <= share <= 1:
            self.fail(f"must be a share such as 5% or 0.05; got {value}", param, ctx)
        return share


def expected_errors(command: Callable[..., int | None]) -> Callable[..., int]:
    """Turn expected failures into lines on standard error and an exit code: 2 refused, 1 failed."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> int:
        try:
            return command(*args, **kwargs) or 0
        except JobError as error:
            for problem in error.problems:
                click.echo(f"error: {printable(problem)}", err=True)
            return 2
        except FilterworksError as error:
            click.echo(f"error: {printable(str(error))}", err=True)
            return 2 if isinstance(error, ArgumentError) else 1
        except MemoryError:
            click.echo("error: not enough memory", err=True)
            return 1

    return guarded


def printable(text: str) -> str:
    """Return one line without control characters and passwords: names of files may hold anything."""
    if "://" in text:
        from filterworks.files.urls import redacted  # needs NumPy

        text = redacted(text)
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


class Lines:
    """Tells failures as they happen, and with `verbose` every result."""

    def __init__(self, quiet: bool, verbose: bool) -> None:
        self.quiet, self.verbose = quiet, verbose

    def started(self, total: int) -> None:
        """Say how much there is to do."""
        if self.verbose:
            click.echo(f"{total} to do", err=True)

    def moved(self, share: float) -> None:
        """Hear how much of the items at work is done."""

    def settled(self, item: Item, outcome: Outcome) -> None:
        """Say what became of one item."""
        if outcome.state == "failed":
            self.say(f"failed: {printable(outcome.error or '')}")
            if outcome.trace and self.verbose:
                self.say(outcome.trace.rstrip())
            return
        if self.verbose:
            self.say(printable(f"{outcome.state}: {item.input} -> {item.output}"))
            for line in _told(outcome.made.details):
                self.say(printable(f"  {line}"))
        if not self.quiet:
            for warning in outcome.made.details.get("warnings", ()):
                self.say(printable(f"warning: {item.input}: {warning}"))

    def say(self, text: str) -> None:
        """Write a line of its own."""
        click.echo(text, err=True)


def _told(details: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is to be said of a table: its time, and what was missing."""
    time = details.get("time")
    if time:
        rhythm = "" if "regular" not in time else ", even" if time["regular"] else ", uneven"
        step = f", a row every {time['step']:g} s" if "step" in time else ""
        found = " (found by itself)" if time["found"] else ""
        yield f"time: column {time['column']!r}{found}, format {time['format']}{rhythm}{step}"
    for name, counts in details.get("columns", {}).items():
        if counts["missing"]:
            yield f"column {name!r}: {counts['missing']} missing, {counts['filled']} of them filled"
    if "peaks_total" in details:
        yield f"{details['peaks_total']} peaks, listed by --json"


class _Bar(Lines):
    """Lines above a progress bar with rate and time left."""

    def __init__(self, quiet: bool, verbose: bool) -> None:
        super().__init__(quiet, verbose)
        from rich.console import Console  # slow to load: only on a terminal
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self.task = self.progress.add_task("filtering", total=None, rate="")
        self.done = 0

    def moved(self, share: float) -> None:
        if share:
            self.progress.update(self.task, completed=self.done + share)

    def started(self, total: int) -> None:
        self.progress.update(self.task, total=total)

    def settled(self, item: Item, outcome: Outcome) -> None:
        super().settled(item, outcome)
        task = self.progress.tasks[0]
        self.done += 1
        rate = f"{task.speed:.1f} files/s" if task.speed else ""
        self.progress.update(self.task, completed=self.done, rate=rate)

    def say(self, text: str) -> None:
        self.progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def observer(quiet: bool, verbose: bool) -> Iterator[Lines]:
    """Provide what tells progress: a bar on a terminal, otherwise lines."""
    if quiet or not sys.stderr.isatty():
        yield Lines(quiet, verbose)
        return
    bar = _Bar(quiet, verbose)
    with bar.progress:
        yield bar


def summarise(report: Report, *, quiet: bool) -> None:
    """Say on standard error what a run did; if `quiet`, only why it could not go on."""
    if report.broken:
        click.echo(
            f"error: {printable(report.broken)}; what is recorded stays, the same command goes on", err=True
        )
    if quiet:
        return
    rate = f", {report.done / report.seconds:.1f} files/s" if report.done and report.seconds else ""
    parts = [f"{report.done} done", f"{report.failed} failed", f"{report.skipped} already done"]
    shown = [part for part, count in zip(parts, (1, report.failed, report.skipped), strict=True) if count]
    click.echo(
        f"{', '.join(shown)} in {report.seconds:.2f} s{rate} -> {report.worklist.place.shown()}", err=True
    )
    if report.clipped:
        results = "1 result" if report.clipped == 1 else f"{report.clipped} results"
        click.echo(
            f"warning: in {results} over 1 % of the samples lay outside of the pixels' range "
            "and were cut to it; --range stretch keeps them apart",
            err=True,
        )
    if report.verified:
        click.echo(
            f"verified {report.verified} results with scipy: the largest difference is "
            f"{report.worst:.3g} of what is allowed",
            err=True,
        )
    if report.after_crash:
        click.echo(
            "note: in an earlier run an input here crashed the process that read it; now all were read in "
            "processes of their own, as with --workers, so that it costs itself, not the run",
            err=True,
        )
    if report.worklist.place.warning:
        click.echo(f"warning: {printable(report.worklist.place.warning)}", err=True)
    if report.lost:
        click.echo(
            "stopped: a store is out of reach; the same command goes on where this run stopped", err=True
        )
    if report.interrupted:
        click.echo("interrupted: the same command goes on where this run stopped", err=True)


def print_report(report: Report, stream: TextIO) -> None:
    """Write the report as one JSON object, entry by entry: memory stays flat."""
    left = (json.dumps({"input": source, "output": output}) for source, output in report.worklist.unsettled())
    _print_object(
        {
            "done": report.worklist.entries("done"),
            "failed": report.worklist.entries("failed"),
            "skipped": report.worklist.entries("skipped"),
            "left": left,
        },
        {
            "interrupted": report.interrupted,
            "broken": report.broken,
            "verified": report.verified,
            "ignored": report.worklist.ignored,
            "seconds": round(report.seconds, 3),
        },
        stream,
    )


def print_plan(worklist: Worklist, stream: TextIO, as_json: bool) -> None:
    """Write what a run would do, on standard output."""
    if not as_json:
        for item in worklist:
            stream.write(f"{item.input} -> {worklist.place.shown(item.output)}\n")
        return
    planned = (json.dumps({"input": i.input, "output": worklist.place.shown(i.output)}) for i in worklist)
    empty: Iterator[str] = iter(())
    _print_object(
        {"done": empty, "failed": empty, "skipped": empty, "planned": planned}, {"dry_run": True}, stream
    )


def _print_object(lists: dict[str, Iterator[str]], values: dict[str, object], stream: TextIO) -> None:
    stream.write("{")
    for name, entries in lists.items():
        stream.write(f"{json.dumps(name)}: [")
        for position, entry in enumerate(entries):
            stream.write(("," if position else "") + "\n  " + entry)
        stream.write("],\n ")
    stream.write(
        ", ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in values.items()) + "}\n"
    )
