"""Rows and tests as the command line prints them: a table for people, csv and json for programs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sweeps.errors import SweepError
from sweeps.reporting.summary import contrast_views
from sweeps.rows import split_location
from sweeps.statistics.analysis import contrasts
from sweeps.statistics.roles import DEFAULT_ROLES
from sweeps.storage import Store
from sweeps.sweep import open_sweep


def show_results(location: str, form: str, console: Console) -> None:
    """Print the rows of a sweep."""
    sweep = open_sweep(location)
    frame = pd.concat([sweep.baseline, sweep.rows])
    if form != "table":
        _write(frame, form)
        return
    columns = [*sweep.roles.axes, *sweep.spec.study.metrics]
    view = Table(*columns, title=f"{len(frame)} rows")
    for values in frame[columns].itertuples(index=False):
        view.add_row(*(f"{value:.4g}" if isinstance(value, float) else escape(str(value)) for value in values))
    console.print(view)


def show_analysis(source: str, metric: str | None, design: str | None, form: str, console: Console) -> None:
    """Print hypothesis tests on a sweep or on a file of rows."""
    storage, name = split_location(source)
    if not Path(source).is_file() and Store(storage).read_spec(name) is not None:
        sweep = open_sweep(source)
        rows, roles = sweep.rows, sweep.roles
        metric, design = metric or next(iter(sweep.spec.study.metrics)), design or "paired"
    else:
        rows, roles = _read(source), DEFAULT_ROLES
        metric, design = metric or _only_metric(rows, source), design or "independent"
    try:
        tests = contrasts(rows, metric=metric, design="paired" if design == "paired" else "independent", roles=roles)
    except ValueError as error:
        raise SweepError(f"{source}: {error}") from error
    if form != "table":
        _write(tests, form)
        return
    for view in contrast_views(tests, roles=roles):
        console.print(view)
    if not len(tests):
        console.print("nothing to compare: no factor has two levels with the others fixed")


def _read(source: str) -> pd.DataFrame:
    try:
        rows = pd.read_csv(source) if source.endswith(".csv") else pd.read_parquet(source)
    except FileNotFoundError:
        raise SweepError(f"{source}: found nothing there, expected a sweep, or Parquet or CSV rows") from None
    except (ValueError, pa.ArrowException, OSError) as error:
        raise SweepError(f"{source}: cannot be read as rows ({error}), expected Parquet or CSV") from error
    if rows.empty:
        raise SweepError(f"{source}: found no rows, expected a sweep, or Parquet or CSV rows")
    return rows


def _only_metric(rows: pd.DataFrame, source: str) -> str:
    numeric = [str(name) for name in rows.select_dtypes("number").columns if name not in DEFAULT_ROLES.axes]
    if len(numeric) != 1:
        columns = ", ".join(numeric) or "no numeric column besides the keys"
        raise SweepError(f"{source}: found {columns}, expected --metric to name one of them")
    return numeric[0]


def _write(frame: pd.DataFrame, form: str) -> None:
    if form == "csv":
        frame.to_csv(sys.stdout, index=False)
    else:
        # Not `to_json`, which keeps 15 digits of a number; JSON has no NaN.
        records = [
            {name: None if value != value else value for name, value in record.items()}
            for record in frame.to_dict("records")
        ]
        print(json.dumps(records, indent=1))
