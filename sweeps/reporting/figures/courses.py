"""Figure of how something went in the course of rows: a panel for each sort of rows, a curve for each name."""

from __future__ import annotations

from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sweeps.reporting.figures import style
from sweeps.study import Course

ACROSS = 3
"""Panels beside each other, at most."""


def means_of(course: Course) -> pd.DataFrame:
    """Return the means over repetitions: columns `panel`, `name`, `at`, `mean`, and `count` of the values in it."""
    values = pd.DataFrame(
        [
            (curve.panel, curve.name, at, value)
            for curve in course.curves
            for at, value in zip(curve.at, curve.values, strict=True)
        ],
        columns=["panel", "name", "at", "value"],
    )
    grouped = values.groupby(["panel", "name", "at"], sort=False)["value"]
    return grouped.agg(["mean", "count"]).reset_index().sort_values(["panel", "name", "at"], kind="stable")


def over_course(course: Course) -> Figure:
    """Draw every repetition faintly, and their means.

    Args:
        course: with one curve at least.
    """
    means = means_of(course)
    panels, names = (list(dict.fromkeys(getattr(curve, part) for curve in course.curves)) for part in ("panel", "name"))
    wide, lines = min(ACROSS, len(panels)), -(-len(panels) // ACROSS)
    columns = style.columns_of(names)
    low, high = means["mean"].min(), max(max(curve.values, default=0) for curve in course.curves)
    with matplotlib.rc_context(style.STYLE):
        size = (2.6 * wide + 1.4, 2.5 * lines + 0.3 + 0.19 * -(-len(names) // columns))
        figure = Figure(figsize=size, layout="constrained")
        plots = figure.subplots(lines, wide, sharex=True, sharey=True, squeeze=False).ravel().tolist()
        for unused in plots[len(panels) :]:
            unused.remove()
        handles: dict[str, Any] = {}
        for place, (plot, panel) in enumerate(zip(plots, panels, strict=False)):
            for curve in course.curves:
                if curve.panel == panel:
                    shade = style.colour_and_marker(names.index(curve.name))["color"]
                    plot.plot(curve.at, curve.values, color=shade, alpha=0.35, linewidth=0.7)
            for index, name in enumerate(names):
                mean = means[(means["panel"] == panel) & (means["name"] == name)]
                if len(mean):
                    shared = style.colour_and_marker(index)
                    every = max(1, len(mean) // 8)
                    (handles[name],) = plot.plot(
                        mean["at"], mean["mean"], linestyle=style.line(index), markevery=every, **shared, **style.MEANS
                    )
            plot.set_title(panel, fontsize=9)
            plot.set_xlabel(course.along)
            plot.xaxis.set_major_locator(MaxNLocator("auto", integer=bool((means["at"] % 1 == 0).all())))
            plot.spines.top.set_visible(False)
            style.metric_axis(plot, course.label if place % ACROSS == 0 else "", low=low, high=high)
        figure.legend([*handles.values()], [*handles], loc="outside lower center", ncols=columns, handlelength=3.6)
    return figure
