"""A study whose stages take milliseconds, keep a diary of what ran, and misbehave on request.

Its axes are not those of detection, so that an engine which knows about boxes cannot pass. Specs name it as
`tests.toy_study:ToyStudy`.
"""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from sweeps.study import Axis, Cell, Checkpoint, Stage

SPEC = """\
name: toy
study: tests.toy_study:ToyStudy
grid:
  shape: [round, flat]
  method: [slow, quick]
  seed: [0, 1]
  dose: [0, 0.5, 1]
"""
"""8 trials of 3 rows and one baseline row: 25 rows from 1 base, 2 pretrainings and 2 shared scores."""

ROWS, PRETRAININGS, SHARED_SCORES = 25, 2, 2


class ToySettings(BaseModel):
    """`offset` changes results; everything else changes only what happens on the way to them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    offset: float = 0.0
    seconds: float = 0.0
    diary: str | None = None
    raise_in: str | None = None
    kill_in: str | None = None
    missing_data: bool = False


class ToyStudy:
    """base → pretrain (per seed) → score (`quick`: per seed and method; `slow`: per row) → row."""

    Settings: ClassVar = ToySettings
    axes: ClassVar = (
        Axis("shape", str, choices=("round", "flat")),
        Axis("method", str, choices=("slow", "quick")),
        Axis("seed", int),
        Axis("dose", float, bounds=(0.0, 1.0)),
    )
    row_axis: ClassVar = "dose"
    replicate_axis: ClassVar = "seed"
    columns: ClassVar = {"outcome": float, "effort_s": float, "machine": str}
    metrics: ClassVar = {"outcome": "outcome"}

    def __init__(self, settings: ToySettings) -> None:
        self.settings = settings

    def check(self, cells: Sequence[Cell]) -> None:
        if self.settings.missing_data:
            raise ValueError("toy.json: found nothing, expected the data")

    def baselines(self, cells: Sequence[Cell]) -> list[Cell]:
        return [{"shape": "none", "method": "none", "seed": 0, "dose": 0.0}]

    def is_baseline(self, cell: Mapping[str, Any]) -> bool:
        return bool(cell["method"] == "none")

    def stage(self, name: str, cell: Cell) -> Stage | None:
        offset = {"offset": self.settings.offset}
        if name == "base":
            return Stage((), offset)
        if name == "evaluate_row":
            return Stage(tuple(axis.name for axis in self.axes), offset)
        if self.is_baseline(cell) or (name == "score" and cell["dose"] == 0):
            return None
        if name == "pretrain":
            return Stage(("seed",), offset)
        per_row = tuple(axis.name for axis in self.axes)
        return Stage(("seed", "method") if cell["method"] == "quick" else per_row, offset)

    def base(self, cell: Cell) -> Checkpoint:
        self._happen("base", cell)
        return {"weights": np.arange(1000, dtype=np.float64) + self.settings.offset}

    def pretrain(self, cell: Cell, base: Checkpoint) -> Checkpoint:
        self._happen("pretrain", cell)
        return {"weights": base["weights"] * (1 + float(cell["seed"]))}

    def score(self, cell: Cell, checkpoint: Checkpoint) -> Checkpoint:
        self._happen("score", cell)
        return {"scores": np.sqrt(checkpoint["weights"])}

    def evaluate_row(self, cell: Cell, checkpoint: Checkpoint, scores: Checkpoint | None) -> dict[str, Any]:
        self._happen("evaluate_row", cell)
        assert not checkpoint["weights"].flags.writeable, "the checkpoint was copied on its way here"
        kept = checkpoint["weights"] * (1 - float(cell["dose"]))
        bonus = float(scores["scores"].mean()) if scores is not None else 0.0
        return {
            "outcome": float(kept.sum()) + bonus + len(str(cell["shape"])),
            "effort_s": self.settings.seconds,
            "machine": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        }

    def _happen(self, stage: str, cell: Cell) -> None:
        """Write the diary, then take the time and do the mischief asked for."""
        name = f"{stage} {' '.join(map(str, cell.values()))}"
        if self.settings.diary:
            Path(self.settings.diary, f"{name} {uuid.uuid4().hex}").touch()
        time.sleep(self.settings.seconds)
        if self.settings.raise_in and name.startswith(self.settings.raise_in):
            raise ArithmeticError(f"the outcome of {name} is not a number")
        if self.settings.kill_in and name.startswith(self.settings.kill_in) and self.settings.diary:
            once = Path(self.settings.diary, "killed once")
            if not once.exists():
                once.touch()
                os.kill(os.getpid(), signal.SIGKILL)
