"""The loss under attack in place of the clean one (Madry et al. 2018), as FastAT and PGD training have it."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from robustprune.core.settings import Settings
from robustprune.task import Task
from robustprune.training.objectives.entry import ObjectiveEntry


class AttackedSettings(Settings):
    """The loss under attack, in place of the clean one (Madry et al. 2018)."""

    name: Literal["attacked"] = "attacked"


def attacked_loss(task: Task, clean: Any, attacked: Any, targets: Any) -> Tensor:
    """Return loss(attacked)."""
    return task.loss(attacked, targets)


ATTACKED = ObjectiveEntry(loss=attacked_loss, settings=AttackedSettings, clean_too=False)
