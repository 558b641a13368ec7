"""Sentences on tests: each says what its test carries, and no more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sweeps.reporting.findings import Findings, findings, how_tested
from sweeps.reporting.page.sections.findings import findings_html
from sweeps.statistics.analysis import contrasts
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Design

ROLES = Roles(("method", "colour", "seed", "ratio"), replicate="seed", along="ratio", pruned="weights")


def table(values: dict[tuple[str, float], list[float]]) -> pd.DataFrame:
    """Return rows of one colour by method and ratio, one value per seed."""
    lines = [
        (method, "red", seed, ratio, value)
        for (method, ratio), each in values.items()
        for seed, value in enumerate(each)
    ]
    return pd.DataFrame(lines, columns=[*ROLES.axes, "skill"])


def said(rows: pd.DataFrame, *, design: Design = "paired", roles: Roles = ROLES) -> Findings:
    return findings(contrasts(rows, metric="skill", design=design, roles=roles), label="skill", roles=roles)


HIGH = [0.80, 0.82, 0.81, 0.84, 0.83, 0.79]
LOW = [0.60, 0.63, 0.60, 0.64, 0.62, 0.60]


def test_a_difference_is_told_with_its_means_its_interval_and_its_number() -> None:
    found = said(table({("a", 0.5): LOW, ("b", 0.5): HIGH, ("a", 0.75): [v + 0.05 for v in LOW], ("b", 0.75): HIGH}))
    differences = np.subtract(HIGH, LOW)
    half = 2.5706 * differences.std(ddof=1) / np.sqrt(6)
    low, high = differences.mean() - half, differences.mean() + half
    (sentence,) = found.differ
    assert sentence == (
        f"At 50% of weights pruned, skill is 0.815 for b and 0.615 for a: a difference of 0.200, 95% interval "
        f"{low:.3f} to {high:.3f}, n = 6 seeds, paired. It is larger for b at 75% of weights pruned too."
    )
    assert [*found.unchecked, *found.not_shown, *found.at_floor, *found.untested] == []


@pytest.mark.parametrize(
    ("seeds", "shift", "words"),
    [
        (6, 0.00031, "is 0.81531 for a and 0.81500 for b: a difference of 0.00031,"),
        (4, 0.00031, "is 0.81781 for a and 0.81750 for b: a difference of 0.00031,"),
        # Rounded up to the next power of ten, it has two digits all the same.
        (6, 0.00099999, "is 0.8160 for a and 0.8150 for b: a difference of 0.0010,"),
    ],
)
def test_means_have_the_digits_in_which_they_differ(seeds: int, shift: float, words: str) -> None:
    shifted = [value + shift + 1e-6 * (-1) ** seed for seed, value in enumerate(HIGH[:seeds])]
    found = said(table({("a", 0.5): shifted, ("b", 0.5): HIGH[:seeds]}))
    (sentence,) = [*found.differ, *found.unchecked]
    assert words in sentence


def test_groups_are_told_as_such() -> None:
    rows = table({("a", 0.5): HIGH, ("b", 0.5): LOW[:5]})
    (sentence,) = said(rows, design="independent").differ
    assert sentence.endswith("n = 6 and 5 seeds.")
    assert "paired" not in sentence
    tests = contrasts(rows, metric="skill", design="independent", roles=ROLES)
    assert "between independent groups" in how_tested(tests, label="skill", roles=ROLES)
    (sentence,) = said(table({("a", 0.5): HIGH, ("b", 0.5): LOW}), design="independent").differ
    assert sentence.endswith("n = 6 seeds each.")


def test_the_number_of_tests_is_told_of_the_first_metric_by_its_name() -> None:
    rows = table({("a", 0.5): HIGH, ("b", 0.5): LOW, ("a", 0.9): HIGH, ("b", 0.9): LOW})
    tests = {
        label: contrasts(rows[rows["ratio"] < most], metric="skill", roles=ROLES)
        for label, most in (("skill", 1.0), ("cost", 0.9))
    }
    html = findings_html(tests, caveats="", roles=ROLES)
    assert '<p class="quiet">skill: 2 tests (' in html
    assert "the other factors fixed, each metric by itself;" in html
    assert how_tested(tests["cost"], label="cost", roles=ROLES).startswith("cost: 1 test (")


def test_either_direction_has_a_sentence() -> None:
    found = said(table({("a", 0.5): HIGH, ("b", 0.5): LOW, ("a", 0.9): LOW, ("b", 0.9): HIGH}))
    assert len(found.differ) == 2
    assert all("too" not in sentence for sentence in found.differ)


def test_of_fewer_than_five_values_nothing_is_said_to_differ() -> None:
    found = said(table({("a", 0.5): HIGH[:4], ("b", 0.5): LOW[:4]}))
    assert found.differ == []
    assert len(found.unchecked) == 1


def test_what_lies_at_the_floor_is_no_finding() -> None:
    low = table({("a", 0.5): HIGH, ("b", 0.5): HIGH[::-1]})
    lost = table({("a", 0.9): [0.01 * v for v in HIGH], ("b", 0.9): [0.01 * v for v in LOW]})
    found = said(pd.concat([low, lost]))
    assert [*found.differ, *found.unchecked] == []
    (sentence,) = found.at_floor
    assert sentence.startswith("At 90% of weights pruned, a and b: both means are 0.0408 or less")


def test_no_difference_is_shown_with_its_interval_and_never_called_equality() -> None:
    found = said(table({("a", 0.5): HIGH, ("b", 0.5): [*HIGH[1:], HIGH[0]]}))
    (sentence,) = found.not_shown
    test = contrasts(table({("a", 0.5): HIGH, ("b", 0.5): [*HIGH[1:], HIGH[0]]}), metric="skill", roles=ROLES).iloc[0]
    interval = f"the 95% interval of a less b is {test['difference_low']:+.3f} to {test['difference_high']:+.3f}"
    assert interval in sentence
    assert sentence.startswith("At 50% of weights pruned, no difference is shown between a and b")
    assert not [word for word in ("equal", "same", "identical") if word in sentence]
    assert found.differ == []


def test_a_p_value_that_the_correction_takes_back_is_no_finding() -> None:
    """One of many tests, significant by itself alone."""
    rng = np.random.default_rng(0)
    none = {(method, at): list(rng.normal(1, 0.1, 6)) for method in "ab" for at in np.linspace(0.1, 0.8, 15)}
    apart = [0.90, 1.02, 0.95, 1.08, 0.99, 1.04]
    shift = [0.02, 0.09, 0.01, 0.08, 0.03, 0.07]
    rows = table(none | {("a", 0.9): apart, ("b", 0.9): list(np.add(apart, shift))})
    tests = contrasts(rows, metric="skill", roles=ROLES).set_index("ratio")
    assert tests["p_value"][0.9] < 0.05 < tests["p_holm"][0.9]
    assert said(rows).differ == []
    assert "90%" in "".join(said(rows).not_shown)


def test_several_tests_in_one_sentence_say_how_many_values_each_had() -> None:
    turned = [*HIGH[1:], HIGH[0]]
    rows = table({("a", 0.5): HIGH, ("b", 0.5): turned, ("a", 0.6): HIGH[:5], ("b", 0.6): turned[:5]})
    (sentence,) = said(rows).not_shown
    assert sentence.endswith("n = 5 to 6 seeds, paired.")
    (sentence,) = said(rows, design="independent").not_shown
    assert sentence.endswith("n = 5 to 6 seeds each.")


def test_what_could_not_be_tested_is_told_with_why() -> None:
    found = said(table({("a", 0.0): HIGH, ("b", 0.0): HIGH, ("a", 0.5): HIGH[:1], ("b", 0.5): LOW[:1]}))
    assert found.untested == [
        "At 0% of weights pruned, the differences do not vary: a and b.",
        "At 50% of weights pruned, 1 complete blocks, a test needs 2: a and b.",
    ]


SKEWED = [0.2, 0.2001, 0.2002, 0.2003, 0.2004, 0.27]
BASE = [0.5, 0.51, 0.52, 0.53, 0.54, 0.55]


def test_a_doubt_is_told_beside_the_finding_with_the_uncorrected_p_values_of_robust_tests() -> None:
    """All of six differences have one sign: 2 of 64 ways are as extreme, which no correction for two tests survives."""
    rows = table({("a", 0.5): list(np.add(BASE, SKEWED)), ("b", 0.5): BASE, ("a", 0.9): LOW, ("b", 0.9): LOW[::-1]})
    assert "not normal" in contrasts(rows, metric="skill", roles=ROLES).set_index("ratio")["note"][0.5]
    (sentence,) = said(rows).differ
    doubt = "differences not normal (Shapiro-Wilk): Wilcoxon p=0.031 and sign flips p=0.031, uncorrected"
    assert sentence.endswith(f"paired; {doubt}.")
    assert "agree" not in sentence


def test_doubts_about_every_line_of_a_sentence_are_told_with_their_places() -> None:
    less = list(np.add(BASE, np.subtract(SKEWED, 0.1)))
    plain = {("a", 0.5): list(np.add(HIGH, 0.1)), ("b", 0.5): LOW}
    skewed = {("a", 0.75): less, ("b", 0.75): BASE, ("a", 0.9): less, ("b", 0.9): BASE}
    (sentence,) = said(table(plain | skewed)).differ
    doubt = "differences not normal (Shapiro-Wilk): Wilcoxon p=0.031 and sign flips p=0.031, uncorrected"
    assert (
        f"paired. It is larger for a at 75 and 90% of weights pruned too; at 75 and 90% of weights pruned, {doubt}."
        in (sentence)
    )
    alone = {key: values for key, values in (plain | skewed).items() if key[1] < 0.9}
    (sentence,) = said(table(alone)).differ
    assert sentence.endswith(f"paired. It is larger for a at 75% of weights pruned too; {doubt}.")


def test_a_doubt_is_told_where_no_difference_is_shown() -> None:
    turned = [*HIGH[1:], HIGH[0]]
    outlier = list(np.add(BASE, [0.001, 0.0011, 0.0012, 0.0013, 0.0014, 0.3]))
    rows = table({("a", 0.5): HIGH, ("b", 0.5): turned, ("a", 0.9): outlier, ("b", 0.9): BASE})
    doubt = "differences not normal (Shapiro-Wilk): Wilcoxon p=0.031 and sign flips p=0.031, uncorrected"
    (sentence,) = said(rows).not_shown
    assert sentence.endswith(f"paired; at 90% of weights pruned, {doubt}.")
    (sentence,) = said(rows[rows["ratio"] == 0.9]).not_shown
    assert sentence.endswith(f"paired; {doubt}.")


@pytest.mark.parametrize(
    ("pruned", "values", "words"),
    [
        ("weights", [0.5], "50% of weights pruned"),
        ("weights", [0.5, 0.75, 0.995], "50, 75 and 99.5% of weights pruned"),
        (None, [0.5, 2.0], "ratio 0.5 and 2"),
    ],
)
def test_places_along_the_curves_are_told_in_words(pruned: str | None, values: list[float], words: str) -> None:
    assert Roles(ROLES.axes, "seed", "ratio", pruned=pruned).where(values) == words


def test_the_fixed_levels_are_told_where_there_are_others() -> None:
    red = table({("a", 0.5): LOW, ("b", 0.5): HIGH})
    blue = red.assign(colour="blue", skill=red["skill"] / 2)
    (first, *others) = said(pd.concat([red, blue])).differ
    assert "0.815 for b and 0.615 for a (red): " in "".join([first, *others])
    assert "for b and 0.308 for a (blue): " in "".join(others)
    assert " (a): " in "".join([first, *others])


def test_levels_that_are_numbers_are_told_with_their_axis() -> None:
    rows = table({("a", 0.5): LOW, ("b", 0.5): HIGH}).replace({"method": {"a": 0.25, "b": 0.5}})
    (sentence,) = said(rows).differ
    assert "0.815 for method 0.5 and 0.615 for method 0.25" in sentence


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ((False, True), ("tuning.polish false", "tuning.polish true")),
        (("0.5", "null"), ("tuning.polish 0.5", "tuning.polish null")),
    ],
)
def test_values_of_a_setting_are_told_with_its_name(
    levels: tuple[bool | str, bool | str], words: tuple[str, str]
) -> None:
    low, high = table({("a", 0.5): LOW}), table({("a", 0.5): HIGH})
    low["tuning.polish"], high["tuning.polish"] = levels
    rows = pd.concat([low, high])
    roles = replace(ROLES, axes=(*ROLES.axes, "tuning.polish"), fields=("tuning.polish",))
    (sentence,) = said(rows, roles=roles).differ
    assert f"0.615 for {words[0]}" in sentence
    assert f"0.815 for {words[1]}" in sentence
