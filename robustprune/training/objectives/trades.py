"""TRADES (Zhang et al. 2019): the clean loss, and how far an attack can move the answer; HYDRA's own loss."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from robustprune.core.settings import Settings
from robustprune.task import Task
from robustprune.training.objectives.entry import ObjectiveEntry


class TradesSettings(Settings):
    """The clean loss plus beta KL(clean answer ‖ answer under attack); the attack raises that divergence."""

    name: Literal["trades"] = "trades"
    beta: float = Field(default=6.0, ge=0, description="weight of the divergence, beside the clean loss")


def divergences(clean: Tensor, attacked: Tensor) -> Tensor:
    """Return KL(softmax(clean) ‖ softmax(attacked)) of each image, (N,); both are logits, (N, classes)."""
    log_clean, log_attacked = clean.log_softmax(dim=1), attacked.log_softmax(dim=1)
    return functional.kl_div(log_attacked, log_clean, reduction="none", log_target=True).sum(dim=1)


def trades_loss(task: Task, clean: Any, attacked: Any, targets: Any, *, beta: float) -> Tensor:
    """Return loss(clean) + β mean KL(clean ‖ attacked), whose gradient goes through both answers."""
    return task.loss(clean, targets) + beta * divergences(clean, attacked).mean()


def _ascended(task: Task, clean: Any, attacked: Any, targets: Any, *, beta: float) -> Tensor:
    return divergences(clean, attacked)


TRADES = ObjectiveEntry(loss=trades_loss, settings=TradesSettings, clean_too=True, ascended=_ascended, sees="logits")
