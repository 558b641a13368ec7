"""Equivalence tests: against scaled t tests, their own intervals and simulated errors; what cannot be said is not."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sweeps.statistics.equivalence import equivalence
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Design, Values

ROLES = Roles(("method", "seed", "ratio"), "seed", "ratio")
TIMES = (np.array([10.1, 10.3, 9.9, 10.2, 10.0]), np.array([10.0, 10.4, 9.8, 10.1, 10.1]))

pytestmark = pytest.mark.filterwarnings("error")


def rows(a: Values, b: Values) -> pd.DataFrame:
    """Rows of two methods; one ratio, or one for every line of the arrays."""
    groups = {"a": np.atleast_2d(a), "b": np.atleast_2d(b)}
    lines = [
        (name, seed, ratio, value) for name, group in groups.items() for (ratio, seed), value in np.ndenumerate(group)
    ]
    return pd.DataFrame(lines, columns=["method", "seed", "ratio", "ms"])


def compare(a: Values, b: Values, design: Design, margin: float = 5, *, classical: bool = False) -> pd.DataFrame:
    data = rows(a, b)
    return equivalence(data, metric="ms", margin_percent=margin, design=design, classical=classical, roles=ROLES)


def test_the_paired_test_compares_with_the_scaled_reference() -> None:
    a, b = TIMES
    line = compare(a, b, "paired").iloc[0]
    low = stats.ttest_1samp(a - 0.95 * b, 0, alternative="greater").pvalue
    high = stats.ttest_1samp(a - 1.05 * b, 0, alternative="less").pvalue
    assert line["p_value"] == pytest.approx(max(low, high))
    assert line["verdict"] == "equivalent"
    assert line["difference_percent"] == pytest.approx(100 * (10.1 / 10.08 - 1))


def test_the_classical_test_by_hand() -> None:
    # Means 10 and 9, pooled variance 1 on 4 degrees of freedom: t = (10 - r 9) / sqrt((1 + r²) / 3).
    groups = np.array([9.0, 10, 11]), np.array([8.0, 9, 10])
    line = compare(*groups, "independent", margin=50, classical=True).iloc[0]
    low = stats.t.sf((10 - 0.5 * 9) / np.sqrt((1 + 0.25) / 3), 4)
    high = stats.t.cdf((10 - 1.5 * 9) / np.sqrt((1 + 2.25) / 3), 4)
    assert line["p_value"] == pytest.approx(max(low, high))


def test_the_independent_test_is_welch_s_of_the_scaled_reference() -> None:
    a, b = np.array([9.0, 10, 12]), np.array([8.0, 9, 10, 9.5])
    line = compare(a, b, "independent", margin=50).iloc[0]
    low = stats.ttest_ind(a, 0.5 * b, equal_var=False, alternative="greater").pvalue
    high = stats.ttest_ind(a, 1.5 * b, equal_var=False, alternative="less").pvalue
    assert line["p_value"] == pytest.approx(max(low, high))
    for end in ("low_percent", "high_percent"):
        scale = 1 + line[end] / 100
        assert stats.ttest_ind(a, scale * b, equal_var=False).pvalue == pytest.approx(0.1)


@pytest.mark.parametrize("design", ["paired", "classical"])
def test_the_interval_is_fieller_s_in_closed_form(design: str) -> None:
    a, b = np.array([9.0, 10, 12, 7]), np.array([8.0, 9, 10, 9.5])
    cov = np.cov(a, b) / 4 if design == "paired" else np.eye(2) * (a.var(ddof=1) + b.var(ddof=1)) / 2 / 4
    squared = stats.t.isf(0.05, 3 if design == "paired" else 6) ** 2
    # The roots of (a - r b)² = t² (var_a - 2 r cov + r² var_b).
    square, linear = b.mean() ** 2 - squared * cov[1, 1], a.mean() * b.mean() - squared * cov[0, 1]
    root = np.sqrt(linear**2 - square * (a.mean() ** 2 - squared * cov[0, 0]))
    line = compare(a, b, "paired" if design == "paired" else "independent", classical=design == "classical").iloc[0]
    expected = [100 * ((linear + sign * root) / square - 1) for sign in (-1, 1)]
    assert line[["low_percent", "high_percent"]].astype(float).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("shift", "verdict"), [(0.0, "equivalent"), (0.45, "undecided"), (2.0, "different"), (-2.0, "different")]
)
@pytest.mark.parametrize("design", ["paired", "independent"])
def test_verdicts(design: Design, shift: float, verdict: str) -> None:
    line = compare(TIMES[0] + shift, TIMES[1], design).iloc[0]
    assert line["verdict"] == verdict
    inside = line["low_percent"] > -5 and line["high_percent"] < 5
    assert inside == (verdict == "equivalent") == (line["p_value"] < 0.05)


@settings(max_examples=150, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(20, 60), st.integers(20, 60)), min_size=3, max_size=6),
    design=st.sampled_from(["paired", "independent"]),
    margin=st.integers(1, 90),
)
def test_the_interval_lies_within_the_margin_exactly_where_p_is_below_five_percent(
    pairs: list[tuple[int, int]], design: Design, margin: int
) -> None:
    a, b = np.array(pairs, dtype=float).T
    line = compare(a, b, design, margin).iloc[0]
    if not np.isnan(line["low_percent"]):
        within = -margin < line["low_percent"] and line["high_percent"] < margin
        assert within == (line["p_value"] < 0.05) or line["p_value"] == pytest.approx(0.05)
        assert line["low_percent"] <= line["difference_percent"] <= line["high_percent"]


@pytest.mark.parametrize("design", ["paired", "independent"])
def test_five_in_a_hundred_differences_at_the_margin_pass_for_equivalent(design: Design) -> None:
    rng = np.random.default_rng(0)
    seeds = rng.normal(size=(1000, 8)) * (design == "paired")
    a, b = (mean + 0.7 * rng.normal(size=(1000, 8)) + seeds for mean in (105, 100))
    found = compare(a, b, design)
    assert (found["p_value"] < 0.05).mean() == pytest.approx(0.05, abs=0.02)
    inside = (found["low_percent"] < 5) & (found["high_percent"] > 5)
    assert inside.mean() == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("design", ["paired", "independent"])
def test_neither_unit_nor_sign_of_the_metric_matters(design: Design) -> None:
    expected = compare(*TIMES, design)
    columns = ["difference_percent", "low_percent", "high_percent", "p_value"]
    for factor in (1000, -0.5, 1e90, 1e-90):
        found = compare(factor * TIMES[0], factor * TIMES[1], design)
        assert found[columns].to_numpy() == pytest.approx(expected[columns].to_numpy())


@pytest.mark.parametrize(
    ("a", "b", "design", "reason"),
    [
        ([1.0], [2.0], "paired", "not tested: 1 complete blocks, a test needs 2"),
        ([1.0, 2.0], [2.0], "independent", "not tested: groups of 2 and 1, a test needs 2 in each"),
        ([1.0, np.inf, 2.0], [2.0, 1.0, 3.0], "paired", "dropped seed 1 without a value in both"),
        ([3.0, 3.0], [3.0, 3.0], "paired", "not tested: the values of a and b do not vary"),
        ([3.0, 3.0], [4.0, 4.0], "independent", "not tested: the values of a and b do not vary"),
        ([3.0, 3.0], [4.0, 4.1], "independent", "not tested: the values of a do not vary"),
        ([3.0, 4.0, 5.0], [3.0, 4.0, 5.0], "paired", "not tested: the differences do not vary"),
        ([1.0, 2.0, 3.0], [-1.0, 0.0, 1.0], "independent", "no interval: the mean of b may be zero"),
    ],
)
def test_what_cannot_be_said_says_why(a: list[float], b: list[float], design: Design, reason: str) -> None:
    line = compare(np.array(a), np.array(b), design).iloc[0]
    assert line["note"].startswith(reason)
    assert line["verdict"] == "undecided"


def test_a_constant_ratio_at_the_edge_of_the_margin_is_not_equivalent() -> None:
    b = np.array([1.0, 2.0, 3.0])
    line = compare(1.5 * b, b, "paired", margin=50).iloc[0]
    assert line["p_value"] >= 0.05
    assert line["verdict"] != "equivalent"
    assert compare(1.01 * b, b, "paired").iloc[0]["verdict"] == "equivalent"


def test_a_reference_of_mean_zero_is_no_hundred_percent_though_a_is_a_multiple_of_it() -> None:
    b = np.array([-1.0, 0.0, 1.0])
    line = compare(0.5 * b, b, "paired", margin=50).iloc[0]
    assert line["note"].startswith("no interval: the mean of b may be zero")
    assert line["verdict"] == "undecided"
    assert line["p_value"] >= 0.05


def test_skewed_differences_are_said_with_sign_flips_beside() -> None:
    b = np.array([9.0, 10, 11, 12, 13, 14])
    a = b + np.array([0.1, -0.1, 0.2, -0.2, 0.1, 4.0])
    note = compare(a, b, "paired", margin=50).iloc[0]["note"]
    assert note.startswith("differences not normal (Shapiro-Wilk p=")
    # In all blocks `a` is above half of `b` and below one and a half: the sign that was found is one of 64.
    assert note.endswith(": sign flips p=0.0156")
    assert compare(a, b, "paired", margin=1).iloc[0]["note"].partition("flips p=")[2] > "0.05"


def test_unequal_variances_of_the_classical_test_are_said_with_welch_beside() -> None:
    a, b = 100 + np.linspace(-1, 1, 8), 100 + np.linspace(-0.1, 0.1, 8)
    assert compare(a, b, "independent").iloc[0]["note"] == ""
    note = compare(a, b, "independent", classical=True).iloc[0]["note"]
    low = stats.ttest_ind(a, 0.95 * b, equal_var=False, alternative="greater").pvalue
    high = stats.ttest_ind(1.05 * b, a, equal_var=False, alternative="greater").pvalue
    assert note.startswith("variances differ (Brown-Forsythe p=")
    assert float(note.rpartition("=")[2]) == pytest.approx(max(low, high), rel=1e-2)


@pytest.mark.parametrize("margin", [0, 100, -5, float("nan")])
def test_a_margin_that_is_none(margin: float) -> None:
    with pytest.raises(ValueError, match="expected a percentage above 0 and below 100"):
        compare(*TIMES, "paired", margin)
