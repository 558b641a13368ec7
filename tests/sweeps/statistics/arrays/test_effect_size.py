import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sweeps.statistics.arrays.effect_size import hedges_g


@given(t=st.floats(-60, 60), df=st.integers(2, 60), n_effective=st.floats(1, 40, allow_nan=False))
def test_the_interval_inverts_the_noncentral_t(t: float, df: int, n_effective: float) -> None:
    effect = hedges_g(t, df=df, n_effective=n_effective)
    root = math.sqrt(n_effective)
    assert stats.nct.cdf(t, df, effect.low * root) == pytest.approx(0.975, abs=1e-4)
    assert stats.nct.cdf(t, df, effect.high * root) == pytest.approx(0.025, abs=1e-4)
    assert effect.low < effect.g < effect.high


def test_without_a_difference_the_interval_is_that_of_a_unit_normal() -> None:
    # T <= 0 exactly where Z + ncp <= 0, whatever the degrees of freedom.
    effect = hedges_g(0.0, df=7, n_effective=4.0)
    assert effect.g == 0
    assert (effect.low, effect.high) == pytest.approx((-1.959964 / 2, 1.959964 / 2), rel=1e-5)


@pytest.mark.parametrize(("df", "correction"), [(2, 1 / math.sqrt(math.pi)), (4, math.sqrt(2 / math.pi))])
def test_small_sample_correction_in_closed_form(df: int, correction: float) -> None:
    # Γ(1) / Γ(1/2) = 1/√π; Γ(2) / (√2 Γ(3/2)) = √(2/π).
    assert hedges_g(3.0, df=df, n_effective=9.0).g == pytest.approx(correction)


@pytest.mark.parametrize("df", [2, 9, 58])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_huge_t_joins_the_exact_interval(df: int, sign: int) -> None:
    below = hedges_g(sign * 999.9, df=df, n_effective=1.0)
    above = hedges_g(sign * 1000.1, df=df, n_effective=1.0)
    assert tuple(above) == pytest.approx(tuple(below), rel=2e-3)
    beyond = hedges_g(sign * 3e8, df=df, n_effective=1.0)
    assert beyond.low < beyond.g < beyond.high
