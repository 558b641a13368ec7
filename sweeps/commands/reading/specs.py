"""`sweeps specs`: the bundled specs."""

from __future__ import annotations

import click
from rich.console import Console

from sweeps import spec
from sweeps.spec import bundles, studies


@click.command()
@click.pass_obj
def specs(console: Console) -> None:
    """List the bundled specs."""
    for sentence in (*bundles.broken(), *studies.broken()):
        click.echo(sentence, err=True)
    descriptions = spec.descriptions()
    width = max(map(len, descriptions), default=0)
    for name, description in descriptions.items():
        console.print(f"{name:{width}}  {description}", soft_wrap=True)
