"""What a study declares to whoever runs it. The shapes are those of `sweeps.study`, which is not imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Cell = Mapping[str, Any]
"""One point of the grid: a value per axis."""

NONE = "none"
"""Where an axis has no value: what is unpruned was neither scored nor pruned in any way."""


class Stage(NamedTuple):
    """What determines the result of a stage; see `sweeps.study.Stage`."""

    axes: tuple[str, ...]
    settings: Mapping[str, Any]
    version: int = 1


class Axis(NamedTuple):
    """An axis of the grid; see `sweeps.study.Axis`."""

    name: str
    kind: type
    choices: tuple[str, ...] | None = None
    bounds: tuple[float, float] | None = None
