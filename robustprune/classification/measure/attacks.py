"""Attacks on classifiers by name, and those that settings describe."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from robustprune.attacks import FgsmSettings, PgdSettings, configured
from robustprune.attacks.apgd import ApgdSettings, apgd, check_classes
from robustprune.attacks.ddn import DdnSettings, ddn
from robustprune.attacks.fmn import FmnSettings, fmn
from robustprune.attacks.library import Network, check_installed, library_attack
from robustprune.classification.networks.classifier import Classifier
from robustprune.classification.objective import Objective

FixedBudgetSettings = Annotated[PgdSettings | FgsmSettings | ApgdSettings, Field(discriminator="name")]
"""The settings of any attack within a ball."""

MinimumNormSettings = Annotated[DdnSettings | FmnSettings, Field(discriminator="name")]
"""The settings of any attack that looks for the least perturbation."""

MinimumNormAttack = Callable[[Network, Tensor, Tensor], Tensor]
"""From a network, images and labels to attacked images."""


class FixedBudgetAttack(NamedTuple):
    """An attack, and the ball around each image that it stays in.

    `run(classifier, images, labels)` returns attacked images; `norm` is `l0`, `l1`, `l2` or `linf`, `epsilon` the
    radius in pixel values.
    """

    run: Callable[[Classifier, Tensor, Tensor], Tensor]
    norm: str
    epsilon: float


def check(settings: PgdSettings | FgsmSettings | ApgdSettings | DdnSettings | FmnSettings, *, classes: int) -> None:
    """Check before anything runs what settings alone cannot know.

    Raises:
        InputError: the attack's package is not installed, or its loss is not for so few classes.
    """
    if isinstance(settings, ApgdSettings):
        check_classes(settings, classes)
    if not isinstance(settings, PgdSettings | FgsmSettings):
        check_installed()


def minimum_norm_attack(settings: DdnSettings | FmnSettings, generator: torch.Generator) -> MinimumNormAttack:
    """Return the attack that `settings` describe; random numbers, if it needs them, come from `generator`."""
    library_attack(settings.name)  # imported here: the seconds that takes are none of the attack's
    options = settings.model_dump(exclude={"name"})
    if isinstance(settings, DdnSettings):
        return partial(ddn, **options, generator=generator)
    return partial(fmn, **options)


def fixed_budget_attack(
    settings: PgdSettings | FgsmSettings | ApgdSettings, generator: torch.Generator
) -> FixedBudgetAttack:
    """Return the attack that `settings` describe; random numbers, if it needs them, come from `generator`."""
    if isinstance(settings, ApgdSettings):
        run = partial(apgd, **settings.model_dump(exclude={"name"}), generator=generator)
        return FixedBudgetAttack(run, settings.norm, settings.epsilon)
    return FixedBudgetAttack(Objective(attack=configured(settings, generator)).attacked, "linf", settings.epsilon)
