"""Measure a classifier: how often it is right, clean and under attack, and how little it takes to fool it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import Field, field_validator

from robustprune.attacks import Attack, BallSettings, LeastSettings, PgdSettings
from robustprune.attacks.norms import NORMS
from robustprune.classification.classifier import Classifier
from robustprune.classification.data.images import LabelledImages
from robustprune.classification.measure.accuracy import accuracy, attacked_accuracy
from robustprune.classification.measure.attacks import Attacked, ball_attack, label, least_attack
from robustprune.classification.measure.minimum_norm import minimum_norm
from robustprune.classification.measure.perturbations import Perturbations, medians, smallest, success_rate
from robustprune.core.randomness import generator_for
from robustprune.core.timing import TimingSettings


class Evaluation(TimingSettings):
    """How a classifier is measured."""

    batch_size: int = Field(default=256, ge=1)
    attack: BallSettings = Field(
        default=PgdSettings(epsilon=8 / 255, step_size=2 / 255, steps=20, random_start=True),
        description="under which accuracy_adv is measured",
    )
    distances: list[LeastSettings] = Field(
        min_length=1, description="minimum-norm attacks; an image's distance is the least that any of them finds"
    )
    images: int | None = Field(
        default=None, ge=1, description="of the test images, drawn at random, for those attacks; null: all of them"
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


ROBUSTNESS: dict[str, type] = {
    "accuracy_clean": float,
    "accuracy_adv": float,
    "attack_success": float,
    **{f"median_{norm}": float for norm in NORMS},
    **{f"median_{norm}_right": float for norm in NORMS},
    "images_attacked": int,
    "attack_forwards": float,
    "attack_backwards": float,
    "attack_s": float,
}
"""Columns of a row: accuracies, in [0, 1], on all test images, and what the minimum-norm attacks found together.

Of the images drawn for them they attack those that are classified rightly, `images_attacked` in number:
`attack_success` is the share of these that the least successful attack fools, and `median_l2_right` the median of their
distances; `median_l2` is over all images drawn. Passes are per attacked image.
"""

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

    columns: dict[str, float | int | None]
    attack_s: float
    perturbations: dict[str, np.ndarray[Any, Any]]


def evaluate(
    classifier: Classifier,
    images: LabelledImages,
    *,
    settings: Evaluation,
    seed: int,
    attacked: Callable[[Attack], Attacked],
) -> Measured:
    """Measure on `images`; every attack has random numbers of its own, from `seed`; `attacked` as for `ball_attack`."""
    device, batch_size = classifier.mean.device, settings.batch_size
    attack = ball_attack(settings.attack, generator_for(seed, "attack"), attacked)
    chosen = drawn(images, settings.images)
    found = {
        name: minimum_norm(
            classifier,
            images.take(chosen),
            attack=least_attack(each, generator_for(seed, name)),
            batch_size=batch_size,
            device=device,
        )
        for name, each in settings.labelled_distances.items()
    }
    together = smallest(list(found.values()))
    columns: dict[str, float | int | None] = {
        "accuracy_clean": accuracy(classifier, images, batch_size=batch_size, device=device),
        "accuracy_adv": attacked_accuracy(classifier, images, attack=attack, batch_size=batch_size, device=device),
        "attack_success": success_rate(list(found.values())),
        **medians(together, images=len(chosen)),
        **{f"{name}_right": value for name, value in medians(together, images=len(together.index)).items()},
        "images_attacked": len(together.index),
        "attack_forwards": together.forwards,
        "attack_backwards": together.backwards,
        "attack_s": together.seconds,
    }
    return Measured(columns, together.seconds, perturbation_table(found, chosen))


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
