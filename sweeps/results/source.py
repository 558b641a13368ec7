"""What a command is asked to analyse: the rows of a sweep, or of a file that has the same key columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sweeps.errors import SweepError
from sweeps.results.doubts import caveats, trusted, trusted_over_draws
from sweeps.results.reproduced import reproduced
from sweeps.results.roles import NOTHING, Given, Known, known_of, run_along
from sweeps.results.rows.compared import levels
from sweeps.results.rows.selection import selected
from sweeps.results.sweep import open_rows
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Design
from sweeps.storage import Store
from sweeps.storage.names import AXES
from sweeps.storage.rows import split_location


@dataclass(frozen=True, kw_only=True)
class Source:
    """Rows without those of a sweep's baseline, and how they are to be compared.

    `remarks` are on how that is known, and on values in doubt, which are left out. `classical` asks for tests with one
    variance for all groups, which is of the independent design only. `models` are the rows one by one, where `rows` are
    means over draws.
    """

    rows: pd.DataFrame
    roles: Roles
    metric: str
    design: Design
    classical: bool = False
    remarks: tuple[str, ...] = ()
    models: pd.DataFrame | None = None


class _Read(NamedTuple):
    """Rows, the parts of their columns, and what is to be said of both."""

    rows: pd.DataFrame
    known: Known
    remarks: list[str]
    paired: bool = False
    models: pd.DataFrame | None = None


def open_source(
    location: str,
    *,
    metric: str | None,
    design: Design | None,
    classical: bool | None = None,
    against: str | None = None,
    given: Given = NOTHING,
    all_rows: bool = False,
    where: str | None = None,
) -> Source:
    """Read rows; by default a sweep's main metric is compared in blocks, where its study's replicates are such, and a
    file's only one in independent groups.

    A file whose means are those of bundled published values is tested as published tables are, by the classical tests,
    where nothing else is asked for.

    Args:
        location: of a sweep, or of a file.
        metric: the column to compare, if the user names one.
        design: as the user says, if at all.
        classical: the same.
        against: another column that is looked at; values of it that are in doubt are counted too.
        given: what the user says of a file's columns.
        all_rows: of a sweep, also rows outside its present grid; of a file all are used anyway.
        where: a condition on the rows that are looked at; see `rows.selection`.

    Raises:
        SweepError: there are no rows, it is not known which columns are axes or which is the metric, or the classical
            tests are asked for in blocks.
    """
    is_sweep = _is_sweep(location)
    read = _of_sweep(location, given, all_rows=all_rows) if is_sweep else _of_file(location, given)
    if where is not None:
        along = read.known.roles.along
        models = None if read.models is None else selected(read.models, where, along=along)
        read = read._replace(rows=selected(read.rows, where, along=along), models=models)
    usual: Design = "paired" if read.paired else "independent"
    found = _source(read, metric=metric or _only_metric(read, location), design=design or usual, against=against)
    if found.design == "paired":
        if classical:
            raise SweepError(
                f"{location}: found --classical, which is of independent groups, expected --design independent"
            )
        return found
    if classical is not None or is_sweep or Path(location).is_dir() or not _is_measured(found):
        return replace(found, classical=bool(classical))
    name = reproduced(found.rows, metric=found.metric, roles=found.roles)
    if not name:
        return found
    said = f"{location}: its means are those published as {name}, so that tests are the classical ones (else --welch)"
    return replace(found, classical=True, remarks=(*found.remarks, said))


def _is_measured(source: Source) -> bool:
    return source.metric in source.rows and source.metric not in source.roles.axes


def _is_sweep(location: str) -> bool:
    storage, name = split_location(location)
    return not Path(location).is_file() and Store(storage).has_sweep(name)


def _of_sweep(location: str, given: Given, *, all_rows: bool) -> _Read:
    """Return the rows of a sweep; what a user says of its columns goes before what is known of them."""
    sweep = open_rows(location, all_rows=all_rows)
    known = Known(sweep.roles, sweep.metrics, doubts=sweep.doubts)
    rows = trusted_over_draws(sweep.rows, known.doubts, known.roles) if sweep.compared is None else sweep.compared
    if given == Given(along=given.along):  # of a sweep it is known which columns are axes
        known = known._replace(roles=run_along(location, rows, known.roles, given.along))
    else:
        known = known_of(location, [*map(str, sweep.rows.columns)], None, given, before=known)
    remarks = [*filter(None, [sweep.remark, sweep.outside])]
    return _Read(rows, known, remarks, paired=sweep.paired, models=sweep.rows)


def _source(read: _Read, *, metric: str, design: Design, against: str | None) -> Source:
    rows, known = read.rows, read.known
    models = rows if read.models is None else read.models  # each once, whatever it stands for
    looked_at = [column for column in dict.fromkeys([metric, against]) if column]
    doubted = [each for column in looked_at for each in caveats(models, column, known.doubts, roles=known.roles)]
    remarks = (*read.remarks, *doubted)
    return Source(
        rows=trusted(rows, known.doubts),
        roles=known.roles,
        metric=metric,
        design=design,
        remarks=remarks,
        models=None if read.models is None else trusted(read.models, known.doubts),
    )


def _of_file(location: str, given: Given) -> _Read:
    try:
        rows, known = _read_csv(location, given) if location.endswith(".csv") else _read_parquet(location, given)
    except FileNotFoundError:
        raise SweepError(f"{location}: found nothing there, expected a sweep, or Parquet or CSV rows") from None
    except (ValueError, pa.ArrowException, OSError) as error:
        raise SweepError(f"{location}: cannot be read as rows ({error}), expected Parquet or CSV") from error
    remarks = [known.remark] if known.remark else []
    return _Read(trusted_over_draws(rows, known.doubts, known.roles), known, remarks, models=rows)


def _check_there(rows: pd.DataFrame, location: str) -> None:
    if rows.empty:
        raise SweepError(f"{location}: found no rows, expected a sweep, or Parquet or CSV rows")


def _read_parquet(location: str, given: Given) -> tuple[pd.DataFrame, Known]:
    rows = pd.read_parquet(location)
    _check_there(rows, location)
    metadata = _metadata(location)
    known = known_of(location, [*map(str, rows.columns)], metadata, given)
    # Rows that say themselves what their axes are have null where a field is null, or does not matter.
    told = known.roles.factors if metadata is not None and AXES in metadata else []
    return rows.assign(**{axis: levels(rows[axis]) for axis in told if rows[axis].isna().any()}), known


def _metadata(location: str) -> Mapping[bytes, bytes] | None:
    """Return what a Parquet file, or the first one in a folder or below it, says of itself."""
    path = Path(location)
    file = next(iter(sorted(path.rglob("*.parquet"))), None) if path.is_dir() else path
    if file is None or not file.is_file():
        return None
    found: Mapping[bytes, bytes] | None = pq.read_schema(file).metadata
    return found


def _read_csv(location: str, given: Given) -> tuple[pd.DataFrame, Known]:
    """Read a table whose levels may be called `None` or `NA`, which pandas would take for missing ones."""
    rows = pd.read_csv(location, low_memory=False)
    _check_there(rows, location)
    known = known_of(location, [*map(str, rows.columns)], None, given)
    keys = [axis for axis in known.roles.axes if axis in rows]
    levels = pd.read_csv(location, usecols=keys, keep_default_na=False, na_values=[""], low_memory=False)
    return rows.assign(**{key: levels[key] for key in keys}), known


def _only_metric(read: _Read, location: str) -> str:
    rows, known = read.rows, read.known
    main = [name for name in known.metrics if name in rows]
    if main and not known.remark:
        return main[0]
    numeric = [str(name) for name in rows.select_dtypes("number").columns if name not in known.roles.axes]
    if len(numeric) != 1:
        columns = ", ".join(numeric) or "no numeric column besides the keys"
        raise SweepError(f"{location}: found {columns}, expected --metric to name one of them")
    return numeric[0]
