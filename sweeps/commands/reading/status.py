"""`sweeps status`: where a sweep stands."""

from __future__ import annotations

import click
from rich.console import Console


@click.command()
@click.argument("sweep")
@click.pass_obj
def status(console: Console, sweep: str) -> int:
    """Say where SWEEP, a folder <storage>/<name>, stands: rows, failures by cause, time left."""
    from sweeps.reporting.terminal.status import show

    return show(sweep, console)
