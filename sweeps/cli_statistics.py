"""The commands that test hypotheses, `analyze` and `power`; the other commands, and how errors end, are in `cli.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

if TYPE_CHECKING:
    # pandas and scipy take a second, which no other command should wait for.
    from sweeps.statistics.samples import Design


def _test_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what `analyze` and `power` share: which rows, which column, how they hang together, how to print."""
    for decorate in reversed(
        (
            click.argument("source", metavar="SWEEP_OR_FILE"),
            click.option("--metric", help="Column to compare. Default: the study's main metric, a file's only one."),
            click.option(
                "--design",
                type=click.Choice(["independent", "paired"]),
                help="Are trials of one seed blocks? Default: paired for a sweep, independent for a file.",
            ),
            click.option(
                "--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True
            ),
        )
    ):
        command = decorate(command)
    return command


@click.command()
@_test_options
@click.option(
    "--two-way",
    "factors",
    nargs=2,
    metavar="FACTOR FACTOR",
    help="Instead, main effects and interaction of two factors; one of them may be the ratio.",
)
@click.option(
    "--equivalence",
    "margin",
    metavar="X%",
    help="Instead, is the difference smaller than X% of the second level's mean?",
)
@click.pass_obj
def analyze(
    console: Console,
    source: str,
    metric: str | None,
    design: Design | None,
    form: str,
    factors: tuple[str, str] | None,
    margin: str | None,
) -> None:
    """Test every pair of levels of one factor, the others fixed, at each ratio.

    SWEEP_OR_FILE is a sweep's folder, a folder of Parquet files, or a Parquet or CSV file with the key columns.

    \b
    sweeps analyze runs/demo                                        which levels differ?
    sweeps analyze runs/demo --two-way initializer structure        does one depend on the other?
    sweeps analyze runs/demo --two-way initializer ratio            does it depend on the ratio?
    sweeps analyze runs/demo --metric inference_ms --equivalence 5% is the time the same?

    By default, a one-way ANOVA of two levels: `p_value`, and `p_holm`, corrected for all levels and ratios of a
    question; `effect_size` is Hedges' g with its 95% interval. `note` says which runs were dropped, why a test was not
    made, and, from five runs on, where normality or equal variances are in doubt, with the p-values of robust tests.

    --two-way gives three lines per analysis, with columns effect, the factors, ratio, metric, design, n, statistic, df,
    df_error, p_value, p_holm, partial_eta_squared, test, note. Independent: type III sums of squares. Paired: repeated
    measures of seeds with all cells, degrees of freedom by Greenhouse and Geisser.

    --equivalence makes two one-sided tests and adds difference_percent with its 90% interval, low_percent and
    high_percent, and a verdict: equivalent (the interval lies within the margin), different (outside) or undecided.
    """
    from sweeps.reporting import tables

    if factors and margin:
        raise click.UsageError("--two-way and --equivalence are different analyses, expected one of them")
    tables.show_analysis(source, console, metric=metric, design=design, factors=factors, margin=margin, form=form)


@click.command()
@_test_options
@click.option("--difference", metavar="D", help="To be seen, as 0.02 in the metric's unit, or 5% of the mean.")
@click.option("--ratio", type=float, help="Look at this ratio only.")
@click.option("--power", type=float, default=0.8, show_default=True, help="Chance of seeing it that is wanted.")
@click.option("--alpha", type=float, default=0.05, show_default=True, help="Of the two-sided test.")
@click.pass_obj
def power(
    console: Console,
    source: str,
    metric: str | None,
    design: Design | None,
    form: str,
    difference: str | None,
    ratio: float | None,
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
    from sweeps.reporting import tables

    tables.show_power(
        source,
        console,
        metric=metric,
        design=design,
        difference=difference,
        ratio=ratio,
        power=power,
        alpha=alpha,
        form=form,
    )
