"""The reference grid whose stages only sleep, and write down when: what is left is the engine's own time."""

from __future__ import annotations

import functools
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import ray
from pydantic import BaseModel, ConfigDict

from sweeps.study import Axis, Cell, Checkpoint, Progress, Stage, Study

SPEC = """\
name: simulated
study: benchmarks.simulated_study:SimulatedStudy
grid:
  structure: [unstructured, structured]
  initializer: [hydra, deeplift]
  colour: [rgb, greyscale]
  seed: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
  ratio: [0, 0.25, 0.5, 0.65, 0.75, 0.85, 0.9, 0.95, 0.99]
  exclude:
    - {colour: greyscale, structure: structured}
    - {colour: greyscale, initializer: hydra}
"""
"""50 trials of 9 rows, from 20 pretrainings."""


@functools.cache
def _seen_first() -> list[str]:
    """Return the GPUs that this process saw when it first looked: what CUDA would keep to."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")


def devices() -> dict[str, list[str]]:
    """Return the GPUs that CUDA would use in this process, and those that Ray assigned to what runs now."""
    return {"seen": _seen_first(), "assigned": ray.get_runtime_context().get_accelerator_ids()["GPU"]}


class SimulatedSettings(BaseModel):
    """Seconds per stage, size of a checkpoint in floats, and the folder to write times into."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    diary: str
    pretrain: float = 4.0
    score: float = 1.0
    ratio: float = 0.5
    parameters: int = 1_000_000


class SimulatedStudy(Study):
    """No base; one pretraining per colour and seed, one scoring per trial, one row per ratio."""

    Settings: ClassVar = SimulatedSettings
    axes: ClassVar = (
        Axis("structure", str),
        Axis("initializer", str),
        Axis("colour", str),
        Axis("seed", int),
        Axis("ratio", float, bounds=(0.0, 1.0)),
    )
    stages: ClassVar = ("pretrain", "score", "evaluate_row")
    row_axis: ClassVar = "ratio"
    pruned: ClassVar = "weights"
    replicate_axis: ClassVar = "seed"
    columns: ClassVar = {"kept": float}
    metrics: ClassVar = {"kept": "sum of kept weights"}

    def __init__(self, settings: SimulatedSettings) -> None:
        """Take validated settings."""
        self.settings = settings

    def stage(self, name: str, cell: Cell) -> Stage | None:
        """Declare what the reference study declares."""
        trial = ("structure", "initializer", "colour", "seed")
        axes = {"pretrain": ("colour", "seed"), "score": trial, "evaluate_row": (*trial, "ratio")}
        reads = ("pretrain", "score") if name == self.stages[-1] else None
        return Stage(axes[name], {}, reads=reads)

    def pretrain(self, cell: Cell, progress: Progress) -> Checkpoint:
        """Sleep, and return a checkpoint of the size asked for."""
        with self._written("pretrain", cell):
            time.sleep(self.settings.pretrain)
        return {"weights": np.full(self.settings.parameters, 1 + float(cell["seed"]), dtype=np.float32)}

    def score(self, cell: Cell, checkpoint: Checkpoint, progress: Progress) -> Checkpoint:
        """Sleep, and return as many scores as there are weights."""
        with self._written("score", cell):
            time.sleep(self.settings.score)
        return {"scores": np.array(checkpoint["weights"])}

    def evaluate_row(
        self, cell: Cell, checkpoint: Checkpoint, scores: Checkpoint | None, progress: Progress
    ) -> dict[str, Any]:
        """Sleep, and read the checkpoint where it lies."""
        with self._written("ratio", cell):
            time.sleep(self.settings.ratio)
        assert not checkpoint["weights"].flags.writeable
        return {"kept": float(checkpoint["weights"][0] * (1 - float(cell["ratio"])))}

    @contextmanager
    def _written(self, stage: str, cell: Cell) -> Iterator[None]:
        start = time.time()
        yield
        entry = {"stage": stage, "cell": cell, "start": start, "end": time.time(), **devices()}
        Path(self.settings.diary, f"{uuid.uuid4().hex}.json").write_text(json.dumps(entry))
