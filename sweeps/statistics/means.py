"""Means and standard deviations of configurations, which are rows of the same levels."""

from collections.abc import Sequence
from functools import cache
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
    """Return levels as they are told apart in words: numbers, and those of an axis that is a path, with its name as it
    is `shortened`, such as `epsilon=0.05`.

    Other words speak for themselves; one that varies stays empty.
    """
    short = shortened(factors)
    return [
        level if level == "" or (isinstance(level, str) and "." not in factor) else f"{short[factor]}={_shown(level)}"
        for factor, level in zip(factors, levels, strict=True)
    ]


def shortened(factors: Sequence[str]) -> dict[str, str]:
    """Return for each axis the last parts of its path, as many as tell it from the others: one, where no other ends so.

    The whole path stands where axes are listed.
    """
    return _shortened(tuple(factors))


@cache
def _shortened(factors: tuple[str, ...]) -> dict[str, str]:
    return {factor: _shortest(factor, [other for other in factors if other != factor]) for factor in factors}


def _shortest(path: str, others: Sequence[str]) -> str:
    parts = path.split(".")
    tails = (".".join(parts[-count:]) for count in range(1, len(parts)))
    return next((tail for tail in tails if not any(f".{other}".endswith(f".{tail}") for other in others)), path)


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
