"""Attacks within a norm ball around an image, by name."""

from robustprune.attacks.by_name import ATTACKS, Attack, AttackSettings, configured
from robustprune.attacks.fgsm import FgsmSettings, fgsm
from robustprune.attacks.frozen import frozen
from robustprune.attacks.loss import AttackLoss
from robustprune.attacks.pgd import PgdSettings, pgd
from robustprune.attacks.zero_gradients import ZeroGradients

__all__ = [
    "ATTACKS",
    "Attack",
    "AttackLoss",
    "AttackSettings",
    "FgsmSettings",
    "PgdSettings",
    "ZeroGradients",
    "configured",
    "fgsm",
    "frozen",
    "pgd",
]
