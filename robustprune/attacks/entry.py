"""What is to be known of an attack, besides how it works: an entry of the registry in `by_name`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from robustprune.core.operations import FORWARD, INPUT_GRADIENT, AttackWork, counted
from robustprune.core.settings import Settings


def steps_and_restarts(settings: Any) -> AttackWork:
    """Return the work of an attack that goes forward and back once per step of each restart."""
    steps, restarts = getattr(settings, "steps", 1), getattr(settings, "restarts", 1)
    words = f"{restarts} × " * (restarts > 1) + counted(steps, "attack step")
    return AttackWork(restarts * steps * (FORWARD + INPUT_GRADIENT), words)


@dataclass(frozen=True, kw_only=True)
class AttackEntry:
    """An attack by name.

    Attributes:
        run: where it `sees` the loss, `run(loss, images, **settings, generator=…)`, see `attacks.loss`; where it sees
            logits, `run(network, images, labels, **settings, generator=…)`. Images are in [0, 1], (N, C, H, W); it
            returns attacked ones. It is handed the generator, on the CPU, only where it takes one, and None where its
            settings have a `random_start` that is false, which it is not handed itself.
        settings: their field `name` admits the attack's name alone.
        sees: what it is given of a network. Every task has a loss; only classifiers have logits.
        finds: an image that is wrong within a `ball` of radius `epsilon`, or the `least` perturbation that fools.
        single_step: it takes one step, which a network in training can learn to foil without withstanding others:
            catastrophic overfitting, see `training.overfitting`.
        work: what attacking one image takes, told from the settings.
        check: raises InputError where the settings are not for so many classes, or a package is missing.
        members: of an attack on logits that is several, which it is, from the settings and the number of classes:
            settings of each, by what it ascends, such as `ce` and `dlr`. Rows tell their figures apart.
        version: raised by hand when the same settings give other images.
    """

    run: Callable[..., Tensor]
    settings: type[Settings]
    sees: Literal["loss", "logits"]
    finds: Literal["ball", "least"] = "ball"
    single_step: bool = False
    work: Callable[[Any], AttackWork] = steps_and_restarts
    check: Callable[[Any, int], None] | None = None
    members: Callable[[Any, int], Mapping[str, Settings]] | None = None
    version: int = 1
