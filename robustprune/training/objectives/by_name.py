"""Objectives of training under attack by name, and the one that settings describe."""

from __future__ import annotations

import functools
import operator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import BeforeValidator, Field

from robustprune.attacks import attack_work
from robustprune.core.errors import InputError
from robustprune.core.operations import FORWARD, AttackWork
from robustprune.core.settings import Settings
from robustprune.plugins import Registry, check_callable, check_named_settings
from robustprune.task import Task
from robustprune.training.objectives.attacked import ATTACKED, AttackedSettings
from robustprune.training.objectives.clean_and_attacked import CLEAN_AND_ATTACKED, CleanAndAttackedSettings
from robustprune.training.objectives.entry import Form, ObjectiveEntry
from robustprune.training.objectives.trades import TRADES, TradesSettings


def _check(name: str, entry: ObjectiveEntry) -> None:
    check_callable(entry.loss)
    check_named_settings(name, entry.settings)


OBJECTIVES: Registry[ObjectiveEntry] = Registry(
    "robustprune.objectives",
    kind="objective",
    entry=ObjectiveEntry,
    bundled={"attacked": ATTACKED, "clean-and-attacked": CLEAN_AND_ATTACKED, "trades": TRADES},
    check=_check,
)


def entry_of(settings: Settings) -> ObjectiveEntry:
    """Return the objective that settings are of."""
    return OBJECTIVES[str(settings.name)]  # type: ignore[attr-defined]


def form_of(settings: Settings) -> Form:
    """Return the objective that settings describe, ready for a task and an attack."""
    entry, options = entry_of(settings), settings.model_dump(exclude={"name"})
    return Form(partial(entry.loss, **options), None if entry.ascended is None else partial(entry.ascended, **options))


def check_fit(settings: Settings, task: Task, *, attack: Settings, fields: tuple[str, str], free: bool = False) -> None:
    """See before any training that an objective is one for a task, and that its attack gets anywhere.

    Args:
        settings: of the objective.
        task: what is trained on.
        attack: settings of the attack that images are under.
        fields: where the spec has these two, for messages.
        free: trainings take their perturbations from their own steps.

    Raises:
        InputError: it is not, or does not.
    """
    name, entry = str(settings.name), entry_of(settings)  # type: ignore[attr-defined]
    if entry.sees == "logits" and not task.has_logits:
        others = ", ".join(other for other, each in OBJECTIVES.items() if each.sees != "logits")
        raise InputError(
            f"{fields[0]}: found {name!r}, which compares the logits of classifiers, expected one of {others} for "
            "networks that answer otherwise"
        )
    if entry.ascended is not None and free:
        others = ", ".join(other for other, each in OBJECTIVES.items() if each.ascended is None)
        raise InputError(
            f"{fields[0]}: found {name!r} with free, expected one of {others}: what the attack of {name!r} raises has "
            "no slope at the image itself, where a free training begins"
        )
    if entry.ascended is not None and not getattr(attack, "random_start", True):
        raise InputError(
            f"{fields[1]}.random_start: found false, expected true under {fields[0]} {name!r}: what its attack raises "
            "has no slope at the image itself"
        )


def training_attack_work(settings: Settings, attack: Settings) -> AttackWork:
    """Return what attacking one image takes in training: for an objective of its own, the clean answer beside."""
    passes, words = attack_work(attack)
    return AttackWork(passes + (0 if entry_of(settings).ascended is None else FORWARD), words)


if TYPE_CHECKING:
    ObjectiveSettings = AttackedSettings | CleanAndAttackedSettings | TradesSettings


def _named(given: Any) -> Any:
    return {"name": given} if isinstance(given, str) else given


def __getattr__(name: str) -> Any:
    """Return `ObjectiveSettings`, those of any objective, made when first asked for: plug-ins import this package.

    A name alone will do.
    """
    if name != "ObjectiveSettings":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    union = functools.reduce(operator.or_, [cast(Any, entry.settings) for entry in OBJECTIVES.values()])
    return Annotated[
        union, Field(discriminator="name"), BeforeValidator(_named), BeforeValidator(OBJECTIVES.refuse_broken)
    ]
