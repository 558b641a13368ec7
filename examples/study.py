"""A study of your own, whole: which estimate of a centre survives outliers?

Run it from this folder: `python -m sweeps run study.yaml`, then `python -m sweeps report runs/outliers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, Field

from sweeps.study import Axis, Cell, Checkpoint, Progress, Stage, Study


class Settings(BaseModel):
    """Fields of the spec that are this study's own."""

    points: int = Field(default=200, ge=1, description="how many are drawn")
    outlier: float = Field(default=10.0, description="where outliers lie; the others are around 0")


class Outliers(Study):
    """Points are drawn once per seed and share of outliers, and every estimator sees the same ones."""

    Settings: ClassVar = Settings
    axes = (Axis("estimator", str, choices=("mean", "median")), Axis("seed", int), Axis("share", float, bounds=(0, 1)))
    row_axis, replicate_axis = "share", "seed"
    stages = ("draw", "estimate")
    columns: ClassVar = {"error": float}
    metrics: ClassVar = {"error": "distance from the true centre"}

    def stage(self, name: str, cell: Cell) -> Stage:
        """Say what each stage depends on: all estimators and shares of a seed have one draw in common."""
        if name == "draw":
            return Stage(("seed",), fields=("points",))
        return Stage(("estimator", "seed", "share"), fields=("outlier",))

    def draw(self, cell: Cell, progress: Progress) -> Checkpoint:
        """Draw points around 0, and the order in which they become outliers."""
        rng = np.random.default_rng(int(cell["seed"]))
        count = self.settings.points
        return {"points": rng.normal(size=count), "order": rng.permutation(count)}

    def estimate(self, cell: Cell, drawn: Checkpoint, progress: Progress) -> Mapping[str, Any]:
        """Move a share of the points away, and return how far that moves the estimate."""
        points = drawn["points"].copy()
        moved = drawn["order"][: round(float(cell["share"]) * len(points))]
        points[moved] += self.settings.outlier
        return {"error": abs(float(getattr(np, str(cell["estimator"]))(points)))}
