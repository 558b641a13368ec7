import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sweeps.statistics.analysis import contrasts
from sweeps.statistics.arrays.assumptions import UNCHECKED
from sweeps.statistics.marks import FLOOR, Floor, holm
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Design
from tests.support import roles

DATA = Path(os.environ.get("ROBUSTPRUNE_DATA", Path(__file__).parents[4] / "shared" / "data"))
AXES = ("method", "seed", "sparsity")
ROLES = Roles(AXES, "seed", "sparsity")
DESIGNS: tuple[Design, ...] = ("paired", "independent")

pytestmark = pytest.mark.filterwarnings("error")


def two_groups(a: list[float], b: list[float], sparsity: float = 0.5) -> pd.DataFrame:
    """Rows of a study with one factor, `method`, and the values in the order of seeds."""
    values = [("a", seed, sparsity, value) for seed, value in enumerate(a)]
    values += [("b", seed, sparsity, value) for seed, value in enumerate(b)]
    return pd.DataFrame(values, columns=[*AXES, "accuracy"])


def compare(rows: pd.DataFrame, design: Design, **settings: Any) -> pd.DataFrame:
    return contrasts(rows, metric="accuracy", design=design, roles=ROLES, **settings)


def test_independent_f_of_a_table_computed_by_hand() -> None:
    # Means 2 and 5; between squares 2·3·1.5² = 13.5 on 1, within 2 + 2 = 4 on 4 degrees of freedom.
    # Of equal variances and counts, Welch's degrees of freedom are 4 too.
    line = compare(two_groups([1, 2, 3], [4, 5, 6]), "independent").iloc[0]
    assert line["statistic"] == pytest.approx(13.5)
    assert line["p_value"] == pytest.approx(stats.f.sf(13.5, 1, 4))
    assert (line["mean_a"], line["mean_b"], line["sd_a"], line["n_a"]) == (2, 5, 1, 3)
    assert line["test"] == "Welch's one-way ANOVA"
    half = stats.t.isf(0.025, 4) * np.sqrt(2 / 3)
    ends = line[["difference", "difference_low", "difference_high"]].astype(float)
    assert ends.tolist() == pytest.approx([-3, -3 - half, -3 + half])
    classical = compare(two_groups([1, 2, 3], [4, 5, 6]), "independent", classical=True).iloc[0]
    assert classical["test"] == "one-way ANOVA"


@pytest.mark.parametrize("classical", [False, True])
def test_groups_of_unlike_size_and_spread_are_those_of_scipy(classical: bool) -> None:
    a, b = [0.1, 0.9, -2.0, 3.0, 4.4, 0.2], [5.0, 5.2, 4.9, 5.1, 5.3, 5.0, 4.8, 5.6, 5.1]
    line = compare(two_groups(a, b), "independent", classical=classical).iloc[0]
    expected = stats.ttest_ind(a, b, equal_var=classical)
    assert line["p_value"] == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval()
    assert (line["difference_low"], line["difference_high"]) == pytest.approx((interval.low, interval.high))


def test_paired_f_of_a_blocked_table_computed_by_hand() -> None:
    # Differences -1, -2, -3: mean -2, variance 1, so F = t² = 3·2²/1 = 12 on 1 and 2.
    line = compare(two_groups([1, 5, 9], [2, 7, 12]), "paired").iloc[0]
    assert line["statistic"] == pytest.approx(12)
    assert line["p_value"] == pytest.approx(stats.f.sf(12, 1, 2))
    assert line["effect_size"] == pytest.approx(-2 / np.sqrt(np.pi))


def test_paired_design_sees_through_what_seeds_share() -> None:
    rng = np.random.default_rng(0)
    seeds, noise = 10 * rng.normal(size=8), 0.1 * rng.normal(size=(2, 8))
    rows = two_groups(list(seeds + noise[0]), list(seeds + noise[1] + 1))
    assert compare(rows, "paired")["p_value"].iloc[0] < 1e-6
    assert compare(rows, "independent")["p_value"].iloc[0] > 0.5


def test_every_pair_of_levels_with_the_others_fixed_and_no_more() -> None:
    grid = product(("u", "s"), ("x", "y", "z"), ("rgb",), range(3), (0.0, 0.9))
    rows = pd.DataFrame(grid, columns=["structure", "initializer", "colour", "seed", "ratio"])
    rows = rows[~((rows["structure"] == "s") & (rows["initializer"] == "z"))]
    rows["map"] = np.random.default_rng(1).normal(size=len(rows))
    found = contrasts(rows, metric="map", roles=roles.ROLES)
    columns = ["factor", "level_a", "level_b", "structure", "initializer", "colour"]
    assert found[columns].drop_duplicates().to_numpy().tolist() == [
        ["structure", "s", "u", "", "x", "rgb"],
        ["structure", "s", "u", "", "y", "rgb"],
        ["initializer", "x", "y", "s", "", "rgb"],
        ["initializer", "x", "y", "u", "", "rgb"],
        ["initializer", "x", "z", "u", "", "rgb"],
        ["initializer", "y", "z", "u", "", "rgb"],
    ]
    assert found["ratio"].tolist() == [0.0, 0.9] * 6
    sample = ["n_a", "n_b", "mean_a", "mean_b", "sd_a", "sd_b", "difference", "difference_low", "difference_high"]
    test = ["statistic", "p_value", "p_holm", "mark", "effect_size", "effect_low", "effect_high", "test", "note"]
    assert list(found.columns) == [*columns, "ratio", "metric", "design", *sample, *test]


def test_holm_by_hand() -> None:
    # Sorted .01 .02 .03 .04 times 4 3 2 1 is .04 .06 .06 .04, made monotone .04 .06 .06 .06.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == pytest.approx([1, 1])


def test_a_test_not_made_does_not_count_for_holm() -> None:
    assert holm([0.03, float("nan"), 0.01]) == pytest.approx([0.03, np.nan, 0.02], nan_ok=True)


def test_the_family_of_holm_is_all_levels_and_ratios_of_one_question() -> None:
    rng = np.random.default_rng(2)
    rows = pd.DataFrame(product("abc", "vw", range(4), (0.0, 0.5)), columns=["m", "k", "seed", "ratio"])
    rows["accuracy"] = rng.normal(size=len(rows))
    found = contrasts(rows, metric="accuracy", roles=Roles(("m", "k", "seed", "ratio"), "seed", "ratio"))
    question = found[(found["factor"] == "m") & (found["k"] == "v")]
    assert len(question) == 6
    assert question["p_holm"].to_numpy() == pytest.approx(holm(question["p_value"].tolist()))


@pytest.mark.parametrize(
    ("a", "b", "design", "reason"),
    [
        ([0.5], [0.6], "paired", "not tested: 1 complete blocks, a test needs 2"),
        ([0.5], [0.6, 0.7], "independent", "not tested: groups of 1 and 2, a test needs 2 in each"),
        ([0.5, 0.5], [0.6, 0.6], "independent", "not tested: the values of a and b do not vary"),
        ([0.1, 0.1, 0.1], [0.6, 0.7, 0.5], "independent", "not tested: the values of a do not vary"),
        ([0.6, 0.7, 0.5], [1 / 3, 1 / 3, 1 / 3], "paired", "not tested: the values of b do not vary"),
        ([0.3, 0.2, 0.7], [0.2, 0.1, 0.6], "paired", "not tested: the differences do not vary"),
        ([0.5, np.nan], [0.6, 0.7], "paired", "dropped seed 1 without a value in both; not tested: 1 comp"),
        ([0.5, np.inf], [0.6, 0.7], "independent", "a: dropped seed 1 without a finite value; not tested"),
    ],
)
def test_degenerate_input_is_not_tested_and_says_why(
    a: list[float], b: list[float], design: Design, reason: str
) -> None:
    line = compare(two_groups(a, b), design).iloc[0]
    assert np.isnan(line["p_value"])
    assert np.isnan(line["p_holm"])
    assert line["note"].startswith(reason)


@pytest.mark.parametrize("design", DESIGNS)
def test_a_ratio_at_which_one_level_has_no_rows_is_said(design: Design) -> None:
    both, one = two_groups([1, 2, 4], [2, 5, 3]), two_groups([1, 2, 3], [], sparsity=0.9)
    lines = compare(pd.concat([both, one]), design)
    assert lines["sparsity"].tolist() == [0.5, 0.9]
    assert lines["note"].iloc[0] == UNCHECKED
    assert "not tested" in lines["note"].iloc[1]
    assert (lines["n_b"].iloc[0], lines["n_b"].iloc[1]) == (3, 0)


def test_incomplete_blocks_are_dropped_and_said() -> None:
    rows = two_groups([1, 2, 4, 100], [2, 5, 3])
    dropped, complete = compare(rows, "paired").iloc[0], compare(rows.query("seed < 3"), "paired").iloc[0]
    assert dropped["note"] == f"dropped seed 3 without a value in both; {UNCHECKED}"
    assert (dropped["n_a"], dropped["mean_a"]) == (3, complete["mean_a"])
    assert dropped["p_value"] == complete["p_value"]


def test_two_blocks_have_a_p_value_and_no_effect_size() -> None:
    line = compare(two_groups([1, 2], [2, 5]), "paired").iloc[0]
    assert np.isfinite(line["p_value"])
    assert np.isnan(line["effect_size"])
    assert "needs 3" in line["note"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows.rename(columns={"accuracy": "acuracy"}), "did you mean 'acuracy'"),
        (lambda rows: rows.drop(columns="seed"), "key column 'seed' is missing .* method, seed, sparsity"),
        (lambda rows: rows.assign(seed=[None, *range(5)]), "key column 'seed' is empty in 1 of 6 rows"),
        (lambda rows: rows.assign(accuracy="high"), "'accuracy' holds 'high', expected numbers"),
        (lambda rows: rows.assign(accuracy=None), "'accuracy' holds no value, expected numbers"),
        (lambda rows: rows.assign(accuracy=[1e200, *range(5)]), "'accuracy' holds 1e.200, expected 0 or a size from"),
        (lambda rows: rows.assign(accuracy=[1e-200, *range(5)]), "'accuracy' holds 1e-200, expected 0 or a size from"),
        (lambda rows: rows.assign(sparsity="50%"), "key column 'sparsity' holds '50%', expected numbers"),
        (lambda rows: rows.assign(method=[1, 1, 1, "b", "b", "b"]), "key column 'method' mixes numbers with 'b'"),
        (lambda rows: pd.concat([rows, rows[:1]]), "1 of 7 rows repeat .* method a, seed 0, sparsity 0.5"),
    ],
)
def test_unfit_tables_are_refused_in_one_sentence(spoil: Callable[[pd.DataFrame], pd.DataFrame], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(spoil(two_groups([1, 2, 3], [4, 5, 6])), "paired")


def test_a_key_is_no_metric() -> None:
    with pytest.raises(ValueError, match="metric 'seed' is a key column"):
        contrasts(two_groups([1, 2], [3, 4]), metric="seed", roles=ROLES)


def test_levels_and_replicates_may_be_numbers_or_words() -> None:
    rows = two_groups([1, 2, 4], [4, 5, 3])
    named = rows.replace({"method": {"a": 1, "b": 2}}).assign(seed=[f"seed {seed}" for seed in rows["seed"]])
    found = compare(named, "paired")
    assert found["p_value"].tolist() == compare(rows, "paired")["p_value"].tolist()
    assert found[["level_a", "level_b"]].to_numpy().tolist() == [[1, 2]]


@pytest.mark.parametrize(("seeds", "mark"), [(4, "?"), (5, "*")])
@pytest.mark.parametrize("design", DESIGNS)
def test_a_star_needs_five_values_and_fewer_are_said(design: Design, seeds: int, mark: str) -> None:
    unlike = 0.01 * np.array([1.0, -1.0, 0.5, 0.2, -0.3])[:seeds]
    line = compare(two_groups([*(0.9 + unlike)], [*(0.5 - unlike[::-1])]), design).iloc[0]
    assert line["p_holm"] < 0.05
    assert line["mark"] == mark
    assert (line["note"] == UNCHECKED) == (seeds < 5)


@pytest.mark.parametrize(
    ("floor", "mark"), [(FLOOR, ""), (Floor(0), "*"), (Floor(0.04), ""), (Floor(0.02), "*"), (Floor(3, True), "*")]
)
def test_no_star_where_both_means_lie_at_the_floor(floor: Floor, mark: str) -> None:
    # Means .03 and .01; the largest of the file is .9, a twentieth of which is .045.
    unlike = 0.001 * np.array([1.0, -1.0, 0.5, 0.2, -0.3])
    high = two_groups([*(0.9 + unlike)], [*(0.5 - unlike[::-1])])
    low = two_groups([*(0.03 + unlike)], [*(0.01 - unlike[::-1])], sparsity=0.9)
    found = compare(pd.concat([high, low]), "paired", floor=floor)
    assert found["mark"].tolist() == ["*", mark]
    assert (found["p_holm"] < 0.05).all()
    assert ("no star: means at the floor of " in found["note"].iloc[1]) == (mark == "")


@pytest.mark.parametrize("floor", [Floor(-0.1), Floor(float("nan")), Floor(100, True)])
def test_a_floor_that_is_none(floor: Floor) -> None:
    with pytest.raises(ValueError, match="floor: found .*, expected 0 or a number above, or a percentage below 100%"):
        compare(two_groups([1, 2, 3], [4, 5, 6]), "paired", floor=floor)


def test_a_doubted_assumption_is_a_clause_of_the_note() -> None:
    skewed = two_groups([0.0, 0.1, 0.2, 0.3, 0.4, 9.0, 1.0], [2.0, 2.1, 2.2, 2.3, 2.4, 2.6])
    note = compare(skewed, "paired")["note"].iloc[0]
    assert note.startswith("dropped seed 6 without a value in both; differences not normal (Shapiro-Wilk p=")
    assert "Wilcoxon p=" in note
    assert "values not normal (Shapiro-Wilk p=" in compare(skewed, "independent")["note"].iloc[0]


@pytest.mark.parametrize("design", DESIGNS)
def test_errors_are_as_rare_as_promised_and_differences_as_often_found(design: Design) -> None:
    rng = np.random.default_rng(3)
    blocks = 5 * rng.normal(size=(600, 1, 6)) * (design == "paired")
    noise = rng.normal(size=(600, 2, 6)) + blocks
    index = pd.MultiIndex.from_product([range(600), ("a", "b"), range(6)], names=["sparsity", "method", "seed"])
    for shift, share in ((0.0, 0.05), (2.0, _power(2.0, design))):
        values = noise + np.array([[shift], [0.0]])
        rows = pd.DataFrame({"accuracy": values.ravel()}, index=index).reset_index()
        found = compare(rows, design)
        assert (found["p_value"] < 0.05).mean() == pytest.approx(share, abs=0.035)
        effect = shift / (np.sqrt(2) if design == "paired" else 1)
        assert ((found["effect_low"] < effect) & (effect < found["effect_high"])).mean() == pytest.approx(
            0.95, abs=0.025
        )
        assert found["effect_size"].mean() == pytest.approx(effect, abs=0.1)


def _power(shift: float, design: Design) -> float:
    """Of the F test of six values with unit variance beside six, by the noncentral F."""
    df, noncentrality = (5, 6 * shift**2 / 2) if design == "paired" else (10, 3 * shift**2)
    return float(stats.ncf.sf(stats.f.isf(0.05, 1, df), 1, df, noncentrality))


def test_a_study_without_factors_has_nothing_to_compare() -> None:
    rows = pd.DataFrame({"seed": [0, 1], "ratio": [0.5, 0.5], "map": [0.1, 0.2]})
    assert contrasts(rows, metric="map", roles=Roles(("seed", "ratio"), "seed", "ratio")).empty


measurements = st.lists(
    st.tuples(st.integers(-50, 50), st.integers(-50, 50)).map(lambda pair: (pair[0] / 64, pair[1] / 64)),
    min_size=1,
    max_size=7,
)


@settings(max_examples=60, deadline=None)
@given(pairs=measurements, design=st.sampled_from(DESIGNS))
def test_swapping_the_labels_turns_the_effect_and_nothing_else(
    pairs: list[tuple[float, float]], design: Design
) -> None:
    a, b = ([*column] for column in zip(*pairs, strict=True))
    line, turned = (compare(two_groups(*groups), design).iloc[0] for groups in ((a, b), (b, a)))
    effect = ["effect_size", "effect_low", "effect_high"]
    other = -turned[["effect_size", "effect_high", "effect_low"]].to_numpy(dtype=float)
    assert turned["p_value"] == pytest.approx(line["p_value"], nan_ok=True)
    assert other == pytest.approx(line[effect].to_numpy(dtype=float), nan_ok=True, rel=1e-3, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    pairs=measurements,
    design=st.sampled_from(DESIGNS),
    shift=st.integers(-9, 9),
    factor=st.sampled_from([0.25, -2, 64]),
)
def test_neither_the_unit_nor_its_zero_matter(
    pairs: list[tuple[float, float]], design: Design, shift: int, factor: float
) -> None:
    # Sums of such numbers are exact, so that nothing but the unit differs.
    a, b = np.array(pairs).T
    line = compare(two_groups([*a], [*b]), design).iloc[0]
    other = compare(two_groups([*(factor * (a + shift))], [*(factor * (b + shift))]), design).iloc[0]
    assert other["p_value"] == pytest.approx(line["p_value"], nan_ok=True, rel=1e-6)
    assert other["effect_size"] == pytest.approx(np.sign(factor) * line["effect_size"], nan_ok=True, rel=1e-6, abs=1e-9)
    assert other["note"] == line["note"]


@settings(max_examples=30, deadline=None)
@given(pairs=measurements, design=st.sampled_from(DESIGNS), order=st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(pairs: list[tuple[float, float]], design: Design, order: Random) -> None:
    a, b = ([*column] for column in zip(*pairs, strict=True))
    rows = pd.concat([two_groups(a, b), two_groups(b, a, sparsity=0.9)], ignore_index=True)
    shuffled = rows.iloc[order.sample(range(len(rows)), len(rows))]
    pd.testing.assert_frame_equal(compare(shuffled, design), compare(rows, design))


@pytest.mark.skipif(not (DATA / "paper").is_dir(), reason="ROBUSTPRUNE_DATA holds no paper/")
@pytest.mark.parametrize("metric", ["map", "seconds"])
def test_the_reference_study_is_reproduced_in_whatever_form(metric: str) -> None:
    rows = pd.read_csv(DATA / "paper" / "appendix_map.csv").sample(frac=1, random_state=0)
    rows = rows.assign(seconds=rows["map"], note="a word", other=1.5)[::-1]
    rows = rows.replace({"deeplift": "a ; b", "hydra": "NaN", "rgb": "ü", "structured": "x"}).rename(index=str)
    printed = pd.read_csv(DATA / "paper" / "pvalues_map.csv", index_col=0)
    found = contrasts(rows, metric=metric, design="independent", classical=True, roles=roles.ROLES)
    factors = found[["factor", "structure", "initializer"]].agg(" ".join, axis=1)
    lines = {
        "DeepLIFT vs. HYDRA (Unstructured)": "initializer unstructured ",
        "DeepLIFT vs. HYDRA (Structured)": "initializer x ",
        "Unstructured vs. Structured (DeepLIFT)": "structure  a ; b",
        "Unstructured vs. Structured (HYDRA)": "structure  NaN",
        "Greyscale vs Colour (Unstructured DeepLIFT)": "colour unstructured a ; b",
    }
    assert len(found) == printed.size
    for name, key in lines.items():
        p_values = found.loc[factors == key, "p_value"]
        assert p_values.to_numpy() == pytest.approx(printed.loc[name].to_numpy(dtype=float), rel=0.01)
