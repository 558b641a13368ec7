"""Names made of content: a key is a hash of everything that determines a result, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from sweeps.study import Cell, StageName, Study

ORDER: tuple[StageName, ...] = ("base", "pretrain", "score")
"""The stages before `evaluate_row`; each takes the result of the last one before it that its cell has."""


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


class StageKey(NamedTuple):
    """A stage of one cell. `shared` results are published under `key`; others are computed with their row."""

    name: StageName
    key: str
    shared: bool


class RowKey(NamedTuple):
    """`cell` identifies the point of the grid, `inputs` what its metrics are computed from."""

    cell: str
    inputs: str

    def __str__(self) -> str:
        """Return the name of the row's file, without suffix."""
        return f"{self.cell}-{self.inputs}"


def digest(value: Any, *, length: int = 16) -> str:
    """Return `length` hexadecimal digits that depend on a JSON value alone (mappings: on content, not order).

    Raises:
        ValueError: the value holds NaN or infinity.
        TypeError: the value is not JSON.
    """
    return hashlib.sha256(_ENCODER.encode(value).encode()).hexdigest()[:length]


def cell_digest(cell: Mapping[str, Any]) -> str:
    """Return the part of a row's key that identifies its cell. 0 and 0.0 are the same value."""
    return digest(
        {name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in cell.items()}
    )


class Keys:
    """The keys of a study's stages and rows. Stages that many cells share are hashed once."""

    def __init__(self, study: Study) -> None:
        """Name the results of `study`."""
        self._study = study
        self._known: dict[tuple[Any, ...], str] = {}

    def stages(self, cell: Cell) -> list[StageKey]:
        """Return the stages a cell goes through before its row, in order."""
        found: list[StageKey] = []
        for name in ORDER:
            stage = self._study.stage(name, cell)
            if stage is None:
                continue
            after = found[-1].key if found else ""
            axes = tuple((axis, cell[axis]) for axis in stage.axes)
            identity = (name, axes, after)
            if identity not in self._known:
                inputs = [stage.version, dict(axes), dict(stage.settings), after]
                self._known[identity] = f"{name}-{digest(inputs, length=20)}"
            found.append(StageKey(name, self._known[identity], self._study.row_axis not in stage.axes))
        return found

    def row(self, cell: Cell, stages: list[StageKey]) -> RowKey:
        """Return the key of a cell's row, given its stages."""
        stage = self._study.stage("evaluate_row", cell)
        assert stage is not None
        axes = {axis: cell[axis] for axis in stage.axes}
        return RowKey(cell_digest(cell), digest([stage.version, axes, dict(stage.settings), [s.key for s in stages]]))
