"""``status`` and ``audit``: what the ledger of an output folder says, and whether it is true."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filterworks.cli.console import Share, expected_errors, printable

if TYPE_CHECKING:
    from filterworks.batch.ledger import Ledger, Living
    from filterworks.batch.places import Place

# Workers that are named one by one; of more, only how many.
_NAMED = 16


@click.command()
@click.argument("out", metavar="OUT")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
@expected_errors
def status(out: str, as_json: bool) -> int:
    """Tell what has been done in an output folder: from its ledger, also while a run is working.

    Of a run that is working: how many inputs are done, failed and left, how fast it is, when it will be
    through, and who does it. Exit code 1 if inputs failed.

    \b
    Example:
      filterworks status smooth/
    """
    place = _place(out)
    with _ledger(place, out) as ledger:
        counts, failures = ledger.counts(), ledger.failures()
        runs = [_run(run, ledger) for run in place.living(ledger)]
        chains = ledger.signatures()
    if as_json:
        failed = [
            {"input": f.input, "output": place.shown(f.output), "error": f.error, "attempts": f.attempts}
            for f in failures
        ]
        made = [{"chain": chain, "results": count} for chain, count in chains]
        click.echo(
            json.dumps({"done": counts["done"], "failed": failed, "chains": made, "running": runs}, indent=1)
        )
        return int(bool(failures))
    click.echo(f"{place.shown()}: {counts['done']} done, {counts['failed']} failed")
    for chain, count in chains:
        click.echo(f"  {count} by {printable(chain)}")
    for run in runs:
        _tell_run(run)
    for failure in failures:
        click.echo(f"  failed: {printable(failure.error or '')}")
    return int(bool(failures))


def _place(out: str) -> Place:
    from filterworks.batch.places import LocalPlace
    from filterworks.files.urls import is_url, parse_url

    if not is_url(out):
        return LocalPlace(Path(out) if os.path.isdir(out) else Path(out).parent)  # noqa: PTH112  # no error on odd paths
    from filterworks.batch.remote_place import RemotePlace

    return RemotePlace(parse_url(out))


@contextmanager
def _ledger(place: Place, out: str) -> Iterator[Ledger]:
    from filterworks.errors import JobError

    with place.reading() as ledger:
        if not ledger.exists:
            raise JobError([f"{out}: holds no ledger: filterworks has not written results here"])
        if not _is_known(out, ledger):
            raise JobError([f"{out}: does not exist, and no result of that name is recorded beside it"])
        yield ledger


def _is_known(out: str, ledger: Ledger) -> bool:
    """Return whether OUT is there, or was to be: a typo must not be answered with what is beside it."""
    from filterworks.files.urls import is_url

    if is_url(out) or os.path.lexists(out):
        return True
    name = Path(out).name
    return ledger.find(name) is not None or any(run.target == name for run in ledger.living())


def _run(run: Living, ledger: Ledger) -> dict[str, Any]:
    """Return what is to be said of a run that is alive."""
    progress = run.progress
    left = max(run.total - progress.done - progress.failed - progress.skipped, 0)
    return {
        "target": run.target,
        "process": run.pid,
        "host": run.host,
        "since": run.since,
        "total": run.total,
        "done": progress.done,
        "failed": progress.failed,
        "skipped": progress.skipped,
        "left": left,
        "rate": round(progress.rate, 3),
        "seconds_left": round(left / progress.rate, 1) if progress.rate else None,
        "slots": progress.workers,
        "workers": [{"worker": name, "results": count} for name, count in ledger.workers(run.since)],
    }


def _tell_run(run: dict[str, Any]) -> None:
    click.echo(f"  running: process {run['process']} on {run['host']}, since {run['since']}")
    already = f", {run['skipped']} already done" if run["skipped"] else ""
    line = f"    {run['done']} done, {run['failed']} failed{already}, {run['left']} left of {run['total']}"
    if run["seconds_left"] is not None:
        line += f"; {run['rate']:.1f} files/s, {_duration(run['seconds_left'])} left"
    click.echo(line)
    names = [f"{one['worker']} ({one['results']})" for one in run["workers"]]
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        click.echo(f"    {run['slots']} at once, by {', '.join(names[:_NAMED])}{more}")


def _duration(seconds: float) -> str:
    """Return a time as people say it.

    Examples
    --------
    >>> _duration(8.2), _duration(95), _duration(7300)
    ('8 s', '1 min 35 s', '2 h 1 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


@click.command()
@click.argument("out", metavar="OUT")
@click.option(
    "--sample", type=Share(), default="5%", help="Share of the results to make again and compare; 5%."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
@expected_errors
def audit(out: str, sample: float, as_json: bool) -> int:
    """Prove an output folder, here or in a store: re-hash every result, make a sample again from its inputs.

    Images of the sample are computed with scipy too. Exit code 1 if a result is missing, changed or
    wrong. Nothing is repaired: running the job again does that.

    \b
    Examples:
      filterworks audit smooth/
      filterworks audit smooth/ --sample 100% --json
      filterworks audit s3://bucket/smooth
    """
    from filterworks.batch.audit import audit_results

    place = _place(out)
    with _ledger(place, out) as ledger:
        report = audit_results(place, ledger, sample)
    if as_json:
        click.echo(json.dumps(report.as_entries(), indent=1))
        return report.exit_code
    for kind, findings in report.findings.items():
        for finding in findings:
            click.echo(printable(f"{kind}: {finding.output}: {finding.reason}"))
    wrong = sum(map(len, report.findings.values()))
    click.echo(
        f"{place.shown()}: {report.intact} of {report.total} results are intact, "
        f"{report.recomputed} of them made again with the same result"
        + (f"; {wrong} findings" if wrong else "")
    )
    return report.exit_code
