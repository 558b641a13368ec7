"""ADMM (Zhang et al. 2018; Ye et al. 2019 under attack): weights drawn to their own pruned copy, with multipliers.

    W ≈ argmin f(W) + ⟨Λ, W − Z⟩ + ρ/2 ‖W − Z‖²        epochs of training
    Z = Π(W + Λ/ρ)
    Λ ← Λ + ρ (W − Z)

which with U = Λ/ρ is the usual scaled form. Λ keeps its values where ρ grows.
"""

from __future__ import annotations

import math
from functools import partial

from pydantic import Field
from torch import nn

from robustprune.methods.entry import InitializerEntry
from robustprune.methods.lagrangian.settings import LagrangianSettings
from robustprune.methods.lagrangian.training import MEANINGS, TABLES, driven, driven_work
from robustprune.methods.lagrangian.updates import Rule, Step
from robustprune.methods.outcome import Outcome
from robustprune.methods.problem import Problem


class AdmmSettings(LagrangianSettings):
    """A training in the course of which weights are drawn to what pruning would leave of them, by ADMM."""

    rho_growth: float = Field(default=1.0, ge=1, description="what rho is multiplied with at each update; 1: never")

    @property
    def log_growth(self) -> float:
        """Of all updates, each after `every_epochs`."""
        return self.epochs // self.every_epochs * math.log(self.rho_growth)


def admm_rule(*, rho: float, growth: float = 1.0) -> Rule:
    """Return ADMM's: Λ moves once a turn, by ρ, whatever becomes of L_ρ."""

    def grown(k: int) -> float:
        return rho * growth**k

    return Rule(step=lambda k, gap, length: Step(grown(k - 1)), rho=grown, first_length=rho)


def admm(network: nn.Module, problem: Problem, settings: AdmmSettings) -> Outcome:
    """Return a network that was trained by ADMM, and scores whose largest are what pruning keeps of it.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    return driven(network, problem, settings, admm_rule(rho=settings.rho, growth=settings.rho_growth))


ADMM = InitializerEntry(
    score=admm,
    settings=AdmmSettings,
    per_structure=True,
    per_ratio=True,
    comparable=True,
    work=partial(driven_work, "admm's training"),
    trains="onward",
    tables=TABLES,
    meanings=MEANINGS,
)
