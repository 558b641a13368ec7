"""Where the rows come from, on the page: versions, machines and times, with what differs between rows told apart."""

from __future__ import annotations

from datetime import datetime
from html import escape

import pandas as pd

from sweeps.reporting.page.html_tables import scrolling
from sweeps.reporting.page.section import folded

FIELDS = {
    "device": "device",
    "host": "host",
    "git_commit": "git commit",
    "torch_version": "PyTorch",
    "ray_version": "Ray",
    "sweeps_version": "version of this package",
    "schema_version": "schema of the rows",
    "spec_hash": "spec hash",
}
"""Columns that are told where the rows have them, in words."""


def provenance_html(rows: pd.DataFrame) -> str:
    """Return a line for each of `FIELDS`, for the times and for the attempts; where rows differ, it says how many."""
    facts = {words: _values(rows[column]) for column, words in FIELDS.items() if column in rows}
    if {"started_at", "finished_at"} <= set(rows.columns):
        facts["computed"] = [_span(rows["started_at"].min(), rows["finished_at"].max())]
    if "attempt" in rows:
        again = int((rows["attempt"] > 1).sum())
        facts["attempts"] = [f"more than one for {again} of {len(rows)} rows" if again else "one for every row"]
    if not facts:
        return "<p>Nothing is recorded.</p>"
    caption = "What the rows were computed with"
    lines = "".join(_line(words, values) for words, values in facts.items())
    table = f'<table class="lines"><caption>{caption}</caption><tbody>{lines}</tbody></table>'
    return folded(caption, scrolling(table, label=caption))


def _values(column: pd.Series[str]) -> list[str]:
    """Return what the rows say, the most frequent first; with the numbers of rows if they do not agree."""
    counts = column.fillna("not recorded").value_counts()
    if len(counts) == 1:
        return [str(counts.index[0])]
    return [f"{value} ({count} of {len(column)} rows)" for value, count in counts.items()]


def _span(start: str, finish: str) -> str:
    first, last = datetime.fromisoformat(start), datetime.fromisoformat(finish)
    return f"{first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} {last:%Z}, in {last - first} (h:mm:ss)"


def _line(words: str, values: list[str]) -> str:
    differ = f"<strong>{len(values)} different</strong><br>" if len(values) > 1 else ""
    shown = "<br>".join(map(escape, values))
    return f'<tr><th scope="row">{escape(words)}</th><td>{differ}{shown}</td></tr>\n'
