"""The draws of a space: values of its fields that belong together, one draw after the other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sweeps.errors import SpecError
from sweeps.spec.axes.sampling.halving import Halving
from sweeps.spec.axes.sampling.sequences import MOST_FIELDS, Sampler, points
from sweeps.spec.axes.sampling.space import distribution

MOST_DRAWS = 100_000


class Sample(BaseModel):
    """How a space of settings is drawn from."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    draws: int = Field(ge=1, le=MOST_DRAWS, description="how many; more later keep those that were drawn")
    sampler: Sampler = Field(default="random", description="independent draws, or Sobol's sequence, which is more even")
    seed: int = Field(default=0, ge=0, lt=2**63, description="of the draws; another gives others")
    halving: Halving | None = Field(default=None, description="give further replicates to the best draws alone")
    space: dict[str, Any] = Field(
        min_length=1,
        description="per field of the study's settings, by its path, one of uniform, log_uniform, int, log_int, normal "
        "and choice, such as {log_uniform: [1e-4, 1e-1]}",
    )


def draws(sample: Sample) -> list[dict[str, Any]]:
    """Return the values of each draw, by the fields' paths; a draw that repeats an earlier one is left out.

    Fields are drawn from in the order of their names: their order in a spec is no matter.

    Raises:
        SpecError: a field's values cannot be drawn so.
    """
    names = sorted(sample.space)
    if len(names) > MOST_FIELDS:
        raise SpecError(f"sample.space: found {len(names)} fields, expected at most {MOST_FIELDS}")
    how = {name: distribution(sample.space[name], f"sample.space.{name}") for name in names}
    found: dict[str, dict[str, Any]] = {}
    for point in points(sample.sampler, sample.draws, len(names), sample.seed).tolist():
        drawn = {name: how[name].at(unit) for name, unit in zip(names, point, strict=True)}
        found.setdefault(_identity(drawn), drawn)
    return [*found.values()]


def _identity(drawn: Mapping[str, Any]) -> str:
    return json.dumps(drawn, sort_keys=True)
