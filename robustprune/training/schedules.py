"""How a learning rate changes in the course of a training."""

from __future__ import annotations

import math

WARM_UP = 0.25


def one_cycle(progress: float) -> float:
    """Return the factor of the learning rate at `progress` in (0, 1): a linear rise over a quarter, a cosine fall.

    After Smith & Topin 2019; unlike PyTorch's own it is defined for trainings of very few steps.

    >>> [round(one_cycle(progress), 3) for progress in (0.125, 0.25, 0.625, 0.999)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if progress < WARM_UP:
        return progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))
