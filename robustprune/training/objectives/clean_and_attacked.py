"""The clean loss plus the loss under attack, as the reference study trains its detectors."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from robustprune.core.settings import Settings
from robustprune.task import Task
from robustprune.training.objectives.entry import ObjectiveEntry


class CleanAndAttackedSettings(Settings):
    """The clean loss plus the loss under attack."""

    name: Literal["clean-and-attacked"] = "clean-and-attacked"


def clean_and_attacked_loss(task: Task, clean: Any, attacked: Any, targets: Any) -> Tensor:
    """Return loss(clean) + loss(attacked)."""
    return task.loss(clean, targets) + task.loss(attacked, targets)


CLEAN_AND_ATTACKED = ObjectiveEntry(loss=clean_and_attacked_loss, settings=CleanAndAttackedSettings, clean_too=True)
