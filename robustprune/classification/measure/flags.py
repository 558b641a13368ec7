"""What makes the figures of a row doubtful, in a few words for the row itself; None where nothing does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from robustprune.attacks.adversarial_library.ddn import DdnSettings
from robustprune.classification.measure.perturbations import Perturbations

MOST = 0.1
"""By how much accuracies may differ that two attacks find within the same ball: more than random starts make, and less
than what a network hides whose gradients vanish. The number is ours."""

FEWEST = 0.1
"""The share of images from which on DDN's floor is worth a word; ours too."""


def attacks_disagree(
    alone: Mapping[str, float],
    worst: float,
    *,
    beyond: Tensor | None = None,
    stays: Tensor | None = None,
) -> str | None:
    """Return which attack finds a classifier much more robust than the others do: one that its gradients mislead.

    Args:
        alone: accuracy under each attack within the ball, by name.
        worst: under all of them.
        beyond: of some images, whether they are right and no perturbation was found within the ball by an attack that
            looks for the least one in the ball's norm; bool, (M,).
        stays: of the same images, whether they withstood all attacks within the ball.
    """
    told = [f"{name} alone {accuracy:.3f}" for name, accuracy in alone.items() if accuracy - worst > MOST]
    if beyond is not None and stays is not None and len(beyond):
        by_distance, by_ball = beyond.double().mean().item(), stays.double().mean().item()
        if abs(by_distance - by_ball) > MOST:
            told.append(
                f"by least distances {by_distance:.3f} and by attacks in the ball {by_ball:.3f} of the images drawn"
            )
    return f"accuracy under attack: {', '.join(told)}; the worst of all {worst:.3f}" if told else None


def ddn_at_floor(settings: DdnSettings, found: Perturbations) -> str | None:
    """Return how many images DDN fooled at the least norm that its steps can reach, if those are a tenth or more.

    They may be nearer than it tells; where they are half of all, so is the median (`is_floor`).

    The norm starts at `init_norm`, grows by `gamma` after the image as it is, which does not fool, and shrinks by
    `gamma` with every step that does; the last is not looked at.
    """
    least = floor_of(settings)
    count = int((found.l2 <= least * (1 + 1e-3)).sum())
    if not count or count < FEWEST * len(found.l2):
        return None
    reach = f"{settings.steps} steps from {settings.init_norm:g} reach"
    return f"{count} of {len(found.l2)} at {least:.3g}, the least that {reach}"


def floor_of(settings: DdnSettings) -> float:
    """Return the least norm that DDN's steps can reach."""
    return settings.init_norm * (1 + settings.gamma) * (1 - settings.gamma) ** max(0, settings.steps - 2)


def is_floor(median: float | None, settings: DdnSettings | None) -> bool:
    """Say whether a median of L2 distances is that norm: more steps would have found a smaller one.

    With fewer than half of the images there, and `ddn_at_floor` to tell, the median is what it is.
    """
    return median is not None and settings is not None and math.isclose(median, floor_of(settings), rel_tol=1e-3)


def least_norm(settings: Any) -> str | None:
    """Return the norm that an attack for the least perturbation makes least; None where that is not known."""
    return "l2" if settings.name == "ddn" else getattr(settings, "norm", None)
