"""The attacks that classifiers are measured under, made ready: what they are called with, and where they stay."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from robustprune.attacks import ATTACKS, Attack, configured
from robustprune.attacks.adversarial_library.library import Network, library_attack
from robustprune.classification.classifier import Classifier
from robustprune.core.settings import Settings

Attacked = Callable[[Any, Tensor, Any], Tensor]
"""From a network, images and labels to attacked images."""

LeastAttack = Callable[[Network, Tensor, Tensor], Tensor]
"""The same, of an attack that looks for the least perturbation."""


class BallAttack(NamedTuple):
    """An attack, and the ball around each image that it stays in.

    `run(classifier, images, labels)` returns attacked images; `norm` is `l0`, `l1`, `l2` or `linf`, `epsilon` the
    radius in pixel values.
    """

    run: Callable[[Classifier, Tensor, Tensor], Tensor]
    norm: str
    epsilon: float


def unbounded(run: Attacked) -> BallAttack:
    """Return an attack whose ball is its own affair."""
    return BallAttack(run, norm="linf", epsilon=math.inf)


def ball_attack(settings: Any, generator: torch.Generator, attacked: Callable[[Attack], Attacked]) -> BallAttack:
    """Return the attack within a ball that `settings` describe.

    Args:
        settings: of an attack that finds images within a `ball`; L∞ where they name no norm.
        generator: random numbers, if it needs them, come from here.
        attacked: makes an attack of one that ascends a loss; see `training.Objective.attacked`.
    """
    attack = configured(settings, generator)
    run = attacked(attack) if ATTACKS[settings.name].sees == "loss" else attack
    return BallAttack(run, getattr(settings, "norm", "linf"), settings.epsilon)


def least_attack(settings: Settings, generator: torch.Generator) -> LeastAttack:
    """Return the attack for the least perturbation that `settings` describe; random numbers come from `generator`."""
    name = str(settings.name)  # type: ignore[attr-defined]
    if name in ("ddn", "fmn"):
        library_attack(name)  # imported here: the seconds that takes are none of the attack's
    return configured(settings, generator)


def label(settings: Any) -> str:
    """Return an attack's name, and its norm where it has one: `ddn`, `fmn_linf`."""
    norm = getattr(settings, "norm", None)
    return settings.name if norm is None else f"{settings.name}_{norm}"
