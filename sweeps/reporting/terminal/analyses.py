"""Hypothesis tests as they are asked for, by a command or from Python: on which rows, and how their tables look."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from sweeps.errors import SweepError
from sweeps.reporting.summary import contrast_views
from sweeps.reporting.terminal.analysis_views import equal_views, equivalence_views, slope_view, two_way_view
from sweeps.reporting.terminal.response_views import best_view, importance_view
from sweeps.results.roles import NOTHING, Given
from sweeps.results.source import Source, open_source
from sweeps.statistics.analysis import contrasts
from sweeps.statistics.equal_size import at_equal
from sweeps.statistics.equivalence import equivalence
from sweeps.statistics.marks import FLOOR, Floor
from sweeps.statistics.responses.best import best_draws
from sweeps.statistics.responses.importance import importance
from sweeps.statistics.responses.slopes import slopes
from sweeps.statistics.samples import Design
from sweeps.statistics.two_way import two_way


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
    where: str | None = None,
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
        metric, design, classical, given, all_rows, where: see `open_source`.
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
        where=where,
    )
    roles = source.roles
    asked: dict[str, Any] = {"metric": source.metric, "design": source.design, "roles": roles}
    asked["classical"] = source.classical
    lowest = FLOOR if floor is None else Floor(amount("--floor", floor), in_percent=floor.endswith("%"))
    with said_of(location):
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


@contextmanager
def said_of(location: str) -> Iterator[None]:
    """Turn a ValueError of a test, which is a sentence for the user, into a SweepError that says of what rows."""
    try:
        yield
    except ValueError as error:
        raise SweepError(f"{location}: {error}") from error


def amount(option: str, text: str) -> float:
    """Return the number in `0.02` or `5%`, or complain of the option."""
    try:
        return float(text.removesuffix("%"))
    except ValueError:
        raise SweepError(
            f"{option}: found {text!r}, expected a number such as 0.02, or a percentage such as 5%"
        ) from None


def _percent(option: str, text: str) -> float:
    if not text.endswith("%"):
        raise SweepError(f"{option}: found {text!r}, expected a percentage such as 5%")
    return amount(option, text)
