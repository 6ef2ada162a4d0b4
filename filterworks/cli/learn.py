"""``learn``: a kernel from images before and after."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filterworks.cli.console import expected_errors
from filterworks.cli.sizes import Sizes
from filterworks.errors import FileError, FilterworksError, JobError

if TYPE_CHECKING:
    from filterworks.arguments import Array
    from filterworks.normal_equations import Floats, NormalEquations

# Unmatched files that are spelled out before the rest is only counted.
_SHOWN = 10


@dataclass
class _Examples:
    """What is learned from: pairs of files, and what could not be used."""

    pairs: list[tuple[Path, Path]]
    unmatched: list[Path]
    failed: list[tuple[Path, str]] = field(default_factory=list)


@dataclass
class _Fit:
    """How well the kernel explains the examples."""

    samples: int = 0
    squares: float = 0.0
    largest: float = 0.0
    clipped: int = 0

    @property
    def rms(self) -> float:
        return float((self.squares / max(self.samples, 1)) ** 0.5)


@click.command()
@click.argument("before", metavar="BEFORE", type=click.Path(path_type=Path))
@click.argument("after", metavar="AFTER", type=click.Path(path_type=Path))
@click.option("--size", type=Sizes(), required=True, help="Of the kernel: 5, or 3x7 (rows x columns).")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Where the kernel goes: .npy or .txt.",
)
@click.option("--bias", is_flag=True, help="Learn a constant that is added to every sample, too.")
@click.option(
    "--ridge",
    type=click.FloatRange(0),
    default=0.0,
    metavar="X",
    help="Minimise mean squared error + X · Σ weights²: an answer where the images leave weights open.",
)
@click.option(
    "--method",
    type=click.Choice(["lstsq", "gradient"]),
    default="lstsq",
    help="Least squares (default), or gradient descent.",
)
@click.option("--learning-rate", type=float, metavar="X", help="Of gradient descent; fitting unless given.")
@click.option(
    "--steps", type=click.IntRange(0), default=10_000, show_default=True, help="Of gradient descent."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of its random start.")
@click.option("--overwrite", is_flag=True, help="Replace FILE.")
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=100_000_000,
    metavar="N",
    help="Refuse larger images; 100 million.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
@expected_errors
def learn(
    before: Path, after: Path, size: tuple[int, ...], output: Path, as_json: bool, **options: Any
) -> int:
    """Learn the kernel that turns the images of BEFORE into those of AFTER.

    BEFORE and AFTER are two images, or two folders whose files are matched by their relative names
    without suffix. Each colour channel is a sample of one and the same kernel; opacity is left out.
    Pixel values are taken as they are, whatever their depth. Pixels at the borders, whose window is not
    inside the image, are left out. The kernel correlates, which is what -f kernel does.

    \b
    Examples:
      filterworks learn originals/ filtered/ --size 5 -o kernel.npy
      filterworks learn a.png b.png --size 3x7 --bias --json -o kernel.txt
      filterworks images photos/ -o out/ -f kernel:path=kernel.npy
    """
    from filterworks.learning import descend, kernel_size

    shape = kernel_size(size if len(size) > 1 else size[0], 2)
    _check_output(output, options["overwrite"])
    examples = _matched(before, after)
    equations = _accumulated(examples, shape, options["max_pixels"])
    for _, problem in examples.failed:
        click.echo(f"failed: {problem}", err=True)
    if not examples.pairs:
        raise FilterworksError("none of the images could be used")
    chosen = {"bias": options["bias"], "ridge": options["ridge"]}
    if options["method"] == "lstsq":
        kernel, offset = equations.solve(**chosen)
    else:
        pace = {name: options[name] for name in ("learning_rate", "steps", "seed")}
        kernel, offset = descend(equations, **chosen, **pace)
    weights, constant = kernel[0, 0], float(offset[0])
    fit = _fit(examples, weights, constant, options["max_pixels"])
    _save(output, weights)
    show = _print_json if as_json else _print
    show(weights, constant if options["bias"] else None, fit, examples, output)
    return int(bool(examples.failed))


def _check_output(output: Path, overwrite: bool) -> None:
    problems = []
    if output.suffix.lower() not in (".npy", ".txt"):
        problems.append(f"-o must end in .npy or .txt; got {output}")
    if output.exists() and not overwrite:
        problems.append(f"-o {output} exists; --overwrite replaces it")
    if not output.absolute().parent.is_dir():
        problems.append(f"-o {output}: its folder does not exist")
    if problems:
        raise JobError(problems)


def _matched(before: Path, after: Path) -> _Examples:
    """Return the pairs of files, in the order of their names."""
    for path in (before, after):
        if not path.exists():
            raise JobError([f"{path} does not exist"])
    if before.is_dir() != after.is_dir():
        raise JobError([f"{before} and {after} must both be folders, or both be images"])
    if not before.is_dir():
        return _Examples([(before, after)], [])
    first, second = _by_name(before), _by_name(after)
    common = sorted(first.keys() & second.keys())
    unmatched = [*(first[n] for n in first.keys() - common), *(second[n] for n in second.keys() - common)]
    if not common:
        held = f"{before} ({len(first)} images) and {after} ({len(second)} images)"
        raise JobError([f"{held} have no image name in common"])
    examples = _Examples([(first[name], second[name]) for name in common], sorted(unmatched))
    for path in examples.unmatched[:_SHOWN]:
        click.echo(f"unmatched: {path}", err=True)
    if len(unmatched) > _SHOWN:
        click.echo(f"unmatched: {len(unmatched) - _SHOWN} more", err=True)
    return examples


def _by_name(folder: Path) -> dict[str, Path]:
    """Return the images in a folder and below by their relative names without suffix."""
    from filterworks.files import IMAGE_SUFFIXES

    found: dict[str, Path] = {}
    problems = []
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            if path.suffix.lower() not in IMAGE_SUFFIXES or name.startswith("."):
                continue
            key = path.relative_to(folder).with_suffix("").as_posix()
            if key in found:
                problems.append(f"{found[key]} and {path} have one name: it is not clear which to take")
            found[key] = path
    if problems:
        raise JobError(problems)
    return found


def _accumulated(examples: _Examples, shape: tuple[int, ...], max_pixels: int) -> NormalEquations:
    """Return the equations of all pairs; those that cannot be used move to `failed`."""
    from filterworks.normal_equations import NormalEquations

    everything = NormalEquations(shape)
    usable = []
    for before, after in examples.pairs:
        own = NormalEquations(shape)
        try:
            for plane, wanted in _planes(before, after, shape, max_pixels):
                own.add(plane[None], wanted[None])
        except FilterworksError as error:
            # Errors of files name their file already.
            place = "" if isinstance(error, FileError) else f"{before} -> {after}: "
            examples.failed.append((before, f"{place}{error}"))
            continue
        everything.merge(own)
        usable.append((before, after))
    examples.pairs = usable
    return everything


def _planes(
    before: Path, after: Path, shape: tuple[int, ...], max_pixels: int
) -> Iterator[tuple[Array, Array]]:
    """Yield each colour channel of each page with its target of the valid size."""
    from filterworks.files import open_image
    from filterworks.normal_equations import valid_target

    with (
        open_image(before, max_pixels=max_pixels) as first,
        open_image(after, max_pixels=max_pixels) as second,
    ):
        if first.info.page_count != second.info.page_count:
            raise FileError(
                f"{before}: has {first.info.page_count} pages, {after} has {second.info.page_count}"
            )
        for page, result in zip(first.pages(), second.pages(), strict=True):
            x, y = _colours(page), _colours(result)
            if x.shape[2] != y.shape[2]:
                raise FileError(f"{before}: has {x.shape[2]} colour channels, {after} has {y.shape[2]}")
            for channel in range(x.shape[2]):
                plane, target = x[..., channel], y[..., channel]
                yield plane, valid_target(plane[None], target[None], shape)[0]


def _colours(page: Any) -> Array:
    """Return (rows, columns, channels) without opacity."""
    pixels: Array = page.pixels if page.pixels.ndim == 3 else page.pixels[..., None]
    return pixels if page.alpha == "none" else pixels[..., :-1]


def _fit(examples: _Examples, kernel: Floats, offset: float, max_pixels: int) -> _Fit:
    """Read the images again and return how far the filtered ones are from those wanted."""
    import numpy as np

    from filterworks.learning import residuals

    fit = _Fit()
    for before, after in examples.pairs:
        for plane, wanted in _planes(before, after, kernel.shape, max_pixels):
            for error in residuals(plane, wanted, kernel, offset):
                fit.squares += float(np.vdot(error, error))
                fit.largest = max(fit.largest, float(np.abs(error).max()))
            fit.samples += wanted.size
            if wanted.dtype.kind in "iu":
                limits = np.iinfo(wanted.dtype)
                fit.clipped += int(np.count_nonzero((wanted == limits.min) | (wanted == limits.max)))
    return fit


def _save(output: Path, kernel: Floats) -> None:
    """Write beside the name, then rename: nobody ever sees half a kernel."""
    import numpy as np

    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            if output.suffix.lower() == ".npy":
                np.save(file, kernel, allow_pickle=False)
            else:
                # 17 digits: reading them back gives the same float64.
                np.savetxt(file, kernel, fmt="%.17g")
        partial.replace(output)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise FileError(f"{output}: {error.strerror or error}") from error


def _print(kernel: Floats, bias: float | None, fit: _Fit, examples: _Examples, output: Path) -> None:
    import numpy as np

    rows, columns = kernel.shape
    images = len(examples.pairs)
    click.echo(f"kernel {rows} x {columns} from {images} image{'s' * (images != 1)}, {fit.samples:,} samples")
    with np.printoptions(precision=5, suppress=True, linewidth=120, threshold=10_000):
        click.echo(kernel)
    click.echo(f"sum {kernel.sum():.6g}" + ("" if bias is None else f", bias {bias:.6g}"))
    click.echo(f"fit error: RMS {fit.rms:.4g}, largest {fit.largest:.4g}")
    click.echo(f"-> {output}   (use it: -f kernel:path={output})")
    if bias is not None:
        click.echo("-f kernel:path= applies the weights; it does not add the bias")
    if fit.clipped > fit.samples / 100:
        click.echo(
            f"warning: {fit.clipped / fit.samples:.1%} of the samples of AFTER are the smallest or largest "
            "that their depth holds; if they were cut to it, the kernel is not exact",
            err=True,
        )


def _print_json(kernel: Floats, bias: float | None, fit: _Fit, examples: _Examples, output: Path) -> None:
    import json

    report = {
        "kernel": kernel.tolist(),
        "bias": bias,
        "rms": fit.rms,
        "largest": fit.largest,
        "images": len(examples.pairs),
        "samples": fit.samples,
        "clipped": fit.clipped,
        "failed": [{"input": str(path), "error": problem} for path, problem in examples.failed],
        "unmatched": [str(path) for path in examples.unmatched],
        "output": str(output),
    }
    click.echo(json.dumps(report, indent=1))
