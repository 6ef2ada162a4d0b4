"""``series``: tables of measurements, filtered along time."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from filterworks.cli.batch import execute, overridden, parsed_filters, with_filters
from filterworks.cli.console import expected_errors

# Series need no linear algebra: NumPy's is not to start threads for it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

_READING = (
    click.option("--columns", metavar="A,B", help="Names, globs or dtype:float; all numbers but the time."),
    click.option("--by", metavar="A,B", help="Filter each group of rows with one value here by itself."),
    click.option("--suffix", metavar="TEXT", help="Add columns of these names instead of replacing."),
    click.option("--time", metavar="NAME", help="Column of the time; found where there is one candidate."),
    click.option("--no-time", is_flag=True, help="Look for no time."),
    click.option(
        "--time-format", metavar="FORMAT", help="iso, epoch-s, -ms, -us, -ns, or strptime as %d.%m.%Y."
    ),
    click.option("--sort", is_flag=True, help="Bring the rows into the order of their times."),
    click.option("--delimiter", metavar="SIGN", help="Such as ; or tab; found by itself."),
    click.option(
        "--decimal", type=click.Choice([".", ","]), help="What stands before the decimals; a point."
    ),
    click.option("--null", metavar="A,B", help="What stands for a missing value besides nothing and NaN."),
    click.option("--no-header", is_flag=True, help="The first line is data; columns are called 1, 2, …"),
    click.option("--no-quotes", is_flag=True, help="Quotes are signs like any other."),
)
_SETTINGS = (
    click.option(
        "--align", type=click.Choice(["center", "past"]), help="Windows around the sample, or ending at it."
    ),
    click.option("--boundary", metavar="NAME", help="What lies beyond the ends; symmetric."),
    click.option(
        "--nan-policy",
        type=click.Choice(["omit", "propagate", "raise"]),
        help="Of all filters; else averages omit missing values, derivatives propagate them.",
    ),
    click.option("--fill", is_flag=True, help="Write the filter's value where one was missing."),
    click.option("--allow-infinite", is_flag=True, help="Take infinities for data."),
    click.option("--resample", metavar="STEP", help="First bring the rows onto even times, as 1s or 5min."),
    click.option(
        "--method",
        type=click.Choice(["mean", "linear", "nearest", "previous"]),
        help="Of --resample; mean.",
    ),
)


@click.command()
@with_filters(
    "Folder of the results, a file for one input file, or - for standard output.",
    "A filter; several are applied in order. `filterworks filters --series` lists them.",
    *_READING,
    *_SETTINGS,
)
@expected_errors
def series(inputs: tuple[str, ...], output: str, filters: tuple[str, ...], **options: Any) -> int:
    """Filter tables along time: CSV and its kin (also .gz and .zst), Parquet; folders, files, quoted globs.

    Columns that are not filtered stay byte for byte, header, delimiter, quotes and line ends too. A
    missing value stays missing. - is standard input or output; to a pipe, what comes before a bad row
    has been written when the row is found.

    \b
    Examples:
      filterworks series station.csv -o smooth.csv -f mean:window=1h
      filterworks series logs/ -o out/ -f "median:window=5 | derivative:per=s" --columns "temp*" --by sensor
      zcat raw.csv.gz | filterworks series - -o - -f gaussian:sigma=3 --suffix _smooth > both.csv
    """
    from filterworks.batch.job import make_job
    from filterworks.batch.series_job import SeriesJob
    from filterworks.timeseries import SeriesChain

    tables = {
        "input": {"kind": "series", "paths": list(inputs)},
        "filter": parsed_filters(filters, SeriesChain.parse),
        "output": {"path": output},
    }
    job = make_job(overridden(tables, options, _own(options)), "command line", SeriesJob)
    if "-" in inputs or output == "-":
        return _piped(job, options)
    return execute(job, options)


def _own(options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the options of tables, by section of the job."""
    return {
        "input": {
            **{key: options[key] for key in ("delimiter", "time_format", "decimal")},
            **{key: listed(options[key]) for key in ("columns", "by", "null")},
            "time": "" if options["no_time"] else options["time"],
            "sort": options["sort"] or None,
            "header": False if options["no_header"] else None,
            "quotes": False if options["no_quotes"] else None,
        },
        "output": {"suffix": options["suffix"]},
        "series": {
            **{key: options[key] for key in ("align", "boundary", "nan_policy", "resample", "method")},
            "fill": options["fill"] or None,
            "allow_infinite": options["allow_infinite"] or None,
        },
    }


def listed(text: str | None) -> list[str] | None:
    """Return the parts of a text that commas separate."""
    return None if text is None else [part.strip() for part in text.split(",")]


def _piped(job: Any, options: dict[str, Any]) -> int:
    """Filter one table from or to a pipe: nothing is recorded, a failure ends it with exit code 1."""
    import json

    from filterworks.batch.pipe import filter_piped, refuse_addresses
    from filterworks.errors import JobError

    if len(job.input.paths) > 1:
        raise JobError(["-: standard input or output takes one INPUT"])
    refuse_addresses(job)
    if options["dry_run"]:
        click.echo(f"{job.input.paths[0]} -> {job.output.path}")
        return 0
    if options["as_json"] and job.output.path == "-":
        raise JobError(["--json: standard output is the table's already; choose another OUT"])
    with tempfile.TemporaryDirectory(prefix="filterworks-") as folder:
        source = job.input.paths[0]
        if source == "-":
            source = str(Path(folder) / "standard input")
            with Path(source).open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        details = filter_piped(job, source, sys.stdout.buffer)
    if not options["quiet"]:
        for warning in details.get("warnings", ()):
            click.echo(f"warning: {job.input.paths[0]}: {warning}", err=True)
    if options["as_json"]:
        entry = {"input": job.input.paths[0], "output": job.output.path, **details}
        click.echo(json.dumps({"done": [entry], "failed": [], "skipped": []}, indent=1))
    return 0
