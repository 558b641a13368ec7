"""Tables of p-values on the page: per factor three lines a contrast, and below them every number of every test.

What is tested is told in `statistics`; a star says what is significant, so that colour and weight need not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import pandas as pd

from sweeps.reporting.page.html_tables import scrolling, sortable_table
from sweeps.reporting.summary import CONTRAST_MEANS, MISSING, families, format_p, notes, starred
from sweeps.statistics.marks import STAR
from sweeps.statistics.roles import Roles


def significance_html(tests: pd.DataFrame, *, label: str, roles: Roles) -> str:
    """Return what `contrasts` found of a metric, which `label` names."""
    design = f"blocked by {roles.replicate}" if tests["design"].iloc[0] == "paired" else "of independent groups"
    parts = [
        f"<p>{escape(label)}: {escape(tests['test'].iloc[0])} at each {escape(roles.along)}, "
        f"{escape(design)}. {escape(CONTRAST_MEANS)}; in brackets its 95% interval.</p>"
    ]
    for factor, pairs in families(tests, roles=roles):
        ratios = sorted({at for _, lines in pairs for at in lines.index})
        bodies = "".join(_contrast(name, lines.reindex(ratios)) for name, lines in pairs)
        caption = f"Does {factor} matter? p, p after Holm's correction, and Hedges' g"
        table = f"<table><caption>{escape(caption)}</caption>{_head(roles.along, ratios)}{bodies}</table>"
        said = "".join(f"<li>{escape(note)}</li>" for note in notes(pairs))
        parts.append(f"<h3>{escape(factor)}</h3>{scrolling(table, label=f'Tests of {factor}')}")
        parts.append(f'<ul class="quiet">{said}</ul>' if said else "")
    everything = sortable_table(tests, caption="Every number of every test")
    parts.append(f'<details class="screen"><summary>Every number</summary>{everything}</details>')
    return "".join(parts)


def _head(along: str, ratios: Sequence[Any]) -> str:
    heads = "".join(f'<th scope="col" class="number">{at:g}</th>' for at in ratios)
    return f'<thead><tr><th scope="col">{escape(along)} →</th><td></td>{heads}</tr></thead>'


def _contrast(name: str, lines: pd.DataFrame) -> str:
    p = "".join(f'<td class="number">{format_p(value)}</td>' for value in lines["p_value"])
    holm = "".join(
        f'<td class="number{" significant" if star == STAR else ""}">{starred(value, star)}</td>'
        for value, star in zip(lines["p_holm"], lines["mark"], strict=True)
    )
    effects = zip(lines["effect_size"], lines["effect_low"], lines["effect_high"], strict=True)
    g = "".join(f'<td class="number">{_effect(*effect)}</td>' for effect in effects)
    return (
        f'<tbody><tr><th scope="rowgroup" rowspan="3">{escape(name)}</th><th scope="row">p</th>{p}</tr>'
        f'<tr><th scope="row">Holm</th>{holm}</tr><tr><th scope="row">g</th>{g}</tr></tbody>\n'
    )


def _effect(g: float, low: float, high: float) -> str:
    if math.isnan(g):
        return MISSING
    ends = (f"{end:.1f}" if abs(end) < 10 else f"{end:.0f}" for end in (low, high))
    return f'{g:+.1f} <span class="spread">[{", ".join(ends)}]</span>'
