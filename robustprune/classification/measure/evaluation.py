"""Measure a classifier: how often it is right, clean and under attack, and how little it takes to fool it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import Field, field_validator

from robustprune.attacks import BallSettings, LeastSettings, PgdSettings
from robustprune.attacks.adversarial_library.ddn import DdnSettings
from robustprune.attacks.norms import NORMS
from robustprune.classification.classifier import Classifier
from robustprune.classification.data.images import LabelledImages
from robustprune.classification.measure.attacks import ball_attacks, label, least_attack
from robustprune.classification.measure.flags import attacks_disagree, ddn_at_floor, is_floor, least_norm
from robustprune.classification.measure.minimum_norm import minimum_norm
from robustprune.classification.measure.perturbations import (
    Perturbations,
    median_intervals,
    medians,
    smallest,
    success_rate,
)
from robustprune.classification.measure.robust_accuracy import RobustAccuracy, robust_accuracy
from robustprune.core.progress import NOWHERE, Progress, reporter
from robustprune.core.randomness import generator_for
from robustprune.core.timing import TimingSettings


class Evaluation(TimingSettings):
    """How a classifier is measured."""

    batch_size: int = Field(default=256, ge=1, description="images at a time")
    attack: BallSettings = Field(
        default=PgdSettings(epsilon=8 / 255, step_size=2 / 255, steps=20, random_start=True),
        description="under which accuracy_adv is measured: on the cross-entropy and on the difference of logits ratio",
    )
    distances: list[LeastSettings] = Field(
        min_length=1, description="minimum-norm attacks; an image's distance is the least that any of them finds"
    )
    images: int | None = Field(
        default=None, ge=1, description="of the test images, drawn at random, for those attacks; null: all of them"
    )
    blind_queries: int = Field(
        default=1000,
        ge=0,
        description="of Square in L∞, for images at which no loss has a gradient; 0: not attacked so",
    )

    @property
    def labelled_distances(self) -> dict[str, LeastSettings]:
        """The minimum-norm attacks by name, and norm where they have one: `ddn`, `fmn_linf`."""
        return {label(each): each for each in self.distances}

    @field_validator("distances")
    @classmethod
    def _differ(cls, distances: list[LeastSettings]) -> list[LeastSettings]:
        names = [label(each) for each in distances]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"found {twice[0]} a second time, expected each attack and norm once")
        return distances


ACCURACIES: dict[str, type] = {
    "accuracy_clean": float,
    "accuracy_adv": float,
    "accuracy_adv_ce": float,
    "accuracy_adv_dlr": float,
    "zero_gradients": float,
    "attacks_disagree": str,
    "accuracy_adv_doubtful": bool,
}
"""Those of `ROBUSTNESS` that attacks within a ball tell."""

ROBUSTNESS: dict[str, type] = {
    **ACCURACIES,
    "attack_success": float,
    "ddn_at_floor": str,
    "median_l2_at_floor": bool,
    **{f"median_{norm}": float for norm in NORMS},
    **{f"median_{norm}_{end}": float for norm in NORMS for end in ("low", "high")},
    **{f"median_{norm}_right": float for norm in NORMS},
    "images_attacked": int,
    "attack_forwards": float,
    "attack_backwards": float,
    "attack_s": float,
}
"""Columns of a row: accuracies, in [0, 1], on all test images, and what the minimum-norm attacks found together.

`accuracy_adv` is the worst of all attacks within the ball, image by image; `accuracy_adv_ce` and `accuracy_adv_dlr` are
those on the cross-entropy and on the difference of logits ratio alone, None where there is none. `zero_gradients` is
the share of pixels without one under the first of them. `attacks_disagree` and `ddn_at_floor` say in words why figures
are doubtful, `accuracy_adv_doubtful` and `median_l2_at_floor` whether they are; see `flags` and `DOUBTS`.
`median_l2_low` and `_high` are the ends of a 95% interval over images.

Of the images drawn for them they attack those that are classified rightly, `images_attacked` in number:
`attack_success` is the share of these that the least successful attack fools, and `median_l2_right` the median of their
distances; `median_l2` is over all images drawn. Passes are per attacked image.
"""

DOUBTS = {
    "accuracy_adv": "accuracy_adv_doubtful",
    **dict.fromkeys(("median_l2", "median_l2_low", "median_l2_high"), "median_l2_at_floor"),
}
"""Which column says that another one's value is not to be trusted, as that of timing in `core.timing`."""

PERTURBATIONS: dict[str, type] = {
    "attack": str,
    "image": np.int32,
    "l0": np.int32,
    "l1": np.float32,
    "l2": np.float32,
    "linf": np.float32,
}
"""Columns of a table: a line for each image that an attack fooled the classifier with, and how far it moved it.

`attack` is as in the spec, with its norm if it has one: `ddn`, `fmn_linf`. `image` counts the test images from 0.
"""


class Measured(NamedTuple):
    """`columns` are those of `ROBUSTNESS`, `attack_s` among them; `perturbations` is the table of `PERTURBATIONS`."""

    columns: dict[str, float | int | str | None]
    attack_s: float
    perturbations: dict[str, np.ndarray[Any, Any]]


def evaluate(
    classifier: Classifier, images: LabelledImages, *, settings: Evaluation, seed: int, progress: Progress = NOWHERE
) -> Measured:
    """Measure on `images`; every attack has random numbers of its own, from `seed`. `progress` is told of attacks: of
    those on distances, and of all within the ball as one.

    Raises:
        DivergedError: the classifier answers NaN or infinity, attacked or not.
    """
    device, batch_size = classifier.mean.device, settings.batch_size
    chosen = drawn(images, settings.images)
    found: dict[str, Perturbations] = {}
    distances, report = settings.labelled_distances, reporter(progress)
    report(0, len(distances) + 1, "attack")
    for name, each in distances.items():
        found[name] = minimum_norm(
            classifier,
            images.take(chosen),
            attack=least_attack(each, generator_for(seed, name)),
            batch_size=batch_size,
            device=device,
        )
        report(len(found), len(distances) + 1, "attack")
    robust = under_attack(classifier, images, settings=settings, seed=seed)
    together = smallest(list(found.values()))
    ddn = next((each for each in settings.distances if isinstance(each, DdnSettings)), None)
    middles = medians(together, images=len(chosen))
    columns: dict[str, float | int | str | None] = {
        **accuracies(robust, **_beyond(settings, found, robust.stays[chosen])),
        "attack_success": success_rate(list(found.values())),
        "ddn_at_floor": None if ddn is None else ddn_at_floor(ddn, found["ddn"]),
        "median_l2_at_floor": is_floor(middles["median_l2"], ddn),
        **middles,
        **median_intervals(together, images=len(chosen), generator=generator_for(seed, "intervals")),
        **{f"{name}_right": value for name, value in medians(together, images=len(together.index)).items()},
        "images_attacked": len(together.index),
        "attack_forwards": together.forwards,
        "attack_backwards": together.backwards,
        "attack_s": together.seconds,
    }
    return Measured(columns, together.seconds, perturbation_table(found, chosen))


def under_attack(classifier: Classifier, images: LabelledImages, *, settings: Evaluation, seed: int) -> RobustAccuracy:
    """Return what the attack within a ball leaves of a classifier's answers; see `evaluate`."""
    return robust_accuracy(
        classifier,
        images,
        attacks=ball_attacks(settings.attack, generator_for(seed, "attack"), classes=len(images.classes)),
        blind_queries=settings.blind_queries,
        generator=generator_for(seed, "square"),
        batch_size=settings.batch_size,
        device=classifier.mean.device,
    )


def accuracies(robust: RobustAccuracy, **beyond: torch.Tensor) -> dict[str, float | int | str | None]:
    """Return the columns of `ACCURACIES`.

    Args:
        robust: what `under_attack` returns.
        beyond: see `flags.attacks_disagree`; nothing where no attack looked for the least distance.
    """
    worst = robust.stays.double().mean().item()
    disagree = attacks_disagree(robust.alone, worst, **beyond)
    return {
        "accuracy_clean": robust.right.double().mean().item(),
        "accuracy_adv": worst,
        "accuracy_adv_ce": robust.alone.get("ce"),
        "accuracy_adv_dlr": robust.alone.get("dlr"),
        "zero_gradients": robust.zero_gradients,
        "attacks_disagree": disagree,
        "accuracy_adv_doubtful": disagree is not None,
    }


def _beyond(settings: Evaluation, found: Mapping[str, Perturbations], stays: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what `attacks_disagree` compares, where an attack looks for the least distance in the ball's norm."""
    norm = getattr(settings.attack, "norm", "linf")
    same = [found[name] for name, each in settings.labelled_distances.items() if least_norm(each) == norm]
    if not same:
        return {}
    nearest = smallest(same)
    beyond = torch.zeros_like(stays)
    beyond[nearest.index] = getattr(nearest, norm) > settings.attack.epsilon
    return {"beyond": beyond, "stays": stays}


def drawn(images: LabelledImages, count: int | None) -> torch.Tensor:
    """Return the indices of so many images, drawn at random but the same ones always; all where no number is given."""
    if count is None or count >= len(images):
        return torch.arange(len(images))
    return torch.randperm(len(images), generator=generator_for(0, "drawn"))[:count].sort().values


def perturbation_table(found: Mapping[str, Perturbations], attacked: torch.Tensor) -> dict[str, np.ndarray[Any, Any]]:
    """Return the table of what several attacks found.

    Args:
        found: by attack.
        attacked: which of the test images they were given.
    """
    parts = [
        {
            "attack": np.full(int(each.success.sum()), label, dtype=object),
            "image": attacked[each.index[each.success]].numpy().astype(np.int32),
            **{norm: getattr(each, norm)[each.success].numpy().astype(PERTURBATIONS[norm]) for norm in NORMS},
        }
        for label, each in found.items()
    ]
    return {column: np.concatenate([part[column] for part in parts]) for column in PERTURBATIONS}
