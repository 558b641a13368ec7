"""Welch's test holds its level where the classical one does not, and planning by it sees what it promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sweeps.statistics.arrays.ratio_of_means import ratio_of_means
from sweeps.statistics.arrays.t_tests import t_test
from sweeps.statistics.power import power_of_t, runs_for, spread_of

pytestmark = pytest.mark.filterwarnings("error")

SETS = 8000


@pytest.mark.parametrize(("n", "classical"), [(3, 0.087), (5, 0.072)])
def test_spreads_of_four_to_one(n: int, classical: float) -> None:
    rng = np.random.default_rng(n)
    a, b = 4 * rng.normal(size=(SETS, n)), rng.normal(size=(SETS, n))
    assert (t_test(a, b, design="independent").p < 0.05).mean() == pytest.approx(0.052, abs=0.01)
    assert (t_test(a, b, design="independent", classical=True).p < 0.05).mean() == pytest.approx(classical, abs=0.01)


def test_many_pairs_at_once_are_tested_as_each_alone() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(7, 4)), rng.normal(size=(7, 6))
    together = t_test(a, b, design="independent")
    for index in range(7):
        alone = stats.ttest_ind(a[index], b[index], equal_var=False)
        assert (together.t[index], together.p[index]) == pytest.approx((alone.statistic, alone.pvalue))
        assert together.df[index] == pytest.approx(alone.df)


@pytest.mark.parametrize("spread", [1, 4])
def test_an_equivalence_at_the_margin_is_claimed_one_time_in_twenty(spread: int) -> None:
    rng = np.random.default_rng(spread)
    a, b = 1.2 + 1e-3 * spread * rng.normal(size=(SETS, 5)), 1.0 + 1e-3 * rng.normal(size=(SETS, 5))
    ratio = ratio_of_means(a, b, design="independent")
    assert (ratio.p_value(0.2) < 0.05).mean() == pytest.approx(0.05, abs=0.015)
    low, high = ratio.interval(0.9)
    assert ((low < 1.2) & (high > 1.2)).mean() == pytest.approx(0.9, abs=0.02)


def test_planned_groups_of_unlike_spread_see_the_difference() -> None:
    rng = np.random.default_rng(1)
    sd, apart = math.sqrt((4**2 + 1) / 2), 3.0
    balance = (4**2 + 1) ** 2 / (4**4 + 1)
    n = int(runs_for(apart / sd, design="independent", balance=balance, power=0.8, alpha=0.05))
    a, b = apart + 4 * rng.normal(size=(SETS, n)), rng.normal(size=(SETS, n))
    seen = (t_test(a, b, design="independent").p < 0.05).mean()
    assert seen == pytest.approx(power_of_t(apart / sd * math.sqrt(n / 2), df=balance * (n - 1), alpha=0.05), abs=0.02)
    assert 0.78 < seen < 0.84


@pytest.mark.parametrize("spread", [1, 4])
def test_the_interval_of_a_standard_deviation_of_groups(spread: int) -> None:
    rng = np.random.default_rng(spread)
    a, b = spread * rng.normal(size=(SETS, 10)), rng.normal(size=(SETS, 10))
    found = spread_of(a, b, design="independent")
    truth = math.sqrt((spread**2 + 1) / 2)
    assert ((found.sd_low < truth) & (truth < found.sd_high)).mean() == pytest.approx(0.95, abs=0.015)
