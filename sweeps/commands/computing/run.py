"""`sweeps run`: compute what is missing."""

from __future__ import annotations

import click
from rich.console import Console

from sweeps import spec
from sweeps.commands.options import spec_options
from sweeps.reporting.terminal import interrupts
from sweeps.storage import Store

MOST_CPUS = 4096
"""A Ray may have more CPUs than the machine, for trials that mostly wait; it starts a process for each."""


@click.command()
@spec_options
@click.option("--address", help="A Ray cluster to join, or `auto`. Default: a private Ray on this machine.")
@click.option(
    "--cpus",
    type=click.IntRange(1, MOST_CPUS),
    help="CPUs of this machine for a private Ray. Default: those that this process may use.",
)
@click.option(
    "--gpus",
    type=click.IntRange(min=0),
    help="GPUs of this machine for a private Ray. Default: those that this process sees.",
)
@click.option("--max-concurrent", type=click.IntRange(min=1), help="At most this many trials at a time.")
@click.pass_obj
def run(
    console: Console,
    spec_name: str,
    storage: str,
    changes: tuple[str, ...],
    retry_failed: bool,
    recompute: tuple[str, ...],
    address: str | None,
    cpus: int | None,
    gpus: int | None,
    max_concurrent: int | None,
) -> int:
    """Compute what is missing of SPEC: a YAML file, the name of a bundled spec, or - for standard input.

    Rows and checkpoints that are in the storage are never computed again, so running again resumes.
    """
    from sweeps import running
    from sweeps.reporting import reports

    loaded, store = spec.load(spec_name, changes), Store(storage)
    with interrupts.heeded():
        after = running.run(
            loaded,
            store,
            console,
            address=address,
            cpus=cpus,
            gpus=gpus,
            retry_failed=retry_failed,
            recompute=recompute,
            max_concurrent=max_concurrent,
        )
        reports.show(loaded, store, after, console)
    return reports.exit_status(after)
