"""Means and standard deviations of configurations, which are rows of the same levels."""

from collections.abc import Sequence
from typing import Any

import pandas as pd


def labelled(rows: pd.DataFrame, factors: Sequence[str]) -> pd.DataFrame:
    """The rows in the order of their factors, with a column `configuration`: their levels in words."""
    ordered = rows.sort_values(list(factors), kind="stable") if factors else rows
    levels = ordered[list(factors)].itertuples(index=False, name=None)
    return ordered.assign(configuration=[configuration_name(factors, row) for row in levels])


def configuration_name(factors: Sequence[str], levels: Sequence[Any]) -> str:
    """Return what the configuration of these levels is called; `all` where there is nothing to tell it from."""
    return in_words(named(factors, levels)) or "all"


def named(factors: Sequence[str], levels: Sequence[Any]) -> list[Any]:
    """Return levels as they are told apart in words: numbers, and those of an axis that is a path, with the last
    two parts of its name, such as `attack.epsilon=0.05`.

    Other words speak for themselves; one that varies stays empty.
    """
    return [
        level
        if level == "" or (isinstance(level, str) and "." not in factor)
        else f"{'.'.join(factor.split('.')[-2:])}={_shown(level)}"
        for factor, level in zip(factors, levels, strict=True)
    ]


def _shown(level: Any) -> str:
    return f"{level:g}" if isinstance(level, float) else str(level)


def in_words(levels: Sequence[Any]) -> str:
    """Levels on one line, `unstructured · hydra · rgb`; a level that varies is empty and left out."""
    return " · ".join(str(level) for level in levels if level != "")


def mean_sd(labelled_rows: pd.DataFrame, *, metric: str, along: str) -> pd.DataFrame:
    """Columns `configuration`, `along`, `n` (> 0), `mean`, `sd` (of the sample, NaN if n = 1), by `along`."""
    by = labelled_rows.groupby(["configuration", along], sort=False)[metric]
    cells = by.agg(n="count", mean="mean", sd="std").reset_index()
    return cells[cells["n"] > 0].sort_values(along, kind="stable")
