"""`sweeps results`: the rows of a sweep."""

from __future__ import annotations

import click
from rich.console import Console


@click.command()
@click.argument("sweep")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@click.pass_obj
def results(console: Console, sweep: str, form: str) -> None:
    """Print the rows of SWEEP. A table shows keys and metrics, csv and json every column."""
    from sweeps.reporting.terminal import tables

    tables.show_results(sweep, form, console)
