"""Rules leave out what they say, wait for what they need, and say the same whoever asks, in whatever order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sweeps
from sweeps.api.specs import loaded
from sweeps.errors import SpecError
from sweeps.planning import plan
from sweeps.planning.rules import columns, judge
from sweeps.spec import Spec, recorded
from sweeps.storage import Store
from tests.support import toy_rows

SKIP = ["skip={when: outcome < 0.2, along: dose}"]
HALVING = ["grid.seed=[0, 1, 2]", "sample={draws: 8, space: {offset: {uniform: [0, 1]}}, halving: {metric: outcome}}"]

Finished = Mapping[Any, Mapping[str, Any]]


def cells_of(spec: Spec) -> dict[Any, Any]:
    return {tuple(cell.values()): cell for cell in spec.cells}


def run(spec: Spec, outcome: Any) -> tuple[Finished, list[set[Any]]]:
    """Compute what may be computed, pass by pass, until nothing is left; return it, and the rows of each pass."""
    cells, finished, passes = cells_of(spec), dict[Any, Mapping[str, Any]](), list[set[Any]]()
    while True:
        verdict = judge(spec, cells, finished)
        now = cells.keys() - finished.keys() - verdict.skipped.keys() - verdict.waiting
        if not now:
            assert finished.keys() | verdict.skipped.keys() == cells.keys()
            return finished, passes
        passes.append(now)
        finished |= {key: {"outcome": outcome(cells[key])} for key in now}


def test_higher_values_are_left_out_past_the_floor() -> None:
    spec = toy_rows.load("grid.dose=[0, 0.25, 0.5, 0.75, 1]", *SKIP)
    finished, passes = run(spec, lambda cell: 1 - cell["dose"] - 0.4 * (cell["method"] == "quick"))
    doses = {method: sorted({key[3] for key in finished if key[1] == method}) for method in ("slow", "quick")}
    assert doses == {"slow": [0, 0.25, 0.5, 0.75, 1], "quick": [0, 0.25, 0.5]}
    assert [sorted({key[3] for key in each}) for each in passes] == [[0], [0.25], [0.5], [0.75], [1]]


def test_a_trial_is_judged_by_itself() -> None:
    spec = toy_rows.load(*SKIP)
    finished, _ = run(spec, lambda cell: float(cell["seed"]))
    assert {key[2] for key in finished if key[3] > 0} == {1}


@given(st.sets(st.integers(0, 23)), st.randoms())
def test_what_is_left_out_does_not_depend_on_the_order(first: set[int], random: Any) -> None:
    """Rows that were there before, in whatever order they came, change only what was computed in vain."""
    spec = toy_rows.load(*SKIP)
    cells = cells_of(spec)
    outcomes = {key: random.random() for key in cells}
    before = {key: {"outcome": outcomes[key]} for place, key in enumerate(cells) if place in first}
    alone, _ = run(spec, lambda cell: outcomes[tuple(cell.values())])
    verdict = judge(spec, cells, {**before, **alone})
    assert not verdict.waiting
    assert verdict.skipped.keys() == cells.keys() - alone.keys() - before.keys()


def test_rows_that_fail_hold_nobody_up() -> None:
    spec = toy_rows.load(*SKIP)
    cells = cells_of(spec)
    lowest = [key for key in cells if key[3] == 0]
    verdict = judge(spec, cells, {}, failed=lowest)
    assert {cells[key]["dose"] for key in verdict.waiting} == {1}


def test_the_best_draws_have_more_replicates() -> None:
    finished, passes = run(loaded_halving(), lambda cell: cell["offset"] + 0.001 * cell["seed"])
    draws = sorted({key[4] for key in finished})
    for seed, count in ((0, 8), (1, 3), (2, 1)):
        assert sorted({key[4] for key in finished if key[2] == seed}) == draws[-count:]
    assert len(passes) == 3


def loaded_halving() -> Spec:
    return toy_rows.load(*HALVING)


def test_a_column_that_two_rules_look_at_is_read_once() -> None:
    assert columns(toy_rows.load(*SKIP, *HALVING)) == ["outcome"]


def test_baselines_are_left_alone(store: Store) -> None:
    found = plan.make(toy_rows.load(*SKIP), store)
    now = {row.cell["method"] for trial in found.todo for row in trial.rows}
    assert "none" in now
    assert len(found.waiting) == 16


def test_what_is_left_out_is_said_by_all(store: Store) -> None:
    spec = toy_rows.load(*SKIP)
    rows = toy_rows.all_rows(plan.make(spec, store))
    reached = [row for row in rows if row.cell["method"] == "quick" and row.cell["dose"] == 0]
    others = [row for row in rows if row.cell["method"] != "quick"]
    toy_rows.publish(store, spec, others)
    toy_rows.publish(store, spec, reached, outcome=0.1)
    recorded.write(spec, store)
    found = plan.make(spec, store)
    assert (len(found.skipped), found.todo, found.waiting, found.is_complete) == (8, [], frozenset(), True)
    location = store.describe("toy")
    status = sweeps.status(location)
    assert status.is_complete
    assert status.frame["state"].value_counts().to_dict() == {"finished": 17, "skipped": 8}
    assert "8 rows are left out (skip: outcome < 0.2 at a lower dose)" in str(status)
    with_rule = sweeps.load_results(location, skipped=True)
    assert len(with_rule) == 25
    assert with_rule["skipped"].notna().sum() == 8
    assert with_rule.loc[with_rule["skipped"].notna(), "outcome"].isna().all()
    assert len(sweeps.load_results(location)) == 17
    assert any("rules left rows out: 8" in said for said in sweeps.analyze(location).remarks)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["skip={when: outcome, along: dose}"], "skip.when: found 'outcome', expected a column, a comparison and"),
        (["skip={when: 'outcome < low', along: dose}"], "skip.when: found 'outcome < low', expected a column"),
        (
            ["skip={when: 'outcom < 1', along: dose}"],
            "skip.when: found 'outcom', expected a column of numbers: outcome",
        ),
        (["skip={when: 'machine < 1', along: dose}"], "skip.when: found 'machine', expected a column of numbers"),
        (["skip={when: 'outcome < 1', along: shape}"], "skip.along: found 'shape', expected an axis of numbers: dose"),
        (["skip={when: 'outcome < 1', along: seed}"], "skip.along: found 'seed', expected an axis of numbers: dose"),
        ([HALVING[1], "grid.seed=[0]"], "sample.halving: found one seed in the grid, expected several"),
        ([HALVING[1].replace("outcome}", "outcom}")], "sample.halving.metric: found 'outcom', expected a column of"),
        ([HALVING[1].replace("outcome}", "outcome, keep: 1}")], "sample.halving.keep: found 1, expected less than 1"),
    ],
)
def test_a_rule_about_nothing_is_refused_where_it_is_read(changes: list[str], said: str) -> None:
    with pytest.raises(SpecError) as raised:
        toy_rows.load(*changes)
    assert f"toy.yaml: {said}" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_fraction_may_be_a_quotient() -> None:
    spec = loaded(
        {"name": "toy", "study": "tests.toy_study:ToyStudy", "grid": toy_rows.load().engine.grid},
        {
            "sample": {
                "draws": 2,
                "space": {"offset": {"uniform": [0, 1]}},
                "halving": {"metric": "outcome", "keep": "1/4"},
            }
        },
    )
    assert spec.engine.sample is not None
    assert spec.engine.sample.halving is not None
    assert spec.engine.sample.halving.keep == 0.25
