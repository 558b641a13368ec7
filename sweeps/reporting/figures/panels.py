"""Figure that compares sources, such as two sweeps: a panel for each configuration, in it a curve of each source."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from sweeps.reporting.figures import style
from sweeps.reporting.figures.curves import axis_title, position, ratio_axis
from sweeps.statistics.roles import Roles

_LINES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
_DODGE_POINTS = 2.0
_QUIET = "#555555"


class Curves(NamedTuple):
    """What a source measured: columns `configuration`, the one along, `mean` and `sd`, which may be NaN."""

    source: str
    means: pd.DataFrame


def panels(sources: Sequence[Curves], *, configurations: Sequence[str], label: str, roles: Roles) -> Figure:
    """Draw the first source solid, with filled markers, and the others in other lines, hollow.

    Args:
        sources: at least one.
        configurations: all that any source has. Those of the first one come first, so that each has the colour of that
            one's own figures; drawn are those that are `shared`, of which there is one at least.
        label: of the metric, for the axis.
        roles: of the key columns.
    """
    common, along = shared(sources), roles.along
    shown = [name for name in configurations if name in common]
    every = pd.concat([means[means["configuration"].isin(common)] for _, means in sources])
    ratios = sorted(every[along].unique())
    rows, columns = -(-len(shown) // 2), min(len(shown), 2)
    with matplotlib.rc_context(style.STYLE | {"xtick.labelsize": 7.5, "axes.spines.top": False}):
        figure = Figure(figsize=(3.6 * columns, 2.1 * rows + 0.7), layout="constrained")
        plots = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
        for plot in plots[len(shown) :]:
            plot.remove()
        for plot, name in zip(plots, shown, strict=False):
            plot.set_title(name, fontsize=9)
            for index, (_, means) in enumerate(sources):
                # A ratio without a value is a gap: nothing is known to lie on a line across it.
                at = means[means["configuration"] == name].set_index(along).reindex(ratios)
                if at["mean"].notna().any():
                    _draw(plot, at, configurations.index(name), index, roles)
            ratio_axis(plot, ratios, roles=roles, titled=False)
            style.metric_axis(plot, "", low=every["mean"].min(), high=(every["mean"] + every["sd"].fillna(0)).max())
        figure.supxlabel(axis_title(roles), fontsize=9)
        figure.supylabel(textwrap.fill(label, 28 * rows), fontsize=9)
        handles = [Line2D([], [], color=_QUIET, marker="o", **_line(index, _QUIET)) for index in range(len(sources))]
        figure.legend(handles, [source for source, _ in sources], loc="outside upper center", ncols=2, handlelength=3.6)
    return figure


def shared(sources: Sequence[Curves]) -> set[str]:
    """Return the configurations that at least two sources have."""
    times = Counter(name for _, means in sources for name in means["configuration"].unique())
    return {name for name, count in times.items() if count >= 2}


def _draw(plot: Axes, means: pd.DataFrame, configuration: int, source: int, roles: Roles) -> None:
    figure = plot.get_figure(root=True)
    assert figure is not None
    shift = plot.transData + ScaledTranslation(source * _DODGE_POINTS / 72, 0, figure.dpi_scale_trans)
    shared = style.colour_and_marker(configuration)
    plot.errorbar(
        position(means.index.to_series(), roles),
        means["mean"],
        yerr=means["sd"],
        elinewidth=0.9,
        capsize=2,
        zorder=3 - 0.1 * source,
        transform=shift,
        **shared | _line(source, shared["color"]),
    )


def _line(source: int, shade: str) -> dict[str, Any]:
    hollow = {"markerfacecolor": "white", "markeredgecolor": shade, "markeredgewidth": 1.0}
    return {"linestyle": _LINES[source % len(_LINES)], "linewidth": 1.3, **style.MEANS, **(hollow if source else {})}
