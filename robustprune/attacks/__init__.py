"""Attacks on a network's images: within a norm ball, or by the least perturbation that fools; each in its own file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from robustprune.attacks import by_name
from robustprune.attacks.by_name import ATTACKS, Attack, attack_work, check, configured, takes_one_step
from robustprune.attacks.entry import AttackEntry
from robustprune.attacks.fast_at import FastAtSettings, fast_at
from robustprune.attacks.fgsm import FgsmSettings, fgsm
from robustprune.attacks.frozen import frozen
from robustprune.attacks.loss import AttackLoss
from robustprune.attacks.pgd import PgdSettings, pgd
from robustprune.attacks.zero_gradients import ZeroGradients

if TYPE_CHECKING:
    from robustprune.attacks.by_name import AttackSettings, BallSettings, LeastSettings

__all__ = [
    "ATTACKS",
    "Attack",
    "AttackEntry",
    "AttackLoss",
    "AttackSettings",
    "BallSettings",
    "FastAtSettings",
    "FgsmSettings",
    "LeastSettings",
    "PgdSettings",
    "ZeroGradients",
    "attack_work",
    "check",
    "configured",
    "fast_at",
    "fgsm",
    "frozen",
    "pgd",
    "takes_one_step",
]


def __getattr__(name: str) -> Any:
    """Return a type of settings that has those of plug-ins in it; see `by_name`."""
    return getattr(by_name, name)
