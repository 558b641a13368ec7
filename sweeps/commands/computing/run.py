"""`sweeps run`: compute what is missing."""

from __future__ import annotations

import click
from rich.console import Console

from sweeps import spec
from sweeps.commands.options import ray_options, spec_options
from sweeps.reporting.terminal import interrupts
from sweeps.storage import Store


@click.command()
@spec_options
@ray_options
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
