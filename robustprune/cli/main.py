"""The command line of the science; each command is in a file of its own. Errors a user can mend end with status 2."""

from __future__ import annotations

import io
import sys

import click

from robustprune.cli.evaluate import evaluate_
from robustprune.cli.export import export
from robustprune.cli.kitti import kitti
from robustprune.cli.methods import methods
from robustprune.core.errors import InputError

WRONG, INTERRUPTED = 2, 130


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        # What a terminal cannot show, of a file's name for example, must not end a measurement.
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")
    try:
        sys.exit(cli(standalone_mode=False))
    except InputError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(WRONG)
    except FloatingPointError as error:
        click.echo(f"Error: {error}, expected numbers; its weights are damaged, or those of another .cfg", err=True)
        sys.exit(WRONG)
    except click.ClickException as error:
        click.echo(f"Error: {error.format_message()}", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        sys.exit(INTERRUPTED)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="robust-pruning-sweeps")
def cli() -> None:
    """Robust detectors, one at a time and without Ray. Whole studies are run by `sweeps`."""


for command in (evaluate_, export, kitti, methods):
    cli.add_command(command)
