"""``explain`` and ``calibrate``: which engine computes what, and what that costs here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from filterworks.cli.console import expected_errors

if TYPE_CHECKING:
    from filterworks.planner import Plan
    from filterworks.problem import Problem

# Engines that are estimated to be so many times slower than the best are not timed.
_NEAR = 8.0
# A choice that is slower than the fastest engine by this factor is worth a warning.
_WRONG = 1.3


@click.command()
@click.argument("image", metavar="IMAGE")
@click.option(
    "-f",
    "--filter",
    "texts",
    multiple=True,
    required=True,
    metavar="NAME[:key=value,...]",
    help="An operation; several are applied in order.",
)
@expected_errors
def explain(image: str, texts: tuple[str, ...]) -> None:
    """Tell how a chain is computed on an image: reach, engines, estimated and measured times.

    Warns where the planner chose an engine that is not the fastest; ``filterworks calibrate`` helps then.

    \b
    Example:
      filterworks explain photo.jpg -f gaussian:sigma=2 -f sobel
    """
    import time

    from filterworks.chains import Chain
    from filterworks.errors import JobError
    from filterworks.files import is_store, open_image
    from filterworks.planner import expecting_many, tracing

    chain = Chain.of(texts)
    chain.check()
    if not (Path(image).is_file() or is_store(image)):
        raise JobError([f"{image}: no such file"])
    with open_image(Path(image)) as reader:
        page = next(reader.pages())
    pixels = page.pixels
    click.echo(f"{image}: {' × '.join(map(str, pixels.shape))} {pixels.dtype}")
    click.echo(f"chain: {chain}")
    click.echo(f"reach: {chain.reach[0]} rows, {chain.reach[1]} columns")
    _say_what_is_known()
    for step in chain.steps:
        chain_step = Chain((step,))
        with expecting_many():
            chain_step(pixels, axes=(0, 1))  # once for the caches
            start = time.perf_counter()
            with tracing() as trace:
                chain_step(pixels, axes=(0, 1))
        spent = time.perf_counter() - start
        click.echo(f"\n{step}: {spent * 1e3:.2f} ms")
        for problem, plan in trace.steps:
            _show(problem, plan)
        if not trace.steps:
            click.echo("  no convolution in it")
    if chain.gives_pixels and pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2:
        click.echo("\n`filterworks images` does this in one pass, once a loop for it repays: the same bytes")


def _say_what_is_known() -> None:
    """Say where the estimates come from, and what is missing."""
    from filterworks import costs
    from filterworks.machine.compiler import obstacle

    calibrated = costs.calibrated() is not None
    known = f"from {costs.costs_file()}" if calibrated else "shipped; `filterworks calibrate` fits them here"
    click.echo(f"constants of the estimates: {known}")
    reason = obstacle()
    if reason:
        click.echo(f"compiled engines (direct, separable) are left out: {reason}")


def _show(problem: Problem, plan: Plan) -> None:
    """Print the estimates of one convolution beside times measured on random data of its kind."""
    import numpy as np

    from filterworks.calibration import time_engine

    window = " × ".join(map(str, problem.spans))
    click.echo(f"  window {window} on {' × '.join(map(str, problem.shape))} as {problem.work}")
    click.echo(f"    engine: {plan.engine} ({plan.reason})")
    least = min(plan.estimates.values())
    x = (np.random.default_rng(0).random(problem.shape) * 200).astype(problem.dtype)
    measured: dict[str, float] = {}
    for name, seconds in sorted(plan.estimates.items(), key=lambda item: item[1]):
        beside = "not measured"
        if seconds <= _NEAR * least or name == plan.engine:
            measured[name] = time_engine(name, problem, x)
            beside = f"{measured[name] * 1e3:10.3f} ms measured"
        click.echo(f"      {name:<17} {seconds * 1e3:10.3f} ms estimated  {beside}")
    fastest = min(measured, key=measured.__getitem__)
    if measured[plan.engine] > _WRONG * measured[fastest]:
        factor = measured[plan.engine] / measured[fastest]
        click.echo(f"    warning: {fastest} was {factor:.1f} times faster; try `filterworks calibrate`")


@click.command()
@click.option("--reset", is_flag=True, help="Go back to the constants that are shipped.")
@click.option("--dry-run", is_flag=True, help="Measure and tell, but keep nothing.")
@expected_errors
def calibrate(reset: bool, dry_run: bool) -> int:
    """Fit the planner's cost model to this machine, in one to two minutes.

    Times every engine on problems of many kinds, fits the constants, and keeps them in your cache directory
    for later runs. Do it while the machine is idle.
    """
    from filterworks import calibration, costs

    if reset:
        there = costs.forget()
        click.echo("back to the shipped constants" if there else "nothing was calibrated")
        return 0
    before = costs.current()
    samples = []
    for sample in calibration.measure():
        samples.append(sample)
        fastest = min(sample.seconds, key=sample.seconds.__getitem__)
        click.echo(f"{sample.name:58} {sample.seconds[fastest] * 1e3:10.3f} ms by {fastest}", err=True)
    after = calibration.fit(samples)
    for name, constants in (("before", before), ("after", after)):
        found = calibration.regret(samples, constants)
        mean, worst = calibration.mean_regret(found), found[0]
        click.echo(
            f"{name}: the chosen engine takes {mean:.3f} times the fastest one's time on the mean, "
            f"{worst[0]:.2f} at worst ({worst[1].name}: {worst[2]})"
        )
    if dry_run:
        return 0
    try:
        click.echo(f"kept in {costs.keep(after)}")
    except OSError as error:
        click.echo(f"error: the constants cannot be kept: {error}", err=True)
        return 1
    return 0
