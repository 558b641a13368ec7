"""Rows and tests as the command line prints them: a table for people, csv and json for programs."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sweeps.errors import SweepError
from sweeps.reporting.summary import MISSING, contrast_views
from sweeps.reporting.terminal.analysis_views import (
    equal_views,
    equivalence_views,
    power_views,
    slope_view,
    two_way_view,
)
from sweeps.reporting.terminal.response_views import best_view, importance_view
from sweeps.results.roles import NOTHING, Given
from sweeps.results.source import Source, open_source
from sweeps.results.sweep import open_rows
from sweeps.statistics.analysis import contrasts
from sweeps.statistics.equal_size import at_equal
from sweeps.statistics.equivalence import equivalence
from sweeps.statistics.marks import FLOOR, Floor
from sweeps.statistics.power import power_analysis
from sweeps.statistics.responses.best import best_draws
from sweeps.statistics.responses.importance import importance
from sweeps.statistics.responses.slopes import slopes
from sweeps.statistics.samples import Design
from sweeps.statistics.two_way import two_way


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


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was asked of rows, and found.

    Attributes:
        source: the rows, and how they are compared.
        tests: a line per test; empty where nothing can be compared.
        before: tables for people that stand before these tests.
        views: the tests as tables for people.
    """

    source: Source
    tests: pd.DataFrame
    views: Callable[[], Sequence[Table]]
    before: Callable[[], Sequence[Table]] = tuple

    @property
    def nothing(self) -> str:
        """Why there is nothing to compare; no text where there is."""
        if len(self.tests):
            return ""
        why = "no row is finished" if self.source.rows.empty else "no factor has two levels with the others fixed"
        return f"nothing to compare: {why}"

    def tables(self) -> list[Table]:
        """Return all that is for people."""
        return [*self.before(), *(self.views() if len(self.tests) else ())]

    def show(self, console: Console) -> None:
        """Print the tables for people, or why there are none of tests."""
        for view in self.tables():
            console.print(view)
        if self.nothing:
            console.print(self.nothing)


def analysed(
    location: str,
    *,
    metric: str | None = None,
    given: Given = NOTHING,
    all_rows: bool = False,
    design: Design | None = None,
    classical: bool | None = None,
    factors: tuple[str, str] | None = None,
    margin: str | None = None,
    against: str | None = None,
    slope: bool = False,
    draws: bool = False,
    floor: str | None = None,
) -> Found:
    """Make hypothesis tests on a sweep or on a file of rows.

    Args:
        location: of either.
        metric, design, classical, given, all_rows: see `open_source`.
        factors: to be tested for main effects and interaction, instead of level against level.
        margin: in percent, such as `5%`, within which levels are tested to be equivalent instead.
        against: a column at equal values of which levels are compared, for people besides equal ratios.
        slope: test whether the metric changes along the axis instead.
        draws: rank the fields that were drawn by their importance instead, for people after the best draws.
        floor: such as `0.02` or `5%`, see `marks.Floor`.

    Raises:
        SweepError: there are no such rows, or they cannot be compared so.
    """
    if factors is not None or margin is not None or against is not None or slope:
        # What is published of raw values is the p-value of each pair of levels.
        classical = bool(classical)
    source = open_source(
        location,
        metric=metric,
        design=design,
        classical=classical,
        against=against,
        given=given,
        all_rows=all_rows,
    )
    roles = source.roles
    asked: dict[str, Any] = {"metric": source.metric, "design": source.design, "roles": roles}
    asked["classical"] = source.classical
    lowest = FLOOR if floor is None else Floor(_amount("--floor", floor), in_percent=floor.endswith("%"))
    with _said_of(location):
        if factors is not None:
            tests = two_way(source.rows, factors=factors, floor=lowest, **asked)
            return Found(source=source, tests=tests, views=lambda: [two_way_view(tests, roles=roles)])
        if margin is not None:
            tests = equivalence(source.rows, margin_percent=_percent("--equivalence", margin), **asked)
            return Found(source=source, tests=tests, views=lambda: equivalence_views(tests, roles=roles))
        if slope:
            del asked["classical"]
            tests = slopes(source.rows, floor=lowest, **asked)
            return Found(source=source, tests=tests, views=lambda: [slope_view(tests, roles=roles)])
        if draws:
            return _of_draws(source)
        tests = contrasts(source.rows, floor=lowest, **asked)
        views = functools.partial(contrast_views, tests, roles=roles)
        if against is None:
            return Found(source=source, tests=tests, views=views)
        beside = at_equal(source.rows, against=against, floor=lowest, **asked)
        return Found(
            source=source,
            tests=beside,
            before=views,
            views=lambda: equal_views(beside, against=against, roles=roles),
        )


def _of_draws(source: Source) -> Found:
    """Rank what was drawn.

    Raises:
        ValueError: nothing was.
    """
    roles, fields = source.roles, list(source.roles.sampled)
    if not fields or source.models is None:
        raise ValueError("found no field that was drawn, expected a sweep with a sample")
    asked: dict[str, Any] = {"metric": source.metric, "fields": fields, "roles": roles}
    ranks = importance(source.models, **asked)
    best = best_draws(source.models, **asked)
    return Found(
        source=source,
        tests=ranks,
        before=lambda: [best_view(best, fields=fields, roles=roles)],
        views=lambda: [importance_view(ranks, roles=roles)],
    )


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
    with _said_of(location):
        found = power_analysis(
            source.rows,
            metric=source.metric,
            difference=None if difference is None else _amount("--difference", difference),
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


@contextmanager
def _said_of(location: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise SweepError(f"{location}: {error}") from error


def _amount(option: str, text: str) -> float:
    """The number in `0.02` or `5%`."""
    try:
        return float(text.removesuffix("%"))
    except ValueError:
        raise SweepError(
            f"{option}: found {text!r}, expected a number such as 0.02, or a percentage such as 5%"
        ) from None


def _percent(option: str, text: str) -> float:
    if not text.endswith("%"):
        raise SweepError(f"{option}: found {text!r}, expected a percentage such as 5%")
    return _amount(option, text)


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
