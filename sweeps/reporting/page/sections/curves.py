"""A metric against the ratio, on the page: the figure, its gist in words, and the table of means."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from sweeps.reporting.figures.curves import metric_against_ratio, save
from sweeps.reporting.page.html_tables import scrolling
from sweeps.reporting.summary import baseline_mean_sd, mean_table
from sweeps.statistics.means import labelled, mean_sd
from sweeps.statistics.roles import Roles


def curves_html(
    folder: Path, rows: pd.DataFrame, baseline: pd.DataFrame, *, metric: str, label: str, roles: Roles
) -> tuple[str, list[Path]]:
    """Return the metric's part of the page, and the files of its figure in `folder`.

    Raises:
        ValueError: a key or metric column is missing or unfit.
    """
    figure = metric_against_ratio(rows, baseline, metric=metric, label=label, roles=roles)
    files = save(figure, folder, f"{metric}_against_{roles.along}")
    means = mean_table(rows, baseline, metric=metric, roles=roles)
    gist = curves_gist(rows, baseline, metric=metric, label=label, roles=roles)
    drawn = figure_html(files[1].read_bytes(), gist)
    return f"<h3>{escape(label)}</h3>{drawn}{_means(means, label, roles.along)}", files


def figure_html(svg: bytes, alternative: str) -> str:
    """Return a figure that carries its own bytes, and says in words what it shows."""
    source = "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    return f'<figure><img src="{source}" alt="{escape(alternative)}"></figure>'


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
