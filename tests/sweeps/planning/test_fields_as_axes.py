"""Keys of a grid with fields among its axes: those of the settings of each cell, so that sharing falls out."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps import spec
from sweeps.errors import SpecError
from sweeps.planning import plan
from sweeps.planning.sharing import costs
from sweeps.planning.trials import Row, trials
from sweeps.spec.axes.varied import VariedStudy
from sweeps.storage import Store
from sweeps.study import Study
from tests.support.layered_study import SPEC

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "stress.force": st.sampled_from([0.5, 1.0, 2.5]),
    "growing.epochs": st.integers(1, 9),
    "tuning.rounds": st.integers(0, 9),
    "tuning.damping": st.none() | st.sampled_from([0.25, 0.5]),
    "finish": st.sampled_from([None, "matt", "gloss"]),
    "polish": st.booleans(),
}


def load(*changes: str) -> spec.Spec:
    return spec.parse(SPEC, "it", changes)


def rows(*changes: str) -> list[Row]:
    return [row for trial in trials(load(*changes)) for row in trial.rows]


def keys(*changes: str) -> set[str]:
    return {str(row.key) for row in rows(*changes)}


def shared(*changes: str) -> Counter[str]:
    return Counter(
        name for _, name in {(stage.key, stage.name) for row in rows(*changes) for stage in row.stages if stage.shared}
    )


chosen = st.dictionaries(st.sampled_from([*FIELDS]), st.none(), min_size=1, max_size=3).flatmap(
    lambda found: st.fixed_dictionaries({path: FIELDS[path] for path in found})
)


@settings(deadline=None, max_examples=30)
@given(chosen)
def test_a_field_with_one_value_gives_the_keys_of_that_setting(values: dict[str, Any]) -> None:
    as_axes = keys(*(f"grid.{path}=[{json.dumps(value)}]" for path, value in values.items()))
    assert as_axes == keys(*(f"{path}={json.dumps(value)}" for path, value in values.items()))


@settings(deadline=None, max_examples=20)
@given(st.data())
def test_keys_do_not_depend_on_the_order_of_axes_and_values(data: st.DataObject) -> None:
    paths = data.draw(
        st.lists(st.sampled_from(["stress.force", "growing.epochs", "tuning.rounds"]), min_size=2, unique=True)
    )
    values = {path: data.draw(st.lists(FIELDS[path], min_size=1, max_size=3, unique=True)) for path in paths}
    one = [f"grid.{path}={values[path]}" for path in paths]
    other = [f"grid.{path}={data.draw(st.permutations(values[path]))}" for path in reversed(paths)]
    assert keys(*one) == keys(*other)
    assert {str(row.key): row.cell for row in rows(*one)} == {str(row.key): row.cell for row in rows(*other)}


@pytest.mark.parametrize(
    ("change", "expected", "there"),
    [
        ("grid.growing.epochs=[1, 2]", {"grow": 4, "tune": 4}, 18),
        ("grid.stress=[{name: push}, {name: kick}]", {"grow": 4, "tune": 4}, 18),
        ("grid.tuning.rounds=[1, 2, 3]", {"grow": 2, "tune": 6}, 1 + 4 + 4 * 3),
        ("grid.polish=[true, false]", {"grow": 2, "tune": 2}, 1 + 8 * 2),
        ("grid.finish=[null, matt, gloss]", {"grow": 2, "tune": 2}, 1 + 8 * 3),
    ],
)
def test_what_does_not_depend_on_a_field_is_shared(change: str, expected: dict[str, int], there: int) -> None:
    assert (shared(), len(rows())) == ({"grow": 2, "tune": 2}, 9)
    assert (shared(change), len(rows(change))) == (expected, there)
    assert len(keys(change)) == there


def test_an_axis_whose_values_had_the_setting_before_keeps_all_rows() -> None:
    assert keys() <= keys("grid.growing.epochs=[1, 2]")
    assert keys("growing.epochs=2") <= keys("grid.growing.epochs=[1, 2]")
    assert not keys("growing.epochs=3") & keys("grid.growing.epochs=[1, 2]")


def test_a_row_to_which_a_field_does_not_matter_is_there_once() -> None:
    found = rows("grid.tuning.rounds=[1, 2]", "grid.growing.epochs=[1, 2]")
    by_method = {
        method: {row.cell["tuning.rounds"] for row in found if row.cell["method"] == method}
        for method in ("none", "plain", "tuned")
    }
    assert by_method == {"none": {None}, "plain": {None}, "tuned": {1, 2}}
    assert all(row.cell["growing.epochs"] in (1, 2) for row in found)
    assert all(None not in row.at.values() for row in found)
    assert {row.cell["growing.epochs"] for row in found if row.cell["method"] == "none"} == {1, 2}


def test_a_field_that_is_null_is_not_one_that_does_not_matter() -> None:
    found = rows("grid.tuning.damping=[null, 0.5]")
    assert {row.cell["tuning.damping"] for row in found if row.cell["method"] == "tuned"} == {None, 0.5}
    assert len([row for row in found if row.cell["method"] == "tuned"]) == 8
    assert len([row for row in found if row.cell["method"] == "plain"]) == 4


def test_a_field_that_changes_nothing_is_refused() -> None:
    with pytest.raises(SpecError) as refused:
        rows("grid.workers=[1, 2]")
    assert str(refused.value) == (
        "layered: grid.workers: found several values of a field on which no row of this grid depends, expected one "
        "that changes results"
    )
    assert keys("grid.workers=[2]") == keys()


def test_values_that_make_one_row_beside_others_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.layered_study import LayeredStudy

    stage = LayeredStudy.stage

    def capped(self: LayeredStudy, name: str, cell: Any) -> Any:
        found = stage(self, name, cell)
        return found and (
            found._replace(settings={"epochs": min(self.settings.growing.epochs, 2)}) if name == "grow" else found
        )

    monkeypatch.setattr(LayeredStudy, "stage", capped)
    with pytest.raises(SpecError, match="found 2 and 3, which make one and the same row where another value does not"):
        rows("grid.growing.epochs=[1, 2, 3]")


def test_a_plan_says_what_a_field_shares_and_costs(tmp_path: Any) -> None:
    loaded, store = load("grid.tuning.rounds=[1, 2, 3]", "grid.growing.epochs=[1, 2]"), Store(str(tmp_path))
    growing, tuning = costs(loaded, plan.make(loaded, store))
    assert (
        growing.sentence("measure") == "growing.epochs: 2 values; taking 4 grow, not 2; 12 tune, not 6; 34 rows, not 17"
    )
    assert tuning.sentence("measure") == (
        "tuning.rounds: 3 values; sharing grow; taking 12 tune, not 4; 34 rows, not 18; it does not matter to 10 rows, "
        "each of which is computed once"
    )
    assert growing.fewer.missing == 17
    assert [*costs(load(), plan.make(load(), store))] == []


def test_trials_are_called_by_the_values_of_their_fields() -> None:
    labels = [trial.label for trial in trials(load("grid.tuning.rounds=[1, 2]", "grid.seed=[0]"))]
    assert labels == [
        f"{name} 0 tuning.rounds={value}" for name, value in [("none", "–"), ("plain", "–"), ("tuned", 1), ("tuned", 2)]
    ]


def test_all_that_a_study_is_asked_is_answered_by_a_cells_own() -> None:
    """A method that is new to studies must be handed on, else settings of cells would be ignored without a word."""
    measuring = {"measuring", "measure_kept"}  # asked of the study that a row was made with, see `planning.measured`
    asked = {
        name
        for name, member in vars(Study).items()
        if not name.startswith("_") and (callable(member) or isinstance(member, property)) and name != "Settings"
    }
    assert asked - vars(VariedStudy).keys() == measuring
