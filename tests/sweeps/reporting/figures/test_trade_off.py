"""The Pareto front: against its definition, and as a figure."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.cbook import STEP_LOOKUP_MAP
from matplotlib.lines import Line2D

from sweeps.reporting.figures.trade_off import trade_off_figure
from sweeps.statistics.marks import Floor
from sweeps.statistics.pareto_front import mean_trade_off, pareto_front
from sweeps.statistics.roles import Roles

ROLES = Roles(("method", "seed", "sparsity"), replicate="seed", along="sparsity")
LABELS = ("gain (×)", "accuracy")

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def rows() -> pd.DataFrame:
    """`l1` is dominated by `l2` wherever anything is pruned; means of two seeds."""
    cells = [(method, seed, at) for method in ("l1", "l2") for seed in (0, 1) for at in (0.0, 0.5, 0.9)]
    rows = pd.DataFrame(cells, columns=list(ROLES.axes))
    better = 0.1 * (rows["method"] == "l2") * (rows["sparsity"] > 0)
    rows["gain"] = 1 + rows["sparsity"] + better + 0.01 * rows["seed"]
    rows["accuracy"] = 0.9 - rows["sparsity"] / 2 + better + 0.02 * rows["seed"]
    return rows


def test_the_front_of_points_in_a_plane() -> None:
    front = [(3, 0), (2, 1), (1, 2), (1, 2), (0, 3)]
    dominated = [(2, 0), (1, 1), (0, 2.9), (np.nan, 9)]
    assert pareto_front([*front, *dominated]).tolist() == [True] * 5 + [False] * 4


@given(st.lists(st.tuples(*[st.integers(0, 5)] * 3), max_size=12))
def test_who_is_off_the_front_has_a_better_on_it(points: list[tuple[int, int, int]]) -> None:
    on_front = [point for point, on in zip(points, pareto_front(np.reshape(points, (-1, 3))), strict=True) if on]
    assert bool(on_front) == bool(points)
    for point in points:
        better = [
            other for other in on_front if other != point and all(a >= b for a, b in zip(other, point, strict=True))
        ]
        assert bool(better) == (point not in on_front)


def test_the_means_of_two_metrics(rows: pd.DataFrame) -> None:
    rows.loc[0, "gain"] = np.nan
    means = mean_trade_off(rows, against="gain", metric="accuracy", roles=ROLES)
    assert means["against"].is_monotonic_decreasing
    l1: Any = ("l1", 0.0)
    one = means.set_index(["configuration", "sparsity"]).loc[l1]
    # The model without a gain has no place in either mean.
    assert one[["n", "against", "metric"]].tolist() == [1, 1.01, pytest.approx(0.92)]
    front = means[means["on_front"]]
    assert list(zip(front["configuration"], front["sparsity"], strict=True)) == [("l2", 0.9), ("l2", 0.5), ("l1", 0.0)]


def test_means_at_the_floor_are_on_no_front(rows: pd.DataFrame) -> None:
    rows.loc[rows["sparsity"] == 0.9, "accuracy"] /= 20
    means = mean_trade_off(rows, against="gain", metric="accuracy", roles=ROLES)
    lost = means[means["at_floor"]]
    assert set(lost["sparsity"]) == {0.9}
    # They are the fastest of all, and would be on it.
    assert lost["against"].min() > means[means["on_front"]]["against"].max()
    free = mean_trade_off(rows, against="gain", metric="accuracy", floor=Floor(0), roles=ROLES)
    assert 0.9 in set(free[free["on_front"]]["sparsity"])
    hollow = [line for line in lines(rows) if line.get_markerfacecolor() == "white"]
    assert sorted(np.concatenate([np.asarray(line.get_xdata()) for line in hollow])) == sorted(lost["against"])


def lines(rows: pd.DataFrame, baseline: pd.DataFrame | None = None) -> list[Line2D]:
    means = mean_trade_off(rows, against="gain", metric="accuracy", roles=ROLES)
    none = pd.DataFrame() if baseline is None else baseline
    settings = {"against": "gain", "metric": "accuracy", "labels": LABELS, "roles": ROLES}
    figure = trade_off_figure(rows, means, none, **settings)  # type: ignore[arg-type]
    figure.draw_without_rendering()
    return list(figure.axes[0].lines)


def test_every_model_is_a_dot_and_the_front_is_ringed(rows: pd.DataFrame) -> None:
    drawn = lines(rows)
    dots = np.concatenate([np.asarray(line.get_xdata()) for line in drawn if line.get_alpha() is not None])
    assert sorted(dots) == sorted(rows["gain"])
    (front,) = [line for line in drawn if line.get_markerfacecolor() == "none"]
    assert np.asarray(front.get_xdata()) == pytest.approx([2.005, 1.605, 1.005, 1.005])


def test_no_step_of_the_front_leaves_what_models_reach(rows: pd.DataFrame) -> None:
    (front,) = [line for line in lines(rows) if line.get_markerfacecolor() == "none"]
    points = np.column_stack([np.asarray(each, dtype=float) for each in front.get_data()])
    corners = np.column_stack(STEP_LOOKUP_MAP[front.get_drawstyle()](*points.T))
    assert len(corners) > len(points)
    reached = np.less_equal(corners[:, None], points[None]).all(axis=2).any(axis=1)
    assert reached.all()


def test_a_configuration_looks_as_it_does_against_the_ratio(rows: pd.DataFrame) -> None:
    whole = [line.get_marker() for line in lines(rows)]
    without = lines(rows.assign(gain=rows["gain"].where(rows["method"] == "l2")))
    assert [line.get_marker() for line in without] == whole


def test_the_baseline_is_dashed(rows: pd.DataFrame) -> None:
    baseline = pd.DataFrame([{"method": "none", "seed": 0, "sparsity": 0.0, "accuracy": 0.3, "gain": 1.0}])
    (level,) = [line for line in lines(rows, baseline) if np.all(np.asarray(line.get_ydata()) == 0.3)]
    assert level.is_dashed()


def test_equal_factors_are_equally_far_apart_though_one_is_not_known(rows: pd.DataFrame) -> None:
    rows.loc[0, "gain"] = np.nan
    means = mean_trade_off(rows, against="gain", metric="accuracy", roles=ROLES)
    figure = trade_off_figure(
        rows, means, pd.DataFrame(), against="gain", metric="accuracy", labels=LABELS, roles=ROLES
    )
    assert figure.axes[0].get_xscale() == "log"


@pytest.mark.parametrize("gain", [np.nan, 0.0, -1.0])
def test_a_metric_without_logarithms_is_drawn_as_well(rows: pd.DataFrame, gain: float) -> None:
    assert lines(rows.assign(gain=gain))
