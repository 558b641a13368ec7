"""Figure of a sweep: one metric against another, and the front of those means that give up least of either."""

from __future__ import annotations

from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, StrMethodFormatter

from sweeps.reporting.figures import style
from sweeps.reporting.figures.curves import draw_levels
from sweeps.reporting.summary import baseline_mean_sd, unpruned_means
from sweeps.statistics.means import labelled
from sweeps.statistics.roles import Roles

_FRONT = "#555555"


def trade_off_figure(
    rows: pd.DataFrame,
    means: pd.DataFrame,
    baseline: pd.DataFrame,
    *,
    against: str,
    metric: str,
    labels: tuple[str, str],
    roles: Roles,
) -> Figure:
    """Every model a faint dot, every mean a marker, and those on the front ringed and joined by steps.

    Means at the floor are hollow. Horizontal lines are what the models were before they were pruned, and the baseline.

    Args:
        rows: one per model.
        means: of them, as `mean_trade_off` returns them.
        baseline: rows of the baseline, whose `metric` is drawn as dashed lines; may be empty.
        against: the metric along the horizontal axis.
        metric: that along the vertical one.
        labels: of both, for the axes.
        roles: of the key columns.
    """
    models = labelled(rows, roles.factors)
    names = list(models["configuration"].unique())
    unpruned = unpruned_means(rows, metric=metric, roles=roles)
    references = baseline_mean_sd(baseline, rows, metric=metric, roles=roles)
    levels = dict.fromkeys([*unpruned["configuration"], *references["configuration"]])
    legend = [*names, "Pareto front of the means", *levels]
    legend_columns = style.columns_of(legend)
    with matplotlib.rc_context(style.STYLE):
        figure = Figure(figsize=(7.2, 4.2 + 0.19 * -(-len(legend) // legend_columns)), layout="constrained")
        plot = figure.add_subplot()
        plot.spines.top.set_visible(False)
        handles: list[Any] = []
        for index, name in enumerate(names):
            each, mean = models[models["configuration"] == name], means[means["configuration"] == name]
            shared = style.colour_and_marker(index)
            plot.plot(each[against], each[metric], zorder=2, **shared, **style.DOTS)
            kept, lost = mean[~mean["at_floor"]], mean[mean["at_floor"]]
            handles += plot.plot(kept["against"], kept["metric"], linestyle="none", zorder=4, **shared, **style.MEANS)
            hollow = style.MEANS | {"markerfacecolor": "white", "markeredgecolor": shared["color"]}
            if len(lost):
                plot.plot(lost["against"], lost["metric"], linestyle="none", zorder=4, **shared, **hollow)
        handles.append(_draw_front(plot, means[means["on_front"]]))
        handles += draw_levels(plot, unpruned, references).values()
        if models[against].min() > 0:
            _factor_axis(plot, labels[0])
        else:
            plot.set_xlabel(labels[0])
        drawn = pd.concat([models[metric], references["mean"]])
        style.metric_axis(plot, labels[1], low=drawn.min(), high=drawn.max())
        figure.legend(handles, legend, loc="outside lower center", ncols=legend_columns, handlelength=3.6)
    return figure


def _draw_front(plot: Axes, front: pd.DataFrame) -> Any:
    """Draw steps through the front, the fastest first: to the lower left of them, every mean is dominated."""
    (drawn,) = plot.plot(
        front["against"],
        front["metric"],
        drawstyle="steps-post",
        color=_FRONT,
        linewidth=0.9,
        marker="o",
        markersize=9,
        markerfacecolor="none",
        markeredgewidth=1.1,
        zorder=3,
    )
    return drawn


def _factor_axis(plot: Axes, label: str) -> None:
    """Draw the horizontal axis so that equal factors are equally far apart."""
    plot.set_xlabel(f"{label}, log scale")
    plot.set_xscale("log")
    plot.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 2.5, 5, 10]))
    plot.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    plot.xaxis.set_minor_locator(NullLocator())
