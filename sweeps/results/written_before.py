"""Sweeps read from their rows alone: those whose rows say all there is to know, and those whose spec is none any more,
such as one whose study has since renamed an axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from sweeps.results.roles import of_metadata
from sweeps.results.rows.present import cells_of, in_grid, outside
from sweeps.statistics.roles import Roles
from sweeps.storage import Store
from sweeps.storage.names import AXES
from sweeps.storage.rows import read_all
from sweeps.study import NONE, Doubts

VERSIONS = {1: "0.1.0"}
"""Which version of the package wrote rows of a schema that do not say so themselves."""


class Before(NamedTuple):
    """What rows say of themselves."""

    rows: pd.DataFrame
    baseline: pd.DataFrame
    roles: Roles
    metrics: tuple[str, ...]
    doubts: Doubts
    remark: str


class Told(NamedTuple):
    """Rows that say all of themselves; `outside` is a sentence on those outside the present grid, if there are any."""

    rows: pd.DataFrame
    baseline: pd.DataFrame
    roles: Roles
    metrics: tuple[str, ...]
    doubts: Doubts
    outside: str


def read_told(store: Store, name: str, *, all_rows: bool) -> Told | None:
    """Return the rows of a sweep by what they say of themselves; None where there are none, or they do not say it all.

    Args:
        store: of the sweep.
        name: of the sweep.
        all_rows: also those outside the present grid.

    Raises:
        StorageError: a row is damaged, or two are of one cell.
    """
    found = store.read_rows(name)
    known = of_metadata(found.schema.metadata) if found is not None else None
    read = read_all(store, name) if known is not None else None
    if known is None or read is None:
        return None
    frame, axes = read
    cells = cells_of(store.read_spec(name) or "", frame, axes)
    planned = np.ones(len(frame), bool) if cells is None else in_grid(frame, cells, axes)
    said = outside(name, int((~planned).sum()), used=all_rows)
    frame = frame[planned | all_rows]
    # Metrics that are younger than some rows may be younger than all.
    frame = frame.assign(**{metric: np.nan for metric in known.metrics if metric not in frame})
    is_baseline = (frame[list(known.roles.axes)] == NONE).any(axis=1)
    return Told(frame[~is_baseline], frame[is_baseline], known.roles, known.metrics, known.doubts, said)


def read_before(store: Store, name: str) -> Before | None:
    """Return the rows of a sweep by what they say of themselves; None where there are none.

    Raises:
        StorageError: a row is damaged.
    """
    found = store.read_rows(name)
    metadata: Mapping[bytes, bytes] = (found.schema.metadata if found is not None else None) or {}
    if found is None or AXES not in metadata:
        return None
    known, frame = of_metadata(metadata), found.to_pandas()
    axes = metadata[AXES].decode().split(",")
    remark = written_by(store, name, axes, frame)
    if known is not None:
        roles, metrics, doubts = known.roles, known.metrics, known.doubts
    else:
        # Of the studies of that time this is true of all.
        roles, metrics, doubts = Roles(tuple(axes), replicate=axes[-2], along=axes[-1]), (), {}
        remark += f"; taken is {axes[-1]} as the axis along which curves run, and {axes[-2]} as the one that repeats"
    frame = frame.sort_values(axes, ignore_index=True)
    is_baseline = frame[axes].eq(NONE).any(axis=1)
    return Before(frame[~is_baseline], frame[is_baseline], roles, metrics, doubts, remark)


def written_by(store: Store, name: str, axes: Sequence[str], rows: pd.DataFrame) -> str:
    """Return a sentence on the version that wrote rows."""
    schema = int(rows["schema_version"].dropna().iloc[0]) if "schema_version" in rows else 1
    said = rows["sweeps_version"].dropna().tolist() if "sweeps_version" in rows else []
    version = said[0] if said else VERSIONS.get(schema, "of before")
    return (
        f"{store.describe(name)}: written by version {version} (schema {schema}), whose axes were {', '.join(axes)}; "
        "this version reads them but does not add to them"
    )
