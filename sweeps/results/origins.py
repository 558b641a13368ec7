"""Which results the rows of a sweep went through, and what those took: of the plan, and of what is published."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd

from sweeps.planning.trials import Row, trials
from sweeps.spec import Spec
from sweeps.storage import Store


class Origins(NamedTuple):
    """Which results rows went through on the way, as far as that is known.

    Attributes:
        stages: of the study before the last, in order; a row's seconds of one are in its column `<stage>_s`.
        shared: by `row_key`, the keys of the results that rows share, by stage.
        own: by `row_key`, the stages that were computed with the row.
        everywhere: stages whose result all trials have in common: nobody would compute it again for each.
    """

    stages: Sequence[str] = ()
    shared: Mapping[str, Mapping[str, str]] = MappingProxyType({})
    own: Mapping[str, Collection[str]] = MappingProxyType({})
    everywhere: Collection[str] = ()


def origins_of(spec: Spec) -> Origins:
    """Return what is known of a sweep's rows; the stages alone where its data are not here, which keys depend on."""
    before = spec.study.stages[:-1]
    try:
        planned = [row for trial in trials(spec) for row in trial.rows]
        everywhere = {name for name in before if _depends_on_nothing(spec, planned, name)}
    except ValueError:
        return Origins(before)
    return Origins(
        stages=before,
        shared={str(row.key): {stage.name: stage.key for stage in row.stages if stage.shared} for row in planned},
        own={str(row.key): {stage.name for stage in row.own} for row in planned},
        everywhere=everywhere,
    )


def with_seconds(rows: pd.DataFrame, origins: Origins, store: Store) -> pd.DataFrame:
    """Return rows with what shared results took, also where only those themselves tell: rows of before did not."""
    columns = {}
    for stage in origins.stages:
        column = f"{stage}_s"
        there = rows[column] if column in rows else pd.Series(np.nan, rows.index)
        keys = [origins.shared.get(str(row_key), {}).get(stage) for row_key in rows["row_key"]]
        wanted = sorted({key for key, seconds in zip(keys, there, strict=True) if key and pd.isna(seconds)})
        metas = dict(zip(wanted, store.checkpoint_metas(wanted), strict=True))
        known = {key: meta["seconds"] for key, meta in metas.items() if meta is not None and "seconds" in meta}
        found = [known.get(key, np.nan) if key else np.nan for key in keys]
        columns[column] = there.astype(float).fillna(pd.Series(found, rows.index, dtype=float))
    return rows.assign(**columns)


def _depends_on_nothing(spec: Spec, planned: Sequence[Row], name: str) -> bool:
    """Say whether a stage names no axis, of which nobody would make one for each trial."""
    declared = (spec.study.stage(name, row.at) for row in planned)
    first = next((stage for stage in declared if stage is not None), None)
    return first is not None and not first.axes
