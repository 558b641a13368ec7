"""The command line. Every command is a few calls into the package; errors a user can mend end with status 2."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console

from sweeps import spec
from sweeps.cli_statistics import analyze, power
from sweeps.errors import StoppedError, SweepError
from sweeps.storage import Store

# Piped output has no width of its own; tables should not be folded at 80 columns then.
console = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 120)
errors = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)

FAILED, WRONG, INTERRUPTED = 1, 2, 130


def main() -> None:
    """Run the command line; the console script `sweeps`."""
    try:
        sys.exit(cli(standalone_mode=False, obj=console))
    except SweepError as error:
        errors.print(f"Error: {error}", markup=False)
        sys.exit(FAILED if isinstance(error, StoppedError) else WRONG)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        errors.print("Interrupted. Finished rows are published; the same command resumes.")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left, as in `sweeps results ... | head`


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="robust-pruning-sweeps")
def cli() -> None:
    """Distributed sweeps for robust pruning: from a spec to p-values, exactly once.

    \b
    A first sweep, on this machine:    sweeps run demo
    What it would do, without doing:   sweeps plan demo
    Where it stands, while it runs:    sweeps status runs/demo
    Its rows:                          sweeps results runs/demo --format csv
    After a crash, or Ctrl-C:          the same `sweeps run` computes what is missing

    Exit status: 0 all rows present, 1 some failed, 2 the spec, the data or the command is wrong.
    """


def spec_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what `run` and `plan` share: the spec, and where and how it is overlaid."""
    for decorate in (
        click.argument("spec_name", metavar="SPEC"),
        click.option("--storage", default="runs", show_default=True, help="A path, or a URI such as s3://bucket/runs."),
        click.option(
            "--set",
            "changes",
            multiple=True,
            metavar="KEY.PATH=VALUE",
            help="Change the spec; VALUE is YAML. Repeatable.",
        ),
        click.option("--retry-failed", is_flag=True, help="Also compute rows that failed before."),
    ):
        command = decorate(command)
    return command


@cli.command()
@spec_options
@click.option("--address", help="A Ray cluster to join, or `auto`. Default: a private Ray on this machine.")
@click.option("--max-concurrent", type=click.IntRange(min=1), help="At most this many trials at a time.")
def run(
    spec_name: str,
    storage: str,
    changes: tuple[str, ...],
    retry_failed: bool,
    address: str | None,
    max_concurrent: int | None,
) -> int:
    """Compute what is missing of SPEC, a YAML file or the name of a bundled spec.

    Rows and checkpoints that are in the storage are never computed again, so running again resumes.
    """
    from sweeps import closing, running

    loaded, store = spec.load(spec_name, changes), Store(storage)
    after = running.run(
        loaded, store, console, address=address, retry_failed=retry_failed, max_concurrent=max_concurrent
    )
    closing.show(loaded, store, after, console)
    return closing.exit_status(after)


@cli.command()
@spec_options
@click.option(
    "--teraflops",
    type=click.FloatRange(min=0, min_open=True),
    help="Estimate time by arithmetic, for a GPU that sustains so many 10^12 operations a second. That is a fraction "
    "of its peak: training a ResNet-50 at the speeds that NVIDIA publishes sustains 9 on a V100 (float32), and on an "
    "A100 23 (TF32) or 61 (mixed precision). Default: by what was measured in the storage, and 20 where nothing was.",
)
def plan(spec_name: str, storage: str, changes: tuple[str, ...], retry_failed: bool, teraflops: float | None) -> None:
    """Say what `run` would compute, why, and what it costs, without computing it."""
    from sweeps import running
    from sweeps.planning import view

    loaded, store = spec.load(spec_name, changes), Store(storage)
    planned = running.prepare(loaded, store, console, retry_failed=retry_failed)
    with running.said_by(loaded.name):
        view.show_plan(loaded, store, planned, console, teraflops=teraflops)


@cli.command("status")
@click.argument("sweep")
def status_(sweep: str) -> int:
    """Say where SWEEP, a folder <storage>/<name>, stands: rows, failures by cause, time left."""
    from sweeps import status

    return status.show(sweep, console)


@cli.command()
@click.argument("sweep")
def failures(sweep: str) -> None:
    """List each failed row of SWEEP with its cause and traceback."""
    from sweeps import status

    status.show_failures(sweep, console)


@cli.command()
@click.argument("sweep")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
def results(sweep: str, form: str) -> None:
    """Print the rows of SWEEP. A table shows keys and metrics, csv and json every column."""
    from sweeps.reporting import tables

    tables.show_results(sweep, form, console)


@cli.command()
@click.argument("sweeps", metavar="SWEEP [OTHER]...", nargs=-1, required=True)
@click.option("--against", metavar="NAME|FILE.csv", help="Put published values beside the sweep's, in the same page.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="METRIC=NAME",
    help="A column of the sweep's rows, and what FILE.csv calls it. Repeatable.",
)
def report(sweeps: tuple[str, ...], against: str | None, columns: tuple[str, ...]) -> None:
    """Write figures and one self-contained HTML page into SWEEP/report.

    With OTHER sweeps of the same study, the page compares SWEEP with them instead: settings that differ, means and
    tests at each ratio, cost.

    --against takes the name of a study whose values are bundled, of which an unknown name gives the list, or a CSV
    file. Its columns are keys and metrics as in the rows; a key that is missing or empty stands for every level, and
    lines that begin with # say where the values are from:

    \b
    # Table 2 of that paper
    structure,initializer,ratio,map_adv,speedup
    unstructured,hydra,0,0.41,
    structured,,0.9,,4.7
    """
    from sweeps import closing, comparing

    first, *others = sweeps
    if not others:
        closing.write_report(first, console, against=against, named=_named(columns, against))
    elif against or columns:
        raise click.UsageError(f"--against takes one sweep, found {len(sweeps)}")
    else:
        comparing.write_comparison(sweeps, console)


def _named(columns: tuple[str, ...], against: str | None) -> dict[str, str]:
    """Return the columns of a file of published values by metric."""
    pairs = [column.partition("=") for column in columns]
    if any(not (metric and equals and name) for metric, equals, name in pairs):
        raise click.UsageError(f"--column takes METRIC=NAME, found {' '.join(columns)}")
    if columns and against is None:
        raise click.UsageError("--column says how to read the file of --against, found no --against")
    return {metric: name for metric, _, name in pairs}


@cli.command()
def specs() -> None:
    """List the bundled specs."""
    descriptions = spec.descriptions()
    width = max(map(len, descriptions), default=0)
    for name, description in descriptions.items():
        console.print(f"{name:{width}}  {description}", soft_wrap=True)


cli.add_command(analyze)
cli.add_command(power)

if __name__ == "__main__":
    main()
