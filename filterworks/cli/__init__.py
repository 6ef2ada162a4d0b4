"""The command line: parse, call one function, print, exit code.

Imports only click and the standard library until there is work to do.
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import sys

import click

from filterworks import __version__

# pydantic would search every installed package for its plugins; there are none for job files.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

# Objects that are made before garbage is looked for, while modules are loaded.
_RARELY = 50_000

_COMMANDS = {
    "images": "filterworks.cli.batch",
    "series": "filterworks.cli.series",
    "run": "filterworks.cli.batch",
    "status": "filterworks.cli.record",
    "audit": "filterworks.cli.record",
    "verify": "filterworks.cli.inspect",
    "explain": "filterworks.cli.engines",
    "calibrate": "filterworks.cli.engines",
    "filters": "filterworks.cli.inspect",
    "kernels": "filterworks.cli.inspect",
    "learn": "filterworks.cli.learn",
    "draw": "filterworks.cli.draw",
    "shape": "filterworks.cli.shape",
    "plot": "filterworks.cli.plot",
}


class _Lazy(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(_COMMANDS[cmd_name]), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from filterworks.errors import unknown  # only for a mistyped command

            raise click.UsageError(unknown("command", args[0], _COMMANDS), ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Convolution with one exact meaning: filter images and time series, prove the results.

    \b
    Examples:
      filterworks images photos/ -o smooth/ -f gaussian:sigma=2
      filterworks series station.csv -o smooth.csv -f mean:window=1h
      filterworks run jobs/edges.toml photos/ -o edges/
      filterworks filters
    """


def main() -> None:
    """Run the command line; the exit code is 0, 1 (some failed), 2 (usage) or 130 (interrupted)."""
    # What is imported stays: to search it for garbage is a tenth of the start. Batches search again.
    gc.set_threshold(_RARELY, *gc.get_threshold()[1:])
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the names of files need not be valid Unicode
    try:
        code = cli.main(prog_name="filterworks", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        # Whoever read our output has gone; nothing is left to tell.
        sys.stderr.close()
        code = 1
    except OSError as error:
        # Files are dealt with where they are used; this is our own output that cannot be written.
        print(f"error: {error.strerror or error}", file=sys.stderr)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
