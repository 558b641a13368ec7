"""Attacks by name, and the one that settings describe."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from robustprune.attacks.fgsm import FgsmSettings, fgsm
from robustprune.attacks.loss import AttackLoss
from robustprune.attacks.pgd import PgdSettings, pgd

Attack = Callable[[AttackLoss, Tensor], Tensor]
"""From a loss of the images, and the images, to attacked images."""

ATTACKS: dict[str, Callable[..., Tensor]] = {"pgd": pgd, "fgsm": fgsm}


def _named(settings: Any) -> Any:
    return {"name": "pgd", **settings} if isinstance(settings, dict) else settings


AttackSettings = Annotated[PgdSettings | FgsmSettings, Field(discriminator="name"), BeforeValidator(_named)]
"""The settings of any attack; pgd's where no name is given."""


def configured(settings: PgdSettings | FgsmSettings, generator: torch.Generator) -> Attack:
    """Return the attack that `settings` describe; random starts, if it has them, come from `generator`."""
    options = settings.model_dump(exclude={"name", "random_start"})
    return partial(ATTACKS[settings.name], **options, generator=generator if settings.random_start else None)
