"""`sweeps power`: how many seeds would show a difference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.console import Console

from sweeps.commands.options import NumberType, test_options

if TYPE_CHECKING:
    # pandas and scipy take a second, which no other command should wait for.
    from sweeps.statistics.samples import Design


@click.command()
@test_options
@click.option("--difference", metavar="D", help="To be seen, as 0.02 in the metric's unit, or 5% of the mean.")
@click.option(
    "--at", "--ratio", "at", type=NumberType(), help="Look at this value only of the axis along which curves run."
)
@click.option("--power", type=NumberType(), default=0.8, show_default=True, help="Chance of seeing it that is wanted.")
@click.option("--alpha", type=NumberType(), default=0.05, show_default=True, help="Of the two-sided test.")
@click.pass_obj
def power(
    console: Console,
    source: str,
    metric: str | None,
    design: Design | None,
    classical: bool | None,
    study: str | None,
    all_rows: bool,
    axes: str | None,
    along: str | None,
    replicate: str | None,
    form: str,
    difference: str | None,
    at: float | None,
    power: float,
    alpha: float,
) -> None:
    """Say how many seeds it takes to see a difference, from the variance of the runs at hand.

    \b
    sweeps power runs/demo                                 which differences can these seeds show?
    sweeps power runs/demo --difference 0.02 --ratio 0.9   how many show two points of AP?
    sweeps power runs/demo --difference 5% --alpha 0.001   ... and after a correction for 50 tests?

    For every pair of levels: the runs there are (n_a, n_b); the standard deviation sd, of the differences between
    levels within a seed (paired) or within levels (independent), with its 95% interval sd_low, sd_high; and
    smallest_difference, which these runs show with the power wanted. With --difference also `power`, the chance that
    these runs show it, and n_needed, the seeds per level that would, or n_low and n_high if the truth is at the
    ends of the interval of sd. A standard deviation from three seeds may be wrong by a factor of six: plan by n_high
    where a second round of runs is expensive.

    The difference to name is the smallest that would matter, not the one that was found.
    """
    from sweeps.reporting.terminal import tables
    from sweeps.results.roles import Given

    given = Given(study, axes, along, replicate)
    tables.show_power(
        source,
        console,
        metric=metric,
        design=design,
        classical=classical,
        given=given,
        all_rows=all_rows,
        difference=difference,
        at=at,
        power=power,
        alpha=alpha,
        form=form,
    )
