"""Importance and best draws as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from sweeps.reporting.summary import add_columns, format_interval, format_number, plain_view
from sweeps.statistics.means import configuration_name
from sweeps.statistics.roles import Roles

_IMPORTANCE_MEANS = (
    "importance: what a forest's prediction of unseen draws loses when a field is shuffled, as a share of the metric's "
    "variance; null: what it is below, of all fields with 95%, where nothing matters; predicted: the share that it "
    "predicts at all"
)
_BEST_MEANS = (
    "as good: draws that are not shown to be worse than the best one, of all; the mean of the best of many is too "
    "high, since luck has chosen it too"
)


def importance_view(found: pd.DataFrame, *, roles: Roles) -> Table:
    """What `importance` returns."""
    notes = sorted({note for note in found["note"] if note})
    metric = found["metric"].iloc[0] if len(found) else ""
    view = plain_view(f"{metric}: what matters among what was drawn", "\n".join([_IMPORTANCE_MEANS, *notes]))
    add_columns(
        view, ["", f"{roles.along} →", "field"], ["draws", "importance", "95% interval", "null", "predicted", ""]
    )
    for line in found.to_dict("records"):
        view.add_row(
            Text(configuration_name(roles.factors, [line[name] for name in roles.factors])),
            format_number(line[roles.along], ".4g"),
            Text(line["field"]),
            str(line["n"]),
            format_number(line["importance"]),
            format_interval(line["importance_low"], line["importance_high"]),
            format_number(line["null_high"]),
            format_number(line["predicted"]),
            "matters" if line["matters"] else "",
        )
    return view


def best_view(found: pd.DataFrame, *, fields: Sequence[str], roles: Roles) -> Table:
    """What `best_draws` returns."""
    metric = found["metric"].iloc[0] if len(found) else ""
    view = plain_view(f"{metric}: the best draws", _BEST_MEANS)
    add_columns(view, ["", f"{roles.along} →", *fields], ["mean", "95% interval", "n", "as good"])
    for line in found.to_dict("records"):
        view.add_row(
            Text(configuration_name(roles.factors, [line[name] for name in roles.factors])),
            format_number(line[roles.along], ".4g"),
            *(Text(_word(line[field])) for field in fields),
            format_number(line["mean"]),
            format_interval(line["low"], line["high"]),
            str(line["n"]),
            f"{line['as_good']} of {line['draws']}",
        )
    return view


def _word(value: Any) -> str:
    return format_number(value, ".6g") if isinstance(value, float) else str(value)
