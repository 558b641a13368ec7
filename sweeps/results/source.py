"""What a command is asked to analyse: the rows of a sweep, or of a file that has the same key columns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from sweeps.errors import SweepError
from sweeps.results.sweep import open_sweep
from sweeps.statistics.roles import DEFAULT_ROLES, Roles
from sweeps.statistics.samples import Design
from sweeps.storage import Store
from sweeps.storage.rows import split_location


@dataclass(frozen=True, kw_only=True)
class Source:
    """Rows without those of a sweep's baseline, and how they are to be compared."""

    rows: pd.DataFrame
    roles: Roles
    metric: str
    design: Design


def open_source(location: str, *, metric: str | None, design: Design | None) -> Source:
    """Read rows; by default a sweep's main metric is compared in blocks, a file's only one in independent groups.

    Raises:
        SweepError: there are no rows, or several columns that the metric may be.
    """
    storage, name = split_location(location)
    if not Path(location).is_file() and Store(storage).read_spec(name) is not None:
        sweep = open_sweep(location)
        main = next(iter(sweep.spec.study.metrics))
        return Source(rows=sweep.rows, roles=sweep.roles, metric=metric or main, design=design or "paired")
    rows = _read(location)
    return Source(
        rows=rows,
        roles=DEFAULT_ROLES,
        metric=metric or _only_metric(rows, location),
        design=design or "independent",
    )


def _read(location: str) -> pd.DataFrame:
    try:
        rows = _read_csv(location) if location.endswith(".csv") else pd.read_parquet(location)
    except FileNotFoundError:
        raise SweepError(f"{location}: found nothing there, expected a sweep, or Parquet or CSV rows") from None
    except (ValueError, pa.ArrowException, OSError) as error:
        raise SweepError(f"{location}: cannot be read as rows ({error}), expected Parquet or CSV") from error
    if rows.empty:
        raise SweepError(f"{location}: found no rows, expected a sweep, or Parquet or CSV rows")
    return rows


def _read_csv(location: str) -> pd.DataFrame:
    """Read a table whose levels may be called `None` or `NA`, which pandas would take for missing ones."""
    rows = pd.read_csv(location, low_memory=False)
    keys = [axis for axis in DEFAULT_ROLES.axes if axis in rows]
    levels = pd.read_csv(location, usecols=keys, keep_default_na=False, na_values=[""], low_memory=False)
    return rows.assign(**{key: levels[key] for key in keys})


def _only_metric(rows: pd.DataFrame, location: str) -> str:
    numeric = [str(name) for name in rows.select_dtypes("number").columns if name not in DEFAULT_ROLES.axes]
    if len(numeric) != 1:
        columns = ", ".join(numeric) or "no numeric column besides the keys"
        raise SweepError(f"{location}: found {columns}, expected --metric to name one of them")
    return numeric[0]
