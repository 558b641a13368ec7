"""`halving` in a sample: only the best draws go on to the next replicate (Jamieson and Talwalkar 2016, AISTATS)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Halving(BaseModel):
    """How many draws go on from one replicate to the next, and by what."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    metric: str = Field(description="column whose mean over a draw's finished rows ranks it, more is better")
    keep: float = Field(default=1 / 3, gt=0, lt=1, description="fraction of the draws that has the next replicate too")

    def __str__(self) -> str:
        """Return the rule in words."""
        return f"halving: not among the best {self.keep:.3g} of the draws by {self.metric}"
