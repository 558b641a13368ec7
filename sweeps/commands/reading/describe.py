"""`sweeps describe`: what can be looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sweeps.errors import SpecError

if TYPE_CHECKING:
    from sweeps.reporting.terminal.reference import Form


@click.command()
@click.argument("study", required=False)
@click.argument("field", required=False)
@click.option("--format", "form", type=click.Choice(["table", "json", "markdown"]), default="table", show_default=True)
def describe(study: str | None, field: str | None, form: Form) -> None:
    """Say what there is to know of a STUDY: each field of its specs, its axes, the columns of its rows, its tables.

    FIELD is one of them, the beginning of several, or their last part. Without a STUDY, the studies there are.

    \b
    sweeps describe                            which studies are there?
    sweeps describe detection attack           what can be set of the attack?
    sweeps describe detection map_adv          what is in that column?

    A field has a type, a default or `required`, a unit, a range and a meaning. Fields that belong to one option of
    several have it in parentheses, such as (name: pgd). --format markdown without a STUDY is docs/reference.md.
    """
    from sweeps.reporting.terminal.reference import described

    try:
        click.echo(described(study, field, form))
    except SpecError as error:
        raise SpecError(f"describe: {error}") from error
