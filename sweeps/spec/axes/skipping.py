"""`skip` in a spec: higher values of an axis are left out once a metric has reached its floor."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

COMPARISONS = ("<=", ">=", "<", ">")

_WHEN = re.compile(rf"\s*([A-Za-z_]\w*)\s*({'|'.join(COMPARISONS)})\s*([-+]?[0-9.]+(?:[eE][-+]?\d+)?)\s*")


class Skip(BaseModel):
    """When the rest of an axis is left out, for each trial by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    when: str = Field(description="a column, a comparison and a number, such as accuracy < 0.1")
    along: str = Field(description="the axis whose higher values are left out once a row is such, such as ratio")

    @field_validator("when")
    @classmethod
    def _is_comparison(cls, given: str) -> str:
        found = _WHEN.fullmatch(given)
        try:
            float(found[3] if found else "")
        except ValueError:
            raise ValueError(
                f"found {given!r}, expected a column, a comparison and a number, such as accuracy < 0.1"
            ) from None
        return given

    @property
    def column(self) -> str:
        """What is looked at."""
        return str(self._parts[0])

    @property
    def comparison(self) -> str:
        """One of `COMPARISONS`."""
        return str(self._parts[1])

    @property
    def limit(self) -> float:
        """What the column is compared with."""
        return float(self._parts[2])

    def __str__(self) -> str:
        """Return the rule in words."""
        return f"skip: {self.column} {self.comparison} {self.limit:g} at a lower {self.along}"

    @property
    def _parts(self) -> tuple[Any, ...]:
        found = _WHEN.fullmatch(self.when)
        assert found is not None, "it was validated"
        return found.groups()
