"""A study whose stages depend on a field of the settings each, so that what cells share can be counted.

Specs name it as `tests.support.layered_study:LayeredStudy`. Its stages write no diary: rows are counted by keys, or by
what a run leaves in the storage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from sweeps.study import Axis, Cell, Checkpoint, Progress, Stage, Study

SPEC = """\
name: layered
study: tests.support.layered_study:LayeredStudy
grid:
  method: [plain, tuned]
  seed: [0, 1]
  dose: [0, 0.5]
stress: {name: push}
"""


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Push(Strict):
    """A steady push."""

    name: Literal["push"] = "push"
    force: float = Field(default=1.0, gt=0)
    steps: int = 1


class Kick(Strict):
    """A sudden kick."""

    name: Literal["kick"] = "kick"
    force: float = Field(default=2.0, gt=0)


class Growing(Strict):
    epochs: int = Field(default=1, ge=1, description="how long it grows")


class Tuning(Strict):
    rounds: int = 1
    damping: float | None = None


class LayeredSettings(Strict):
    stress: Annotated[Push | Kick, Field(discriminator="name")] = Push()
    growing: Growing = Growing()
    tuning: Tuning = Tuning()
    finish: Literal["matt", "gloss"] | None = None
    sides: int | list[int] = 4
    polish: bool = False
    workers: int = Field(default=1, description="no result depends on it")


class LayeredStudy(Study):
    """grow (per seed: `growing`, `stress`) → tune (`tuned` alone: `tuning`) → row (`finish`, `polish`, `sides`)."""

    Settings: ClassVar = LayeredSettings
    axes: ClassVar = (
        Axis("method", str, choices=("plain", "tuned")),
        Axis("seed", int),
        Axis("dose", float, bounds=(0.0, 1.0)),
    )
    stages: ClassVar = ("grow", "tune", "measure")
    row_axis: ClassVar = "dose"
    replicate_axis: ClassVar = "seed"
    columns: ClassVar = {"height": float}
    metrics: ClassVar = {"height": "height"}

    def baselines(self, cells: Sequence[Cell]) -> list[Cell]:
        return [{"method": "none", "seed": 0, "dose": 0.0}]

    def is_baseline(self, cell: Any) -> bool:
        return bool(cell["method"] == "none")

    def stage(self, name: str, cell: Cell) -> Stage | None:
        if name == "grow":
            return Stage(("seed",), fields=("growing", "stress"))
        if name == "tune":
            return Stage(("method", "seed"), fields=("tuning",)) if cell["method"] == "tuned" else None
        every = ("method", "seed", "dose")
        if self.is_baseline(cell):
            return Stage(every, fields=("stress",), reads=("grow",))
        return Stage(every, fields=("finish", "polish", "sides"), reads=("grow", "tune"))

    def grow(self, cell: Cell, progress: Progress) -> Checkpoint:
        return {
            "height": np.array(self.settings.growing.epochs + self.settings.stress.force + 0.1 * float(cell["seed"]))
        }

    def tune(self, cell: Cell, grown: Checkpoint, progress: Progress) -> Checkpoint:
        return {"gain": np.array(1.0 + self.settings.tuning.rounds)}

    def measure(
        self, cell: Cell, grown: Checkpoint, tuned: Checkpoint | None = None, progress: Progress | None = None
    ) -> dict[str, Any]:
        if self.is_baseline(cell):
            return {"height": float(grown["height"])}
        gain = 1.0 if tuned is None else float(tuned["gain"])
        polished = 0.5 * self.settings.polish + len(self.settings.finish or "")
        return {"height": float(grown["height"]) * gain * (1 - float(cell["dose"])) + polished}
