"""What a study declares to whoever runs it, from the one place where that is defined."""

from collections.abc import Mapping
from typing import Any

from sweeps.study import NONE, Axis, Stage, Study

Cell = Mapping[str, Any]
"""One point of the grid: a value per axis."""

__all__ = ["NONE", "Axis", "Cell", "Stage", "Study"]
