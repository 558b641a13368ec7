"""Figures of a sweep: a metric against the ratio of pruned weights. The page around them is `page.py`."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from sweeps.reporting import look
from sweeps.reporting.summary import baseline_mean_sd, labelled, mean_sd
from sweeps.statistics.cells import check_rows
from sweeps.statistics.roles import DEFAULT_ROLES, Roles

_DODGE_POINTS = 3.2


def metric_against_ratio(
    rows: pd.DataFrame,
    baseline: pd.DataFrame,
    *,
    metric: str,
    label: str,
    roles: Roles = DEFAULT_ROLES,
) -> Figure:
    """One curve per configuration: mean, standard deviation as bars, every model as a faint dot.

    The axis is logarithmic in the weights *kept*, so that .85, .90, .95 and .99 are as legible as they are
    different: the ticks are the ratios of the data, pruned below and kept above. It is linear where a ratio
    is 1 and nothing is kept. Configurations stand side by side at each ratio, a few points apart.

    Args:
        rows: one row per pruned model.
        baseline: rows of the unpruned, unprotected model, drawn as dashed lines; may be empty.
        metric: the column drawn upwards.
        label: its name and unit for the axis.
        roles: of the key columns; curves run along the fraction of weights pruned, in [0, 1].

    Raises:
        ValueError: a key or metric column is missing or unfit.
    """
    check_rows(rows, metric=metric, roles=roles)
    factors, along = roles.factors, roles.along
    models = labelled(rows, factors)
    means = mean_sd(models, metric=metric, along=along)
    names = list(models["configuration"].unique())
    unpruned = baseline_mean_sd(baseline, rows, metric=metric, roles=roles)
    legend_columns = look.columns_of([*names, *unpruned["configuration"]])
    legend_lines = -(-(len(names) + len(unpruned)) // legend_columns)
    with matplotlib.rc_context(look.STYLE):
        figure = Figure(figsize=(7.2, 4.2 + 0.19 * legend_lines), layout="constrained")
        plot = figure.add_subplot()
        handles: list[Any] = [
            _draw_configuration(
                plot,
                models[models["configuration"] == name],
                means[means["configuration"] == name],
                columns=(along, metric),
                index=index,
                dodge=(index - (len(names) - 1) / 2) * _DODGE_POINTS,
            )
            for index, name in enumerate(names)
        ]
        handles += [
            plot.axhline(mean, linestyle=dashes, **look.BASELINE)
            for mean, dashes in zip(unpruned["mean"], cycle(look.BASELINE_DASHES))
        ]
        ratio_axis(plot, sorted(rows[along].unique()))
        drawn = pd.concat([models[metric], means["mean"] + means["sd"], means["mean"], unpruned["mean"]])
        look.metric_axis(plot, label, low=drawn.min(), high=drawn.max())
        figure.legend(
            handles,
            [*names, *unpruned["configuration"]],
            loc="outside lower center",
            ncols=legend_columns,
            handlelength=3.6,
        )
    return figure


def save(figure: Figure, folder: Path, stem: str) -> list[Path]:
    """Write the figure as `stem.png` (150 dpi) and `stem.svg`, the same bytes for the same figure."""
    folder.mkdir(parents=True, exist_ok=True)
    png, svg = folder / f"{stem}.png", folder / f"{stem}.svg"
    with matplotlib.rc_context(look.STYLE):
        figure.savefig(png, dpi=150)
        figure.savefig(svg, metadata={"Date": None})
    return [png, svg]


def _draw_configuration(
    plot: Axes,
    models: pd.DataFrame,
    means: pd.DataFrame,
    *,
    columns: tuple[str, str],
    index: int,
    dodge: float,
) -> ErrorbarContainer:
    """Dots and mean curve of one configuration, `dodge` points to the right of their ratios."""
    along, metric = columns
    figure = plot.get_figure(root=True)
    assert figure is not None
    # Dodged on paper, not in the data: the same distance at every ratio, whatever the scale.
    shift = plot.transData + ScaledTranslation(dodge / 72, 0, figure.dpi_scale_trans)
    shared: dict[str, Any] = {"transform": shift, **look.colour_and_marker(index)}
    plot.plot(1 - models[along], models[metric], zorder=2, **shared, **look.DOTS)
    return plot.errorbar(
        1 - means[along],
        means["mean"],
        yerr=means["sd"],
        linestyle=look.line(index),
        linewidth=1.3,
        elinewidth=0.9,
        capsize=2,
        zorder=3,
        **shared,
        **look.MEANS,
    )


def ratio_axis(plot: Axes, ratios: Sequence[float], *, titled: bool = True) -> None:
    """Ticks at the ratios from nothing pruned at the left to the right; with titles, pruned below and kept above."""
    kept = [1 - ratio for ratio in ratios]
    if kept and min(kept) > 0:
        plot.set_xscale("log")
        margin = max((max(kept) / min(kept)) ** 0.04, 1.01)  # of a single ratio, some room all the same
        plot.set_xlim(max(kept) * margin, min(kept) / margin)
        scale = ", log scale"
    else:
        plot.set_xlim(1.04, -0.04)
        scale = ""
    axes = {plot.xaxis: ratios}
    if titled:
        plot.set_xlabel("weights pruned (%)")
        above = plot.secondary_xaxis("top")
        above.set_xlabel(f"weights kept (%{scale})")
        axes[above.xaxis] = kept
    for axis, fractions in axes.items():
        axis.set_major_locator(FixedLocator(kept))
        axis.set_major_formatter(FixedFormatter([f"{100 * fraction:.3g}" for fraction in fractions]))
        axis.set_minor_locator(NullLocator())
