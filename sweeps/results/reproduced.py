"""Which published means the rows of a file reproduce: such a file holds the raw values behind a printed table."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pandas as pd

from sweeps.errors import SweepError
from sweeps.results.literature import bundled_values
from sweeps.spec.bundles import bundled_files
from sweeps.statistics.cells import configurations
from sweeps.statistics.roles import Roles

FEWEST = 3
"""Cells in common that have to agree: fewer may do so by chance."""


def reproduced(rows: pd.DataFrame, *, metric: str, roles: Roles) -> str:
    """Return the name of the bundled published values whose means are those of rows to every printed digit, or nothing.

    The column may have another name there. Cells without a published value of exactly these levels do not count.

    Args:
        rows: one row per model.
        metric: a numeric column of them.
        roles: of the key columns.
    """
    if not all(pd.api.types.is_numeric_dtype(rows[column]) for column in (metric, roles.along)):
        return ""
    means = rows.groupby([*roles.factors, roles.along])[[metric]].mean().reset_index()
    for name in bundled_files(".csv"):
        for pairs in _in_common(means, metric, name, roles):
            half = Decimal("0.5").scaleb(-max((_decimals(printed) for _, printed in pairs), default=0))
            # The last digit of a mean of decimals may be half a unit off in binary.
            slack = float(half) * (1 + 1e-9)
            if len(pairs) >= FEWEST and all(abs(mean - printed) <= slack for mean, printed in pairs):
                return name
    return ""


def _in_common(means: pd.DataFrame, metric: str, name: str, roles: Roles) -> Iterator[list[tuple[float, float]]]:
    """Yield, for every metric of published values, the mean and what was printed of each cell that both have."""
    try:
        published = bundled_values(name, roles=roles)
    except SweepError:
        return  # of a study with other axes
    for column in published.metrics:
        pairs = []
        for levels, part in configurations(means, roles):
            theirs = published.of(dict(zip(roles.factors, levels, strict=True)), column, exactly=True)
            both = part.merge(theirs[[roles.along, column]], on=roles.along, suffixes=("", "_printed"))
            printed = column if column != metric else f"{column}_printed"
            pairs += list(zip(both[metric].tolist(), both[printed].tolist(), strict=True))
        yield pairs


def _decimals(number: float) -> int:
    exponent = Decimal(repr(number)).as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0
