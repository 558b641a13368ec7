"""Which part each key column of a table of rows plays in an analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

ANALYSED = frozenset(
    {
        *("against", "against_sd", "alpha", "at_floor", "baseline", "cause", "configuration", "design"),
        *("df", "df_error"),
        *("difference", "difference_high", "difference_low", "difference_percent", "effect", "effect_high"),
        *("effect_low", "effect_size", "factor", "fewest", "high_percent", "level_a", "level_b", "low_percent"),
        *("margin_percent", "mark", "mean", "mean_a", "mean_b", "means", "metric", "metric_sd", "n", "n_a", "n_b"),
        *("n_high", "n_low", "n_needed", "note", "on_front", "ours", "ours_relative", "ours_relative_sd", "ours_sd"),
        *("p_holm", "p_value", "partial_eta_squared", "power", "published", "published_relative"),
        *("published_relative_sd", "published_sd", "result", "sd", "sd_a", "sd_b", "sd_high", "sd_low"),
        *("slope", "slope_high", "slope_low", "smallest_difference", "stage", "statistic", "target_power", "test"),
        *("traceback", "verdict"),
    }
)
"""Columns that analyses and reports put beside the key columns, none of which can have such a name."""


@dataclass(frozen=True)
class Roles:
    """The grid axes, in order, which together are the key of a row.

    Attributes:
        axes: all of them.
        replicate: the axis whose values are repetitions of an experiment, or blocks.
        along: the axis along which curves run, of numbers: where something is `pruned`, the fraction of it, in [0, 1].
        pruned: what that is, in the plural; None: nothing.
        panels: the factor of which every level has a panel of its own in figures, if any.
        baseline: what rows are called that the others are compared with.
        identity: the column that names a row, where one may stand for several cells: levels that are the same rows are
            not compared.
        fields: axes that are settings, each with values of its own.
        sampled: axes that are settings, whose values are drawn together: no levels to compare.
    """

    axes: tuple[str, ...]
    replicate: str
    along: str
    pruned: str | None = None
    panels: str | None = None
    baseline: str = "baseline"
    identity: str | None = None
    fields: tuple[str, ...] = ()
    sampled: tuple[str, ...] = ()

    @property
    def factors(self) -> list[str]:
        """The axes whose levels are compared: those neither repeated over nor run along, nor drawn."""
        assert {self.replicate, self.along} <= set(self.axes)
        assert self.panels not in (self.replicate, self.along)
        return [axis for axis in self.axes if axis not in (self.replicate, self.along, *self.sampled)]

    @property
    def what_varies(self) -> str:
        """What curves run along, in words."""
        return self.along if self.pruned is None else f"{self.pruned} pruned"

    def where(self, values: Sequence[float]) -> str:
        """Return values along the curves in words, `65, 75 and 85% of weights pruned`; at least one."""
        if self.pruned is None:
            return f"{self.along} {_listed([f'{value:g}' for value in values])}"
        return f"{_listed([f'{round(100 * value, 6):g}' for value in values])}% of {self.pruned} pruned"

    def running_along(self, axis: str) -> Roles:
        """Return the roles where curves run along another axis; the one they ran along is a factor then."""
        if axis == self.along:
            return self
        return replace(self, along=axis, pruned=None, panels=None if self.panels == axis else self.panels)

    def within_panel(self) -> Roles:
        """Return the roles inside one panel of a figure, where the axis of the panels does not vary."""
        return replace(self, axes=tuple(axis for axis in self.axes if axis != self.panels), panels=None)


def _listed(words: Sequence[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
