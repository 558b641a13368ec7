"""Which part each key column of a table of rows plays in an analysis."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Roles:
    """The grid axes, in order, which together are the key of a row.

    Attributes:
        axes: all of them.
        replicate: the axis whose values are repetitions of an experiment, or blocks.
        along: the axis along which curves run.
    """

    axes: tuple[str, ...]
    replicate: str
    along: str

    @property
    def factors(self) -> list[str]:
        """The axes whose levels are compared: those neither repeated over nor run along."""
        assert {self.replicate, self.along} <= set(self.axes)
        return [axis for axis in self.axes if axis not in (self.replicate, self.along)]


DEFAULT_ROLES = Roles(("structure", "initializer", "colour", "seed", "ratio"), replicate="seed", along="ratio")
"""For tables that come without a study."""
