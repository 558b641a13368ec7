"""How far a sweep is, on the page: rows finished of those planned, and what kept the others, grouped by cause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import pandas as pd

from sweeps.reporting.page.html_tables import small_table, sortable_table
from sweeps.results.rows.present import keys_of
from sweeps.statistics.means import configuration_name
from sweeps.statistics.roles import Roles

Key = tuple[Any, ...]


class Progress(NamedTuple):
    """The keys of the rows that are planned, in grid order, and of those that finished or failed."""

    planned: list[Key]
    finished: set[Key]
    failed: set[Key]

    @property
    def sentence(self) -> str:
        """Where the sweep stands."""
        to_come = len(self.planned) - len(self.finished) - len(self.failed)
        said = f"{len(self.finished)} of {len(self.planned)} rows finished"
        said += f", {len(self.failed)} failed" if self.failed else ""
        return said + (f", {to_come} to come." if to_come else ".")


def progress_of(
    planned: Sequence[Mapping[str, Any]], *, rows: pd.DataFrame, failures: pd.DataFrame, roles: Roles
) -> Progress:
    """Compare the cells that a spec plans, baselines included, with what is there; all have a column per axis."""
    keys = [tuple(cell[axis] for axis in roles.axes) for cell in planned]
    finished = set(keys) & _keys(rows, roles)
    return Progress(keys, finished, (set(keys) & _keys(failures, roles)) - finished)


def progress_html(progress: Progress, failures: pd.DataFrame, *, roles: Roles) -> str:
    """Return the state of each configuration that is not complete, and the failures.

    Args:
        progress: of the rows.
        failures: one line per failure, with columns `stage` and `cause`; may be empty.
        roles: of the key columns.
    """
    parts = [f"<p>{escape(progress.sentence)}</p>"]
    if len(progress.finished) < len(progress.planned):
        caption = "Rows of the configurations that are not complete"
        heads = ["configuration", "planned", "finished", "failed", "to come"]
        parts.append(small_table(heads, _incomplete(progress, roles), caption=caption))
    if failures.empty:
        return "".join([*parts, "<p>No row failed.</p>"])
    causes = Counter(failures[["cause", "stage"]].itertuples(index=False, name=None))
    lines = [(cause, stage, count) for (cause, stage), count in causes.most_common()]
    parts.append(small_table(["cause", "stage", "failures"], lines, caption="Failures by cause"))
    every = sortable_table(failures, caption="Every failure, with its traceback")
    parts.append(f'<details class="screen"><summary>Every failure</summary>{every}</details>')
    return "".join(parts)


def _incomplete(progress: Progress, roles: Roles) -> list[tuple[str, int, int, int, int]]:
    places = [roles.axes.index(factor) for factor in roles.factors]

    def count(keys: Sequence[Key] | set[Key]) -> Counter[str]:
        return Counter(configuration_name(roles.factors, [key[place] for place in places]) for key in keys)

    planned, finished, failed = count(progress.planned), count(progress.finished), count(progress.failed)
    return [
        (name, number, finished[name], failed[name], number - finished[name] - failed[name])
        for name, number in planned.items()
        if finished[name] < number
    ]


def _keys(frame: pd.DataFrame, roles: Roles) -> set[Key]:
    return set(keys_of(frame, roles.axes)) if len(frame) else set()
