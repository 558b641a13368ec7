"""No key column can have the name of a column that analyses and reports put beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest

from sweeps.reporting.page.sections.against import beside
from sweeps.results.literature import Published
from sweeps.statistics.analysis import contrasts
from sweeps.statistics.equal_size import at_equal
from sweeps.statistics.equivalence import equivalence
from sweeps.statistics.means import labelled, mean_sd
from sweeps.statistics.pareto_front import mean_trade_off
from sweeps.statistics.power import power_analysis
from sweeps.statistics.responses.slopes import slopes
from sweeps.statistics.roles import ANALYSED, Roles
from sweeps.statistics.two_way import two_way

ROLES = Roles(("kind", "form", "seed", "part"), replicate="seed", along="part")
CELLS = [(kind, form, seed, part) for kind in "ab" for form in "cd" for seed in range(3) for part in (0.0, 0.5)]


@pytest.fixture
def rows() -> pd.DataFrame:
    noise = np.random.default_rng(0).random((2, len(CELLS)))
    return pd.DataFrame(CELLS, columns=[*ROLES.axes]).assign(gain=noise[0], size=noise[1])


def tables(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    yield contrasts(rows, metric="gain", roles=ROLES)
    yield equivalence(rows, metric="gain", margin_percent=5, roles=ROLES)
    yield two_way(rows, metric="gain", factors=("kind", "form"), roles=ROLES)
    yield power_analysis(rows, metric="gain", difference=0.1, power=0.8, alpha=0.05, roles=ROLES)
    yield at_equal(rows, metric="gain", against="size", roles=ROLES)
    yield slopes(rows, metric="gain", roles=ROLES)
    yield mean_sd(labelled(rows, ROLES.factors), metric="gain", along="part")
    yield mean_trade_off(rows, against="size", metric="gain", roles=ROLES)
    published = rows.assign(seed="")[["kind", "form", "seed", "part", "gain"]].drop_duplicates(["kind", "form", "part"])
    theirs = Published(name="theirs", values=published, metrics=["gain"], remark="")
    yield beside(rows, rows[:0], theirs, metric="gain", roles=ROLES)


def test_the_names_are_those_of_all_analyses(rows: pd.DataFrame) -> None:
    added = {str(column) for table in tables(rows) for column in table.columns} - {*ROLES.axes, "size", "gain"}
    assert added <= ANALYSED
    assert {"stage", "cause", "traceback", "result", "fewest", "means"} == ANALYSED - added


ANALYSES: dict[str, Callable[[pd.DataFrame, Roles], pd.DataFrame]] = {
    "metric": lambda rows, roles: contrasts(rows, metric="gain", roles=roles),
    "verdict": lambda rows, roles: equivalence(rows, metric="gain", margin_percent=5, roles=roles),
    "effect": lambda rows, roles: two_way(rows, metric="gain", factors=("effect", "form"), roles=roles),
    "n_needed": lambda rows, roles: power_analysis(rows, metric="gain", power=0.8, alpha=0.05, roles=roles),
}


@pytest.mark.parametrize("name", ANALYSES)
def test_rows_of_a_file_with_such_a_key_are_refused(name: str, rows: pd.DataFrame) -> None:
    roles = Roles((name, "form", "seed", "part"), replicate="seed", along="part")
    with pytest.raises(ValueError, match=f"key column '{name}' has the name of a column of the analysis, expected"):
        ANALYSES[name](rows.rename(columns={"kind": name}), roles)


def test_nor_is_anything_compared_at_equal_values_of_one(rows: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="key column 'difference' has the name of a column of the analysis, expected"):
        at_equal(rows.assign(difference=rows["size"]), metric="gain", against="difference", roles=ROLES)
