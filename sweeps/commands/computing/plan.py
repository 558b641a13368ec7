"""`sweeps plan`: what `run` would do, and what it costs."""

from __future__ import annotations

import click
from rich.console import Console

from sweeps import spec
from sweeps.commands.options import spec_options
from sweeps.planning.kept_rows import carried
from sweeps.planning.trials import nothing_collected
from sweeps.storage import Store


@click.command()
@spec_options
@click.option(
    "--teraflops",
    type=click.FloatRange(min=0, min_open=True),
    help="Estimate time by arithmetic, for a GPU that sustains so many 10^12 operations a second. That is a fraction "
    "of its peak: training a ResNet-50 at the speeds that NVIDIA publishes sustains 9 on a V100 (float32), and on an "
    "A100 23 (TF32) or 61 (mixed precision). Default: by what was measured in the storage; where nothing was, what "
    "this machine's CPU sustains for a moment, or 20 where GPUs are meant.",
)
@click.pass_obj
def plan(
    console: Console,
    spec_name: str,
    storage: str,
    changes: tuple[str, ...],
    retry_failed: bool,
    recompute: tuple[str, ...],
    teraflops: float | None,
) -> None:
    """Say what `run` would compute, why, and what it costs, without computing it."""
    from sweeps import running
    from sweeps.reporting.terminal import plan as view

    store = Store(storage)
    with nothing_collected():
        loaded = carried(spec.load(spec_name, changes), store)
        planned = running.prepare(loaded, store, console, retry_failed=retry_failed, recompute=recompute)
        with running.said_by(loaded.name):
            view.show_plan(loaded, store, planned, console, teraflops=teraflops)
