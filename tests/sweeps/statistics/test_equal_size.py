"""Levels at equal size: known curves are compared where they are, by whole trials; what cannot be said is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sweeps.statistics.equal_size import POINTS, Curve, at_equal, common
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Design, Values

AXES = ("method", "seed", "sparsity")
ROLES = Roles(AXES, "seed", "sparsity")

pytestmark = pytest.mark.filterwarnings("error")

Size = Callable[[Values], Values]


def rows(sizes: dict[str, Size], *, apart: float = 0.0, seeds: int = 5) -> pd.DataFrame:
    """Accuracy is a line over the size, the same for both methods but for `apart`, and a little of each trial."""
    sparsity = np.array([0.0, 0.25, 0.5, 0.75])
    parts = []
    for place, (method, size) in enumerate(sizes.items()):
        for seed in range(seeds):
            x = size(1 - sparsity)
            y = 0.2 + 0.5 * x + apart * place + 0.01 * ((3 * seed + 2 * place) % 5)
            parts.append(pd.DataFrame({"method": method, "seed": seed, "sparsity": sparsity, "size": x, "accuracy": y}))
    return pd.concat(parts, ignore_index=True)


LINEAR: dict[str, Size] = {"a": lambda kept: kept, "b": np.square}


def compare(data: pd.DataFrame, design: Design = "paired") -> pd.DataFrame:
    return at_equal(data, metric="accuracy", against="size", design=design, roles=ROLES)


@pytest.mark.parametrize("design", ["paired", "independent"])
def test_one_curve_differs_at_equal_ratio_and_not_at_equal_size(design: Design) -> None:
    found = compare(rows(LINEAR, apart=0.1), design)
    # From the largest start, a's .25, to the smallest end, in equal proportions.
    assert found["size"].to_numpy() == pytest.approx(np.geomspace(0.25, 1, POINTS))
    assert list(found.columns[:4]) == ["factor", "level_a", "level_b", "method"]
    assert set(found["n_a"]) == {5}
    offsets = [0.01 * ((3 * seed + 2 * place) % 5) for place in (0, 1) for seed in range(5)]
    a, b = np.array(offsets[:5]), np.array(offsets[5:]) + 0.1
    test = stats.ttest_rel(a, b) if design == "paired" else stats.ttest_ind(a, b, equal_var=False)
    interval = test.confidence_interval()
    # On straight lines, interpolation is exact.
    assert found["difference"].to_numpy() == pytest.approx(a.mean() - b.mean())
    assert found["difference_low"].to_numpy() == pytest.approx(interval.low)
    assert found["difference_high"].to_numpy() == pytest.approx(interval.high)
    assert found["p_value"].to_numpy() == pytest.approx(test.pvalue)
    assert found["p_holm"].to_numpy() == pytest.approx(np.minimum(POINTS * test.pvalue, 1))


@pytest.mark.parametrize("design", ["paired", "independent"])
def test_rows_that_stand_for_several_levels_are_not_compared_with_themselves(design: Design) -> None:
    once = rows({"a": lambda kept: kept}).assign(name=lambda each: each.index.astype(str))
    data = pd.concat([once.assign(epochs=1), once.assign(epochs=2)], ignore_index=True)
    roles = Roles((*AXES, "epochs"), "seed", "sparsity", identity="name")
    assert at_equal(data, metric="accuracy", against="size", design=design, roles=roles).empty


def test_between_two_rows_a_curve_is_monotone_and_through_them() -> None:
    curve = Curve(np.array([1.0, 2.0, 4.0, 8.0]), np.array([0.1, 0.5, 0.5, 0.6]))
    assert curve.at(curve.x) == pytest.approx(curve.y)
    fine = curve.at(np.linspace(1, 8, 500))
    assert (np.diff(fine) >= -1e-12).all()
    assert curve.at(np.array([3.0])) == pytest.approx([0.5])


def test_curves_are_compared_where_all_trials_are() -> None:
    curves = [Curve(np.array([low, high]), np.array([0.0, 1.0])) for low, high in ((1.0, 9.0), (2.0, 8.0), (0.5, 32.0))]
    assert common(curves) == pytest.approx([2, 8**0.5, 4, 2 * 8**0.5, 8])
    assert common([Curve(np.array([-1.0, 3.0]), np.zeros(2))]) == pytest.approx([-1, 0, 1, 2, 3])
    assert len(common([*curves, Curve(np.array([40.0, 50.0]), np.zeros(2))])) == 0


@pytest.mark.parametrize("size", [lambda kept: kept + 1, lambda kept: 0 * kept + 0.5])
def test_curves_without_a_common_value_are_not_compared_and_that_is_said(size: Size) -> None:
    found = compare(rows({"a": lambda kept: kept / 2, "b": size}))
    assert found["p_value"].isna().all()
    assert found["note"].tolist() == ["not tested: no value of size lies within the curves of both"]


def test_a_trial_of_one_row_is_dropped_and_said_and_equal_values_are_averaged() -> None:
    data = rows(LINEAR, apart=0.1)
    data.loc[(data["method"] == "a") & (data["seed"] == 2) & (data["sparsity"] > 0), "accuracy"] = np.nan
    found = compare(data)
    assert found["note"].str.startswith("dropped seed 2 without a value in both").all()
    double = data.assign(sparsity=data["sparsity"] + 0.01, accuracy=data["accuracy"] + 0.2)
    both = compare(pd.concat([data, double], ignore_index=True))
    assert both["mean_a"].to_numpy() == pytest.approx(found["mean_a"].to_numpy() + 0.1)


def test_the_order_of_rows_does_not_matter() -> None:
    data = rows(LINEAR, apart=0.1)
    pd.testing.assert_frame_equal(compare(data.sample(frac=1, random_state=0)), compare(data))


@pytest.mark.parametrize(
    ("against", "message"),
    [
        ("siz", "against 'siz' is not a column of the rows; did you mean 'size'"),
        ("sparsity", "against 'sparsity' is a key column"),
        ("accuracy", "against: found the metric 'accuracy' itself"),
        ("word", "against 'word' holds 'x', expected numbers"),
    ],
)
def test_a_column_that_cannot_be_equal(against: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        at_equal(rows(LINEAR).assign(word="x"), metric="accuracy", against=against, roles=ROLES)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (3.0, r"against 'size': found 3 in every row that has one, expected at least two values"),
        (np.nan, r"against 'size': found no number in any row, expected at least two values"),
        (np.inf, r"against 'size': found no number in any row, expected at least two values"),
    ],
)
def test_a_column_that_does_not_vary_is_refused(values: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        compare(rows(LINEAR).assign(size=values))
