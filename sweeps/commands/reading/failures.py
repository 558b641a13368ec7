"""`sweeps failures`: why rows failed."""

from __future__ import annotations

import click
from rich.console import Console


@click.command()
@click.argument("sweep")
@click.pass_obj
def failures(console: Console, sweep: str) -> None:
    """List each failed row of SWEEP with its cause and traceback."""
    from sweeps.reporting.terminal.status import show_failures

    show_failures(sweep, console)
