"""The attacks that classifiers are measured under, made ready: what they are called with, and where they stay."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from robustprune.attacks import ATTACKS, Attack, configured
from robustprune.attacks.adversarial_library.library import Network, library_attack
from robustprune.classification.losses import cross_entropy, difference_of_logits_ratio
from robustprune.core.settings import Settings

Attacked = Callable[[Any, Tensor, Any], Tensor]
"""From a network, images and labels to attacked images."""

LeastAttack = Callable[[Network, Tensor, Tensor], Tensor]
"""The same, of an attack that looks for the least perturbation."""


LOSSES = {"ce": cross_entropy, "dlr": difference_of_logits_ratio}
"""What attacks that ascend a loss ascend where classifiers are measured, whatever these were trained to lower."""

OWN = "own"
"""The name of an attack that is not one of several."""


class BallAttack(NamedTuple):
    """An attack, and the ball around each image that it stays in.

    `run(classifier, images, labels)` returns attacked images; `norm` is `l0`, `l1`, `l2` or `linf`, `epsilon` the
    radius in pixel values.
    """

    run: Attacked
    norm: str
    epsilon: float


def unbounded(run: Attacked) -> BallAttack:
    """Return an attack whose ball is its own affair."""
    return BallAttack(run, norm="linf", epsilon=math.inf)


def members(settings: Any, classes: int) -> dict[str, Any]:
    """Return the attacks that a classifier of so many classes is under for `settings`, by what they ascend.

    What ascends a loss ascends the cross-entropy (`ce`) and, with three classes or more, the difference of logits ratio
    (`dlr`), that no scale of the logits hides from; so does APGD. `standard` is more. Any other attack is itself.
    """
    entry = ATTACKS[settings.name]
    if entry.sees == "loss":
        return dict.fromkeys(["ce"] if classes < 3 else LOSSES, settings)
    return {OWN: settings} if entry.members is None else dict(entry.members(settings, classes))


def ball_attacks(settings: Any, generator: torch.Generator, *, classes: int) -> dict[str, BallAttack]:
    """Return the attacks of `members`, ready to run; random numbers, if they need them, come from `generator`.

    Args:
        settings: of an attack that finds images within a `ball`; L∞ where they name no norm.
        generator: on the CPU.
        classes: of the classifiers to attack.
    """
    found = {}
    for name, each in members(settings, classes).items():
        attack = configured(each, generator)
        run = _ascending(attack, LOSSES[name]) if ATTACKS[each.name].sees == "loss" else attack
        found[name] = BallAttack(run, getattr(each, "norm", "linf"), each.epsilon)
    return found


def _ascending(attack: Attack, losses: Callable[[Tensor, Tensor], Tensor]) -> Attacked:
    """Return an attack that ascends the sum of the images' `losses`, so that none depends on its neighbours."""
    return lambda network, images, labels: attack(_Ascended(network, labels, losses), images)


@dataclass(frozen=True)
class _Ascended:
    """The loss of one batch as a function of its images; see `attacks.AttackLoss`."""

    network: Network
    labels: Tensor
    losses: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, images: Tensor) -> Tensor:
        return self.per_image(images).sum()

    def per_image(self, images: Tensor) -> Tensor:
        return self.losses(self.network(images), self.labels)


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
