"""The figure of the page whose axes a reader chooses: what is chosen from, and the controls.

It is drawn by `templates/choosing.js` from what stands beside the controls; without scripts there is neither.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import pandas as pd

from sweeps.reporting.figures import style
from sweeps.reporting.figures.responses import is_wide
from sweeps.statistics.cells import are_numbers
from sweeps.statistics.means import shortened
from sweeps.statistics.roles import Roles

MOST_LEVELS = 60
"""Of an axis whose levels can be chosen one by one."""

_DIGITS = 6


def chooser_html(rows: pd.DataFrame, *, metrics: Mapping[str, str], roles: Roles) -> str:
    """Return a figure of any metric along any axis, in panels and lines of others, with the levels that are wanted.

    Args:
        rows: one for each cell that a row stands for, draws apart.
        metrics: columns to choose from, and their labels, the first of which is drawn at first.
        roles: of the key columns; the figure runs along a field at first, the one of the curves if that is one.
    """
    drawn = {metric: label for metric, label in metrics.items() if metric in rows and rows[metric].notna().any()}
    axes = [axis for axis in roles.axes if rows[axis].nunique(dropna=False) > 1]
    across = [axis for axis in axes if axis != roles.replicate]
    if not drawn or not across:
        return ""
    levels = {axis: _levels(rows[axis]) for axis in axes}
    short = shortened(axes)
    identity = rows[roles.identity] if roles.identity in rows else pd.Series(range(len(rows)))
    data = {
        "axes": [
            {
                "name": axis,
                "short": short[axis],
                "levels": levels[axis],
                "wide": are_numbers(rows[axis]) and is_wide(rows[axis]),
                "drawn": axis in roles.sampled,
                "repeated": axis == roles.replicate,
                "at": _places(rows[axis], levels[axis]),
            }
            for axis in axes
        ],
        "metrics": [{"label": label, "values": _rounded(rows[metric])} for metric, label in drawn.items()],
        "rows": pd.factorize(identity)[0].tolist(),
        "colours": style.COLOURS,
        "dashes": style.DASHES,
    }
    fields = [axis for axis in across if axis in (*roles.fields, *roles.sampled) and are_numbers(rows[axis])]
    first = roles.along if roles.along in fields else next(iter([*fields, *across]))
    panel = roles.panels if roles.panels in across else roles.along
    panels = [axis for axis in across if axis not in roles.sampled]
    single = [axis for axis in axes if axis not in roles.sampled and len(levels[axis]) <= MOST_LEVELS]
    named = [(str(axes.index(axis)), axis) for axis in across]
    apart = [each for each in named if each[1] in panels]
    at_first = str(axes.index(panel)) if panel in panels else ""
    controls = [
        _select("metric", "what is drawn", [(str(place), label) for place, label in enumerate(drawn.values())]),
        _select("along", "along", named, str(axes.index(first))),
        _select("panels", "a panel for each", [("", "none"), *apart], at_first),
        _select("lines", "a line for each", [("", "configuration"), *apart]),
    ]
    wanted = "".join(_levels_of(axes.index(axis), axis, levels[axis]) for axis in single)
    packed = escape(json.dumps(data, separators=(",", ":"), allow_nan=False), quote=True)
    return (
        f'<form class="chooser" aria-label="Choose what is drawn" autocomplete="off" data-drawn="{packed}" hidden>'
        f"<h3>Any metric along any axis</h3>{''.join(controls)}<fieldset><legend>Of these levels</legend>{wanted}"
        '<button type="button">as at first</button></fieldset></form>'
        '<figure class="chosen" hidden><div class="panels"></div><ul class="legend"></ul>'
        '<figcaption role="status"></figcaption>'
        "<details><summary>The means drawn</summary></details></figure>"
    )


def _levels(values: pd.Series[Any]) -> list[Any]:
    """Return the levels of an axis in order, as JSON has them."""
    return [_plain(level) for level in sorted(values.dropna().unique().tolist())]


def _places(values: pd.Series[Any], levels: list[Any]) -> list[int]:
    """Return the place of each value among the levels; -1 where there is none."""
    place = {level: index for index, level in enumerate(levels)}
    return [-1 if pd.isna(value) else place[_plain(value)] for value in values.tolist()]


def _plain(level: Any) -> Any:
    return level if isinstance(level, (bool, int, float)) else str(level)


def _rounded(values: pd.Series[Any]) -> list[float | None]:
    return [None if pd.isna(value) else float(f"{value:.{_DIGITS}g}") for value in values.tolist()]


def _levels_of(index: int, axis: str, levels: list[Any]) -> str:
    options = [("", "all"), *((str(place), _said(level)) for place, level in enumerate(levels))]
    return _select("level", axis, options, data=f' data-axis="{index}"')


def _select(name: str, label: str, options: Iterable[tuple[str, str]], chosen: str = "", data: str = "") -> str:
    listed = "".join(
        f'<option value="{value}"{" selected" if value == chosen else ""}>{escape(text)}</option>'
        for value, text in options
    )
    return f'<label>{escape(label)} <select name="{name}"{data}>{listed}</select></label>\n'


def _said(level: Any) -> str:
    return f"{level:.6g}" if isinstance(level, float) else str(level)
