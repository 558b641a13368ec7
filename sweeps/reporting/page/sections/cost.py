"""What a sweep cost and what sharing saved: hours of its devices by stage, a result that many rows share counted once.

Durations are those that the rows hold, in columns that end in `_s`; an estimate of what is to come is in `planning`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from sweeps.reporting.page.html_tables import small_table
from sweeps.reporting.page.section import folded
from sweeps.reporting.summary import decimals
from sweeps.results.origins import Origins
from sweeps.statistics.roles import Roles

_COLUMNS = ["device", "stage", "times", "seconds", "alone"]
_NO_GPU = {"": "hours", "cpu": "process-hours"}
"""Devices that are none, or not known, and what their hours are called: a process may use several cores."""


def cost(rows: pd.DataFrame, *, roles: Roles, origins: Origins, rows_at_a_time: int = 1) -> pd.DataFrame:
    """Return what each stage took of each sort of device.

    A shared result counts once, for the device of the row that finished first. Where its key is not known, it is told
    by its rows' `checkpoint_key` together with its seconds, which a clock of nanoseconds does not give twice.

    Args:
        rows: all that are finished, the baselines' too.
        roles: of the key columns; rows that differ in `along` alone are of one trial.
        origins: of the rows.
        rows_at_a_time: how many shared a GPU at a time, so that what was computed with a row took less of it.

    Returns:
        Columns `device, stage, times, seconds, alone`: how often it was computed, what that took, and what it had taken
        if every trial had computed its own; a device that took a shared result from another one computed it 0 times.
    """
    if "finished_at" in rows:
        rows = rows.sort_values("finished_at", kind="stable")
    rows = rows.assign(device=rows["device"].fillna("") if "device" in rows else "")
    trial = [axis for axis in roles.axes if axis != roles.along]
    before = [f"{stage}_s" for stage in origins.stages]
    columns = [column for column in rows.columns if str(column).endswith("_s") and column not in roles.axes]
    parts = []
    for column in sorted(columns, key=lambda column: before.index(column) if column in before else len(before)):
        each = rows.dropna(subset=column)
        stage = str(column).removesuffix("_s")
        results: list[tuple[str | None, Any]]
        if column in before:
            results = [_result(row, stage, origins) for row in each.to_dict("records")]
        else:
            results = [(None, place) for place in range(len(each))]
        each = each.assign(result=[str(name) for name in results])
        beside_others = pd.Series([key is None for key, _ in results], each.index) & ~each["device"].isin(_NO_GPU)
        each[column] = each[column].astype(float) / np.where(beside_others, rows_at_a_time, 1)
        again = ["result"] if stage in origins.everywhere else [*trial, "result"]
        parts.append(_by_device(column, each.drop_duplicates("result"), each.drop_duplicates(again)))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_COLUMNS)


def _result(row: Mapping[Hashable, Any], stage: str, origins: Origins) -> tuple[str | None, Any]:
    """Return what tells a stage's result from others: its key, or None and the row that it was computed with."""
    row_key = str(row.get("row_key"))
    if stage in origins.own.get(row_key, ()):
        return None, row_key
    known = origins.shared.get(row_key, {}).get(stage)
    return "shared", known or (row.get("checkpoint_key"), row[f"{stage}_s"])


def cost_html(costs: pd.DataFrame, *, rows: int, rows_at_a_time: int = 1) -> str:
    """Return what `cost` told, a table per sort of device, and in words what that means per row and what was saved."""
    if costs.empty:
        return "<p>No durations are recorded.</p>"
    parts = []
    for device in costs["device"].unique().tolist():
        stages = costs[costs["device"] == device]
        spent, alone = stages["seconds"].sum(), stages["alone"].sum()
        unit, on = _unit(device), f" on {device}" if device else ""
        digits = decimals(max(spent, alone) / 3600)
        parts.append(
            f"<p><strong>{_hours(spent, digits)} {unit}</strong>{escape(on)}; {_saved(spent, alone, unit)}"
            f"{f' That is {spent / rows:.3g} s per row of the sweep.' if rows else ''}</p>"
        )
        lines: list[Sequence[Any]] = [
            (stage, times, _mean(seconds, times), *_in_hours(digits, seconds, apart))
            for stage, times, seconds, apart in stages[_COLUMNS[1:]].itertuples(index=False)
        ]
        lines.append(("together", None, None, *_in_hours(digits, spent, alone)))
        heads = ["stage", "computed", "mean (s)", unit, f"{unit} had nothing been shared"]
        parts.append(folded(f"Durations by stage{on}", small_table(heads, lines, caption=f"Durations by stage{on}")))
    said = [
        "A result that several rows share counts once, and also if another sweep in this storage had computed it; "
        "attempts that failed or were cut short are not counted.",
    ]
    if rows_at_a_time > 1:
        said.append(f"Rows ran {rows_at_a_time} at a time on a GPU, so each counts for its part of that.")
    return f'{"".join(parts)}<p class="quiet">{" ".join(said)}</p>'


def _by_device(column: str, once: pd.DataFrame, alone: pd.DataFrame) -> pd.DataFrame:
    """`alone` has every device of `once`, but not the other way round."""
    by_device = alone.groupby("device", sort=False)[column].agg(alone="sum").reset_index()
    taken = once.groupby("device")[column]
    by_device["times"] = by_device["device"].map(taken.count()).fillna(0).astype(int)
    by_device["seconds"] = by_device["device"].map(taken.sum()).fillna(0.0)
    return by_device.assign(stage=column.removesuffix("_s"))[_COLUMNS]


def _unit(device: str) -> str:
    return _NO_GPU.get(device, "GPU-hours")


def _saved(spent: float, alone: float, unit: str) -> str:
    if not alone > spent:
        return "nothing was shared."
    saved = alone - spent
    return (
        f"sharing saved {_hours(saved, decimals(saved / 3600))} {unit} ({saved / alone:.0%}) against computing "
        "everything in every trial."
    )


def _mean(seconds: float, times: int) -> tuple[float, str] | None:
    return (seconds / times, f"{seconds / times:.3g}") if times else None


def _in_hours(digits: int, *seconds: float) -> list[tuple[float, str]]:
    return [(each / 3600, _hours(each, digits)) for each in seconds]


def _hours(seconds: float, digits: int) -> str:
    return f"{seconds / 3600:,.{digits}f}"
