"""Rows: their schema, and reading them back as a table."""

from __future__ import annotations

import json
import math
import os
import uuid
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sweeps.errors import StorageError, StudyError
from sweeps.storage import Store, compaction
from sweeps.storage.names import AXES, ROLES
from sweeps.study import Study

SCHEMA_VERSION = 1

_ACCEPTED: dict[type, tuple[type, ...]] = {
    str: (str,),
    int: (int, np.integer),
    float: (int, float, np.integer, np.floating),
    bool: (bool, np.bool_),
}

_ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}

PROVENANCE = {
    "sweep": str,
    "row_key": str,
    "spec_hash": str,
    "checkpoint_key": str,
    "checkpoint_sha256": str,
    "files_key": str,
    "host": str,
    "attempt": int,
    "started_at": str,
    "finished_at": str,
    "git_commit": str,
    "ray_version": str,
    "schema_version": int,
    "sweeps_version": str,
    "code": str,
}
"""Columns that the engine adds; in later versions there may be more, which older rows lack.

`checkpoint_sha256` is the hash of what stood under `checkpoint_key` for this row. With `files_key` the names of the
row's own tables and files begin; it is null where there are none, and in rows of versions that named them by `row_key`.
"""

PROVENANCE_MEANINGS = {
    "sweep": "name of the sweep",
    "row_key": "hash of all that determines the row; names its file",
    "spec_hash": "hash of the spec it was computed for",
    "checkpoint_key": "hash of what the row was computed from, below `checkpoints` in the storage",
    "checkpoint_sha256": "hash of what stood there for this row",
    "files_key": "how the names of the row's tables and files begin; null where there are none",
    "host": "name of the machine",
    "attempt": "how often the row was tried, from 1",
    "started_at": "when its computation began, in ISO 8601",
    "finished_at": "when it ended, in ISO 8601",
    "git_commit": "of the folder the sweep was run in; null where that is no repository",
    "ray_version": "of the engine's Ray",
    "schema_version": "of the columns",
    "sweeps_version": "of this package",
    "code": "fingerprints of the modules that made the row, in JSON",
}
"""What they are."""


def files_key(row_key: str) -> str:
    """Return the beginning of names for tables and files of one attempt at a row: no two attempts share them."""
    return f"{row_key}-{uuid.uuid4().hex[:8]}"


def stage_columns(study: type[Study] | Study) -> dict[str, type]:
    """Return the columns of what stages took: seconds, whichever trial paid them; null where a row did without."""
    return {f"{stage}_s": float for stage in study.stages[:-1]}


def schema(study: type[Study] | Study) -> pa.Schema:
    """Return the schema of a study's rows: keys, what the study measures, costs, provenance."""
    axes = {axis.name: axis.kind for axis in study.axes}
    fields = axes | dict(study.columns) | stage_columns(study) | PROVENANCE
    required = {axis.name for axis in study.axes if not axis.optional}
    columns = [pa.field(name, _ARROW[kind], nullable=name not in required) for name, kind in fields.items()]
    return pa.schema(columns, metadata={AXES: ",".join(axes), ROLES: json.dumps(_roles(study))})


def _roles(study: type[Study] | Study) -> dict[str, Any]:
    return {
        "replicate": study.replicate_axis,
        "along": study.row_axis,
        "pruned": study.pruned,
        "panels": study.panel_axis,
        "sampled": [axis.name for axis in study.axes if axis.sampled],
        "metrics": [*study.metrics],
        "doubts": dict(study.doubts),
    }


def table(values: Mapping[str, Any], study: Study) -> pa.Table:
    """Return one row as a table.

    Raises:
        ValueError: a column of the schema is missing from `values`, a value is no column, of another type, NaN or
            infinite.
    """
    expected = schema(study)
    if set(values) != set(expected.names):
        missing, unknown = set(expected.names) - set(values), set(values) - set(expected.names)
        raise ValueError(f"a row lacks {sorted(missing)} and has unknown {sorted(unknown)}")
    for field in expected:
        value = values[field.name]
        # Statistics would leave it out, or spread it, without a word.
        if isinstance(value, Real) and not math.isfinite(value):
            raise ValueError(f"column {field.name}: found {value}, expected a number")
        # Arrow would cut the decimals off.
        if field.type == pa.int64() and value is not None and value != int(value):
            raise ValueError(f"column {field.name}: found {value!r}, expected a whole number")
    return pa.Table.from_pylist([dict(values)], schema=expected)


def check_returned(values: Any, study: Study) -> None:
    """See that what the last stage returned is what the study declares.

    Raises:
        StudyError: it is not; the message names the stage and the column.
        ValueError: a number is NaN or infinite, which is the fault of a row alone: its training may have diverged.
    """
    where = f"stage {study.stages[-1]!r}"
    if not isinstance(values, Mapping):
        raise StudyError(f"{where}: found a {type(values).__name__}, expected a value for each column")
    beside = study.tables.keys() | study.files.keys()
    for name in values:
        if name not in study.columns and name not in beside:
            raise StudyError(f"{where} returned a column {name!r}, which is not declared: expected it in Study.columns")
    for name, kind in study.columns.items():
        if name not in values:
            raise StudyError(f"{where} returned no column {name!r}, expected what Study.columns declares")
        value = values[name]
        if value is None:
            continue
        accepted: tuple[type, ...] = _ACCEPTED[kind]
        whole = kind is int and isinstance(value, float) and value.is_integer()
        if not (whole or isinstance(value, accepted)) or (isinstance(value, (bool, np.bool_)) and kind is not bool):
            raise StudyError(
                f"{where} returned {value!r} in column {name!r}, a {type(value).__name__}, expected {kind.__name__}"
            )
        if isinstance(value, Real) and not math.isfinite(value):
            raise ValueError(f"{where}: column {name}: found {value}, expected a number")


def read_all(store: Store, name: str) -> tuple[pd.DataFrame, list[str]] | None:
    """Return all rows of a sweep, sorted by their keys, and which columns these are; None where it has no rows.

    Raises:
        StorageError: a row is damaged, or two are of one cell.
    """
    found = store.read_rows(name)
    if found is None:
        return None
    frame: pd.DataFrame = found.to_pandas()
    said = (found.schema.metadata or {}).get(AXES)
    if said is None:
        raise StorageError(
            f"{store.describe(name)}/results: found rows that do not say what their axes are, expected a sweep's"
        )
    keys = said.decode().split(",")
    twice = frame.duplicated(keys)
    if twice.any():
        cell = ", ".join(f"{key} {frame.loc[twice, key].iloc[0]}" for key in keys)
        raise StorageError(f"{store.describe(name)}: found two rows for {cell}, expected one row per cell")
    return frame.sort_values(keys, ignore_index=True), keys


def row_values(store: Store, name: str, columns: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the values of some columns of all rows, by row key; a column that a row's file has not is left out.

    Raises:
        StorageError: a row is damaged; the message names its file.
    """
    kept = f"{name}/cache/rows"
    parts = compaction.read_parts(store.files, f"{name}/results", kept=kept, columns=("row_key", *columns))
    lines = (line for part in parts for line in part.rows.to_pylist())
    return {str(line.pop("row_key")): line for line in lines}


def completed(rows: pd.DataFrame, expected: pa.Schema) -> pd.DataFrame:
    """Return rows with all columns of `expected`, first and in its order; those younger than the rows are null."""
    younger = {field.name: field.type for field in expected if field.name not in rows}
    columns = {name: pa.nulls(len(rows), kind).to_pandas() for name, kind in younger.items()}
    return rows.assign(**columns)[[*expected.names, *(name for name in rows if name not in expected.names)]]


def split_location(sweep: str) -> tuple[str, str]:
    """Split `<storage>/<name>` into storage and name; the folder that one stands in, `.`, has a name too.

    Raises:
        StorageError: it has no name, such as an empty text.
    """
    if "://" not in sweep:
        path = PurePosixPath(sweep)
        if path.name in ("", "..") or _leads_to_storage(path):
            path = PurePosixPath(os.path.realpath(path))
        if not sweep or not path.name:
            raise StorageError(f"{sweep!r}: found no name of a sweep, expected its folder, <storage>/<name>")
        return str(path.parent), path.name
    address, mark, query = sweep.partition("?")
    storage, _, name = address.rstrip("/").rpartition("/")
    return f"{storage}{mark}{query}", name


def _leads_to_storage(path: PurePosixPath) -> bool:
    """Say whether a link to a sweep's folder is to be followed: checkpoints and leases lie beside the folder itself,
    unless that was moved out of a storage which kept them, and the link left in its place.
    """
    if not os.path.islink(path):
        return False
    here, there = os.path.realpath(path.parent), os.path.dirname(os.path.realpath(path))
    return here == there or not os.path.isdir(os.path.join(here, "checkpoints"))
