"""``verify``, ``filters`` and ``kernels``."""

from __future__ import annotations

import inspect as introspection
from typing import Any

import click

from filterworks.cli.console import expected_errors


@click.command()
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random data and kernels.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
@expected_errors
def verify(seed: int, as_json: bool) -> int:
    """Check every engine and every filter against scipy on this machine.

    One row per check with its largest error in units of what the documentation promises. Exit code 1
    if one is outside.
    """
    import json

    from filterworks import verification

    report = verification.verify(seed)
    if as_json:
        rows = [
            {"check": c.subject, "against": c.against, "cases": c.cases, "worst": c.worst, "ok": c.ok}
            for c in report.checks
        ]
        click.echo(json.dumps({"ok": report.ok, "checks": rows}, indent=1))
    else:
        click.echo(report)
    return 0 if report.ok else 1


def _default(parameter: introspection.Parameter) -> str:
    if parameter.default is introspection.Parameter.empty:
        return parameter.name
    return f"{parameter.name}={parameter.default}"


def _signature(parameters: list[introspection.Parameter]) -> str:
    return ", ".join(_default(p) for p in parameters)


@click.command()
@click.argument("name", required=False)
@click.option("--series", is_flag=True, help="Those along time, of `filterworks series`.")
@expected_errors
def filters(name: str | None, series: bool) -> None:
    """List the filters with their parameters, or show the documentation of one."""
    from filterworks.errors import ArgumentError, unknown

    listed, common = _along_time() if series else _of_images()
    if name is None:
        for key, (parameters, function) in listed.items():
            click.echo(f"{key:<19}{_signature(parameters)}")
            click.echo(f"{'':<19}{(introspection.getdoc(function) or '').splitlines()[0]}")
        click.echo(f"\nEvery filter takes {common}.")
        click.echo("Written as NAME:key=value,key=value; several in order, or joined by ' | '.")
        return
    if name not in listed:
        raise ArgumentError(unknown("filter", name, listed))
    parameters, function = listed[name]
    click.echo(f"{name}: {_signature(parameters)}\n")
    click.echo(introspection.getdoc(function))


_Listed = dict[str, tuple[list[introspection.Parameter], Any]]


def _of_images() -> tuple[_Listed, str]:
    from filterworks.operations import COMMON, OPERATIONS

    listed = {key: (list(one.parameters.values()), one.function) for key, one in OPERATIONS.items()}
    return listed, ", ".join(f"{key}={value}" for key, value in COMMON.items())


def _along_time() -> tuple[_Listed, str]:
    from filterworks.timeseries import SERIES_OPERATIONS
    from filterworks.timeseries.chain import COMMON

    listed: _Listed = {
        key: (list(one.parameters.values()), one.design) for key, one in SERIES_OPERATIONS.items()
    }
    return listed, ", ".join(COMMON)


@click.command()
@click.argument("text", required=False, metavar="[NAME[:key=value,...]]")
@expected_errors
def kernels(text: str | None) -> None:
    """List the kernels, or print the weights of one.

    \b
    Example:
      filterworks kernels sobel:axis=0
    """
    from filterworks import kernels as named

    if text is not None:
        click.echo(_weights(text))
        return
    for key, function in named.KERNELS.items():
        parameters = list(introspection.signature(function).parameters.values())
        click.echo(f"{key:<19}{_signature(parameters)}")
        click.echo(f"{'':<19}{(introspection.getdoc(function) or '').splitlines()[0]}")


def _weights(text: str) -> Any:
    import numpy as np

    from filterworks import kernels as named
    from filterworks.errors import ArgumentError, unknown
    from filterworks.notation import parse_parameters

    name, parameters = parse_parameters(text)
    if name not in named.KERNELS:
        raise ArgumentError(unknown("kernel", name, named.KERNELS))
    accepted = introspection.signature(named.KERNELS[name]).parameters
    for key in parameters:
        if key not in accepted:
            raise ArgumentError(f"{name}: " + unknown("parameter", key, accepted))
    missing = [p.name for p in accepted.values() if p.default is p.empty and p.name not in parameters]
    if missing:
        raise ArgumentError(f"{name} needs a value for `{missing[0]}`")
    weights = named.KERNELS[name](**parameters)
    with np.printoptions(precision=6, suppress=True, linewidth=120, threshold=10_000):
        return f"{weights}\nshape {weights.shape}, sum {weights.sum():.6g}"
