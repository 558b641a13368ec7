"""Doubts are raised where there is cause, about one time in twenty where there is none, and name the robust test."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sweeps.statistics.arrays.assumptions import UNCHECKED, doubts, not_normal, read_doubt, variances_differ
from sweeps.statistics.arrays.permutation import relabelling_p, sign_flip_p
from sweeps.statistics.samples import Design, Values

pytestmark = pytest.mark.filterwarnings("error")

# "Student" 1908: extra hours of sleep of ten patients on two drugs, `sleep` in R.
SLEEP = (
    np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]),
    np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]),
)
LEVEL = np.linspace(-1, 1, 8)


def test_unequal_variances_of_the_classical_test_name_welch() -> None:
    a, b = LEVEL, 10 * LEVEL + 4
    assert doubts(a, b, design="independent") == []
    (clause,) = doubts(a, b, design="independent", classical=True)
    doubt = read_doubt(clause)
    assert doubt is not None
    assert (doubt.what, doubt.check) == ("variances differ", "Brown-Forsythe")
    assert doubt.robust == pytest.approx({"Welch": stats.ttest_ind(a, b, equal_var=False).pvalue}, rel=1e-2)


def test_an_outlier_names_ranks_and_permutations() -> None:
    a, b = np.append(LEVEL, 9.0), np.append(LEVEL + 3, 4.0)
    doubt = read_doubt(doubts(a, b, design="independent")[-1])
    assert doubt is not None
    assert (doubt.what, doubt.check) == ("values not normal", "Shapiro-Wilk")
    ranks, labels = stats.kruskal(a, b).pvalue, relabelling_p(a, b)
    assert doubt.robust == pytest.approx({"Kruskal-Wallis": ranks, "permutation": labels}, rel=1e-2)


def test_differences_with_an_outlier_name_signed_ranks_and_sign_flips() -> None:
    (clause,) = doubts(*SLEEP, design="paired")
    doubt = read_doubt(clause)
    assert doubt is not None
    assert (doubt.what, doubt.check) == ("differences not normal", "Shapiro-Wilk")
    differences = SLEEP[0] - SLEEP[1]
    ranks, flips = stats.wilcoxon(differences).pvalue, sign_flip_p(differences[:, None])
    assert doubt.robust == pytest.approx({"Wilcoxon": ranks, "sign flips": flips}, rel=1e-2)


@pytest.mark.parametrize("design", ["paired", "independent"])
def test_of_four_values_nothing_can_be_told_and_that_is_said(design: Design) -> None:
    assert doubts(np.array([0.0, 0.0, 0.0, 9.0]), np.array([1.0, 1.1, 1.0, 1.0]), design=design) == [UNCHECKED]


@pytest.mark.parametrize("ratio", [1.0, 4.0])
def test_normal_groups_are_doubted_one_time_in_twenty_whatever_their_variances(ratio: float) -> None:
    rng = np.random.default_rng(0)
    doubted = [not_normal([rng.normal(size=8), ratio * rng.normal(size=8)]) != "" for _ in range(1000)]
    assert 0.03 < np.mean(doubted) < 0.07


def test_equal_variances_are_doubted_at_most_one_time_in_twenty_whatever_the_shape() -> None:
    rng = np.random.default_rng(1)
    doubted = [variances_differ([rng.laplace(size=10), rng.laplace(size=10)]) != "" for _ in range(1000)]
    assert 0.01 < np.mean(doubted) < 0.06


@pytest.mark.parametrize("clause", ["", "dropped seed 3 without a value in both", "not tested: 1 complete blocks"])
def test_what_is_no_doubt_reads_as_none(clause: str) -> None:
    assert read_doubt(clause) is None


def test_a_doubt_without_a_robust_test_reads_so() -> None:
    assert read_doubt("values not normal (Shapiro-Wilk p=1e-05)") == ("values not normal", "Shapiro-Wilk", {})


values = st.lists(st.integers(-9, 9), min_size=5, max_size=8).map(lambda integers: np.array(integers) / 8)


@settings(max_examples=100, deadline=None)
@given(a=values, b=values, shift=st.integers(-20, 20), exponent=st.integers(-3, 3))
def test_doubts_depend_neither_on_the_unit_nor_on_zero(a: Values, b: Values, shift: int, exponent: int) -> None:
    if min(np.ptp(a), np.ptp(b)) > 0:
        scale = 2.0**exponent
        moved = doubts(scale * (a + shift), scale * (b + shift), design="independent", classical=True)
        assert moved == doubts(a, b, design="independent", classical=True)
