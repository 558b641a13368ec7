"""Slopes along an axis of numbers, against closed forms and scipy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from sweeps.statistics.responses.slopes import slopes
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Design

ROLES = Roles(("kind", "seed", "part"), replicate="seed", along="part")
PARTS = (0.0, 0.5, 2.0)


def rows(kinds: str = "ab", seeds: int = 6) -> pd.DataFrame:
    chance = np.random.default_rng(3)
    cells = [(kind, seed, part) for kind in kinds for seed in range(seeds) for part in PARTS]
    frame = pd.DataFrame(cells, columns=["kind", "seed", "part"])
    steep = frame["kind"].map({"a": 2.0, "b": 0.0})
    return frame.assign(gain=5 + steep * frame["part"] + chance.normal(size=len(frame)))


def test_paired_is_the_t_test_of_each_seeds_line() -> None:
    frame = rows()
    found = slopes(frame, metric="gain", roles=ROLES).set_index("kind")
    for kind, part in frame.groupby("kind"):
        each = [stats.linregress(line["part"], line["gain"]).slope for _, line in part.groupby("seed")]
        expected = stats.ttest_1samp(each, 0)
        line = found.loc[kind]
        assert line["slope"] == pytest.approx(np.mean(each))
        assert line["p_value"] == pytest.approx(expected.pvalue)
        assert (line["slope_low"], line["slope_high"]) == pytest.approx(tuple(expected.confidence_interval(0.95)))
        assert (line["n"], line["df"]) == (6, 5)
    assert found.loc["a", "mark"] == "*"
    assert found.loc["b", "mark"] == ""


def test_independent_is_welchs_test_where_there_are_two_places() -> None:
    frame = rows("a").query("part != 2").drop(index=4)
    (line,) = slopes(frame, metric="gain", design="independent", roles=ROLES).to_dict("records")
    low, high = (frame["gain"][frame["part"] == part] for part in PARTS[:2])
    expected = stats.ttest_ind(high, low, equal_var=False)
    assert line["slope"] == pytest.approx((high.mean() - low.mean()) / 0.5)
    assert (line["p_value"], line["df"]) == pytest.approx((expected.pvalue, expected.df))


def test_independent_gives_each_place_a_variance_of_its_own() -> None:
    """HC3 with as many degrees of freedom as values errs in .12 with two seeds, four times as wide far out."""
    frame = rows("a", seeds=3)
    (line,) = slopes(frame, metric="gain", design="independent", roles=ROLES).to_dict("records")
    places = frame.groupby("part")["gain"]
    weights = (np.array(PARTS) - np.mean(PARTS)) / np.square(np.array(PARTS) - np.mean(PARTS)).sum()
    variances = weights**2 * places.var().to_numpy() / 3
    t = weights @ places.mean().to_numpy() / np.sqrt(variances.sum())
    df = variances.sum() ** 2 / (variances**2 / 2).sum()
    assert (line["statistic"], line["df"]) == pytest.approx((t**2, df))
    assert line["p_value"] == pytest.approx(2 * stats.t.sf(abs(t), df))


def test_independent_is_a_regression_where_a_place_has_one_value() -> None:
    frame = rows("a").drop(index=range(5, 18, 3))
    (line,) = slopes(frame, metric="gain", design="independent", roles=ROLES).to_dict("records")
    fit = sm.OLS(frame["gain"], sm.add_constant(frame["part"])).fit(cov_type="HC3", use_t=True)
    assert line["slope"] == pytest.approx(fit.params["part"])
    assert line["p_value"] == pytest.approx(fit.pvalues["part"])
    assert (line["n"], line["df"]) == (13, 11)


def test_p_values_are_corrected_for_all_configurations() -> None:
    found = slopes(rows(), metric="gain", roles=ROLES).set_index("kind")
    assert found["p_holm"].tolist()[0] == pytest.approx(2 * found["p_value"].tolist()[0])


def test_a_seed_without_all_values_is_dropped_and_told() -> None:
    (line,) = slopes(rows("a").drop(index=4), metric="gain", roles=ROLES).to_dict("records")
    assert line["n"] == 5
    assert line["note"] == "dropped seed 1 without a value at each part"


@pytest.mark.parametrize(
    ("change", "design", "said"),
    [
        (lambda frame: frame[frame["part"] == 0], "paired", "not tested: 6 complete seeds and 1 values of part"),
        (lambda frame: frame[frame["seed"] == 0], "paired", "not tested: 1 complete seeds and 3 values of part"),
        (lambda frame: frame.assign(gain=2 * frame["part"]), "paired", "not tested: the slopes do not vary"),
        (
            lambda frame: frame.assign(gain=2 * frame["part"]),
            "independent",
            "not tested: the values do not vary at any place",
        ),
        (lambda frame: frame[frame["part"] == 0], "independent", "not tested: 6 values at 1 of part"),
    ],
)
def test_what_cannot_be_tested_is_told(change, design, said) -> None:  # type: ignore[no-untyped-def]
    (line,) = slopes(change(rows("a")), metric="gain", design=design, roles=ROLES).to_dict("records")
    assert said in line["note"]
    assert np.isnan(line["p_value"])
    assert line["mark"] == ""


def test_configurations_that_are_the_same_rows_are_one() -> None:
    from dataclasses import replace

    frame = rows().assign(
        name=lambda each: [f"{seed}-{part}" for seed, part in zip(each["seed"], each["part"], strict=True)]
    )
    (line,) = slopes(frame, metric="gain", roles=replace(ROLES, identity="name")).to_dict("records")
    assert line["kind"] == ""
    assert line["p_holm"] == line["p_value"]


@pytest.mark.parametrize("design", ["paired", "independent"])
def test_rows_to_which_the_axis_does_not_matter_are_not_tested(design: Design) -> None:
    """They are the same rows at each place: to count them at each of it would be to count them twice."""
    from dataclasses import replace

    frame = rows()
    once = frame["kind"] == "b"
    first = frame.groupby(["kind", "seed"])["gain"].transform("first")
    frame = frame.assign(gain=first.where(once, frame["gain"]), name=[str(place) for place in frame.index])
    frame = frame.assign(name=frame["name"].where(~once, "seed " + frame["seed"].astype(str)))
    found = slopes(frame, metric="gain", design=design, roles=replace(ROLES, identity="name")).set_index("kind")
    assert found.loc["b", "note"] == "not tested: part does not matter to these rows"
    assert found["p_value"].isna().tolist() == [False, True]
    assert found["p_holm"].tolist()[0] == found["p_value"].tolist()[0]


def test_no_star_at_the_floor() -> None:
    from sweeps.statistics.marks import Floor

    (line,) = slopes(rows("a"), metric="gain", floor=Floor(100), roles=ROLES).to_dict("records")
    assert line["mark"] == ""
    assert "at the floor" in line["note"]


@pytest.mark.parametrize("design", ["paired", "independent"])
def test_it_errs_as_often_as_it_says(design: Design) -> None:
    """Without a slope, and with a spread that grows along the axis."""
    chance = np.random.default_rng(4)
    frame = rows("a")
    found = [
        slopes(
            frame.assign(gain=chance.normal(size=len(frame)) * (1 + frame["part"])),
            metric="gain",
            design=design,
            roles=ROLES,
        )["p_value"].iloc[0]
        for _ in range(250)
    ]
    assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.035)
