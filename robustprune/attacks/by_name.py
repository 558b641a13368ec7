"""Attacks by name, and the one that settings describe."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from robustprune.attacks.adversarial_library.apgd import APGD, ApgdSettings
from robustprune.attacks.adversarial_library.ddn import DDN, DdnSettings
from robustprune.attacks.adversarial_library.fab import FAB, FabSettings
from robustprune.attacks.adversarial_library.fmn import FMN, FmnSettings
from robustprune.attacks.adversarial_library.standard import STANDARD, StandardSettings
from robustprune.attacks.entry import AttackEntry
from robustprune.attacks.fast_at import FAST_AT, FastAtSettings
from robustprune.attacks.fgsm import FGSM, FgsmSettings
from robustprune.attacks.loss import AttackLoss
from robustprune.attacks.pgd import PGD, PgdSettings
from robustprune.attacks.square import SQUARE, SquareSettings
from robustprune.core.operations import AttackWork
from robustprune.core.settings import Settings
from robustprune.plugins import Registry, check_callable, check_named_settings

Attack = Callable[[AttackLoss, Tensor], Tensor]
"""From a loss of the images, and the images, to attacked images: what `configured` makes of what sees losses."""


def _check(name: str, entry: AttackEntry) -> None:
    check_callable(entry.run)
    check_named_settings(name, entry.settings)
    if entry.finds == "ball" and "epsilon" not in entry.settings.model_fields:
        raise ValueError("its settings lack the field epsilon, the radius of the ball")


ATTACKS: Registry[AttackEntry] = Registry(
    "robustprune.attacks",
    kind="attack",
    entry=AttackEntry,
    bundled={
        "pgd": PGD,
        "fgsm": FGSM,
        "fast-at": FAST_AT,
        "apgd": APGD,
        "fab": FAB,
        "square": SQUARE,
        "standard": STANDARD,
        "ddn": DDN,
        "fmn": FMN,
    },
    check=_check,
)


def configured(settings: Settings, generator: torch.Generator) -> Callable[..., Tensor]:
    """Return the attack that `settings` describe; random numbers, if it needs them, come from `generator`."""
    run = ATTACKS[_name(settings)].run
    options = settings.model_dump(exclude={"name", "random_start"})
    if "generator" in inspect.signature(run).parameters:
        options["generator"] = generator if getattr(settings, "random_start", True) else None
    return partial(run, **options)


def attack_work(settings: Settings) -> AttackWork:
    """Return what attacking one image takes."""
    return ATTACKS[_name(settings)].work(settings)


def takes_one_step(settings: Settings) -> bool:
    """Say whether training under an attack can end in catastrophic overfitting; see `AttackEntry.single_step`."""
    return ATTACKS[_name(settings)].single_step


def check(settings: Settings, *, classes: int) -> None:
    """Check before anything runs what settings alone cannot know.

    Raises:
        InputError: the attack's package is not installed, or its loss is not for so few classes.
    """
    own = ATTACKS[_name(settings)].check
    if own is not None:
        own(settings, classes)


def attack_settings(*, finds: Literal["ball", "least"], sees: Literal["loss"] | None = None, default: str = "") -> Any:
    """Return the type of settings that describe any attack of a sort, plug-ins included, for a pydantic field.

    Args:
        finds: see `AttackEntry`.
        sees: None admits all.
        default: the attack where no name is given; by default a name is required.
    """
    entries = [entry for entry in ATTACKS.values() if entry.finds == finds and sees in (None, entry.sees)]
    union = functools.reduce(operator.or_, [cast(Any, entry.settings) for entry in entries])

    def named(given: Any) -> Any:
        return {"name": default, **given} if default and isinstance(given, dict) else given

    return Annotated[union, Field(discriminator="name"), BeforeValidator(named), BeforeValidator(ATTACKS.refuse_broken)]


if TYPE_CHECKING:
    AttackSettings = PgdSettings | FgsmSettings | FastAtSettings
    BallSettings = (
        PgdSettings | FgsmSettings | FastAtSettings | ApgdSettings | FabSettings | SquareSettings | StandardSettings
    )
    LeastSettings = DdnSettings | FmnSettings


def __getattr__(name: str) -> Any:
    """Return a type of settings, made when it is first asked for: a plug-in imports this package while it is loaded.

    `AttackSettings` are those of any attack that every task can be trained under, pgd's where no name is given;
    `BallSettings` those of any attack within a ball; `LeastSettings` those of any that looks for the least distance.
    """
    if name == "AttackSettings":
        return attack_settings(finds="ball", sees="loss", default="pgd")
    if name == "BallSettings":
        return attack_settings(finds="ball")
    if name == "LeastSettings":
        return attack_settings(finds="least")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _name(settings: Settings) -> str:
    return str(settings.name)  # type: ignore[attr-defined]
