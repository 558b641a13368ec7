"""Which ratios of a commit fell, beyond the noise of both measurements."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.history.record import Figure, Record

LEAST = 0.05
"""A smaller fall is none: from one start of a process to the next, memory lies otherwise, and ratios move as much."""


class Change(NamedTuple):
    """A figure beside that of an earlier commit.

    Attributes:
        name: of the figure.
        then: the earlier one's median.
        now: this one's.
        noise: as a share of `then`, what a change must exceed.
    """

    name: str
    then: float
    now: float
    noise: float

    @property
    def is_slower(self) -> bool:
        """Whether it fell beyond the noise."""
        return self.now < self.then * (1 - self.noise)

    @property
    def is_faster(self) -> bool:
        """Whether it rose beyond the noise."""
        return self.now > self.then * (1 + self.noise)

    def __str__(self) -> str:
        """Return one sentence."""
        change = f"{self.name}: {self.then:.3g} before, {self.now:.3g} now ({self.now / self.then - 1:+.0%})"
        if self.is_slower:
            return f"SLOWER  {change}, beyond the noise of {self.noise:.0%}."
        if self.is_faster:
            return f"faster  {change}, beyond the noise of {self.noise:.0%}."
        return f"as was  {change}, within the noise of {self.noise:.0%}."


def changes(then: Record, now: Record) -> list[Change]:
    """Return the figures that both have.

    Raises:
        ValueError: they are of different machines, whose figures say nothing of each other.
    """
    if (then.processor, then.cores) != (now.processor, now.cores):
        raise ValueError(f"{then.processor}, {then.cores} cores, is not {now.processor}, {now.cores} cores")
    shared = [name for name in now.figures if name in then.figures]
    return [_change(name, then.figures[name], now.figures[name]) for name in shared]


def lost(then: Record, now: Record) -> list[str]:
    """Return the names of figures that there are no more."""
    return [name for name in then.figures if name not in now.figures]


def _change(name: str, then: Figure, now: Figure) -> Change:
    return Change(name, then.median, now.median, max(LEAST, then.spread + now.spread))
