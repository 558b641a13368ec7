"""Tables on the page: small ones with a caption, and large ones that are sorted and filtered in place.

A number's cell holds its full value as `data-value`; what is shown may be rounded.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import pandas as pd

from sweeps.reporting.summary import MISSING

_NUMBER = ' class="number"'


def scrolling(table: str, *, label: str) -> str:
    """Return a wide or long table in a region that scrolls in place, by keyboard too."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">{table}</div>'


def small_table(heads: Sequence[str], lines: Iterable[Sequence[Any]], *, caption: str) -> str:
    """Return a table whose first column names its lines.

    Args:
        heads: as many as each line has values.
        lines: text, numbers or None; a number together with how it is written is a pair `(number, text)`.
        caption: plain text.
    """
    listed = [list(line) for line in lines]
    numeric = [any(_is_number(line[column]) for line in listed) for column in range(len(heads))]
    head = "".join(
        f'<th scope="col"{_NUMBER if right else ""}>{escape(name)}</th>'
        for name, right in zip(heads, numeric, strict=True)
    )
    body = "".join(
        f'<tr><th scope="row">{escape(str(name))}</th>{_cells(values, numeric[1:])}</tr>\n' for name, *values in listed
    )
    table = f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return scrolling(f'<table class="lines">{table}</table>', label=caption)


def sortable_table(frame: pd.DataFrame, *, caption: str, key: str = "") -> str:
    """Return a table of anything, sorted by the column whose head is pressed.

    Args:
        frame: what it holds, in the order it has before it is sorted.
        caption: plain text.
        key: the `id` of the table, for `filters`.
    """
    numeric = [pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes]
    heads = "".join(
        f'<th scope="col"{_NUMBER if right else ""}><button type="button">{escape(str(column))}</button></th>'
        for column, right in zip(frame.columns, numeric, strict=True)
    )
    body = "".join(f"<tr>{_cells(line, numeric)}</tr>\n" for line in frame.itertuples(index=False, name=None))
    table = f"<caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead><tbody>{body}</tbody>"
    named = f' id="{key}"' if key else ""
    return scrolling(f'<table class="sortable lines"{named}>{table}</table>', label=caption)


def filters(frame: pd.DataFrame, *, key: str, columns: Sequence[str]) -> str:
    """Return the controls that filter `sortable_table(frame, key=key)`: words in any column, and a level of each of
    `columns`. They show where scripts run.
    """
    names = frame.columns.tolist()
    choices = "".join(
        f'<label>{escape(column)} <select data-column="{names.index(column)}"><option value="">all</option>'
        f"{''.join(map(_option, sorted(frame[column].dropna().unique().tolist())))}</select></label>\n"
        for column in columns
    )
    words = '<label>words in any column <input type="search" size="24"></label>\n'
    return (
        f'<form class="filter" role="search" aria-label="Filter the rows" data-table="{key}" autocomplete="off" hidden>'
        f"{words}{choices}"
        '<button type="button">show all</button><p role="status" class="quiet"></p></form>'
    )


def _cells(values: Iterable[Any], numeric: Iterable[bool]) -> str:
    return "".join(_cell(value, right) for value, right in zip(values, numeric, strict=True))


def _cell(value: Any, right: bool) -> str:
    """Return a cell, of a column of numbers where `right`; text of several lines is folded."""
    place = _NUMBER if right else ""
    if isinstance(value, tuple):
        number, shown = value
        return f'<td{place} data-value="{number}">{escape(shown)}</td>'
    if pd.isna(value) or value == "":
        return f"<td{place}>{MISSING}</td>"
    text = escape(str(value))
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        return f'<td{place} data-value="{text}">{value:.4g}</td>'
    if "\n" in text.strip():
        first, last = text.strip().splitlines()[0], text.strip().splitlines()[-1]
        summary = last if first.startswith("Traceback") else first
        folded = f"<details><summary>{summary}</summary><pre>{text}</pre></details>"
        return f'<td data-value="{summary}">{folded}</td>'
    return f'<td{place} data-value="{text}">{text}</td>'


def _option(level: Any) -> str:
    shown = f"{level:.15g}" if isinstance(level, float) else str(level)
    return f'<option value="{escape(str(level))}">{escape(shown)}</option>'


def _is_number(value: Any) -> bool:
    return isinstance(value, (numbers.Real, tuple)) and not isinstance(value, bool)
