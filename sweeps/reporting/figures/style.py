"""How figures look: what tells configurations apart, in colour and without, the same in every figure of a sweep."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

# Okabe & Ito's palette, safe under the common colour blindnesses; dark and light alternate for grey print.
# The last two are of Tol's, for sweeps of many methods.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#D55E00", "#999933", "#882255")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
# Plain dashes are kept for the baseline.
_LINES = ("-", (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (5, 1, 1, 1, 1, 1)))

BASELINE_DASHES = ((0, (5, 4)), (0, (2, 3)))
"""Of horizontal lines, one after the other."""

UNPRUNED_DASHES = ((0, (1, 1.5)), (0, (8, 2, 1, 2)), (0, (3, 1, 1, 1)), (0, (1, 4)))
"""The same, of what the others were pruned from."""

UNPRUNED: dict[str, Any] = {"color": "#999999", "linewidth": 1.4, "zorder": 1}
BASELINE: dict[str, Any] = {"color": "#555555", "linewidth": 1.2, "zorder": 1}
EARLIER: dict[str, Any] = {"linestyle": (0, (4, 2)), "linewidth": 0.9, "zorder": 2}
"""Of curves of what a metric was before, in the colours of those of after."""

UNSAID = "#555555"
"""In a legend, of what is drawn in the colours of all configurations."""

DOTS: dict[str, Any] = {"linestyle": "none", "alpha": 0.35, "markersize": 3, "markeredgewidth": 0}
MEANS: dict[str, Any] = {"markersize": 5, "markeredgecolor": "white", "markeredgewidth": 0.5}
CURVES: dict[str, Any] = {"linewidth": 1.3, "elinewidth": 0.9, "capsize": 2, "zorder": 3, **MEANS}

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "svg.hashsalt": "sweeps",
    # A level named with dollars is a name, not a formula.
    "text.parse_math": False,
}
"""What figures are drawn and written with."""


COLOURS = list(_COLOURS)
"""Of configurations, one after the other."""

DASHES: list[list[float]] = [[] if isinstance(line, str) else list(line[1]) for line in _LINES]
"""Of their lines, in widths of the line: drawn and left out in turn; nothing of a whole one."""


def colour_and_marker(index: int) -> dict[str, Any]:
    """Return what tells the configuration at this place from the others."""
    return {"color": _COLOURS[index % len(_COLOURS)], "marker": _MARKERS[index % len(_MARKERS)]}


def line(index: int) -> Any:
    """Return the line style of the configuration at this place."""
    return _LINES[index % len(_LINES)]


def columns_of(names: list[str]) -> int:
    """Return how many columns a legend of these names has room for."""
    return 2 if max(map(len, names), default=0) <= 45 else 1


def metric_axis(plot: Axes, label: str, *, low: float, high: float) -> None:
    """Draw the vertical axis of a metric with values from `low` to `high`; neither is known where there are none."""
    plot.set_ylabel(label)
    plot.grid(axis="y", color="#dddddd", linewidth=0.6)
    plot.set_axisbelow(True)
    if high >= 1e4:  # 12M in place of 1.2 and a 1e7 apart from it
        plot.yaxis.set_major_formatter(EngFormatter(sep=""))
    if high > low or high > 0:
        # From zero, so that differences show in proportion; a little under, so that a marker there is whole.
        low, high = min(low, 0), max(high, 0)
        plot.set_ylim(low - 0.02 * (high - low), high + 0.04 * (high - low))
