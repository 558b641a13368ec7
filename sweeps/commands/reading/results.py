"""`sweeps results`: the rows of a sweep."""

from __future__ import annotations

import click
from rich.console import Console

from sweeps.commands.options import all_rows_option


@click.command()
@click.argument("sweep")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@all_rows_option
@click.option("--measured", is_flag=True, help="Instead, the rows of `sweeps measure SWEEP`.")
@click.pass_obj
def results(console: Console, sweep: str, form: str, all_rows: bool, measured: bool) -> None:
    """Print the rows of SWEEP. A table shows keys and metrics, csv and json every column."""
    from sweeps.reporting.terminal import tables
    from sweeps.results.sweep import measurements_of

    tables.show_results(measurements_of(sweep) if measured else sweep, form, console, all_rows=all_rows)
