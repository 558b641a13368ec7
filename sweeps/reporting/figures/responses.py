"""Figures of what settings do: a metric along one field of the spec, or over draws of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from sweeps.reporting.figures import style
from sweeps.statistics.cells import are_numbers
from sweeps.statistics.means import labelled, mean_sd
from sweeps.statistics.responses.draws import draw_means
from sweeps.statistics.roles import Roles

ACROSS = 3
"""Panels beside each other, at most."""

FACTOR_OF_LOGS = 30
"""Between the smallest and the largest value, from which a scale is logarithmic."""

_BETWEEN = 0.5


def chosen(values: Sequence[float]) -> list[float]:
    """Return up to three of the values, rising: the ends and the middle."""
    rising = sorted(set(values))
    return list(dict.fromkeys([rising[0], rising[len(rising) // 2], rising[-1]])) if rising else []


def is_wide(values: pd.Series[Any]) -> bool:
    """Say whether numbers lie so far apart that their scale is logarithmic."""
    return bool(values.min() > 0 and values.max() >= FACTOR_OF_LOGS * values.min())


def along_field(rows: pd.DataFrame, *, metric: str, label: str, field: str, roles: Roles) -> Figure:
    """A metric against a numeric field: a panel per ratio, a curve per configuration, every model a dot.

    Args:
        rows: one per model.
        metric: the column drawn.
        label: of it.
        field: a factor of numbers.
        roles: of the key columns.
    """
    known = rows.dropna(subset=[field])
    models = labelled(known, _told_by(known, [name for name in roles.factors if name != field]))
    names = list(models["configuration"].unique())
    places = chosen(models[roles.along].tolist())
    with matplotlib.rc_context(style.STYLE):
        figure, plots, columns = _panels(places, names)
        handles: dict[str, Any] = {}
        for plot, at in zip(plots, places, strict=True):
            here = models[models[roles.along] == at]
            means = mean_sd(here, metric=metric, along=field)
            for index, name in enumerate(names):
                each, mean = (part[part["configuration"] == name] for part in (here, means))
                shared = style.colour_and_marker(index)
                plot.plot(each[field], each[metric], zorder=2, **shared, **style.DOTS)
                handles[name] = plot.errorbar(
                    mean[field],
                    mean["mean"],
                    yerr=mean["sd"],
                    linestyle=style.line(index),
                    **shared,
                    **style.CURVES,
                )
            _value_axis(plot, field, models[field])
            plot.set_title(roles.where([at]), fontsize=9)
        _finish(figure, plots, models[metric], label, handles, columns)
    return figure


def over_fields(rows: pd.DataFrame, *, metric: str, label: str, at: float, roles: Roles) -> Figure:
    """A metric against each field that was drawn, at one ratio: a panel per field, every draw's mean a marker.

    Args:
        rows: one per model.
        metric: the column drawn.
        label: of it.
        at: the ratio.
        roles: of the key columns, `sampled` among them.
    """
    fields = list(roles.sampled)
    here = labelled(rows[rows[roles.along] == at], _told_by(rows, roles.factors))
    names = list(here["configuration"].unique())
    parts = [
        draw_means(part, metric=metric, fields=fields, replicate=roles.replicate).assign(configuration=name)
        for name, part in here.dropna(subset=[metric]).groupby("configuration", sort=False)
    ]
    draws = pd.concat(parts or [here])
    with matplotlib.rc_context(style.STYLE):
        figure, plots, columns = _panels(fields, names)
        handles: dict[str, Any] = {}
        for plot, field in zip(plots, fields, strict=True):
            values = draws[field]
            for index, name in enumerate(names):
                each = draws[draws["configuration"] == name]
                (handles[name],) = plot.plot(
                    _placed(each[field], values),
                    each[metric],
                    linestyle="none",
                    alpha=0.8,
                    zorder=3,
                    **style.colour_and_marker(index),
                    **style.MEANS,
                )
            _value_axis(plot, field, values)
        _finish(figure, plots, draws[metric], label, handles, columns)
    return figure


def _told_by(rows: pd.DataFrame, factors: Sequence[str]) -> list[str]:
    """Return the factors that tell configurations apart: a legend need not repeat what all have in common."""
    return [factor for factor in factors if rows[factor].nunique(dropna=False) > 1]


def _panels(panels: Sequence[Any], names: list[str]) -> tuple[Figure, list[Axes], int]:
    columns = style.columns_of(names)
    wide, lines = min(ACROSS, max(1, len(panels))), -(-max(1, len(panels)) // ACROSS)
    size = (2.6 * wide + 1.0, 2.7 * lines + 0.3 + 0.19 * -(-len(names) // columns))
    figure = Figure(figsize=size, layout="constrained")
    plots = figure.subplots(lines, wide, sharey=True, squeeze=False).ravel().tolist()
    for unused in plots[len(panels) :]:
        unused.remove()
    return figure, plots[: len(panels)], columns


def _finish(
    figure: Figure, plots: Sequence[Axes], drawn: pd.Series[Any], label: str, handles: dict[str, Any], columns: int
) -> None:
    for place, plot in enumerate(plots):
        plot.spines.top.set_visible(False)
        style.metric_axis(plot, label if place % ACROSS == 0 else "", low=drawn.min(), high=drawn.max())
    figure.legend([*handles.values()], [*handles], loc="outside lower center", ncols=columns, handlelength=3.6)


def _placed(values: pd.Series[Any], known: pd.Series[Any]) -> Any:
    """Return where values are drawn: words at the place of their level."""
    if are_numbers(known):
        return values.to_numpy(dtype=float, na_value=np.nan)
    levels = _levels(known)
    return [levels.index(str(value)) for value in values]


def _levels(known: pd.Series[Any]) -> list[str]:
    return sorted({str(value) for value in known})


def _value_axis(plot: Axes, field: str, values: pd.Series[Any]) -> None:
    if not are_numbers(values):
        levels = _levels(values)
        plot.set_xticks(range(len(levels)), levels)
        plot.set_xlim(-_BETWEEN, len(levels) - _BETWEEN)
    elif is_wide(values):
        plot.set_xscale("log")
        plot.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        plot.xaxis.set_minor_formatter(NullFormatter())
    plot.set_xlabel(field)
