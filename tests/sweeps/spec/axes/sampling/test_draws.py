"""Draws follow their distributions, are the same wherever they are drawn, and stay where they are when more come."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sweeps.errors import SpecError
from sweeps.spec.axes.sampling.draws import Sample, draws
from sweeps.spec.axes.sampling.sequences import points

SPACE: dict[str, Any] = {
    "rate": {"log_uniform": [1e-4, 0.1]},
    "epsilon": {"uniform": ["2/255", "8/255"]},
    "epochs": {"int": [1, 4]},
    "steps": {"log_int": [1, 100]},
    "noise": {"normal": [1.0, 0.5]},
    "name": {"choice": ["pgd", "fgsm", None]},
}
SAMPLERS = ["random", "sobol"]


def sample(**changes: Any) -> Sample:
    return Sample(**{"draws": 64, "space": SPACE, **changes})


@given(st.sampled_from(SAMPLERS), st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**63 - 1))
def test_more_draws_keep_those_that_were_drawn(sampler: str, few: int, more: int, seed: int) -> None:
    before = draws(sample(sampler=sampler, draws=few, seed=seed))
    assert draws(sample(sampler=sampler, draws=few + more, seed=seed))[: len(before)] == before


@given(st.permutations(sorted(SPACE)))
def test_the_order_of_fields_is_no_matter(order: list[str]) -> None:
    assert draws(sample(space={name: SPACE[name] for name in order})) == draws(sample())


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_seeds_draw_others(sampler: str) -> None:
    rates = {draw["rate"] for seed in (0, 1) for draw in draws(sample(sampler=sampler, seed=seed))}
    assert len(rates) == 128


def test_the_first_draws_are_these() -> None:
    """Whatever versions of libraries are installed: a resumed sweep draws what it drew before."""
    assert [draw["rate"] for draw in draws(sample(draws=3))] == FIRST["random"]
    assert [draw["rate"] for draw in draws(sample(draws=3, sampler="sobol"))] == FIRST["sobol"]


FIRST = {"random": [0.0275303, 0.028026, 0.038863], "sobol": [0.0275303, 0.000870584, 0.00489565]}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_values_are_distributed_as_asked(sampler: str) -> None:
    """Against scipy's distributions, by Kolmogorov and Smirnov; whole numbers by their shares."""
    found = draws(sample(draws=4096, sampler=sampler))
    columns = {name: [draw[name] for draw in found] for name in SPACE}
    for name, law in {
        "rate": stats.loguniform(1e-4, 0.1),
        "epsilon": stats.uniform(2 / 255, 6 / 255),
        "noise": stats.norm(1, 0.5),
    }.items():
        assert stats.kstest(columns[name], law.cdf).statistic < 0.03, name
    for value in (1, 2, 3, 4):
        assert columns["epochs"].count(value) / 4096 == pytest.approx(0.25, abs=0.03)
    for value in (1, 2, 10, 100):
        expected = math.log((value + 1) / value) / math.log(101)
        assert columns["steps"].count(value) / 4096 == pytest.approx(expected, abs=0.03)
    for choice in ("pgd", "fgsm", None):
        assert columns["name"].count(choice) / 4096 == pytest.approx(1 / 3, abs=0.03)


def test_sobol_leaves_smaller_gaps() -> None:
    centred = {sampler: stats.qmc.discrepancy(points(sampler, 64, 3, seed=0)) for sampler in ("random", "sobol")}
    assert centred["sobol"] < centred["random"] / 3


@given(st.floats(1e-300, 1e300), st.floats(1.0, 1e6, exclude_min=True), st.sampled_from(["uniform", "log_uniform"]))
def test_values_stay_within_their_ends(low: float, times: float, law: str) -> None:
    high = low * times
    if not low < high:
        return
    found = [draw["x"] for draw in draws(Sample(draws=16, space={"x": {law: [low, high]}}))]
    assert all(low <= value <= high and np.isfinite(value) for value in found)


def test_a_draw_that_repeats_is_left_out() -> None:
    found = draws(Sample(draws=50, space={"epochs": {"int": [1, 3]}}))
    assert sorted(draw["epochs"] for draw in found) == [1, 2, 3]


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        (3, "sample.space.x: found 3, expected one of uniform, log_uniform, int, log_int, choice, normal"),
        ({"uniform": [0, 1], "int": [0, 1]}, "expected one of uniform"),
        ({"loguniform": [1, 2]}, "sample.space.x.loguniform: unknown key; did you mean 'log_uniform'?"),
        ({"uniform": [1]}, "expected a list of the two ends of an interval"),
        ({"uniform": [1, 1]}, "expected a lower end before a higher one"),
        ({"uniform": ["a", 1]}, "sample.space.x.uniform[0]: found 'a', expected a number"),
        ({"uniform": [0, float("inf")]}, "expected a finite number"),
        ({"uniform": [False, 1]}, "expected a number"),
        ({"log_uniform": [0, 1]}, "sample.space.x.log_uniform[0]: found 0, expected a number above 0"),
        ({"int": [0.5, 2]}, "sample.space.x.int[0]: found 0.5, expected a whole number"),
        ({"int": [0, 10**400]}, "sample.space.x.int[1]"),
        ({"log_int": [0, 3]}, "expected a number above 0"),
        ({"normal": [0, 0]}, "sample.space.x.normal[1]: found 0, expected a standard deviation above 0"),
        ({"choice": []}, "expected a list of values"),
    ],
)
def test_what_cannot_be_drawn_from_is_said(given_: Any, said: str) -> None:
    with pytest.raises(SpecError) as raised:
        draws(Sample(draws=2, space={"x": given_}))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "law", [{"uniform": [1, 1.0000001]}, {"log_uniform": [1, 1.0000001]}, {"normal": [1, 1e-7]}], ids=str
)
def test_numbers_that_begin_alike_are_told_apart(law: dict[str, Any]) -> None:
    found = draws(Sample(draws=64, space={"x": law}))
    assert len(found) == 64
