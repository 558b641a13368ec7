"""What the seed of a trial draws, and so what rows of different seeds are replicates of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

SeedDraw = Literal["data", "scores", "training"]

DRAWN: list[SeedDraw] = ["scores", "training"]
"""What a seed draws unless a spec says otherwise; the images are then the same for all."""


def seed_draws_field() -> Any:
    """Return the field of a study's settings that says what a trial's seed draws."""
    return Field(
        default=DRAWN,
        description="what a seed draws: data: the images to train on, as many as there are, with replacement; "
        "scores: what scoring draws; training: random weights, order and augmentation of images",
    )


def drawn_inputs(draws: Sequence[SeedDraw]) -> dict[str, Any]:
    """Return, as JSON, what determines a stage besides its other inputs: nothing for `DRAWN`."""
    return {} if set(draws) == set(DRAWN) else {"seed_draws": sorted(set(draws))}
