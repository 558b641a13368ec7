"""Why rows failed, in words: causes with the rows that they are of, and a traceback of each."""

from __future__ import annotations

import socket
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape

from sweeps.errors import SpecError
from sweeps.results.failures import Group, Unmended, failures_of, grouped, unmended
from sweeps.results.rows.present import outside
from sweeps.results.sweep import find_store, find_sweep

MOST_CAUSES = 20
"""Lines of a list of causes, at most."""

MOST_VALUES = 6
"""Values of an axis, or hosts, named for the failures of one cause."""

_ORDER = ("stage", "cause", "host", "failed_at", "attempts", "pid", "address", "log", "memory", "row_key", "traceback")


def show_failures(
    location: str, console: Console, form: str = "table", *, every: bool = False, all_rows: bool = False
) -> None:
    """Print the failures of a sweep by cause, with a traceback of each.

    Args:
        location: `<storage>/<name>`.
        console: for people; csv and json go to standard output.
        form: `table`, `csv` or `json`; the latter two have every failure.
        every: with every failure, each with its own traceback.
        all_rows: also of rows outside the sweep's present grid.
    """
    store, name = find_store(location)
    row_axis = None
    try:
        _, _, spec = find_sweep(location)
    except SpecError:  # nobody knows of a grid
        found = Unmended(list(failures_of(store, name)), 0)
    else:
        row_axis = spec.study.row_axis
        found = unmended(store, spec, all_rows=all_rows)
    said = outside(name, found.outside, used=all_rows, failed=True)
    groups = grouped(found.failures)
    if form != "table":
        if said:
            print(said, file=sys.stderr)
        _write(groups, form)
        return
    count = len(found.failures)
    causes = f", of {_count(len(groups), 'cause')}" if groups else ""
    console.print(f"{name}: {_count(count, 'row') if count else 'no row'} failed{causes}", markup=False)
    if said:
        console.print(said, markup=False, soft_wrap=True)
    for group in groups:
        console.print()
        _show(group, row_axis, console, every=every)


def show_causes(failures: Iterable[Mapping[str, Any]], console: Console) -> None:
    """Print the causes of failures, the most frequent first."""
    groups = grouped(failures)
    for group in groups[:MOST_CAUSES]:
        console.print(f"  {len(group.failures)} × {group}", markup=False, soft_wrap=True)
    if len(groups) > MOST_CAUSES:
        console.print(f"  … and {len(groups) - MOST_CAUSES} more causes; `sweeps failures` lists them all")


def _show(group: Group, row_axis: str | None, console: Console, *, every: bool) -> None:
    cells = [failure["cell"] for failure in group.failures]
    trials = {tuple((axis, value) for axis, value in cell.items() if axis != row_axis) for cell in cells}
    of = f" of {_count(len(trials), 'trial')}" if row_axis is not None else ""
    console.print(f"[bold]{_count(len(cells), 'row')}{of}[/bold], {escape(str(group))}", soft_wrap=True)
    for line in filter(None, (_which(group.failures), _where_and_when(group.failures))):
        console.print(f"  {line}", markup=False, soft_wrap=True)
    if len(cells) == 1 or not every:
        first = group.failures[0]
        if len(cells) > 1:
            console.print(f"  the first, {_cell(first)}:", markup=False, soft_wrap=True)
        _show_traceback(first, console)
        return
    for failure in group.failures:
        console.print(f"[bold]{escape(_cell(failure))}[/bold] on {escape(failure['host'])}", soft_wrap=True)
        _show_traceback(failure, console)


def _show_traceback(failure: Mapping[str, Any], console: Console) -> None:
    console.print(failure["traceback"].rstrip(), markup=False, soft_wrap=True)
    log = failure.get("log")
    if isinstance(log, str) and failure["host"] == socket.gethostname() and not Path(log).exists():
        console.print("(Its log is no longer there: that of a run's own Ray goes with the run.)")


def _cell(failure: Mapping[str, Any]) -> str:
    return ", ".join(f"{axis} {value}" for axis, value in failure["cell"].items()) or str(failure["row_key"])


def _which(failures: Sequence[Mapping[str, Any]]) -> str:
    """Return which rows failed: the values that each axis has among them."""
    axes = {axis: None for failure in failures for axis in failure["cell"]}
    said = []
    for axis in axes:
        values = {failure["cell"][axis] for failure in failures if axis in failure["cell"]}
        numbers = sorted(value for value in values if not isinstance(value, str))
        words = sorted(value for value in values if isinstance(value, str))
        if len(numbers) > MOST_VALUES:
            words = [*words, f"{numbers[0]} to {numbers[-1]} ({len(numbers)} values)"]
            numbers = []
        said.append(f"{axis} {_listed([*words, *map(str, numbers)])}")
    return "; ".join(said)


def _where_and_when(failures: Sequence[Mapping[str, Any]]) -> str:
    hosts = Counter(str(failure["host"]) for failure in failures)
    told = [name if len(hosts) == 1 else f"{name} ({count})" for name, count in hosts.most_common()]
    times = sorted(failure["failed_at"] for failure in failures if isinstance(failure.get("failed_at"), str))
    attempts = sorted({failure["attempts"] for failure in failures if isinstance(failure.get("attempts"), int)})
    said = [f"on {_listed(told)}"]
    if times:
        said.append(_span(times[0], times[-1]))
    if attempts:
        after = str(attempts[0]) if len(attempts) == 1 else f"{attempts[0]} to {attempts[-1]}"
        said.append(f"after {after} {'attempt' if attempts[-1] == 1 else 'attempts'}")
    return ", ".join(said)


def _span(first: str, last: str) -> str:
    """Return two times as a span, in this machine's time zone."""
    try:
        begin, end = (datetime.fromisoformat(text).astimezone() for text in (first, last))
    except ValueError:
        return f"{first} to {last}"
    same_day = begin.date() == end.date()
    until = f" to {end:{'%H:%M:%S' if same_day else '%Y-%m-%d %H:%M:%S'}}" if end != begin else ""
    return f"{begin:%Y-%m-%d %H:%M:%S}{until}"


def _listed(words: Sequence[str]) -> str:
    more = len(words) - MOST_VALUES
    return ", ".join([*words[:MOST_VALUES], *([f"and {more} more"] if more > 0 else [])])


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _write(groups: Sequence[Group], form: str) -> None:
    """Print every failure in a line of its own, with the number of its cause."""
    records = [
        {**failure["cell"], "group": number, **{name: failure.get(name) for name in _ORDER}}
        for number, group in enumerate(groups, 1)
        for failure in group.failures
    ]
    # Without a type of its own: whole numbers stay so where some are not known.
    from sweeps.reporting.terminal import tables  # and with it statistics, which a plan does without

    tables.write(pd.DataFrame(records, dtype=object), form)
