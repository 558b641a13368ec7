"""How a learning rate changes in the course of a training."""

from __future__ import annotations

import math

WARM_UP = 0.25


def one_cycle(progress: float) -> float:
    """Return the factor of the learning rate at `progress` in (0, 1): a linear rise over a quarter, a cosine fall.

    After Smith & Topin 2019; unlike PyTorch's own it is defined for trainings of very few steps.
    """
    if progress < WARM_UP:
        return progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))
