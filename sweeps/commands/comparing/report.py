"""`sweeps report`: figures and a page."""

from __future__ import annotations

import click
from rich.console import Console

from sweeps.commands.options import all_rows_option


@click.command()
@click.argument("sweeps", metavar="SWEEP [OTHER]...", nargs=-1, required=True)
@click.option("--against", metavar="NAME|FILE.csv", help="Put published values beside the sweep's, in the same page.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="METRIC=NAME",
    help="A column of the sweep's rows, and what FILE.csv calls it. Repeatable.",
)
@click.option(
    "--study",
    metavar="MODULE:CLASS",
    help="Import this study, for its pictures. One that an installed package registers needs no mention; no other is "
    "imported because a stored spec names it.",
)
@click.option("--output", metavar="DIR", help="Write into this folder instead, as of a storage that is only read.")
@click.option(
    "--along", metavar="AXIS", help="Draw curves along this axis of numbers. Default: that along which trials fan out."
)
@click.option("--by", metavar="AXIS", help="Draw a panel for each level of this axis.")
@all_rows_option
@click.pass_obj
def report(
    console: Console,
    sweeps: tuple[str, ...],
    against: str | None,
    columns: tuple[str, ...],
    study: str | None,
    output: str | None,
    along: str | None,
    by: str | None,
    all_rows: bool,
) -> None:
    """Write figures and one self-contained HTML page into SWEEP/report.

    With OTHER sweeps of the same study, the page compares SWEEP with them instead: settings that differ, means and
    tests at each ratio, cost.

    --against takes the name of a study whose values are bundled, of which an unknown name gives the list, or a CSV
    file. Its columns are keys and metrics as in the rows; a key that is missing or empty stands for every level, and
    lines that begin with # say where the values are from:

    \b
    # Table 2 of that paper
    structure,initializer,ratio,map_adv,speedup
    unstructured,hydra,0,0.41,
    structured,,0.9,,4.7
    """
    from sweeps.reporting import comparing, reports

    first, *others = sweeps
    if not others:
        named = _named(columns, against)
        reports.write_report(
            first,
            console,
            against=against,
            named=named,
            study=study,
            output=output,
            along=along,
            by=by,
            all_rows=all_rows,
        )
    elif against or columns or along or by:
        option = "--along" if along else "--by" if by else "--against"
        raise click.UsageError(f"{option} takes one sweep, found {len(sweeps)}")
    else:
        comparing.write_comparison(sweeps, console, study=study, output=output, all_rows=all_rows)


def _named(columns: tuple[str, ...], against: str | None) -> dict[str, str]:
    """Return the columns of a file of published values by metric."""
    pairs = [column.partition("=") for column in columns]
    if any(not (metric and equals and name) for metric, equals, name in pairs):
        raise click.UsageError(f"--column takes METRIC=NAME, found {' '.join(columns)}")
    if columns and against is None:
        raise click.UsageError("--column says how to read the file of --against, found no --against")
    return {metric: name for metric, _, name in pairs}
