"""AutoAttack's four attacks in L∞ (Croce & Hein 2020), its `standard` version, in place of the package itself.

In order, each for the images that withstood those before: APGD on the cross-entropy; APGD on the difference of logits
ratio, aimed at the nine likeliest other classes one by one; FAB, aimed alike; and Square. The first three are adv-lib's
code, Square our own. Where there are fewer classes, fewer are aimed at; with three, the ratio is not aimed, with two it
has no value and is left out. Figures are not AutoAttack's to the last image: code and random numbers are others.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from robustprune.attacks.adversarial_library.apgd import APGD, ApgdSettings
from robustprune.attacks.adversarial_library.apgd import members as apgd_members
from robustprune.attacks.adversarial_library.fab import FAB, FabSettings
from robustprune.attacks.adversarial_library.library import Network, check_installed
from robustprune.attacks.entry import AttackEntry
from robustprune.attacks.square import SQUARE, SquareSettings
from robustprune.core.operations import AttackWork
from robustprune.core.settings import PIXEL_VALUES, Settings


class StandardSettings(Settings):
    """AutoAttack's four attacks (Croce & Hein 2020), by default of its lengths."""

    name: Literal["standard"] = "standard"
    epsilon: float = Field(gt=0, le=1, description="radius of the L∞ ball", json_schema_extra=PIXEL_VALUES)
    steps: int = Field(default=100, ge=1, description="of APGD and FAB, per class aimed at")
    targets: int = Field(default=9, ge=1, description="classes to aim at, one by one, the likeliest first")
    queries: int = Field(default=5000, ge=1, description="of Square")


def standard(
    network: Network,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    steps: int,
    targets: int,
    queries: int,
    generator: torch.Generator,
) -> Tensor:
    """Return images that fool `network` in the L∞ ball, by the first of the four attacks that does.

    Arguments are those of `apgd`, and `queries` of `square`.
    """
    with torch.no_grad():
        classes = network(images[:1]).shape[1]
    settings = StandardSettings(epsilon=epsilon, steps=steps, targets=targets, queries=queries)
    found, left = images.clone(), torch.arange(len(images), device=images.device)
    for each in members(settings, classes).values():
        options = each.model_dump(exclude={"name"})
        found[left] = _entry(each).run(network, images[left], labels[left], **options, generator=generator)
        with torch.no_grad():
            left = left[network(found[left]).argmax(dim=1) == labels[left]]
        if not len(left):
            break
    return found


def _entry(settings: Settings) -> AttackEntry:
    return {"apgd": APGD, "fab": FAB, "square": SQUARE}[str(settings.name)]  # type: ignore[attr-defined]


def members(settings: StandardSettings, classes: int) -> dict[str, Settings]:
    """Return the settings of the four attacks, by what they are called in rows."""
    epsilon, steps = settings.epsilon, settings.steps
    aims = min(settings.targets, classes - 1)
    descents = ApgdSettings(epsilon=epsilon, steps=steps, targets=aims)
    return {
        **apgd_members(descents, classes),
        "fab": FabSettings(epsilon=epsilon, steps=steps, targets=aims),
        "square": SquareSettings(epsilon=epsilon, queries=settings.queries),
    }


def _work(settings: StandardSettings) -> AttackWork:
    """As if no image were fooled before the last attack: the most that it can take."""
    passes = sum(_entry(each).work(each).passes for each in members(settings, settings.targets + 1).values())
    return AttackWork(passes, f"AutoAttack's four attacks of {settings.steps} steps and {settings.queries:,} queries")


STANDARD = AttackEntry(
    run=standard,
    settings=StandardSettings,
    sees="logits",
    work=_work,
    check=lambda settings, classes: check_installed(),
    members=members,
)
