"""The command line. Every command is a few calls into the package; errors a user can mend end with status 2."""

from __future__ import annotations

import sys

import click
from rich.console import Console

from sweeps.commands.comparing.analyze import analyze
from sweeps.commands.comparing.power import power
from sweeps.commands.comparing.report import report
from sweeps.commands.computing.measure import measure
from sweeps.commands.computing.new import new
from sweeps.commands.computing.plan import plan
from sweeps.commands.computing.run import run
from sweeps.commands.reading.describe import describe
from sweeps.commands.reading.export_models import export_models
from sweeps.commands.reading.failures import failures
from sweeps.commands.reading.results import results
from sweeps.commands.reading.specs import specs
from sweeps.commands.reading.status import status
from sweeps.commands.storage import storage
from sweeps.errors import StoppedError, SweepError
from sweeps.reporting.terminal import streams
from sweeps.reporting.terminal.interrupts import RESUMES, Interrupted

# Piped output has no width of its own; tables should not be folded at 80 columns then.
console = Console(highlight=False, emoji=False, width=None if sys.stdout and sys.stdout.isatty() else 120)
errors = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)

FAILED, WRONG, INTERRUPTED = 1, 2, 130

KEPT = ("run", "measure", "report", "export-models")
"""Commands whose outcome is in the storage, printed or not."""


def main() -> None:
    """Run the command line; the console script `sweeps`."""
    streams.settle()
    try:
        sys.exit(cli(standalone_mode=False, obj=console))
    except SweepError as error:
        errors.print(f"Error: {error}", markup=False)
        sys.exit(FAILED if isinstance(error, StoppedError) else WRONG)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Interrupted as interrupted:
        errors.print(f"Interrupted. {RESUMES}")
        sys.exit(interrupted.status)
    except (KeyboardInterrupt, click.Abort):
        errors.print("Interrupted.")
        sys.exit(INTERRUPTED)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="robust-pruning-sweeps")
def cli() -> None:
    """Distributed sweeps for robust pruning: from a spec to p-values, exactly once.

    \b
    A first sweep, on this machine:    sweeps run demo
    What it would do, without doing:   sweeps plan demo
    A spec for a data set of your own: sweeps new my-study.yaml --coco DIR
    Where it stands, while it runs:    sweeps status runs/demo
    Its rows:                          sweeps results runs/demo --format csv
    What a field or a column means:    sweeps describe detection attack.epsilon
    After a crash, or Ctrl-C:          the same `sweeps run` computes what is missing

    Exit status: 0 all rows present, 1 some failed, 2 the spec, the data or the command is wrong.
    """


@cli.result_callback()
@click.pass_context
def say_what_was_not_printed(context: click.Context, status: int | None) -> int | None:
    """Say where output was lost, and that a command which does nothing but print has failed; return its status."""
    lost = streams.failure()
    if lost is None:
        return status
    said = f"standard output could not be written ({lost.strerror})"
    if context.invoked_subcommand not in KEPT:
        raise SweepError(said)
    errors.print(f"{said}; what was computed is in the storage", markup=False)
    return status


for command in (
    *(run, measure, plan, new, status, failures, results, analyze, power, report),
    *(specs, describe, export_models, storage),
):
    cli.add_command(command)

if __name__ == "__main__":
    main()
