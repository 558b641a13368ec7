"""SLR, surrogate Lagrangian relaxation (Gurevin et al. 2021; Zhou et al. 2023): as ADMM, but multipliers move where L_ρ
fell, before and after the copy is renewed, and by lengths that shrink whatever happens.

    s^k = α^k s^(k−1) ‖last W − Z moved along‖ / ‖W − Z‖,   α^k = 1 − 1/(M k^p),   p = 1 − 1/k^r

k counts moves. So the length of every move, s ‖W − Z‖, is α^k that of the one before; it begins at s⁰ ‖W⁰ − Z⁰‖. The
printed numerator of eq. (13), ‖W^(k−1) − Z^(k−1)‖, has no such telescope, and multipliers diverge by it.
"""

from __future__ import annotations

from functools import partial

from pydantic import Field
from torch import nn

from robustprune.methods.entry import InitializerEntry
from robustprune.methods.lagrangian.settings import LagrangianSettings
from robustprune.methods.lagrangian.training import MEANINGS, TABLES, driven, driven_work
from robustprune.methods.lagrangian.updates import Rule, Step
from robustprune.methods.outcome import Outcome
from robustprune.methods.problem import Problem


class SlrSettings(LagrangianSettings):
    """A training in the course of which weights are drawn to what pruning would leave of them, by SLR."""

    M: float = Field(default=300.0, gt=1, description="the larger, the slower steps of the multipliers shrink")
    r: float = Field(default=0.1, gt=0, lt=1, description="the larger, the sooner steps stop shrinking")
    s0: float = Field(default=0.01, gt=0, description="step length of the multipliers before the first move")


def alpha(k: int, *, m: float, r: float) -> float:
    """Return α^k, by which move number `k`, from 1, is shorter than the one before.

    >>> round(alpha(1, m=300, r=0.1), 6), round(alpha(100, m=300, r=0.1), 6)
    (0.996667, 0.999391)
    """
    p = 1 - 1 / k**r
    return float(1 - 1 / (m * k**p))


def slr_rule(*, rho: float, m: float, r: float, s0: float) -> Rule:
    """Return SLR's."""

    def step(k: int, gap: float, length: float) -> Step:
        shrinks = alpha(k, m=m, r=r)
        return Step(shrinks * length / gap, shrinks)

    return Rule(step=step, rho=lambda k: rho, first_length=s0, moves_twice=True, conditional=True)


def slr(network: nn.Module, problem: Problem, settings: SlrSettings) -> Outcome:
    """Return a network that was trained by SLR, and scores whose largest are what pruning keeps of it.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    return driven(network, problem, settings, slr_rule(rho=settings.rho, m=settings.M, r=settings.r, s0=settings.s0))


SLR = InitializerEntry(
    score=slr,
    settings=SlrSettings,
    per_structure=True,
    per_ratio=True,
    comparable=True,
    work=partial(driven_work, "slr's training"),
    trains="onward",
    tables=TABLES,
    meanings=MEANINGS,
)
