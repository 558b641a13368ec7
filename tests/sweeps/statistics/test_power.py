"""Numbers of runs against printed tables, statsmodels and simulation; what cannot be computed says why."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import TTestIndPower, TTestPower

from sweeps.statistics.power import noncentrality_for, power_analysis, power_of_t, runs_for
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Design

ROLES = Roles(("method", "seed", "ratio"), "seed", "ratio")

pytestmark = pytest.mark.filterwarnings("error")


def rows(a: list[float], b: list[float], ratio: float = 0.5) -> pd.DataFrame:
    lines = [(name, seed, ratio, value) for name, group in (("a", a), ("b", b)) for seed, value in enumerate(group)]
    return pd.DataFrame(lines, columns=["method", "seed", "ratio", "ap"])


@pytest.mark.parametrize(("effect", "runs"), [(0.2, 394), (0.5, 64), (0.8, 26)])
def test_groups_as_cohen_printed_them(effect: float, runs: int) -> None:
    # Cohen 1992, Psychological Bulletin 112, table 2 (393, 64, 26), whose 393 is one short of a power of 0.8.
    assert runs_for(effect, design="independent", power=0.8, alpha=0.05) == runs


@settings(max_examples=60, deadline=None)
@given(
    effect=st.floats(0.3, 3),
    power=st.floats(0.3, 0.95),
    alpha=st.sampled_from([0.001, 0.01, 0.05]),
    design=st.sampled_from(["paired", "independent"]),
)
def test_runs_as_statsmodels_solves_for_them(effect: float, power: float, alpha: float, design: Design) -> None:
    runs = runs_for(effect, design=design, power=power, alpha=alpha)
    solver = TTestPower() if design == "paired" else TTestIndPower()

    enough, one_less = (float(solver.power(effect, n, alpha)) for n in (runs, runs - 1))
    # Theirs is NaN where scipy's noncentral t is.
    assert enough >= power - 1e-5 or math.isnan(enough)
    assert runs == 2 or one_less < power + 1e-5 or math.isnan(one_less)


@settings(max_examples=100, deadline=None)
@given(df=st.integers(1, 300), power=st.floats(0.11, 0.999), alpha=st.floats(1e-5, 0.1))
def test_the_noncentrality_found_has_the_power(df: int, power: float, alpha: float) -> None:
    noncentrality = noncentrality_for(power, df=df, alpha=alpha)
    assert power_of_t(noncentrality, df=df, alpha=alpha) == pytest.approx(power, abs=1e-6)


@pytest.mark.parametrize("df", [1, 4, 20_000])
@pytest.mark.parametrize("noncentrality", [0.0, 1.0, 2.8, 9.0])
def test_power_is_the_tails_of_the_noncentral_t(df: int, noncentrality: float) -> None:
    critical = stats.t.isf(0.025, df)
    tails = stats.nct.sf(critical, df, noncentrality) + stats.nct.sf(critical, df, -noncentrality)
    assert power_of_t(noncentrality, df=df, alpha=0.05) == pytest.approx(tails, abs=1e-6)


@pytest.mark.parametrize("design", ["paired", "independent"])
def test_the_most_runs_are_searched_to_the_end(design: Design) -> None:
    # Between the last power of two and the most, by the normal approximation (1.96 + 0.84)² / effect² in one sample.
    effect = math.sqrt((2 if design == "independent" else 1) * 7.849 / 9000)
    assert runs_for(effect, design=design, power=0.8, alpha=0.05) == pytest.approx(9000, abs=5)
    assert math.isnan(runs_for(0.9 * effect, design=design, power=0.8, alpha=0.05))


@pytest.mark.parametrize("size", [1e3, 1e6, 1e9])
def test_a_huge_effect_needs_two_runs(size: float) -> None:
    assert runs_for(size, design="paired", power=0.9, alpha=0.001) <= 3
    assert runs_for(size, design="independent", power=0.9, alpha=0.001) == 2


def test_the_paired_design_rests_on_the_spread_of_differences() -> None:
    # Differences 1, 2, 3: standard deviation 1.
    line = power_analysis(rows([1, 12, 23], [0, 10, 20]), metric="ap", difference=2.0, roles=ROLES).iloc[0]
    assert line["sd"] == pytest.approx(1)
    assert line["power"] == pytest.approx(power_of_t(2 * math.sqrt(3), df=2, alpha=0.05))
    assert line["n_needed"] == runs_for(2.0, design="paired", power=0.8, alpha=0.05)
    # The chi-squared quantiles of two degrees of freedom are -2 log(1 - q).
    assert line["sd_low"] == pytest.approx(math.sqrt(2 / (-2 * math.log(0.025))))
    assert line["sd_high"] == pytest.approx(math.sqrt(2 / (-2 * math.log(0.975))))
    assert line["n_low"] <= line["n_needed"] <= line["n_high"]


def test_the_smallest_difference_is_seen_with_the_power_asked_for() -> None:
    for design in ("paired", "independent"):
        data = rows([1, 2, 4, 9], [3, 1, 6, 2])
        smallest = power_analysis(data, metric="ap", design=design, power=0.9, roles=ROLES)["smallest_difference"][0]
        line = power_analysis(data, metric="ap", difference=smallest, design=design, power=0.9, roles=ROLES).iloc[0]
        assert line["power"] == pytest.approx(0.9)
        assert line["n_needed"] in (4, 5)


def test_without_a_difference_none_is_made_up() -> None:
    line = power_analysis(rows([1, 2, 4], [3, 1, 6]), metric="ap", roles=ROLES).iloc[0]
    assert line[["difference", "power", "n_needed", "n_low", "n_high"]].isna().all()
    assert line["smallest_difference"] > 0


def test_a_percentage_is_of_the_mean_of_both_levels() -> None:
    data = rows([9, 10, 11], [18, 20, 25])
    line = power_analysis(data, metric="ap", difference=10, in_percent=True, roles=ROLES).iloc[0]
    assert line["difference"] == pytest.approx(0.1 * (10 + 21) / 2)


def test_the_power_promised_is_that_of_simulated_experiments() -> None:
    rng = np.random.default_rng(0)
    runs = int(runs_for(1.2, design="paired", power=0.8, alpha=0.05))
    found = stats.ttest_1samp(rng.normal(1.2, 1.0, size=(4000, runs)), 0, axis=1).pvalue < 0.05
    promised = power_of_t(1.2 * math.sqrt(runs), df=runs - 1, alpha=0.05)
    assert promised >= 0.8
    assert np.mean(found) == pytest.approx(promised, abs=0.02)


def test_one_ratio_is_looked_at() -> None:
    data = pd.concat([rows([1, 2, 4], [3, 1, 6], ratio) for ratio in (0.5, 0.9)])
    assert power_analysis(data, metric="ap", at=0.9, roles=ROLES)["ratio"].tolist() == [0.9]
    with pytest.raises(ValueError, match=r"found no rows at ratio 0.8; there are 0.5, 0.9"):
        power_analysis(data, metric="ap", at=0.8, roles=ROLES)


@pytest.mark.parametrize(
    ("a", "b", "design", "reason"),
    [
        ([1.0], [2.0], "paired", "no standard deviation: 1 complete blocks"),
        ([1.0, 2.0], [3.0], "independent", "no standard deviation: groups of 2 and 1"),
        ([1.0, 2.0], [2.0, 3.0], "paired", "no standard deviation: the differences do not vary"),
        ([1.0, 2.0, 3.0], [-1.0, -2.0, -3.0], "paired", "no difference to see: the mean is zero"),
        ([100.0, 200.0, 0.0], [100.0, 0.0, 201.0], "paired", "where no number is given, more than 10000 runs"),
    ],
)
def test_what_cannot_be_computed_says_why(a: list[float], b: list[float], design: Design, reason: str) -> None:
    found = power_analysis(rows(a, b), metric="ap", difference=0.001, in_percent=True, design=design, roles=ROLES)
    assert found["note"][0].startswith(reason)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"difference": 0.0}, "difference: found 0, expected a number above 0"),
        ({"difference": math.nan}, "difference: found nan"),
        ({"power": 1.0}, "found alpha 0.05 and power 1, expected 0 < alpha < power < 1"),
        ({"alpha": 0.9}, "found alpha 0.9 and power 0.8"),
    ],
)
def test_wrong_settings(settings_: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        power_analysis(rows([1, 2, 4], [3, 1, 6]), metric="ap", roles=ROLES, **settings_)
