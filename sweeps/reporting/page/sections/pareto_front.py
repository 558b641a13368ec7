"""One metric against another, on the page: the figure, who is on the Pareto front in words, and in a table."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path

import pandas as pd

from sweeps.reporting.figures.curves import save
from sweeps.reporting.figures.trade_off import trade_off_figure
from sweeps.reporting.page.html_tables import small_table
from sweeps.reporting.page.section import folded
from sweeps.reporting.page.sections.curves import figure_html
from sweeps.reporting.summary import counts, decimals
from sweeps.statistics.pareto_front import mean_trade_off
from sweeps.statistics.roles import Roles


def front_html(
    folder: Path,
    rows: pd.DataFrame,
    baseline: pd.DataFrame,
    *,
    against: str,
    metric: str,
    labels: tuple[str, str],
    roles: Roles,
) -> tuple[str, list[Path]]:
    """Return the part of the page on two metrics (see `trade_off_figure`), and the files of its figure in `folder`."""
    means = mean_trade_off(rows, against=against, metric=metric, roles=roles)
    lost = means[means["at_floor"]]
    figure = trade_off_figure(rows, means, baseline, against=against, metric=metric, labels=labels, roles=roles)
    files = save(figure, folder, f"{metric}_against_{against}")
    front = means[means["on_front"]]
    said = (
        f"On the Pareto front are the means of configurations at a {roles.along} that no other mean beats in one of "
        f"the two without losing in the other. Where they lie closer than their spread, another {roles.replicate} may "
        "change which are on it."
    )
    if len(lost):
        said += f" {len(lost)} hollow means lie at the floor of {labels[1]} and are on no front, however fast."
    heads = ["configuration", roles.along, "models", *labels]
    digits = [decimals(front[column].abs().max()) for column in ("against", "metric")]
    lines = [
        (name, (at, f"{at:g}"), n, _mean(x, x_sd, digits[0]), _mean(y, y_sd, digits[1]))
        for name, at, n, x, x_sd, y, y_sd in front.drop(columns=["at_floor", "on_front"]).itertuples(
            index=False, name=None
        )
    ]
    table = small_table(heads, lines, caption="The Pareto front: mean ± standard deviation")
    alternative = _gist(front, labels=labels, along=roles.along)
    caption = f"Markers are means, {counts(rows, metric=metric, roles=roles)}; every dot is a row."
    figure_part = figure_html(files[1].read_bytes(), alternative, caption=caption)
    return f'{figure_part}<p class="quiet">{escape(said)}</p>{folded("The Pareto front in numbers", table)}', files


def _gist(front: pd.DataFrame, *, labels: tuple[str, str], along: str) -> str:
    against, metric = labels
    points = "; ".join(
        f"{name} at {along} {at:g} with {y:.3g} at {x:.3g}"
        for name, at, x, y in front[["configuration", along, "against", "metric"]].itertuples(index=False, name=None)
    )
    return (
        f"{metric} against {against}, every model a dot, every mean of a configuration at a {along} a marker, the "
        f"baseline dashed. On the Pareto front, from the largest {against} down: {points}."
    )


def _mean(mean: float, sd: float, digits: int) -> tuple[float, str]:
    return mean, f"{mean:.{digits}f}" + ("" if math.isnan(sd) else f" ± {sd:.{digits}f}")
