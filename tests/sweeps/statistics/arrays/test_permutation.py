"""Permutation p-values: by hand, against scipy's enumeration, and as a property of the data."""

from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sweeps.statistics.arrays.permutation import relabelling_p, sign_flip_p

pytestmark = pytest.mark.filterwarnings("error")


def test_relabelling_by_hand() -> None:
    # Of the 20 ways to choose three of six values, one has a smaller and one a larger sum.
    assert relabelling_p(np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])) == pytest.approx(2 / 20)


def test_sign_flips_by_hand() -> None:
    # Of the 8 signs of 1, 2, 3 only +++ and --- are as far from zero.
    assert sign_flip_p(np.array([[1.0], [2.0], [3.0]])) == pytest.approx(2 / 8)
    assert sign_flip_p(np.array([[1.0], [-1.0]])) == 1.0


def test_darwin_s_maize() -> None:
    # Fisher 1935, The Design of Experiments, section 21: 863 of the 32,768 signs give a mean as large, 1726 both ways.
    inches = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48.0])
    assert sign_flip_p(inches[:, None]) == pytest.approx(2 * 863 / 2**15)


groups = st.lists(st.integers(-6, 6).map(lambda integer: integer / 10), min_size=2, max_size=6).map(np.array)


@settings(max_examples=40, deadline=None)
@given(a=groups, b=groups)
def test_relabelling_counts_what_scipy_counts(a: np.ndarray, b: np.ndarray) -> None:
    def distance(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        # Rounded, as sums of the same tenths in another order are not equal.
        apart: np.ndarray = np.abs(np.mean(a, axis=axis) - np.mean(b, axis=axis))
        return apart.round(9)

    every = cast(int, np.inf)  # scipy takes it, its stubs do not
    counted = stats.permutation_test((a, b), distance, vectorized=True, alternative="greater", n_resamples=every)
    assert relabelling_p(a, b) == pytest.approx(counted.pvalue)


@pytest.mark.parametrize("size", [8, 30])
def test_neither_labels_nor_the_order_of_values_matter(size: int) -> None:
    rng = np.random.default_rng(size)
    a, b = rng.normal(size=size), rng.normal(0.8, size=size)
    assert relabelling_p(b, a) == relabelling_p(a, b) == relabelling_p(a[::-1], rng.permutation(b))
    assert sign_flip_p((b - a)[:, None]) == sign_flip_p((a - b)[:, None])


@pytest.mark.parametrize("size", [9, 40])
def test_more_arrangements_than_can_be_counted_are_drawn(size: int) -> None:
    # With many values, the p-values of permutations are close to those of t.
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=size), rng.normal(0.5, size=size)
    assert relabelling_p(a, b) == pytest.approx(stats.ttest_ind(a, b).pvalue, abs=0.02)
    assert sign_flip_p((a - b)[:, None]) == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.02)
    assert relabelling_p(a, b + 50) > 0


def test_a_null_effect_of_several_degrees_of_freedom_is_found_one_time_in_twenty() -> None:
    rng = np.random.default_rng(2)
    found = [sign_flip_p(rng.standard_cauchy(size=(7, 3))) <= 0.05 for _ in range(1500)]
    assert np.mean(found) == pytest.approx(0.05, abs=0.015)
