"""What went on while methods trained with multipliers, for the report, as the tables tell that they keep of a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from robustprune.methods import INITIALIZERS
from sweeps.study import Course, Curve, Lines

TABLE, ACCURACIES = "multipliers", "hard_accuracies"


def multiplier_courses(
    rows: Sequence[Mapping[str, Any]], lines: Callable[[str, str], Lines | None], *, axes: Sequence[str], replicate: str
) -> list[Course]:
    """Return how often the conditions of updates held, and what hard-pruned networks reached, epoch by epoch.

    Args:
        rows: as `sweeps.study.Study.courses` gets them.
        lines: likewise.
        axes: of rows, whose values tell one panel from another where they differ.
        replicate: the axis of repetitions.
    """
    kept = [(row, found) for row in rows if _keeps(row) and (found := lines(TABLE, str(row["row_key"])))]
    kept = [(row, found) for row, found in kept if len(found["epoch"])]
    if not kept:
        return []
    told = [axis for axis in axes if axis not in ("initializer", replicate) and len({row[axis] for row, _ in kept}) > 1]

    def curve(row: Mapping[str, Any], epochs: Any, values: Any) -> Curve:
        panel = " · ".join(_said(axis, row[axis]) for axis in told)
        return Curve(panel, str(row["initializer"]), epochs.tolist(), values.tolist())

    conditions, losses, accuracies = [], [], []
    for row, found in kept:
        epochs = found["epoch"]
        held = np.cumsum(found["c1"] & found["c2"]) / np.arange(1, len(epochs) + 1)
        conditions.append(curve(row, epochs, held))
        losses.append(curve(row, epochs, found["loss_hard"]))
        right = lines(ACCURACIES, str(row["row_key"]))
        if right is not None:
            accuracies.append(curve(row, right["epoch"], right["accuracy"]))
    on = "on the images of the conditions, under attack where training is, with batch norm's statistics of theirs"
    reached = (
        Course("Hard-pruned accuracy", f"Share of right answers {on}.", "epoch", "accuracy, hard-pruned", accuracies)
        if accuracies
        else Course("Hard-pruned loss", f"What training lowers, {on}.", "epoch", "loss, hard-pruned", losses)
    )
    return [
        Course(
            "Conditions met",
            "Share of the updates so far at which both conditions of SLR held: the weights were better than those "
            "before, and their pruned copy was. SLR moves its multipliers only then; ADMM always does.",
            "epoch",
            "share of updates",
            conditions,
        ),
        reached,
    ]


def _keeps(row: Mapping[str, Any]) -> bool:
    method = INITIALIZERS.get(str(row["initializer"]))
    return method is not None and TABLE in method.tables


def _said(axis: str, value: Any) -> str:
    return f"{axis} {value:g}" if isinstance(value, float) else str(value)
