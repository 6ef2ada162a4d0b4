"""``images`` and ``run``."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from filterworks.cli.console import Share, expected_errors, observer, print_plan, print_report, summarise

# Objects after which garbage is looked for, as Python begins with.
_OFTEN = 700
_COMMON = (
    click.option("--overwrite", is_flag=True, help="Replace files in OUT that filterworks did not make."),
    click.option("--dry-run", is_flag=True, help="Print what would be done; write nothing."),
    click.option("--fail-fast", is_flag=True, help="Stop at the first input that fails."),
    click.option("--workers", type=click.IntRange(1), metavar="N", help="Processes of a local Dask cluster."),
    click.option("--scheduler", metavar="ADDRESS", help="An existing Dask cluster, as tcp://host:8786."),
    click.option(
        "--check",
        type=click.Choice(["time", "content"]),
        help="How an input is known to be the same as last time: size and time, or its hash; time.",
    ),
    click.option("--retry-failed", is_flag=True, help="Do only what failed last time."),
    click.option("--force", is_flag=True, help="Make results again although they are intact."),
    click.option("--no-recursive", is_flag=True, help="Leave out the folders inside INPUT."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output."),
    click.option("-q", "--quiet", is_flag=True, help="Print failures only."),
    click.option("-v", "--verbose", is_flag=True, help="Print every file."),
)
_IMAGES = (
    click.option(
        "--range",
        "range_",
        type=click.Choice(["clip", "abs", "stretch", "offset"]),
        help="How signed or large values become pixels; clip for smoothing, abs for edges.",
    ),
    click.option("--quality", type=click.IntRange(1, 100), metavar="1-100", help="Of JPEG and WebP; 95."),
    click.option(
        "--max-pixels", type=click.IntRange(1), metavar="N", help="Refuse larger images; 300 million."
    ),
    click.option(
        "--memory", metavar="SIZE", help="What a process may hold, as 512MiB; a quarter of what is free."
    ),
    click.option("--overviews", is_flag=True, help="Add smaller copies to TIFFs, each half as large."),
    click.option("--volume", is_flag=True, help="Filter stacks along their pages too, in 3-D."),
    click.option("--verify", type=Share(), help="Recompute a random share of the results with scipy, as 5%."),
)


def with_options(*options: Callable[..., Any]) -> Callable[..., Any]:
    """Return a decorator that gives a command these options, then those of every batch."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed((*options, *_COMMON)):
            command = option(command)
        return command

    return decorate


def with_filters(output: str, filters: str, *options: Callable[..., Any]) -> Callable[..., Any]:
    """Return a decorator that gives a command inputs, an output, filters, and what `with_options` does.

    `output` and `filters` are what its help says of those two.
    """
    return with_options(
        click.argument("inputs", nargs=-1, required=True, metavar="INPUT..."),
        click.option("-o", "--output", required=True, metavar="OUT", help=output),
        click.option(
            "-f",
            "--filter",
            "filters",
            multiple=True,
            required=True,
            metavar="NAME[:key=value,...]",
            help=filters,
        ),
        *options,
    )


def parsed_filters(texts: Iterable[str], parse: Callable[[str], Any]) -> list[dict[str, Any]]:
    """Return what ``-f`` says as the tables of a job; all problems at once."""
    from filterworks.errors import ArgumentError, JobError

    problems: list[str] = []
    tables: list[dict[str, Any]] = []
    for text in texts:
        try:
            tables += [{"name": one.name, **dict(one.parameters)} for one in parse(text).steps]
        except ArgumentError as error:
            problems.append(f"-f {error}")
    if problems:
        raise JobError(problems)
    return tables


@click.command()
@with_filters(
    "Folder of the results, or a file for one input file.",
    "An operation; several are applied in order. `filterworks filters` lists them.",
    *_IMAGES,
)
@expected_errors
def images(inputs: tuple[str, ...], output: str, filters: tuple[str, ...], **options: Any) -> int:
    """Filter images: folders (walked whole, their tree is kept), files, quoted globs.

    Depth, channels, format and metadata of each image stay. The same command again goes on where it
    stopped. INPUT and OUT may be s3://bucket/folder or gs://bucket/folder, INPUT also https://host/file.

    \b
    Examples:
      filterworks images photos/ -o smooth/ -f gaussian:sigma=2
      filterworks images scan.tif -o sharp.tif -f unsharp_mask:sigma=1.5,amount=0.8
      filterworks images 'cells/*.tif' -o edges/ -f gaussian:sigma=1 -f sobel --range stretch
      filterworks images s3://bucket/photos -o s3://bucket/smooth -f gaussian:sigma=2
    """
    from filterworks.batch.image_job import Job
    from filterworks.batch.job import make_job
    from filterworks.chains import Chain

    tables = {
        "input": {"paths": list(inputs)},
        "filter": parsed_filters(filters, Chain.parse),
        "output": {"path": output},
    }
    return execute(make_job(overridden(tables, options, _of_images(options)), "command line", Job), options)


@click.command()
@click.argument("job", metavar="JOB.toml")
@click.argument("inputs", nargs=-1, metavar="[INPUT...]")
@click.option("-o", "--output", metavar="OUT", help="Instead of the job's output.")
@with_options(*_IMAGES)
@expected_errors
def run(job: str, inputs: tuple[str, ...], output: str | None, **options: Any) -> int:
    """Run a job file, on images or tables; arguments and options given here override it.

    Tables are meant where [input] has kind = "series", or every path ends as one of a table does.

    \b
    Examples:
      filterworks run jobs/edges.toml
      filterworks run jobs/edges.toml photos/ -o edges/
    """
    from filterworks.batch.job import read_tables
    from filterworks.batch.kinds import job_kind, make_any_job
    from filterworks.errors import JobError

    tables = read_tables(Path(job))
    kind = job_kind(tables, job)
    own = _of_images(options)
    if kind != "images":
        given = [
            f"{job}: --{key.replace('_', '-')} is for images, and these are tables"
            for section in own.values()
            for key, value in section.items()
            if value is not None
        ]
        if given:
            raise JobError(given)
        tables["input"] = {"kind": kind, **_table(tables, "input")}
    if inputs:
        tables["input"] = {**_table(tables, "input"), "paths": list(inputs)}
    if output is not None:
        tables["output"] = {**_table(tables, "output"), "path": output}
    return execute(make_any_job(overridden(tables, options, own), job), options)


def _table(tables: dict[str, Any], name: str) -> dict[str, Any]:
    table = tables.get(name, {})
    return dict(table) if isinstance(table, dict) else {}


def _of_images(options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the options that only images have, by section of the job."""
    return {
        "input": {"max_pixels": options["max_pixels"], "volume": options["volume"] or None},
        "output": {
            "range": options["range_"],
            "quality": options["quality"],
            "overviews": options["overviews"] or None,
        },
        "run": {"verify": options["verify"], "memory": options["memory"]},
    }


def overridden(
    tables: dict[str, Any], options: dict[str, Any], own: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Return the tables with the options that were given in their places; `own`: those of one kind of job."""
    given: dict[str, dict[str, Any]] = {
        "input": {"recursive": False if options["no_recursive"] else None},
        "output": {"overwrite": options["overwrite"] or None},
        "run": {
            "workers": options["workers"],
            "scheduler": options["scheduler"],
            "fail_fast": options["fail_fast"] or None,
            "check": options["check"],
            "retry_failed": options["retry_failed"] or None,
            "force": options["force"] or None,
        },
    }
    for section, values in own.items():
        given[section] = {**given.get(section, {}), **values}
    merged = dict(tables)
    for section, values in given.items():
        chosen = {key: value for key, value in values.items() if value is not None}
        if chosen:
            merged[section] = {**_table(merged, section), **chosen}
    return merged


def execute(job: Any, options: dict[str, Any]) -> int:
    """Run or show a job and return the exit code."""
    from filterworks.batch.plan import make_worklist
    from filterworks.batch.run import run_job

    worklist = make_worklist(job)
    # Everything that is there by now stays; from here on garbage may hold images.
    gc.freeze()
    gc.set_threshold(_OFTEN, *gc.get_threshold()[1:])
    try:
        if options["dry_run"]:
            print_plan(worklist, sys.stdout, options["as_json"])
            return 0
        with observer(options["quiet"], options["verbose"]) as told:
            report = run_job(job, worklist, told)
        if options["as_json"]:
            print_report(report, sys.stdout)
        summarise(report, quiet=options["quiet"])
        return report.exit_code
    finally:
        worklist.close()
