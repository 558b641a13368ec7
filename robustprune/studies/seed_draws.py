"""What the seed of a trial draws, and so what rows of different seeds are replicates of."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

SeedDraw = Literal["data", "scores", "training"]


def _checked(given: Any) -> Any:
    known = typing.get_args(SeedDraw)
    expected = f"expected a list of some of {', '.join(known)}, each once"
    if not isinstance(given, list):
        raise ValueError(f"found {given!r}, {expected}")
    if not given:
        raise ValueError(f"found an empty list, with which all seeds would give the same rows, {expected}")
    for word in given:
        if word not in known:
            near = difflib.get_close_matches(str(word), known, n=1)
            raise ValueError(f"found {word!r}, {expected}{f'; did you mean {near[0]!r}?' if near else ''}")
        if given.count(word) > 1:
            raise ValueError(f"found {word!r} {given.count(word)} times, {expected}")
    return given


SeedDraws = Annotated[list[SeedDraw], BeforeValidator(_checked)]

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
