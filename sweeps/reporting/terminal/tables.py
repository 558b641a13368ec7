"""Rows and tests as the command line prints them: a table for people, csv and json for programs."""

from __future__ import annotations

import functools
import json
import sys
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sweeps.reporting.summary import MISSING
from sweeps.reporting.terminal.analyses import Found, amount, analysed, said_of
from sweeps.reporting.terminal.analysis_views import power_views
from sweeps.results.roles import NOTHING, Given
from sweeps.results.source import open_source
from sweeps.results.sweep import open_rows
from sweeps.statistics.power import power_analysis
from sweeps.statistics.samples import Design


def show_results(location: str, form: str, console: Console, *, all_rows: bool = False) -> None:
    """Print the rows of a sweep; `all_rows`: also those outside its present grid."""
    sweep = open_rows(location, all_rows=all_rows)
    for said in filter(None, [sweep.remark, sweep.outside]):
        print(said, file=sys.stderr)
    frame = pd.concat([sweep.baseline, sweep.rows])
    if form != "table":
        write(frame, form)
        return
    columns = [*sweep.roles.axes, *sweep.metrics]
    view = Table(*columns, title=f"{len(frame)} rows")
    for values in frame[columns].itertuples(index=False):
        view.add_row(*map(_shown, values))
    console.print(view)


def _shown(value: Any) -> str:
    if value is None or value != value:
        return MISSING
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def show_analysis(location: str, console: Console, *, form: str = "table", **asked: Any) -> None:
    """Print hypothesis tests on a sweep or on a file of rows.

    Args:
        location: of either.
        console: for people; csv and json go to standard output.
        form: `table`, `csv` or `json`.
        asked: see `analysed`.
    """
    _show(analysed(location, **asked), form, console)


def show_power(
    location: str,
    console: Console,
    *,
    metric: str | None = None,
    given: Given = NOTHING,
    all_rows: bool = False,
    design: Design | None = None,
    classical: bool | None = None,
    difference: str | None = None,
    at: float | None = None,
    power: float,
    alpha: float,
    form: str = "table",
) -> None:
    """Print how many replicates see a difference, such as `0.02` or `10%`, at a ratio or at all of them."""
    source = open_source(
        location, metric=metric, design=design, classical=bool(classical), given=given, all_rows=all_rows
    )
    with said_of(location):
        found = power_analysis(
            source.rows,
            metric=source.metric,
            difference=None if difference is None else amount("--difference", difference),
            in_percent=difference is not None and difference.endswith("%"),
            at=at,
            design=source.design,
            classical=source.classical,
            power=power,
            alpha=alpha,
            roles=source.roles,
        )
    views = functools.partial(power_views, found, roles=source.roles)
    _show(Found(source=source, tests=found, views=views), form, console)


def _show(found: Found, form: str, console: Console) -> None:
    if form == "table":
        for view in found.tables():
            console.print(view)
    else:
        write(found.tests, form)
    # Not among the lines that a program reads.
    for said in filter(None, [found.nothing, *found.source.remarks]):
        print(said, file=sys.stderr)


def write(frame: pd.DataFrame, form: str) -> None:
    """Print rows for a program, as csv or json."""
    if form == "csv":
        frame.to_csv(sys.stdout, index=False)
    else:
        # Not `to_json`, which keeps 15 digits of a number; JSON has no NaN.
        records = [
            {name: None if value != value else value for name, value in record.items()}
            for record in frame.to_dict("records")
        ]
        print(json.dumps(records, indent=1))
