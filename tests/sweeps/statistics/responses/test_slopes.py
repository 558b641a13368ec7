"""Slopes: against paired differences, closed forms and simulated errors; what cannot be tested says why."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sweeps.statistics.analysis import contrasts
from sweeps.statistics.responses.slopes import slopes
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Design, Values

ROLES = Roles(("method", "epsilon", "seed", "ratio"), "seed", "ratio")

pytestmark = pytest.mark.filterwarnings("error")


def rows(values: Values, levels: list[float], method: str = "a") -> pd.DataFrame:
    """Rows of one method and ratio; `values` has a line per seed and a column per level."""
    lines = [(method, levels[level], seed, 0.5, value) for (seed, level), value in np.ndenumerate(values)]
    return pd.DataFrame(lines, columns=["method", "epsilon", "seed", "ratio", "ap"])


def slope(values: Values, levels: list[float], design: Design = "paired") -> pd.Series:
    found = slopes(rows(values, levels), metric="ap", factor="epsilon", design=design, roles=ROLES)
    assert len(found) == 1
    return found.iloc[0]


def test_of_two_levels_it_is_the_paired_test_of_their_difference() -> None:
    values = np.random.default_rng(0).normal(size=(6, 2))
    line = slope(values, [0.02, 0.05])
    data = rows(values, [0.02, 0.05])
    contrast = contrasts(data, metric="ap", roles=ROLES).iloc[0]
    assert line["p_value"] == pytest.approx(contrast["p_value"])
    assert line["slope"] == pytest.approx(-contrast["difference"] / 0.03)
    assert line["slope_low"] == pytest.approx(-contrast["difference_high"] / 0.03)


def test_each_replicate_has_a_line_of_its_own() -> None:
    values = np.random.default_rng(1).normal(size=(5, 4)) + np.arange(5)[:, None] * 100
    levels = [0.0, 1.0, 2.0, 7.0]
    each = [stats.linregress(levels, line).slope for line in values]
    line = slope(values, levels)
    assert line["slope"] == pytest.approx(np.mean(each))
    assert line["p_value"] == pytest.approx(stats.ttest_1samp(each, 0).pvalue)
    assert (line["n"], line["levels"]) == (5, 4)


def test_of_independent_values_it_is_the_line_through_all() -> None:
    values = np.random.default_rng(2).normal(size=(5, 3)) + np.array([0, 1, 2])
    line = slope(values, [0.0, 1.0, 2.0], "independent")
    assert line["slope"] == pytest.approx(stats.linregress([0.0, 1.0, 2.0] * 5, values.ravel()).slope)
    assert line["slope_low"] < line["slope"] < line["slope_high"]
    assert line["n"] == 15


@pytest.mark.parametrize("design", ["paired", "independent"])
def test_units_change_the_slope_alone(design: Design) -> None:
    values = np.random.default_rng(3).normal(size=(6, 3))
    one, small = slope(values, [1.0, 2.0, 4.0], design), slope(values, [1e-7, 2e-7, 4e-7], design)
    assert small["slope"] == pytest.approx(one["slope"] * 1e7)
    assert small["p_value"] == pytest.approx(one["p_value"])


@pytest.mark.parametrize("design", ["paired", "independent"])
def test_it_errs_as_often_as_it_says(design: Design) -> None:
    """Without a slope, and with a spread that grows along the factor."""
    rng = np.random.default_rng(4)
    found = [slope(rng.normal(size=(6, 4)) * [1, 2, 3, 4], [1, 2, 3, 4], design)["p_value"] for _ in range(250)]
    assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.035)


def test_its_interval_holds_the_slope() -> None:
    rng = np.random.default_rng(5)
    lines = [slope(rng.normal(size=(5, 3)) + 2 * np.array([1, 2, 4]), [1, 2, 4]) for _ in range(200)]
    assert np.mean([line["slope_low"] < 2 < line["slope_high"] for line in lines]) == pytest.approx(0.95, abs=0.03)


def test_all_lines_are_one_question() -> None:
    rng = np.random.default_rng(6)
    data = pd.concat([rows(rng.normal(size=(5, 3)), [1, 2, 3], method) for method in "abc"])
    found = slopes(data, metric="ap", factor="epsilon", roles=ROLES)
    assert found["method"].tolist() == ["a", "b", "c"]
    assert found["p_holm"].min() == pytest.approx(min(1, 3 * found["p_value"].min()))


def test_what_cannot_be_tested_says_why() -> None:
    assert "not tested: 1 whole seeds" in slope(np.ones((1, 3)), [1, 2, 3])["note"]
    assert "the slopes do not vary" in slope(np.array([[1.0, 2.0], [2.0, 3.0]]), [1, 2])["note"]
    lost = np.array([[1.0, 2.0], [2.0, 5.0], [np.nan, 1.0]])
    assert slope(lost, [1, 2])["note"].startswith("dropped seed 2 without a value at every level")
    assert "do not vary" in slope(np.ones((3, 3)), [1, 2, 3], "independent")["note"]


def test_rows_to_which_the_factor_does_not_matter_are_left_out() -> None:
    values = np.random.default_rng(7).normal(size=(5, 2))
    data = rows(values, [1.0, 2.0])
    other = data[data["epsilon"] == 1].assign(method="b", epsilon=np.nan)
    found = slopes(pd.concat([data, other]), metric="ap", factor="epsilon", roles=ROLES)
    assert found["method"].tolist() == ["a"]


def test_a_factor_of_text_has_no_slope() -> None:
    with pytest.raises(ValueError, match="'method' is not of numbers"):
        slopes(rows(np.ones((2, 2)), [1, 2]), metric="ap", factor="method", roles=ROLES)
    with pytest.raises(ValueError, match="'epsilom' is none of the factors; did you mean 'epsilon'"):
        slopes(rows(np.ones((2, 2)), [1, 2]), metric="ap", factor="epsilom", roles=ROLES)
