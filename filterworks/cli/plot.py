"""``plot``: a table before and after, or what a chain does to an impulse and to waves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from filterworks.cli.console import expected_errors
from filterworks.errors import FileError, JobError


@click.command()
@click.argument("before", required=False, metavar="[IN")
@click.argument("after", required=False, metavar="OUT]")
@click.option("--columns", metavar="A,B", help="Names or globs of IN's columns; all numbers.")
@click.option("--time", metavar="NAME", help="Column of the time; found where there is one candidate.")
@click.option("--no-time", is_flag=True, help="Draw over the number of the row.")
@click.option("--time-format", metavar="FORMAT", help="As for `filterworks series`.")
@click.option("--delimiter", metavar="SIGN", help="Such as ; or tab; found by itself.")
@click.option(
    "--decimal", type=click.Choice([".", ","]), default=".", help="What stands before the decimals."
)
@click.option("--null", metavar="A,B", help="What stands for a missing value besides nothing and NaN.")
@click.option("--response", is_flag=True, help="Draw the impulse and frequency response of -f instead.")
@click.option(
    "-f", "--filter", "filters", multiple=True, metavar="NAME[:key=value,...]", help="For --response."
)
@click.option("--rate", type=float, metavar="HZ", help="Samples per second, for --response.")
@click.option("--align", type=click.Choice(["center", "past"]), default="center", help="For --response.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="FILE.png, .svg or .pdf.",
)
@click.option("--overwrite", is_flag=True, help="Replace FILE.")
@expected_errors
def plot(before: str | None, after: str | None, output: Path, overwrite: bool, **options: Any) -> None:
    """Draw a table before and after filtering, or the response of a chain. Needs matplotlib.

    Missing values are shaded; however long a table is, its extremes are drawn.

    \b
    Examples:
      filterworks plot station.csv smooth.csv --columns "temp*" -o smooth.png
      filterworks plot --response -f "lowpass:cutoff=2" --rate 50 -o response.png
    """
    from filterworks.drawing.plots import check_plot

    if options["response"]:
        if before is not None or not options["filters"]:
            raise click.UsageError("--response draws a chain: give it with -f, and no tables")
    elif before is None or after is None or options["filters"]:
        raise click.UsageError("give two tables, IN and OUT, or --response with -f")
    check_plot(output)
    if output.exists() and not overwrite:
        raise JobError([f"-o {output} exists; --overwrite replaces it"])
    if not output.absolute().parent.is_dir():
        raise JobError([f"-o {output}: its folder does not exist"])
    if before is not None and after is not None:
        _draw_tables(before, after, output, options)
    else:
        _draw_response(output, options)
    click.echo(f"-> {output}")


def _draw_tables(before: str, after: str, output: Path, options: dict[str, Any]) -> None:
    from filterworks.batch.profile import outlines, paired
    from filterworks.batch.series_job import SeriesInput
    from filterworks.cli.series import listed
    from filterworks.drawing.plots import plot_series

    columns = listed(options["columns"])
    reading = SeriesInput(
        paths=(before,),
        delimiter=options["delimiter"],
        null=tuple(listed(options["null"]) or ()),
        decimal=options["decimal"],
        time="" if options["no_time"] else options["time"],
        time_format=options["time_format"],
    )
    axis, names, first = outlines(Path(before), reading, columns)
    if not first:
        raise FileError(f"{before}: there are no numbers to draw")
    _, _, second = outlines(Path(after), reading, None)
    title = f"{before}  →  {after}"
    plot_series(output, title, axis, paired(first, second, names, Path(after)))


def _draw_response(output: Path, options: dict[str, Any]) -> None:
    from filterworks.drawing.plots import plot_response
    from filterworks.drawing.responses import response_of
    from filterworks.timeseries import Options, SeriesChain

    if options["rate"] is not None and not options["rate"] > 0:
        raise click.UsageError(f"--rate must be above 0; got {options['rate']:g}")
    chain = SeriesChain.of(options["filters"])
    response = response_of(chain, Options(align=options["align"]), options["rate"])
    plot_response(output, str(chain), response)
