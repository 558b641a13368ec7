"""What settings do, on the page: a metric along fields that are axes, and over draws of a space of settings."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from sweeps.reporting.figures.curves import save
from sweeps.reporting.figures.responses import along_field, chosen, over_fields
from sweeps.reporting.page.file_names import file_stem
from sweeps.reporting.page.html_tables import small_table
from sweeps.reporting.page.section import folded
from sweeps.reporting.page.sections.curves import figure_html
from sweeps.reporting.summary import counts, format_interval, format_p, starred
from sweeps.statistics.cells import are_numbers
from sweeps.statistics.means import configuration_name
from sweeps.statistics.responses.best import best_draws
from sweeps.statistics.responses.importance import importance
from sweeps.statistics.responses.slopes import slopes
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Design


def numeric_fields(rows: pd.DataFrame, roles: Roles) -> list[str]:
    """Return the fields that are axes of numbers with several values, besides the one along which curves run anyway."""
    others = [field for field in roles.fields if field != roles.along]
    return [field for field in others if are_numbers(rows[field]) and rows[field].nunique() > 1]


def is_moved(rows: pd.DataFrame, *, metric: str, field: str, roles: Roles) -> bool:
    """Say whether a metric has different values along a field anywhere, all else being the same."""
    if metric not in rows:
        return False
    same = [axis for axis in roles.axes if axis not in (field, *roles.sampled)]
    return bool((rows.groupby(same, dropna=False)[metric].nunique() > 1).any())


def field_html(
    folder: Path, rows: pd.DataFrame, *, metric: str, label: str, field: str, design: Design, roles: Roles
) -> tuple[str, list[Path]]:
    """Return the part of the page on a metric along a field, with the test of its slope, and the files of its figure.

    Args:
        folder: where figures are written.
        rows: one per model, as they are compared.
        metric: the column drawn.
        label: of it.
        field: one of `numeric_fields`.
        design: of the test.
        roles: of the key columns.
    """
    figure = along_field(rows, metric=metric, label=label, field=field, roles=roles)
    files = save(figure, folder, file_stem(f"{metric}_against_{field}"))
    along = roles.running_along(field)
    found = slopes(rows, metric=metric, design=design, roles=along)
    lines = [
        (
            configuration_name(along.factors, [line[name] for name in along.factors]),
            line["n"],
            _number(line["slope"]),
            format_interval(line["slope_low"], line["slope_high"]),
            format_p(line["p_value"]),
            starred(line["p_holm"], line["mark"]),
            line["note"],
        )
        for line in found.to_dict("records")
    ]
    heads = ["configuration", "n", "slope", "95% interval", "p", "Holm", "note"]
    title = f"Slope of {label} for each unit of {field}: " + (found["test"].iloc[0] if len(found) else "none")
    table = folded(f"Does it rise or fall with {field}?", small_table(heads, lines, caption=title)) if lines else ""
    shown = ", ".join(f"{at:g}" for at in chosen(rows[roles.along].tolist()))
    gist = f"{label} against {field}, a panel for each {roles.along} of {shown}, one curve per configuration."
    caption = f"Means with standard deviations, {counts(rows, metric=metric, roles=roles)}; every dot is a row."
    return figure_html(files[1].read_bytes(), gist, caption=caption, wide=True) + table, files


def draws_html(folder: Path, rows: pd.DataFrame, *, metric: str, label: str, roles: Roles) -> tuple[str, list[Path]]:
    """Return the part of the page on draws: the metric against each field, which of them matter, the best draws.

    Args:
        folder: where figures are written.
        rows: one per model.
        metric: the column drawn.
        label: of it.
        roles: of the key columns, `sampled` among them.
    """
    fields = list(roles.sampled)
    parts: list[str] = []
    written: list[Path] = []
    for at in chosen(rows[roles.along].tolist()):
        here = rows[rows[roles.along] == at]
        if not here[metric].notna().any():
            continue
        figure = over_fields(here, metric=metric, label=label, at=at, roles=roles)
        files = save(figure, folder, file_stem(f"{metric}_of_draws_at_{at:g}"))
        written += files
        gist = f"{label} against each field that was drawn, at {roles.where([at])}, every draw a marker."
        draws = len(here[fields].drop_duplicates())
        caption = f"{draws} draws, means over {roles.replicate}s, at {roles.where([at])}."
        parts.append(figure_html(files[1].read_bytes(), gist, caption=caption, wide=True))
        parts.append(folded(f"What matters, at {roles.where([at])}", _ranks(here, metric, fields, roles)))
        parts.append(folded(f"The best draws, at {roles.where([at])}", _best(here, metric, fields, roles)))
    said = (
        f"Importance is the error that shuffling a field adds to a forest's prediction of draws that it has not seen, "
        f"as a share of the variance of {label}; what lies below its null is none. The mean of the best of many draws "
        "is too high, since luck has chosen it too."
    )
    return "".join([*parts, f'<p class="quiet">{escape(said)}</p>']), written


def _ranks(rows: pd.DataFrame, metric: str, fields: list[str], roles: Roles) -> str:
    found = importance(rows, metric=metric, fields=fields, roles=roles)
    lines = [
        (
            configuration_name(roles.factors, [line[name] for name in roles.factors]),
            line["field"],
            line["n"],
            _number(line["importance"]),
            format_interval(line["importance_low"], line["importance_high"]),
            _number(line["null_high"]),
            _number(line["predicted"]),
            "yes" if line["matters"] else line["note"] or "not above its null",
        )
        for line in found.to_dict("records")
    ]
    heads = ["configuration", "field", "draws", "importance", "95% interval", "null", "predicted", "matters"]
    return small_table(heads, lines, caption="Permutation importance of a forest, the most important first")


def _best(rows: pd.DataFrame, metric: str, fields: list[str], roles: Roles) -> str:
    found = best_draws(rows, metric=metric, fields=fields, roles=roles)
    lines = [
        (
            configuration_name(roles.factors, [line[name] for name in roles.factors]),
            *(_value(line[field]) for field in fields),
            _number(line["mean"]),
            format_interval(line["low"], line["high"]),
            line["n"],
            f"{line['as_good']} of {line['draws']}",
        )
        for line in found.to_dict("records")
    ]
    heads = ["configuration", *fields, "mean", "95% interval", "n", "as good"]
    return small_table(heads, lines, caption=f"The draws with the highest means over {roles.replicate}s")


def _value(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else (value, f"{value:g}")
    return value


def _number(value: float) -> Any:
    return None if math.isnan(value) else (value, f"{value:.3g}")
