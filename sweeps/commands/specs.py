"""`sweeps specs`: the bundled specs."""

from __future__ import annotations

import click
from rich.console import Console

from sweeps import spec


@click.command()
@click.pass_obj
def specs(console: Console) -> None:
    """List the bundled specs."""
    descriptions = spec.descriptions()
    width = max(map(len, descriptions), default=0)
    for name, description in descriptions.items():
        console.print(f"{name:{width}}  {description}", soft_wrap=True)
