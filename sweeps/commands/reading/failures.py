"""`sweeps failures`: why rows failed."""

from __future__ import annotations

import click
from rich.console import Console

from sweeps.commands.options import all_rows_option


@click.command()
@click.argument("sweep")
@click.option("--all", "every", is_flag=True, help="Also every failure of a cause, each with its traceback.")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@all_rows_option
@click.pass_obj
def failures(console: Console, sweep: str, every: bool, form: str, all_rows: bool) -> None:
    """List why rows of SWEEP failed: each cause, the rows that it is of, where and when, and a traceback. csv and json
    have every failure.
    """
    from sweeps.reporting.terminal.failures import show_failures

    show_failures(sweep, console, form, every=every, all_rows=all_rows)
