"""A sweep beside what a study has published, on the page: curves, and a table with differences.

Data and machines are rarely the same, so that everything is shown relative to ratio 0 too. How published values are
read is described in `results.literature`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from sweeps.reporting.figures.curves import save
from sweeps.reporting.figures.panels import Curves, panels, shared
from sweeps.reporting.page.file_names import file_stem
from sweeps.reporting.page.grouped_table import grouped_table, line
from sweeps.reporting.page.section import Section
from sweeps.reporting.page.sections.curves import figure_html
from sweeps.reporting.summary import counts, decimals
from sweeps.results.literature import Published
from sweeps.statistics.means import in_words, labelled
from sweeps.statistics.roles import Roles

_SIDES = ("ours", "published")


class BesideError(ValueError):
    """The published values cannot be put beside the sweep; the message says what was found and expected."""


def against_section(
    folder: Path,
    *,
    name: str,
    rows: pd.DataFrame,
    baseline: pd.DataFrame,
    published: Published,
    metrics: Mapping[str, str],
    roles: Roles,
) -> tuple[Section, list[Path]]:
    """Return a section of the page, and the files of its figures in `folder`.

    Args:
        folder: where figures are written.
        name: of the sweep.
        rows: one per pruned model.
        baseline: rows that the others are compared with; may be empty.
        published: what to put beside them.
        metrics: labels of columns, for those that have one.
        roles: of the key columns.

    Raises:
        BesideError: nothing published is of a configuration of the sweep, or two values are of one cell.
    """
    names = (name, f"{published.name}, published")
    said = f"{published.remark} A difference is that of {name} from what was published."
    parts, files = [f"<p>{escape(said.strip())}</p>"], list[Path]()
    for metric in published.metrics:
        values = beside(rows, baseline, published, metric=metric, roles=roles)
        if values.empty:
            continue
        label = metrics.get(metric, metric)
        parts.append(f"<h3>{escape(label)}</h3>")
        configurations = list(labelled(rows, roles.factors)["configuration"].unique())
        for kind, of_what in (("", label), ("_relative", f"{label}, relative to {roles.along} 0")):
            sources = [
                Curves(source, _curves(values, f"{side}{kind}")) for source, side in zip(names, _SIDES, strict=True)
            ]
            if not shared(sources):
                continue
            figure = panels(sources, configurations=configurations, label=of_what, roles=roles)
            drawn = save(figure, folder, f"{metric}{kind}_against_{file_stem(published.name)}")
            gist = f"{of_what}, against the {roles.what_varies}, a panel per configuration: {name} solid, published "
            alternative = f"{gist}dashed. The table below holds all values."
            caption = f"Means of {name} with standard deviations, {counts(rows, metric=metric, roles=roles)}."
            parts.append(figure_html(drawn[1].read_bytes(), alternative, caption=caption))
            files += drawn
        parts.append(_table(values, names=names, label=label, along=roles.along))
    if len(parts) == 1:
        raise BesideError("found no value of a configuration of the sweep, expected some to compare")
    return Section("published", f"Beside {published.name}", "".join(parts)), files


def beside(
    rows: pd.DataFrame, baseline: pd.DataFrame, published: Published, *, metric: str, roles: Roles
) -> pd.DataFrame:
    """Return the means of both sides for each configuration that has published values, the baseline's last.

    Returns:
        Columns `configuration`, `baseline` (is it one?) and the one along; `ours` and `ours_sd` (of the sample), and
        both again divided by the mean at ratio 0, as `ours_relative` and `ours_relative_sd`, where there are others
        too; `published` and so on. NaN where there is no value.

    Raises:
        BesideError: two published values are of one cell.
    """
    cells = [pd.DataFrame(columns=["configuration", "baseline", roles.along])]
    for configuration, models, is_baseline in _configurations(rows, baseline, roles):
        # A value for every level is not one for the baseline.
        theirs = published.of(_levels(models, roles), metric, exactly=is_baseline)
        if theirs.duplicated([roles.along, roles.replicate]).any():
            raise BesideError(f"found two values of {metric} for {configuration} at one {roles.along}, expected one")
        if len(theirs):
            sides = [
                _means(each, metric, roles.along, side) for each, side in zip((models, theirs), _SIDES, strict=True)
            ]
            both = sides[0].join(sides[1], how="outer").rename_axis(roles.along).reset_index()
            cells.append(both.assign(configuration=configuration, baseline=is_baseline))
    return pd.concat([each for each in cells if len(each)] or cells, ignore_index=True)


def unmatched(rows: pd.DataFrame, baseline: pd.DataFrame, published: Published, *, roles: Roles) -> int:
    """Return how many lines with a published value are of no configuration of the sweep."""
    left = published.values.dropna(subset=published.metrics, how="all")
    for _, models, is_baseline in _configurations(rows, baseline, roles):
        for metric in published.metrics:
            left = left.drop(published.of(_levels(models, roles), metric, exactly=is_baseline).index, errors="ignore")
    return len(left)


def _levels(models: pd.DataFrame, roles: Roles) -> dict[str, Any]:
    return dict(zip(roles.factors, models[roles.factors].iloc[0], strict=True))


def _configurations(
    rows: pd.DataFrame, baseline: pd.DataFrame, roles: Roles
) -> Iterator[tuple[str, pd.DataFrame, bool]]:
    for name, models in labelled(rows, roles.factors).groupby("configuration", sort=False):
        yield str(name), models, False
    known = {level for factor in roles.factors for level in rows[factor]}
    for _, models in labelled(baseline, roles.factors).groupby("configuration", sort=False):
        levels = models[roles.factors].iloc[0]
        yield in_words([roles.baseline, *(level for level in levels if level in known)]), models, True


def _means(lines: pd.DataFrame, metric: str, along: str, side: str) -> pd.DataFrame:
    means = lines.groupby(along)[metric].agg(["mean", "std"]).set_axis([side, f"{side}_sd"], axis=1)
    start = means[side].get(0.0, 0.0) if len(means) > 1 else 0.0
    relative = means / (start or float("nan"))
    return means.join(relative.set_axis([f"{side}_relative", f"{side}_relative_sd"], axis=1))


def _curves(values: pd.DataFrame, column: str) -> pd.DataFrame:
    drawn = values[~values["baseline"].astype(bool)].dropna(subset=column)
    return drawn.rename(columns={column: "mean", f"{column}_sd": "sd"})


def _table(values: pd.DataFrame, *, names: tuple[str, str], label: str, along: str) -> str:
    digits = decimals(values[list(_SIDES)].abs().max().max())
    number, signed = f"{{:.{digits}f}}".format, f"{{:+.{digits}f}}".format
    groups = []
    for configuration, of_it in values.groupby("configuration", sort=False):
        at = of_it.set_index(along)
        absolute = [line(name, at[side], number, at[f"{side}_sd"]) for name, side in zip(names, _SIDES, strict=True)]
        lines = [*absolute, line("difference", at["ours"] - at["published"], signed)]
        relative = [at[f"{side}_relative"] for side in _SIDES]
        if all(each.notna().any() for each in relative):
            lines += [
                line(f"{name}, relative", each, "{:.3f}".format) for name, each in zip(names, relative, strict=True)
            ]
        groups.append((str(configuration), lines))
    caption = f"{label}: mean ± standard deviation, beside what was published, and relative to {along} 0"
    return grouped_table(groups, along=along, ratios=sorted(values[along].unique()), caption=caption)
