"""Figures of a sweep: a metric along the row axis. The page around them is `reporting.page`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from sweeps.reporting.figures import style
from sweeps.reporting.summary import baseline_mean_sd, unpruned_means
from sweeps.statistics.cells import check_rows
from sweeps.statistics.means import labelled, mean_sd
from sweeps.statistics.roles import Roles

_DODGE_POINTS = 3.2
_WIDEST_DODGE = 16.0
"""Points from the first of many configurations to the last, so that all stay in the picture."""


def metric_against_ratio(
    rows: pd.DataFrame,
    baseline: pd.DataFrame,
    *,
    metric: str,
    label: str,
    earlier: Mapping[str, tuple[str, str]] = MappingProxyType({}),
    beside: tuple[str, str] | None = None,
    roles: Roles,
) -> Figure:
    """One curve per configuration: mean, standard deviation as bars, every model as a faint dot.

    The ticks are the ratios of the data, pruned below and kept above. The axis is logarithmic in what is *kept* where
    that parts them better, so that .85, .90, .95 and .99 are as legible as they are different. Configurations stand
    side by side at each ratio, a few points apart; those of each level of `roles.panels` have a panel of their own.
    Horizontal lines are what the models were before they were pruned, and the baseline.

    Args:
        rows: one row per pruned model.
        baseline: rows of the baseline, drawn as dashed lines; may be empty.
        metric: the column drawn upwards.
        label: its name and unit for the axis.
        earlier: what a column was before, by its name: another column and its label, whose means are drawn dashed with
            those of the column.
        beside: another column and its label, drawn in the same scale in panels beside those of the metric, or below.
        roles: of the key columns.

    Raises:
        ValueError: a key or metric column is missing or unfit.
    """
    shown = [(metric, label), *([beside] if beside is not None else [])]
    for column, _ in shown:
        check_rows(rows, metric=column, roles=roles)
    parts = _by_panel(rows, baseline, roles.panels)
    roles = _told_apart(rows, roles)
    drawn = [
        [
            _Panel(title, *part, metric=column, earlier=earlier.get(column, (None, ""))[0], roles=roles)
            for title, part in parts.items()
        ]
        for column, _ in shown
    ]
    every = [panel for panels in drawn for panel in panels]
    names = list(dict.fromkeys(name for panel in every for name in panel.names))
    levels = list(dict.fromkeys(name for panel in every for name in panel.levels))
    heights = pd.concat([each for panel in every for each in panel.heights])
    legend_columns = style.columns_of([*names, *levels])
    legend_lines = -(-(len(names) + len(levels)) // legend_columns)
    stacked = len(parts) > 1
    down, across = (len(shown), len(parts)) if stacked else (1, len(shown))
    with matplotlib.rc_context(style.STYLE):
        width = 7.2 if across == 1 else 4.2 * across
        figure = Figure(figsize=(width, (4.2 if down == 1 else 3.4 * down) + 0.19 * legend_lines), layout="constrained")
        handles: dict[str, Any] = {}
        plots = figure.subplots(down, across, squeeze=False, sharey=True).flatten()
        for place, (plot, panel) in enumerate(zip(plots, every, strict=True)):
            handles |= panel.draw(plot, names)
            ratio_axis(plot, sorted(rows[roles.along].unique()), roles=roles)
            said = shown[place // len(parts)][1]
            first = place % across == 0 or not stacked
            style.metric_axis(plot, said if first else "", low=heights.min(), high=heights.max())
        listed = [*names, *levels]
        for column, words in earlier.values():
            handles[words] = Line2D([], [], **style.EARLIER, color=style.UNSAID)
            listed += [words] if column in rows and words not in listed else []
        figure.legend(
            [handles[name] for name in listed],
            listed,
            loc="outside lower center",
            ncols=legend_columns,
            handlelength=3.6,
        )
    return figure


def _by_panel(
    rows: pd.DataFrame, baseline: pd.DataFrame, factor: str | None
) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """Return the rows and baseline rows of each panel, by title; a baseline that has none of the levels is in all."""
    if factor is None:
        return {"": (rows, baseline)}
    levels = sorted(rows[factor].unique())
    return {
        f"{factor}: {level}": (
            rows[rows[factor] == level],
            baseline if baseline.empty else baseline[(baseline[factor] == level) | ~baseline[factor].isin(levels)],
        )
        for level in levels
    }


def _told_apart(rows: pd.DataFrame, roles: Roles) -> Roles:
    """Return the roles without the factors of which all rows have one level, unless all are such: a legend of which
    every line says the same words hides what differs.
    """
    factors = [axis for axis in roles.factors if axis != roles.panels]
    same = {axis for axis in factors if rows[axis].nunique() < 2}
    if same == {*factors}:
        return roles
    return replace(roles, axes=tuple(axis for axis in roles.axes if axis not in same))


class _Panel:
    """What is drawn in one part of a figure."""

    def __init__(
        self,
        title: str,
        rows: pd.DataFrame,
        baseline: pd.DataFrame,
        *,
        metric: str,
        earlier: str | None,
        roles: Roles,
    ) -> None:
        self._title, self._metric, self._roles = title, metric, roles
        # A panel's title need not be said again for each of its curves.
        inside = roles.within_panel()
        self._models = labelled(rows, inside.factors)
        self._means = mean_sd(self._models, metric=metric, along=roles.along)
        before = None if earlier is None else self._models.dropna(subset=[earlier])
        self._before = (
            None if before is None or before.empty else mean_sd(before, metric=earlier or "", along=roles.along)
        )
        self.names = list(self._models["configuration"].unique())
        self._unpruned = unpruned_means(rows, metric=metric, roles=inside)
        self._baseline = baseline_mean_sd(baseline, rows, metric=metric, roles=inside)

    @property
    def _dodge(self) -> float:
        """Points between neighbours."""
        return min(_DODGE_POINTS, _WIDEST_DODGE / max(1, len(self.names) - 1))

    @property
    def levels(self) -> list[str]:
        """What horizontal lines are called."""
        return [*self._unpruned["configuration"], *self._baseline["configuration"]]

    @property
    def heights(self) -> list[pd.Series]:
        """What has to be in sight."""
        means = self._means
        before = [] if self._before is None else [self._before["mean"]]
        return [self._models[self._metric], means["mean"] + means["sd"], means["mean"], self._baseline["mean"], *before]

    def draw(self, plot: Axes, names: Sequence[str]) -> dict[str, Any]:
        """Draw curves in the colours of their places in `names`, and dashed lines; return handles for a legend."""
        plot.set_title(self._title)
        handles: dict[str, Any] = {
            name: _draw_configuration(
                plot,
                self._models[self._models["configuration"] == name],
                self._means[self._means["configuration"] == name],
                metric=self._metric,
                roles=self._roles,
                index=names.index(name),
                dodge=(place - (len(self.names) - 1) / 2) * self._dodge,
            )
            for place, name in enumerate(self.names)
        }
        if self._before is not None:
            for name, means in self._before.groupby("configuration"):
                drawn = style.colour_and_marker(names.index(str(name)))["color"]
                plot.plot(position(means[self._roles.along], self._roles), means["mean"], **style.EARLIER, color=drawn)
        return handles | draw_levels(plot, self._unpruned, self._baseline)


def draw_levels(plot: Axes, unpruned: pd.DataFrame, baseline: pd.DataFrame) -> dict[str, Any]:
    """Draw horizontal lines at what `unpruned_means` and `baseline_mean_sd` returned; return handles by name."""
    handles = {}
    for means, dashes, look in (
        (unpruned, style.UNPRUNED_DASHES, style.UNPRUNED),
        (baseline, style.BASELINE_DASHES, style.BASELINE),
    ):
        for name, mean, dash in zip(means["configuration"], means["mean"], cycle(dashes), strict=False):
            handles[name] = plot.axhline(mean, linestyle=dash, **look)
    return handles


def save(figure: Figure, folder: Path, stem: str) -> list[Path]:
    """Write the figure as `stem.png` (150 dpi) and `stem.svg`, the same bytes for the same figure."""
    folder.mkdir(parents=True, exist_ok=True)
    png, svg = folder / f"{stem}.png", folder / f"{stem}.svg"
    with matplotlib.rc_context(style.STYLE):
        figure.savefig(png, dpi=150)
        figure.savefig(svg, metadata={"Date": None})
    return [png, svg]


def _draw_configuration(
    plot: Axes,
    models: pd.DataFrame,
    means: pd.DataFrame,
    *,
    metric: str,
    roles: Roles,
    index: int,
    dodge: float,
) -> ErrorbarContainer:
    """Dots and mean curve of one configuration, `dodge` points to the right of their ratios."""
    along = roles.along
    figure = plot.get_figure(root=True)
    assert figure is not None
    # Dodged on paper, not in the data: the same distance at every ratio, whatever the scale.
    shift = plot.transData + ScaledTranslation(dodge / 72, 0, figure.dpi_scale_trans)
    shared: dict[str, Any] = {"transform": shift, **style.colour_and_marker(index)}
    plot.plot(position(models[along], roles), models[metric], zorder=2, **shared, **style.DOTS)
    return plot.errorbar(
        position(means[along], roles),
        means["mean"],
        yerr=means["sd"],
        linestyle=style.line(index),
        **shared,
        **style.CURVES,
    )


def position(values: pd.Series, roles: Roles) -> pd.Series:
    """Return where values of the axis along which curves run are drawn: at what is left, where something is pruned."""
    return values if roles.pruned is None else 1 - values


def axis_title(roles: Roles) -> str:
    """Return what is written below."""
    return roles.along if roles.pruned is None else f"{roles.pruned} pruned (%)"


def ratio_axis(plot: Axes, values: Sequence[float], *, roles: Roles, titled: bool = True) -> None:
    """Ticks at the values; where something is pruned, from nothing pruned at the left to the right.

    Titles are below, and above for what is kept of what is pruned.
    """
    if roles.pruned is None:
        margin = 0.04 * (max(values) - min(values)) or 0.5
        plot.set_xlim(min(values) - margin, max(values) + margin)
        _ticks(plot.xaxis, values, [f"{value:.3g}" for value in values])
        if titled:
            plot.set_xlabel(axis_title(roles))
        return
    kept = [1 - value for value in values]
    if _better_apart_by_factors(kept):
        plot.set_xscale("log")
        margin = max((max(kept) / min(kept)) ** 0.04, 1.01)  # of a single ratio, some room all the same
        plot.set_xlim(max(kept) * margin, min(kept) / margin)
        scale = ", log scale"
    else:
        margin = 0.04 * (max(kept) - min(kept)) or 0.5
        plot.set_xlim(max(kept) + margin, min(kept) - margin)
        scale = ""
    _ticks(plot.xaxis, kept, [f"{100 * fraction:.3g}" for fraction in values])
    if titled:
        plot.set_xlabel(axis_title(roles))
        above = plot.secondary_xaxis("top")
        above.set_xlabel(f"{roles.pruned} kept (%{scale})")
        _ticks(above.xaxis, kept, [f"{100 * fraction:.3g}" for fraction in kept])


def _ticks(axis: Any, places: Sequence[float], words: Sequence[str]) -> None:
    axis.set_major_locator(FixedLocator(list(places)))
    axis.set_major_formatter(FixedFormatter(list(words)))
    axis.set_minor_locator(NullLocator())


def _better_apart_by_factors(kept: Sequence[float]) -> bool:
    """Say whether a logarithmic axis keeps the two nearest ticks further apart than a linear one of the same length."""
    if min(kept) <= 0 or len(kept) == 1:
        return min(kept) > 0
    nearest = [min(-np.diff(ticks)) / -(ticks[-1] - ticks[0]) for ticks in (np.log(kept), np.asarray(kept))]
    return bool(nearest[0] >= nearest[1])
