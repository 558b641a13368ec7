"""Two-way analyses against printed tables, other implementations and closed forms."""

from itertools import product
from random import Random
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.linalg import helmert
from statsmodels.stats.anova import AnovaRM

from sweeps.statistics.arrays.assumptions import read_doubt
from sweeps.statistics.arrays.permutation import sign_flip_p
from sweeps.statistics.marks import Floor
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Design
from sweeps.statistics.two_way import two_way

AXES = ("supplement", "dose", "animal", "week")
ROLES = Roles(AXES, replicate="animal", along="week")
FACTORS = ("supplement", "dose")

# Crampton 1947: length of odontoblasts of 60 guinea pigs, `ToothGrowth` in R.
TOOTH_GROWTH = {
    ("VC", 0.5): [4.2, 11.5, 7.3, 5.8, 6.4, 10, 11.2, 11.2, 5.2, 7],
    ("VC", 1.0): [16.5, 16.5, 15.2, 17.3, 22.5, 17.3, 13.6, 14.5, 18.8, 15.5],
    ("VC", 2.0): [23.6, 18.5, 33.9, 25.5, 26.4, 32.5, 26.7, 21.5, 23.3, 29.5],
    ("OJ", 0.5): [15.2, 21.5, 17.6, 9.7, 14.5, 10, 8.2, 9.4, 16.5, 9.7],
    ("OJ", 1.0): [19.7, 23.3, 23.6, 26.4, 20, 25.2, 25.8, 21.2, 14.5, 27.3],
    ("OJ", 2.0): [25.5, 26.4, 22.4, 24.5, 24.8, 30.9, 26.4, 27.3, 29.4, 23],
}

pytestmark = pytest.mark.filterwarnings("error")


def tooth_growth() -> pd.DataFrame:
    lines = [
        (*cell, animal, 6.0, value) for cell, values in TOOTH_GROWTH.items() for animal, value in enumerate(values)
    ]
    return pd.DataFrame(lines, columns=[*AXES, "length"])


def analysed(rows: pd.DataFrame, design: Design, factors: tuple[str, str] = FACTORS, **settings: Any) -> pd.DataFrame:
    return two_way(rows, metric="length", factors=factors, design=design, roles=ROLES, **settings)


def test_the_classical_analysis_gives_the_table_that_r_prints() -> None:
    # summary(aov(len ~ supp * factor(dose), ToothGrowth))
    found = analysed(tooth_growth(), "independent", classical=True)
    assert found["effect"].tolist() == ["supplement", "dose", "supplement:dose"]
    assert found["statistic"].tolist() == pytest.approx([15.572, 92.000, 4.107], abs=5e-4)
    assert found["p_value"][0] == pytest.approx(0.000231, abs=5e-7)
    assert found["p_value"][2] == pytest.approx(0.0219, abs=5e-5)
    assert (found["df"].tolist(), set(found["df_error"])) == ([1, 2, 2], {54})
    # Sums of squares as printed: 205.4 and 712.1 of error.
    assert found["partial_eta_squared"][0] == pytest.approx(205.4 / (205.4 + 712.1), rel=1e-3)


def test_unequal_counts_compare_plain_means_of_cells() -> None:
    # F of a hypothesis L m = 0 on cell means m with variances s²/n, in matrices: (Lm)' (L N⁻¹ L')⁻¹ Lm / (df s²).
    rows = tooth_growth().drop(index=[0, 1, 2, 3, 12, 25, 26, 40])
    cells = [
        rows.query(f"supplement == '{a}' and dose == {b}")["length"] for a, b in product(("OJ", "VC"), (0.5, 1, 2))
    ]
    means, counts = np.array([cell.mean() for cell in cells]), np.array([len(cell) for cell in cells])
    mean_square = sum(((cell - cell.mean()) ** 2).sum() for cell in cells) / (counts.sum() - 6)
    hypotheses = [(helmert(2), np.ones((1, 3))), (np.ones((1, 2)), helmert(3)), (helmert(2), helmert(3))]
    expected = []
    for hypothesis in hypotheses:
        contrast = np.kron(*hypothesis)
        scores = contrast @ means
        weight = np.linalg.inv(contrast @ np.diag(1 / counts) @ contrast.T)
        expected.append(scores @ weight @ scores / len(contrast) / mean_square)
    assert analysed(rows, "independent", classical=True)["statistic"].tolist() == pytest.approx(expected)


def test_cells_of_unlike_spread_and_count_two_by_two_are_welch_s_test_of_a_contrast() -> None:
    # Of one degree of freedom: t = Σ c m / sqrt(Σ c² s²/n), Satterthwaite's df = (Σ c² s²/n)² / Σ (c² s²/n)²/(n - 1).
    rows = tooth_growth().query("dose < 2").drop(index=[0, 1, 2, 35])
    cells = [rows.query(f"supplement == '{a}' and dose == {b}")["length"] for a, b in product(("OJ", "VC"), (0.5, 1))]
    parts = np.array([cell.var() / len(cell) for cell in cells])
    counts = np.array([len(cell) for cell in cells])
    found = analysed(rows, "independent")
    for line, signs in zip(found.to_dict("records"), ([1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]), strict=True):
        t = sum(sign * cell.mean() for sign, cell in zip(signs, cells, strict=True)) / np.sqrt(parts.sum())
        df = parts.sum() ** 2 / (parts**2 / (counts - 1)).sum()
        assert (line["statistic"], line["df"], line["df_error"]) == pytest.approx((t**2, 1, df))
        assert line["p_value"] == pytest.approx(2 * stats.t.sf(abs(t), df))


def test_with_the_ratio_as_a_factor_whole_trials_are_compared() -> None:
    rows = tooth_growth().rename(columns={"week": "dose", "dose": "week"})
    found = analysed(rows, "independent", ("supplement", "week"))
    # The factor: Welch's test of the means of trials. The ratio: that of what changes within them.
    trials = rows.pivot(index=["supplement", "animal"], columns="week", values="length")
    means = trials.mean(axis=1)
    welch = stats.ttest_ind(means["OJ"], means["VC"], equal_var=False)
    assert found["p_value"][0] == pytest.approx(welch.pvalue)
    assert found["test"][0] == "two-way ANOVA, week repeated in each trial, Box"
    two = analysed(rows.query("week < 2"), "independent", ("week", "supplement"))
    change = (trials[1.0] - trials[0.5]).unstack("supplement")
    error = change.var() / 10
    assert two["statistic"][0] == pytest.approx(change.mean().sum() ** 2 / error.sum())
    interaction = stats.ttest_ind(change["OJ"], change["VC"], equal_var=False)
    assert two["p_value"][2] == pytest.approx(interaction.pvalue)


def test_a_trial_without_a_value_at_every_ratio_is_dropped_and_said() -> None:
    rows = tooth_growth().rename(columns={"week": "dose", "dose": "week"})
    found = analysed(rows.drop(index=3), "independent", ("supplement", "week"))
    assert found["note"].str.startswith("dropped animal 3 of VC without a value at every week").all()
    without = rows.query("not (supplement == 'VC' and animal == 3)")
    expected = analysed(without, "independent", ("supplement", "week"))
    assert found["p_value"].tolist() == pytest.approx(expected["p_value"].tolist())
    assert not expected["note"].str.contains("dropped").any()


def test_the_classical_analysis_has_no_ratio_as_a_factor() -> None:
    with pytest.raises(ValueError, match="found 'week' as a factor of the classical ANOVA, .* without --classical"):
        analysed(tooth_growth(), "independent", ("supplement", "week"), classical=True)


def test_few_values_and_low_means_have_no_star() -> None:
    rows = tooth_growth()
    assert set(analysed(rows, "independent")["mark"]) == {"*"}
    few = analysed(rows.query("animal < 4"), "independent")
    assert "*" not in set(few["mark"])
    assert "?" in set(few["mark"])
    assert few["note"].str.contains("fewer than 5 values").all()
    # Means are at most 26.1.
    low = analysed(rows, "independent", floor=Floor(27))
    assert (low["p_holm"] < 0.05).all()
    assert set(low["mark"]) == {""}
    assert low["note"].str.endswith("no star: means at the floor of 27").all()


def test_the_paired_design_is_the_repeated_measures_anova_of_statsmodels() -> None:
    found = analysed(tooth_growth(), "paired")
    other = AnovaRM(tooth_growth(), "length", "animal", within=list(FACTORS)).fit().anova_table
    assert found["statistic"].tolist() == pytest.approx(other["F Value"].tolist())
    one = found.iloc[0]
    assert (one["df"], one["df_error"]) == pytest.approx((1, 9))
    assert one["p_value"] == pytest.approx(other["Pr > F"].iloc[0])


def test_degrees_of_freedom_are_multiplied_by_greenhouse_and_geisser_s_epsilon() -> None:
    # Box's formula on the covariances of k measures: k² (mean diagonal - mean)² over
    # (k - 1) (sum of squares - 2 k sum of squared row means + k² mean²); Winer 1971, page 523.
    measures = tooth_growth().groupby(["animal", "dose"])["length"].mean().unstack()
    s, k = np.cov(measures.to_numpy().T), 3
    above = k**2 * (np.diag(s).mean() - s.mean()) ** 2
    below = (k - 1) * ((s**2).sum() - 2 * k * (s.mean(axis=1) ** 2).sum() + k**2 * s.mean() ** 2)
    dose = analysed(tooth_growth(), "paired").iloc[1]
    assert dose["df"] == pytest.approx(2 * above / below)
    assert dose["df_error"] == pytest.approx(18 * above / below)


def test_two_levels_of_each_are_the_paired_t_test_of_means() -> None:
    rows = tooth_growth().query("dose < 2")
    found = analysed(rows, "paired").iloc[1]
    means = rows.groupby(["animal", "dose"])["length"].mean().unstack()
    t = (means[1.0] - means[0.5]).mean() / cast(float, (means[1.0] - means[0.5]).sem())
    assert found["statistic"] == pytest.approx(t**2)
    assert found["partial_eta_squared"] == pytest.approx(t**2 / (t**2 + 9))


def test_the_axis_that_rows_run_along_may_be_a_factor() -> None:
    rows = tooth_growth().rename(columns={"week": "dose", "dose": "week"})
    found = analysed(rows, "paired", ("supplement", "week"))
    expected = analysed(tooth_growth(), "paired")
    assert found["p_value"].tolist() == pytest.approx(expected["p_value"].tolist())
    assert found["week"].isna().all()
    assert found["dose"].tolist() == [6.0] * 3


def test_holm_corrects_for_asking_at_every_ratio() -> None:
    rows = pd.concat([tooth_growth().assign(week=week) for week in (1.0, 2.0, 3.0)])
    found = analysed(rows, "independent")
    assert len(found) == 9
    assert found["p_holm"].to_numpy() == pytest.approx(3 * found["p_value"].to_numpy())


def test_incomplete_blocks_are_dropped_and_said() -> None:
    found = analysed(tooth_growth().drop(index=3), "paired")
    assert found["note"].str.startswith("dropped animal 3 without a value in every cell").all()
    complete = analysed(tooth_growth().query("animal != 3"), "paired")
    assert found["p_value"].tolist() == complete["p_value"].tolist()
    assert set(found["n"]) == {54}


def test_a_level_without_values_at_every_other_is_left_out_and_said() -> None:
    rows = tooth_growth().query("not (supplement == 'OJ' and dose == 1)")
    for design in ("paired", "independent"):
        found = analysed(rows, design)
        expected = analysed(tooth_growth().query("dose != 1"), design)
        assert found["p_value"].tolist() == pytest.approx(expected["p_value"].tolist())
        assert found["note"].str.startswith("left out dose 1.0, without values that vary at every supplement").all()


@pytest.mark.parametrize("design", ["paired", "independent"])
@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("dose < 2 and not (supplement == 'OJ' and dose == 1)", "there are no values that vary of OJ with 1.0"),
        ("animal == 0", "1 complete blocks|1 values in a group, a test needs 2"),
    ],
)
def test_what_cannot_be_tested_says_why(design: Design, query: str, reason: str) -> None:
    found = analysed(tooth_growth().query(query), design)
    assert found["p_value"].isna().all()
    assert found["note"].str.contains(f"not tested: .*(?:{reason})").all()


@pytest.mark.parametrize("design", ["paired", "independent"])
def test_constant_cells_are_not_analysed(design: Design) -> None:
    rows = tooth_growth()
    rows["length"] = rows["dose"] / 10 + (rows["supplement"] == "OJ") / 3
    assert analysed(rows, design)["note"].str.contains("not tested: there are no values that vary").all()


@pytest.mark.parametrize("design", ["paired", "independent"])
def test_a_level_at_which_nothing_varies_is_left_out_and_said(design: Design) -> None:
    rows = tooth_growth()
    rows.loc[(rows["dose"] == 2) & (rows["supplement"] == "VC"), "length"] = 0.0
    found = analysed(rows, design)
    assert found["note"].str.startswith("left out dose 2.0, without values that vary at every supplement").all()
    assert found["p_value"].tolist() == pytest.approx(analysed(rows.query("dose < 2"), design)["p_value"].tolist())


def test_a_factor_with_one_level_leaves_nothing_to_analyse() -> None:
    assert analysed(tooth_growth().query("supplement == 'OJ'"), "paired").empty


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        (("supplement", "dosis"), "'dosis' is no factor; did you mean 'dose'?"),
        (("supplement", "animal"), "'animal' is no factor; there are supplement, dose, week"),
        (("dose", "dose"), "found 'dose' twice, expected two factors"),
    ],
)
def test_wrong_factors(factors: tuple[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        analysed(tooth_growth(), "paired", factors)


def test_unequal_variances_of_the_classical_analysis_are_said_with_a_robust_test() -> None:
    rows = tooth_growth()
    spread = rows["length"] - rows.groupby(["supplement", "dose"])["length"].transform("mean")
    rows["length"] += 9 * spread * (rows["supplement"] == "OJ")
    notes = analysed(rows, "independent", classical=True)["note"].tolist()
    doubted = [read_doubt(note) for note in notes]
    box = analysed(rows, "independent")["p_value"]
    for doubt, p in zip(doubted, box, strict=True):
        assert doubt is not None
        assert doubt.what == "variances differ"
        assert doubt.robust == pytest.approx({"Box": p}, rel=1e-2)


def test_an_effect_of_several_degrees_of_freedom_is_checked_too() -> None:
    rows = tooth_growth()
    rows.loc[(rows["animal"] == 0) & (rows["dose"] == 2), "length"] += 90
    dose = analysed(rows, "paired").iloc[1]
    doubt = read_doubt(dose["note"])
    assert doubt is not None
    assert doubt.what == "differences not normal"
    means = rows.groupby(["animal", "dose"])["length"].mean().unstack().to_numpy()
    assert doubt.robust == pytest.approx({"sign flips": sign_flip_p(means @ helmert(3).T)}, rel=1e-2)


def test_the_interaction_is_wrongly_found_one_time_in_twenty_though_ratios_vary_unequally() -> None:
    rng = np.random.default_rng(0)
    spread = np.array([1.0, 3.0, 9.0])
    table = spread * rng.normal(size=(400, 6, 2, 3)) + 5 * rng.normal(size=(400, 6, 1, 1))
    index = pd.MultiIndex.from_product([range(400), range(6), ("a", "b"), (0.1, 0.2, 0.3)])
    rows = pd.DataFrame({"length": table.ravel()}, index=index).reset_index()
    rows.columns = ["dose", "animal", "supplement", "week", "length"]
    found = analysed(rows, "paired", ("supplement", "week")).query("effect == 'supplement:week'")
    assert len(found) == 400
    assert 0.02 < (found["p_value"] < 0.05).mean() < 0.075


@pytest.mark.parametrize("unlike", [1.0, 4.0])
def test_what_is_measured_again_in_a_trial_makes_no_finding_surer(unlike: float) -> None:
    rng = np.random.default_rng(1)
    table = rng.normal(size=(400, 4, 2, 3)) + 5 * rng.normal(size=(400, 4, 2, 1))
    table[:, :, 0] *= unlike
    index = pd.MultiIndex.from_product([range(400), range(4), ("a", "b"), (0.1, 0.2, 0.3)])
    rows = pd.DataFrame({"length": table.ravel()}, index=index).reset_index()
    rows.columns = ["dose", "animal", "supplement", "week", "length"]
    found = analysed(rows, "independent", ("supplement", "week")).query("effect == 'supplement'")
    assert 0.02 < (found["p_value"] < 0.05).mean() < 0.085


@settings(max_examples=20, deadline=None)
@given(
    design=st.sampled_from(["paired", "independent"]), order=st.randoms(use_true_random=False), shift=st.integers(-9, 9)
)
def test_neither_order_nor_unit_nor_names_matter(design: Design, order: Random, shift: int) -> None:
    rows = tooth_growth()
    other = rows.assign(length=4 * rows["length"] + shift).replace({"supplement": {"OJ": "Z"}})
    other = other.iloc[order.sample(range(60), 60)]
    columns = ["statistic", "df", "p_value", "partial_eta_squared"]
    expected, found = analysed(rows, design)[columns], analysed(other, design)[columns]
    assert found.to_numpy() == pytest.approx(expected.to_numpy())


def test_rows_that_stand_for_several_levels_are_not_counted_twice() -> None:
    """Taken for independent, ten values in two cells of one method err in .14 where methods do not differ."""
    rng = np.random.default_rng(0)
    cells = [(method, epochs, seed) for method in "ab" for epochs in (1, 2) for seed in range(6)]
    rows = pd.DataFrame(cells, columns=["method", "epochs", "seed"]).assign(ratio=0.5, gain=rng.normal(size=24))
    once = rows["method"] == "a"
    first = rows.groupby(["method", "seed"])["gain"].transform("first")
    names = rows["epochs"].astype(str).where(~once, "any") + rows["method"] + rows["seed"].astype(str)
    rows = rows.assign(gain=first.where(once, rows["gain"]), name=names)
    roles = Roles(("method", "epochs", "seed", "ratio"), "seed", "ratio", identity="name")
    found = two_way(rows, metric="gain", factors=("method", "epochs"), design="independent", roles=roles)
    assert found["p_value"].isna().all()
    assert found["note"].str.startswith("not tested: rows stand for several levels of method and epochs").all()
    paired = two_way(rows, metric="gain", factors=("method", "epochs"), design="paired", roles=roles)
    assert paired["p_value"].notna().all()
