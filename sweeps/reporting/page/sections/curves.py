"""A metric against the ratio, on the page: the figure, its gist in words, and the table of means."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from sweeps.reporting.figures.curves import metric_against_ratio, save
from sweeps.reporting.page.html_tables import scrolling
from sweeps.reporting.page.section import folded
from sweeps.reporting.summary import baseline_mean_sd, counts, mean_table, unpruned_means
from sweeps.statistics.means import labelled, mean_sd
from sweeps.statistics.roles import Roles


def curves_html(
    folder: Path,
    rows: pd.DataFrame,
    baseline: pd.DataFrame,
    *,
    metric: str,
    label: str,
    earlier: Mapping[str, tuple[str, str]] = MappingProxyType({}),
    beside: tuple[str, str] | None = None,
    roles: Roles,
) -> tuple[str, list[Path]]:
    """Return the metric's part of the page, and the files of its figure in `folder`.

    Args:
        folder: where figures are written.
        rows: one per pruned model.
        baseline: rows that the others are compared with; may be empty.
        metric: the column drawn.
        label: of it.
        earlier: what a column was before, by its name: another column, and its label.
        beside: another column to draw beside it, and its label.
        roles: of the key columns.

    Raises:
        ValueError: a key or metric column is missing or unfit.
    """
    figure = metric_against_ratio(
        rows, baseline, metric=metric, label=label, earlier=earlier, beside=beside, roles=roles
    )
    files = save(figure, folder, f"{metric}_against_{roles.along}")
    shown = [(metric, label), *([beside] if beside is not None else [])]
    shown = [each for one in shown for each in (one, *([earlier[one[0]]] if one[0] in earlier else []))]
    gists = [curves_gist(rows, baseline, metric=column, label=words, roles=roles) for column, words in shown]
    caption = f"Means with standard deviations, {counts(rows, metric=metric, roles=roles)}; every dot is a row."
    tables = [
        _means(mean_table(rows, baseline, metric=column, roles=roles), words, roles.along) for column, words in shown
    ]
    drawn = figure_html(files[1].read_bytes(), " ".join(gists), caption=caption, wide=beside is not None)
    return f"{drawn}{folded('All means', ''.join(tables))}", files


def figure_html(svg: bytes, alternative: str, *, caption: str, wide: bool = False) -> str:
    """Return a figure that carries its own bytes, says in words what it shows, and below of how many values it is."""
    source = "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    kind = ' class="broad"' if wide else ""
    return (
        f'<figure{kind}><img src="{source}" alt="{escape(alternative)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def curves_gist(rows: pd.DataFrame, baseline: pd.DataFrame, *, metric: str, label: str, roles: Roles) -> str:
    """Return what the figure shows to who does not see it: the means at the ends, the best in between, the baseline."""
    means = mean_sd(labelled(rows, roles.factors), metric=metric, along=roles.along)
    panels = "" if roles.panels is None else f", a panel for each {roles.panels}"
    said = [
        f"{label} against the {roles.what_varies}, one curve per configuration ({means['configuration'].nunique()}) "
        f"with standard deviations, every model a dot{panels}."
    ]
    ratios = sorted(means[roles.along].unique())
    for at in dict.fromkeys([*ratios[:1], *ratios[len(ratios) // 2 :][:1], *ratios[-1:]]):
        here = means[means[roles.along] == at].sort_values("mean")
        lowest, highest = here.iloc[0], here.iloc[-1]
        span = f"{highest['mean']:.3g} ({highest['configuration']})"
        if len(here) > 1:
            span = f"from {lowest['mean']:.3g} ({lowest['configuration']}) to {span}"
        said.append(f"At {roles.along} {at:g}: {span}.")
    unpruned = baseline_mean_sd(baseline, rows, metric=metric, roles=roles)
    levels = ", ".join(f"{name} {mean:.3g}" for name, mean in unpruned[["configuration", "mean"]].to_numpy())
    said.append(f"Dashed: {levels}." if levels else "")
    start = unpruned_means(rows, metric=metric, roles=roles)
    levels = ", ".join(f"{name} {mean:.3g}" for name, mean in start.to_numpy())
    said.append(f"Dotted: {levels}." if levels else "")
    return " ".join([*said, "The table below holds all means."]).replace("  ", " ")


def _means(table: pd.DataFrame, label: str, along: str) -> str:
    lines = [
        f'<tr><th scope="row">{escape(str(name))}</th>{"".join(map(_mean_cell, cells))}</tr>\n'
        for name, cells in zip(table.index, table.to_numpy().tolist(), strict=True)
    ]
    caption = escape(f"{label}: mean ± standard deviation")
    body = f"<caption>{caption}</caption>{_head(along, list(table.columns))}<tbody>{''.join(lines)}</tbody>"
    return scrolling(f'<table class="lines">{body}</table>', label=label)


def _head(along: str, ratios: Sequence[Any]) -> str:
    heads = "".join(f'<th scope="col" class="number">{at:g}</th>' for at in ratios)
    return f'<thead><tr><th scope="col">{escape(along)} →</th>{heads}</tr></thead>'


def _mean_cell(text: str) -> str:
    """The text of a cell of `mean_table`, its spread and its count each on a line below the mean."""
    mean, *below = text.replace(" ± ", "|± ").replace(" (", "|(").split("|")
    spans = "".join(f' <span class="spread">{escape(line)}</span>' for line in below)
    return f'<td class="number">{escape(mean)}{spans}</td>'
