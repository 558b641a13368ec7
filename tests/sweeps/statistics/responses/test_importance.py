"""Importance of drawn fields: what matters is found, what does not is not, and the null is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweeps.statistics.responses.best import best_draws
from sweeps.statistics.responses.importance import importance
from sweeps.statistics.roles import Roles

ROLES = Roles(("method", "rate", "epochs", "name", "seed", "ratio"), "seed", "ratio")
ONE = Roles(("rate", "seed", "ratio"), "seed", "ratio", sampled=("rate",))
FIELDS = ["rate", "epochs", "name"]


def drawn(metric: Callable[[dict[str, Any]], float], draws: int = 40, seed: int = 0) -> pd.DataFrame:
    """Return rows of some draws with two seeds each, and a little noise."""
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(draws):
        draw = {"rate": rng.uniform(), "epochs": int(rng.integers(1, 9)), "name": str(rng.choice(["x", "y"]))}
        for replicate in (0, 1):
            noise = 0.02 * rng.normal()
            line = {"method": "a", **draw, "seed": replicate, "ratio": 0.5, "ap": metric(draw) + noise}
            lines.append(line)
    return pd.DataFrame(lines)


def found(data: pd.DataFrame) -> pd.DataFrame:
    return importance(data, metric="ap", fields=FIELDS, roles=ROLES).set_index("field")


@pytest.mark.parametrize(
    ("metric", "matters"),
    [
        (lambda draw: draw["rate"], ["rate"]),
        (lambda draw: 0.1 * draw["epochs"], ["epochs"]),
        (lambda draw: float(draw["name"] == "x"), ["name"]),
        (lambda draw: draw["rate"] * (draw["name"] == "x"), ["rate", "name"]),
    ],
    ids=["a number", "a whole number", "text", "two together"],
)
def test_what_matters_is_found(metric: Callable[[dict[str, Any]], float], matters: list[str]) -> None:
    ranks = found(drawn(metric))
    assert set(ranks.index[: len(matters)]) == set(matters)
    assert ranks.loc[matters, "matters"].all()
    assert (ranks["importance_low"] <= ranks["importance"]).all()
    assert (ranks["importance"] <= ranks["importance_high"]).all()
    assert (ranks["predicted"] > 0.5).all()
    assert (ranks["n"] == 40).all()


def test_noise_is_no_ranking() -> None:
    """Where nothing matters, hardly anything is said to."""
    said = [found(drawn(lambda draw: 0.0, seed=seed))["matters"].sum() for seed in range(3)]
    assert sum(said) <= 1


def test_a_scale_of_logarithms_is_no_matter() -> None:
    data = drawn(lambda draw: draw["rate"])
    stretched = data.assign(rate=np.exp(20 * data["rate"]))
    assert found(stretched).loc["rate", "importance"] == pytest.approx(found(data).loc["rate", "importance"], abs=0.1)


def test_the_same_rows_give_the_same_ranks() -> None:
    data = drawn(lambda draw: draw["rate"])
    pd.testing.assert_frame_equal(found(data), found(data.sample(frac=1, random_state=1)))


def test_a_field_that_does_not_matter_to_a_draw_may_be_empty() -> None:
    data = drawn(lambda draw: float(draw["name"] == "x"))
    ranks = found(data.assign(rate=data["rate"].where(data["name"] == "x")))
    assert ranks.loc["name", "matters"] or ranks.loc["rate", "matters"]


def test_what_cannot_be_ranked_says_why() -> None:
    assert found(drawn(lambda draw: draw["rate"], draws=9))["note"].str.contains("9 draws, a forest needs 10").all()
    data = drawn(lambda draw: 0.0).assign(ap=1.0)
    assert found(data)["note"].str.contains("does not vary").all()


def test_the_best_draw_and_those_as_good() -> None:
    data = drawn(lambda draw: 10 * round(draw["rate"], 1))
    best = best_draws(data, metric="ap", fields=FIELDS, most=3, roles=ROLES)
    means = data.groupby(FIELDS)["ap"].mean().sort_values(ascending=False)
    assert best["mean"].tolist() == pytest.approx(means.head(3).tolist())
    assert (best["low"] <= best["mean"]).all()
    assert best["draws"].unique().tolist() == [40]
    assert 1 <= best["as_good"].iloc[0] < 40
    one = data[data["seed"] == 0]
    alone = best_draws(one, metric="ap", fields=FIELDS, roles=ROLES)
    assert alone["low"].isna().all()
    assert (alone["n"] == 1).all()
    assert alone["as_good"].unique().tolist() == [40]  # of single values nothing is shown


def test_the_best_in_truth_is_among_those_as_good() -> None:
    """Nothing differs but by chance: intervals of each draw alone leave out any of 32 in .19 with five seeds."""
    rng = np.random.default_rng(0)
    shown = []
    for _ in range(20):
        lines = [{"rate": rate, "seed": seed} for rate in range(32) for seed in range(5)]
        data = pd.DataFrame(lines).assign(ratio=0.5)
        data = data.assign(ap=rng.normal(size=len(data)) + 3 * data["seed"] - 100 * (data["rate"] == 31))
        (best,) = best_draws(data, metric="ap", fields=["rate"], most=1, roles=ONE).to_dict("records")
        shown.append(best["as_good"])
    assert max(shown) == 31  # the one that is far below is out
    assert np.mean(shown) / 31 > 0.92


def test_draws_that_halving_left_behind_are_compared_by_the_seeds_they_have() -> None:
    """The second seed is far better, or worse, for all: it makes no draw of one seed worse, or best."""
    lines = [{"rate": rate, "seed": 0, "ap": 0.1 * rate + 0.01 * (rate % 3)} for rate in range(9)]
    lines += [{"rate": rate, "seed": 1, "ap": 50 + 0.1 * rate + 0.01 * (rate % 2)} for rate in (6, 7, 8)]
    data = pd.DataFrame(lines).assign(ratio=0.5)
    (best,) = best_draws(data, metric="ap", fields=["rate"], most=1, roles=ONE).to_dict("records")
    assert (best["draws"], best["n"]) == (9, 2)
    assert 1 <= best["as_good"] <= 4
    (best,) = best_draws(
        data.assign(ap=data["ap"] - 100 * data["seed"]), metric="ap", fields=["rate"], most=1, roles=ONE
    ).to_dict("records")
    assert (best["rate"], best["n"]) == (8, 2)
    level = data.assign(ap=data["ap"].where(data["seed"] == 1, 0.01 * (data["rate"] % 3)))
    (best,) = best_draws(level, metric="ap", fields=["rate"], most=1, roles=ONE).to_dict("records")
    assert best["as_good"] == 9
