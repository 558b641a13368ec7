"""`sweeps analyze`: hypothesis tests on rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.console import Console

from sweeps.commands.options import test_options

if TYPE_CHECKING:
    # pandas and scipy take a second, which no other command should wait for.
    from sweeps.statistics.samples import Design


@click.command()
@test_options
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
@click.option(
    "--against",
    metavar="COLUMN",
    help="Besides, compare at equal values of this column, such as a size or a speed, instead of equal ratios.",
)
@click.option("--slope", is_flag=True, help="Instead, does the metric change along the axis: is a line's slope 0?")
@click.option(
    "--draws",
    is_flag=True,
    help="Instead, of a sweep with a sample: the best draws, and which of the fields drawn matter.",
)
@click.option(
    "--where",
    metavar="CONDITION",
    help='Only rows for which it holds, such as "ratio == 0.75"; a column with dots in backticks.',
)
@click.option(
    "--floor",
    metavar="X|X%",
    default="5%",
    show_default=True,
    help="No star where both means are at most X, or X% of the largest mean.",
)
@click.pass_obj
def analyze(
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
    factors: tuple[str, str] | None,
    margin: str | None,
    against: str | None,
    slope: bool,
    draws: bool,
    where: str | None,
    floor: str,
) -> None:
    """Test every pair of levels of one factor, the others fixed, at each ratio.

    SWEEP_OR_FILE is a sweep's folder, a folder of Parquet files, or a Parquet or CSV file with the key columns.

    \b
    sweeps analyze runs/demo                                        which levels differ?
    sweeps analyze runs/demo --two-way initializer structure        does one depend on the other?
    sweeps analyze runs/demo --two-way initializer ratio            does it depend on the ratio?
    sweeps analyze runs/demo --metric inference_ms --equivalence 5% is the time the same?
    sweeps analyze runs/demo --against speedup                      which is better at equal speed?
    sweeps analyze runs/demo --slope --along attack.epsilon         does it change with a swept field?

    By default, a one-way ANOVA of two levels, Welch's where groups are independent: `difference` of the means with its
    95% interval; `p_value`, and `p_holm`, corrected for all levels and ratios of a question; `effect_size` is Hedges' g
    with its 95% interval. `note` says which runs were dropped, why a test was not made (a level that does not vary
    between seeds has none), and, from five runs on, where an assumption is in doubt, with the p-values of robust tests.

    `mark` is * where p_holm is below 0.05, but ? where fewer than five runs leave the test's assumptions unchecked.
    Neither stands where both means lie at the floor.

    --two-way gives three lines per analysis, with columns effect, the factors, ratio, metric, design, n, statistic, df,
    df_error, p_value, p_holm, mark, partial_eta_squared, test, note. Independent: every cell has a variance of its own,
    and the values of one trial, where the ratio is a factor, stay together. Paired: repeated measures of seeds with all
    cells, degrees of freedom by Greenhouse and Geisser. --classical: one variance for all, type III sums of squares.

    --against interpolates the metric of every trial between its rows, and compares levels at five values of COLUMN that
    the trials of both reach; csv and json hold these lines alone, with COLUMN in place of the ratio.

    --slope gives one line per configuration: the slope of a straight line along the axis (--along) with its 95%
    interval, and p_holm corrected for all configurations. Paired: of each seed's own line; independent: of one line
    through all values.

    --draws ranks the fields that were drawn: importance is the share of the metric's variance that a forest's
    prediction of unseen draws loses when a field is shuffled, null_high what it would be below by chance.

    --equivalence makes two one-sided tests and adds difference_percent with its 90% interval, low_percent and
    high_percent, and a verdict: equivalent (the interval lies within the margin), different (outside) or undecided.
    """
    from sweeps.reporting.terminal import tables
    from sweeps.results.roles import Given

    asked = {
        "--two-way": factors,
        "--equivalence": margin,
        "--against": against,
        "--slope": slope,
        "--draws": draws,
    }
    found = [option for option, value in asked.items() if value]
    if len(found) > 1:
        raise click.UsageError(f"{' and '.join(found)} are different analyses, expected one of them")
    given = Given(study, axes, along, replicate)
    tables.show_analysis(
        source,
        console,
        metric=metric,
        design=design,
        classical=classical,
        given=given,
        all_rows=all_rows,
        where=where,
        factors=factors,
        margin=margin,
        against=against,
        slope=slope,
        draws=draws,
        floor=floor,
        form=form,
    )
