"""Where a sweep stands, and tests on its rows: `sweeps.status` and `sweeps.analyze`."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pandas as pd
from rich.console import Console

from sweeps.api.shown import Shown
from sweeps.reporting.terminal import status as view
from sweeps.reporting.terminal.analyses import Found, analysed
from sweeps.results.roles import Given as RowsGiven
from sweeps.results.standing import Standing, standing
from sweeps.statistics.samples import Design


@dataclass(frozen=True, kw_only=True, repr=False)
class Status(Shown):
    """Where a sweep stood when it was asked."""

    location: str
    standing: Standing

    @property
    def finished(self) -> int:
        """Rows of the grid that are there."""
        return len(self.standing.finished)

    @property
    def failed(self) -> int:
        """Rows of the grid that failed."""
        return len(self.standing.failed)

    @property
    def left(self) -> int:
        """Rows of the grid that are to come."""
        return self.standing.left

    @property
    def is_complete(self) -> bool:
        """Whether all rows of the grid are there that rules do not leave out."""
        return self.standing.is_complete

    @property
    def frame(self) -> pd.DataFrame:
        """A line per row of the grid: its axes, its `state`, and why, in `cause`, it failed or is skipped."""
        return self.standing.frame

    def show(self, console: Console) -> None:
        """Print what `sweeps status` prints."""
        view.show_standing(self.standing, console)


@dataclass(frozen=True, kw_only=True, repr=False)
class Analysis(Shown):
    """Hypothesis tests on rows.

    Attributes:
        location: of the sweep or the file.
        frame: a line per test; `sweeps analyze --help` says what its columns are.
        remarks: on how columns are known, and on values that were left out.
    """

    location: str
    frame: pd.DataFrame
    remarks: tuple[str, ...]
    found: Found

    def show(self, console: Console) -> None:
        """Print what `sweeps analyze` prints."""
        self.found.show(console)
        for remark in self.remarks:
            console.print(remark, markup=False, soft_wrap=True)


def status(sweep: str | os.PathLike[str]) -> Status:
    """Look where a sweep stands, running or not.

    Args:
        sweep: `<storage>/<name>`, a path or a URI.

    Raises:
        SweepError: there is none, or nothing is known of its grid.
    """
    location = os.fspath(sweep)
    return Status(location=location, standing=standing(location))


def analyze(
    source: str | os.PathLike[str],
    *,
    metric: str | None = None,
    design: Design | None = None,
    classical: bool | None = None,
    two_way: tuple[str, str] | None = None,
    equivalence: str | None = None,
    against: str | None = None,
    draws: bool = False,
    slope: bool = False,
    along: str | None = None,
    floor: str | None = None,
    all_rows: bool = False,
    where: str | None = None,
) -> Analysis:
    """Test every pair of levels of one factor, the others fixed, at each value of the row axis.

    Args:
        source: a sweep's folder, a folder of Parquet files, or a Parquet or CSV file with the key columns.
        metric: column to compare; by default the study's main one.
        design: `paired` where trials of one seed are blocks, or `independent`; by default as the study says.
        classical: of independent groups, one variance for all; by default one each.
        two_way: instead, main effects and interaction of these two factors.
        equivalence: instead, is the difference smaller than this much of the second level's mean, such as `5%`?
        against: instead, compare at equal values of this column.
        draws: instead, of a sweep with a sample, rank the fields that were drawn.
        slope: instead, does the metric change along the axis?
        along: the axis of numbers at whose values levels are compared; by default the row axis.
        floor: no star where both means are at most this, such as `0.02` or `5%` of the largest mean.
        all_rows: also rows outside the sweep's present grid.
        where: only rows for which this holds, in the language of `pandas.DataFrame.query`.

    Raises:
        SweepError: there are no such rows, or they cannot be compared so.
    """
    location = os.fspath(source)
    found = analysed(
        location,
        metric=metric,
        design=design,
        classical=classical,
        factors=two_way,
        margin=equivalence,
        against=against,
        slope=slope,
        draws=draws,
        given=RowsGiven(along=along),
        floor=floor,
        all_rows=all_rows,
        where=where,
    )
    return Analysis(location=location, frame=found.tests, remarks=found.source.remarks, found=found)
