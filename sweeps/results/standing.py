"""Where a sweep stands: which rows of its grid are finished, which failed and why, which are to come."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from sweeps.planning.rules import columns, judge
from sweeps.results.failures import failures_of
from sweeps.results.rows.places import places
from sweeps.results.rows.present import outside
from sweeps.results.sweep import find_sweep
from sweeps.spec import Spec
from sweeps.storage import Store
from sweeps.storage.rows import row_values
from sweeps.study import Cell

State = Literal["finished", "failed", "skipped", "to come"]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A sweep at one moment. Rows are known by what tells their cell, see `standing`.

    Attributes:
        cells: of the grid and its baselines, baselines first.
        published: when each row of the storage was, in nanoseconds since 1970; also rows outside the grid.
        failures: the record of each row of the storage that failed.
        skipped: rows that a rule of the spec leaves out, each with the rule in words.
    """

    store: Store
    name: str
    spec: Spec
    cells: Mapping[Hashable, Cell]
    published: Mapping[Hashable, int]
    failures: Mapping[Hashable, dict[str, Any]]
    skipped: Mapping[Hashable, str]

    @property
    def finished(self) -> set[Hashable]:
        """Rows of the grid that are there."""
        return self.published.keys() & self.cells.keys()

    @property
    def failed(self) -> set[Hashable]:
        """Rows of the grid that failed, and have not been computed since."""
        return (self.failures.keys() & self.cells.keys()) - self.finished - self.skipped.keys()

    @property
    def left(self) -> int:
        """How many rows of the grid are to come."""
        return len(self.cells) - len(self.finished) - len(self.failed) - len(self.skipped)

    @property
    def is_complete(self) -> bool:
        """Whether all rows are there that rules do not leave out."""
        return len(self.finished) + len(self.skipped) == len(self.cells)

    @property
    def outside(self) -> str:
        """A sentence on rows outside the grid; no text where there are none."""
        return outside(self.name, len(self.published.keys() - self.cells.keys()), used=False)

    @property
    def frame(self) -> pd.DataFrame:
        """A line per row of the grid: its axes, its `state`, and why, in `cause`, it failed or is skipped."""
        finished, failed = self.finished, self.failed

        def line(key: Hashable) -> dict[str, Any]:
            if key in self.skipped:
                return {"state": "skipped", "cause": self.skipped[key]}
            state: State = "finished" if key in finished else "failed" if key in failed else "to come"
            return {"state": state, "cause": self.failures[key]["cause"] if key in failed else None}

        columns = [*(axis.name for axis in self.spec.study.axes), "state", "cause"]
        return pd.DataFrame([cell | line(key) for key, cell in self.cells.items()], columns=columns)


def standing(location: str) -> Standing:
    """Look where a sweep stands.

    Args:
        location: `<storage>/<name>`.

    Raises:
        StorageError: there is no sweep, or it cannot be read.
        SpecError: nothing is known of its grid.
    """
    store, name, spec = find_sweep(location)
    place, axes = places(spec.study)
    looked_at = columns(spec)
    lines = row_values(store, name, [*axes, *looked_at]) if axes or looked_at else {}
    cells = {place("", cell): cell for cell in spec.planned}
    published = {place(key, lines.get(key, {})): at for key, at in store.published_at(name).items()}
    failures = {place(failure["row_key"], failure["cell"]): failure for failure in failures_of(store, name)}
    values = {place(key, line): line for key, line in lines.items()}
    return Standing(
        store=store,
        name=name,
        spec=spec,
        cells=cells,
        published=published,
        failures=failures,
        skipped=judge(spec, cells, values, failures.keys() - published.keys()).skipped,
    )
