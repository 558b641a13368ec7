"""Sweeps of one study beside each other, on the page: what was set otherwise, means with tests, and cost.

Whether they can be compared at all, and where the page goes, is described in `reporting.comparing`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from sweeps.reporting.figures.curves import save
from sweeps.reporting.figures.panels import Curves, panels, shared
from sweeps.reporting.page.grouped_table import Line, grouped_table, line
from sweeps.reporting.page.html_tables import small_table, sortable_table
from sweeps.reporting.page.sections.curves import figure_html
from sweeps.reporting.page.sections.provenance import FIELDS
from sweeps.reporting.summary import STAR_MEANS, counts, decimals, format_p, notes, starred
from sweeps.statistics.analysis import contrasts
from sweeps.statistics.means import labelled, mean_sd
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Design

SWEEP = "sweep"
"""The factor that is compared: which sweep a row is of."""


def compare(a: pd.DataFrame, b: pd.DataFrame, *, names: tuple[str, str], metric: str, roles: Roles) -> pd.DataFrame:
    """Return `contrasts` of two sweeps for every configuration that both have, with a column `configuration` first.

    They are paired where at least two replicates are in both, and independent else: replicates of the same name draw
    the same random numbers.

    Args:
        a: rows of the first sweep.
        b: rows of the second.
        names: different ones for the two, which are the levels compared.
        metric: the column to compare.
        roles: of the key columns.
    """
    replicate = roles.replicate
    design: Design = "paired" if len(set(a[replicate]) & set(b[replicate])) >= 2 else "independent"
    alone = Roles((SWEEP, replicate, roles.along), replicate=replicate, along=roles.along)
    both = labelled(pd.concat([a.assign(sweep=names[0]), b.assign(sweep=names[1])], ignore_index=True), roles.factors)
    common = set(labelled(a, roles.factors)["configuration"]) & set(labelled(b, roles.factors)["configuration"])
    tests = []
    for name, rows in both[both["configuration"].isin(common)].groupby("configuration", sort=False):
        found = contrasts(rows, metric=metric, design=design, roles=alone)
        found.insert(0, "configuration", name)
        tests.append(found)
    return pd.concat(tests, ignore_index=True)


def comparison_html(
    folder: Path, rows: Mapping[str, pd.DataFrame], *, stem: str, metric: str, label: str, roles: Roles
) -> tuple[str, list[Path]]:
    """Return a metric of sweeps by name, the first against each other one, and the files of its figure in `folder`.

    A sweep without a value of the metric is left out, and that is said.

    Raises:
        ValueError: a key or metric column is missing or unfit.
    """
    models = {name: labelled(each, roles.factors) for name, each in rows.items()}
    sources = [Curves(name, mean_sd(each, metric=metric, along=roles.along)) for name, each in models.items()]
    without = [name for name, means in sources if means.empty]
    sources = [source for source in sources if source.source not in without]
    parts, files = [f"<h3>{escape(label)}</h3>"], list[Path]()
    parts += [f"<p>{escape(name)} has no values of {escape(label)}.</p>" for name in without]
    if shared(sources):
        configurations = list(dict.fromkeys(name for each in models.values() for name in each["configuration"]))
        figure = panels(sources, configurations=configurations, label=label, roles=roles)
        files = save(figure, folder, f"{stem}_{metric}")
        drawn = ", ".join(source.source for source in sources)
        gist = f"{label} against the {roles.what_varies}, a panel per configuration, a curve each for {drawn}. "
        of_each = (f"{name}: {counts(rows[name], metric=metric, roles=roles)}" for name, _ in sources)
        caption = f"Means with standard deviations; {'; '.join(of_each)}."
        alternative = f"{gist}The tables below hold all means."
        parts.append(figure_html(files[1].read_bytes(), alternative, caption=caption))
    first, *others = rows
    for other in others:
        if {first, other} & set(without):
            continue
        tests = compare(rows[first], rows[other], names=(first, other), metric=metric, roles=roles)
        parts.append(_tests_html(tests, names=(first, other), label=label, roles=roles))
    return "".join(parts), files


def settings_html(differences: Mapping[str, Sequence[Any]], names: Sequence[str]) -> str:
    """Return the fields of specs that differ, with the value in each sweep."""
    if not differences:
        return "<p>All settings are the same.</p>"
    lines = [(field, *map(_setting, values)) for field, values in differences.items()]
    return small_table(["field", *names], lines, caption="Settings that differ")


def origins_html(rows: Mapping[str, pd.DataFrame]) -> str:
    """Return what sweeps were computed with, where that differs; nothing where it does not."""
    lines = []
    for column, words in FIELDS.items():
        found = [_levels(each[column]) if column in each else "" for each in rows.values()]
        if len(set(found)) > 1:
            lines.append((words, *found))
    return small_table(["", *rows], lines, caption="Computed with") if lines else ""


def costs_html(costs: Mapping[str, pd.DataFrame]) -> str:
    """Return the hours that each stage took in each sweep, from what `cost` returned of each."""
    every = pd.concat([each.assign(sweep=name) for name, each in costs.items()])
    hours = every.pivot_table("seconds", ["stage", "device"], SWEEP, aggfunc="sum", sort=False) / 3600
    hours = hours.reindex(columns=list(costs))
    lines = [(stage, device, *map(_hours, values)) for (stage, device), *values in hours.itertuples(name=None)]
    for device, stages in hours.groupby("device", sort=False):
        lines.append(("all", device, *map(_hours, stages.sum())))
    return small_table(["stage", "device", *costs], lines, caption="Hours, what rows share counted once")


def _tests_html(tests: pd.DataFrame, *, names: tuple[str, str], label: str, roles: Roles) -> str:
    a, b = names
    along, ratios = roles.along, sorted(tests[roles.along].unique())
    digits = decimals(tests[["mean_a", "mean_b"]].abs().max().max())
    number = f"{{:.{digits}f}}".format
    groups, noted = [], []
    for configuration, lines in tests.groupby("configuration", sort=False):
        at = lines.set_index(along)
        # Levels of a contrast are sorted; the sweeps are in the order in which they were named.
        one, two = ("a", "b") if at["level_a"].iloc[0] == a else ("b", "a")
        shown = [
            line(a, at[f"mean_{one}"], number, at[f"sd_{one}"]),
            line(b, at[f"mean_{two}"], number, at[f"sd_{two}"]),
            line("difference", at[f"mean_{two}"] - at[f"mean_{one}"], f"{{:+.{digits}f}}".format),
            line("p", at["p_value"], format_p),
            Line("Holm", {each: (starred(p, star), "") for each, p, star in at[["p_holm", "mark"]].itertuples()}),
        ]
        groups.append((str(configuration), shown))
        noted.append((str(configuration), at))
    design = f"paired by {roles.replicate}" if tests["design"].iloc[0] == "paired" else "independent groups"
    said = "".join(f"<li>{escape(note)}</li>" for note in notes(noted))
    table = grouped_table(
        groups, along=along, ratios=ratios, caption=f"{label}: mean ± standard deviation of those tested"
    )
    return (
        f"<p>{escape(b)} against {escape(a)}: {escape(tests['test'].iloc[0])}, {escape(design)}. "
        f"{escape(STAR_MEANS)}. Corrected is over all that was tested of a configuration.</p>{table}"
        + (f'<ul class="quiet">{said}</ul>' if said else "")
        + '<details class="screen"><summary>Every number</summary>'
        + sortable_table(tests, caption=f"{label}: every number of every test of {a} and {b}")
        + "</details>"
    )


def _setting(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _levels(column: pd.Series[Any]) -> str:
    return ", ".join(sorted(str(value) for value in column.dropna().unique()))


def _hours(hours: float) -> tuple[float, str] | None:
    return None if hours != hours else (hours, f"{hours:.3g}")
