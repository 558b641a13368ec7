"""A table of the page with a column for each ratio and, for each configuration, several lines of numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import pandas as pd

from sweeps.reporting.page.html_tables import scrolling
from sweeps.reporting.summary import MISSING
from sweeps.statistics.marks import STAR


class Line(NamedTuple):
    """What stands at each ratio: a number as text, and its spread or nothing, which stands below."""

    name: str
    cells: Mapping[Any, tuple[str, str]]


def line(
    name: str, values: pd.Series[float], shown: Callable[[float], str], sd: pd.Series[float] | None = None
) -> Line:
    """Return the line of numbers that are indexed by ratio.

    Args:
        name: before the first cell.
        values: NaN where there is none.
        shown: writes a number.
        sd: standard deviations; NaN of a single value.
    """
    present = values.dropna()
    spreads = [float("nan")] * len(present) if sd is None else sd.reindex(present.index)
    cells = zip(present.index, present, spreads, strict=True)
    return Line(
        name, {at: (shown(value), f"± {shown(spread)}" if spread == spread else "") for at, value, spread in cells}
    )


def grouped_table(
    groups: Iterable[tuple[str, Sequence[Line]]], *, along: str, ratios: Sequence[float], caption: str
) -> str:
    """Return the table; a group is a configuration with its lines, and a cell that is not there is a dash."""
    heads = "".join(f'<th scope="col" class="number">{at:g}</th>' for at in ratios)
    head = f'<thead><tr><th scope="col">{escape(along)} →</th><td></td>{heads}</tr></thead>'
    bodies = "".join(_body(name, lines, ratios) for name, lines in groups)
    return scrolling(f"<table><caption>{escape(caption)}</caption>{head}{bodies}</table>", label=caption)


def _body(name: str, lines: Sequence[Line], ratios: Sequence[float]) -> str:
    group = f'<th scope="rowgroup" rowspan="{len(lines)}">{escape(name)}</th>'
    rows = (f'<th scope="row">{escape(each.name)}</th>{"".join(_cell(each, at) for at in ratios)}' for each in lines)
    return f"<tbody><tr>{group}{'</tr><tr>'.join(rows)}</tr></tbody>\n"


def _cell(each: Line, at: float) -> str:
    number, spread = each.cells.get(at, (MISSING, ""))
    below = f' <span class="spread">{escape(spread)}</span>' if spread else ""
    return f'<td class="number{" significant" if number.endswith(STAR) else ""}">{escape(number)}{below}</td>'
