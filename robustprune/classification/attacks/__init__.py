"""Attacks on classifiers: within a norm ball, or by the least perturbation that fools; and what they measure."""

from robustprune.classification.attacks.accuracy import accuracy, attacked_accuracy, correct
from robustprune.classification.attacks.apgd import ApgdSettings, apgd
from robustprune.classification.attacks.by_name import (
    FixedBudgetAttack,
    FixedBudgetSettings,
    MinimumNormAttack,
    MinimumNormSettings,
    check,
    fixed_budget_attack,
    minimum_norm_attack,
)
from robustprune.classification.attacks.ddn import DdnSettings, ddn
from robustprune.classification.attacks.fmn import FmnSettings, fmn
from robustprune.classification.attacks.minimum_norm import minimum_norm
from robustprune.classification.attacks.perturbations import Perturbations, medians, smallest, success_rate
from robustprune.classification.attacks.unavailable import UNAVAILABLE

__all__ = [
    "UNAVAILABLE",
    "ApgdSettings",
    "DdnSettings",
    "FixedBudgetAttack",
    "FixedBudgetSettings",
    "FmnSettings",
    "MinimumNormAttack",
    "MinimumNormSettings",
    "Perturbations",
    "accuracy",
    "apgd",
    "attacked_accuracy",
    "check",
    "correct",
    "ddn",
    "fixed_budget_attack",
    "fmn",
    "medians",
    "minimum_norm",
    "minimum_norm_attack",
    "smallest",
    "success_rate",
]
