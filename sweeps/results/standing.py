"""Where a sweep stands: which rows of its grid are finished, which failed and why, which are to come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from sweeps.planning.keys import cell_digest
from sweeps.results.failures import failures_of
from sweeps.results.present import outside
from sweeps.results.sweep import find_sweep
from sweeps.spec import Spec
from sweeps.storage import Store
from sweeps.study import Cell

State = Literal["finished", "failed", "to come"]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A sweep at one moment. Rows are known by the part of their key that identifies their cell.

    Attributes:
        cells: of the grid and its baselines, baselines first.
        published: when each row of the storage was, in nanoseconds since 1970; also rows outside the grid.
        failures: the record of each row of the storage that failed.
    """

    store: Store
    name: str
    spec: Spec
    cells: Mapping[str, Cell]
    published: Mapping[str, int]
    failures: Mapping[str, dict[str, Any]]

    @property
    def finished(self) -> set[str]:
        """Rows of the grid that are there."""
        return self.published.keys() & self.cells.keys()

    @property
    def failed(self) -> set[str]:
        """Rows of the grid that failed, and have not been computed since."""
        return (self.failures.keys() & self.cells.keys()) - self.finished

    @property
    def left(self) -> int:
        """How many rows of the grid are to come."""
        return len(self.cells) - len(self.finished) - len(self.failed)

    @property
    def outside(self) -> str:
        """A sentence on rows outside the grid; no text where there are none."""
        return outside(self.name, len(self.published.keys() - self.cells.keys()), used=False)

    @property
    def frame(self) -> pd.DataFrame:
        """A line per row of the grid: its axes, its `state`, and where it failed, its `cause`."""
        finished, failed = self.finished, self.failed

        def line(key: str) -> dict[str, Any]:
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
    return Standing(
        store=store,
        name=name,
        spec=spec,
        cells={cell_digest(cell): cell for cell in spec.study.baselines(spec.cells) + spec.cells},
        published={key.split("-")[0]: at for key, at in store.published_at(name).items()},
        failures={failure["row_key"].split("-")[0]: failure for failure in failures_of(store, name)},
    )
