"""Values of fields in a grid: what cells hold of them, what is resolved, and what a stored spec gives again."""

from __future__ import annotations

from typing import Any

import pytest

from sweeps import spec
from sweeps.errors import SpecError
from sweeps.spec import Spec
from tests.support.layered_study import SPEC, LayeredStudy


def load(*changes: str) -> Spec:
    return spec.parse(SPEC, "it", changes)


def levels(loaded: Spec, path: str) -> list[Any]:
    return list(dict.fromkeys(cell[path] for cell in loaded.cells))


@pytest.mark.parametrize(
    ("path", "given", "expected"),
    [
        ("stress.force", "[1, 8/255]", [1.0, 8 / 255]),
        ("growing.epochs", "[1, 3]", [1, 3]),
        ("tuning.damping", "[null, 0.5]", [None, 0.5]),
        ("finish", "[null, matt]", [None, "matt"]),
        ("polish", "[true, false]", [True, False]),
        ("sides", "[4, [3, 5]]", ["4", "[3, 5]"]),
        ("stress", "[{name: push, label: soft}, {name: kick}]", ["soft", "kick"]),
        ("stress", "[{name: push, force: 3}, {name: kick, force: 3}]", ["name=push, force=3", "name=kick, force=3"]),
        ("growing", "[{epochs: 2}, {epochs: 5, label: long}]", ["2", "long"]),
    ],
)
def test_cells_hold_numbers_texts_and_labels(path: str, given: str, expected: list[Any]) -> None:
    loaded = load(f"grid.{path}={given}")
    assert levels(loaded, path) == expected
    assert [type(level) for level in levels(loaded, path)] == [type(level) for level in expected]
    assert [axis.name for axis in loaded.study.axes] == ["method", "seed", "dose", path]
    again = spec.parse(loaded.to_yaml(), "again")
    assert again.cells == loaded.cells
    assert again.to_yaml() == loaded.to_yaml()


def test_the_settings_of_a_cell_are_those_of_its_value() -> None:
    from sweeps.spec.axes.varied import study_at

    loaded = load("grid.stress=[{name: push, steps: 5, label: soft}, {name: kick}]", "grid.growing.epochs=[1, 2]")
    found = {(cell["stress"], cell["growing.epochs"]): study_at(loaded.study, cell) for cell in loaded.cells}
    study, own = found["soft", 2]
    assert isinstance(study, LayeredStudy)
    assert study.settings.stress.steps == 5
    assert study.settings.growing.epochs == 2
    assert own.keys() == {"method", "seed", "dose"}
    assert found["kick", 1][0].settings.stress.force == 2.0
    assert len({id(study) for study, _ in found.values()}) == 4


def test_a_resolved_grid_has_every_default_of_an_alternative() -> None:
    loaded = load("grid.stress=[{name: push}, {name: kick}]")
    assert loaded.engine.grid["stress"] == [
        {"label": "push", "name": "push", "force": 1.0, "steps": 1},
        {"label": "kick", "name": "kick", "force": 2.0},
    ]


def test_entries_adjust_fields_like_any_axis() -> None:
    excluded = load("grid.growing.epochs=[1, 2]", "grid.exclude=[{method: plain, growing.epochs: 2}]")
    assert {(cell["method"], cell["growing.epochs"]) for cell in excluded.cells} == {
        ("plain", 1),
        ("tuned", 1),
        ("tuned", 2),
    }
    by_label = load(
        "grid.stress=[{name: push, label: soft}, {name: kick}]",
        "grid.exclude=[{stress: soft, seed: 1}, {stress: {name: kick}, seed: 0}]",
    )
    assert {(cell["stress"], cell["seed"]) for cell in by_label.cells} == {("soft", 0), ("kick", 1)}


def test_a_field_of_entries_alone_has_elsewhere_the_value_in_force() -> None:
    loaded = load("growing.epochs=7", "grid.include=[{method: tuned, growing.epochs: 9}]")
    assert {(cell["method"], cell["growing.epochs"]) for cell in loaded.cells} == {("plain", 7), ("tuned", 9)}
    assert spec.parse(loaded.to_yaml(), "again").cells == loaded.cells


def test_a_required_field_may_be_given_by_the_grid_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from pydantic import Field, create_model

    from tests.support.layered_study import LayeredSettings

    settings = create_model("Settings", __base__=LayeredSettings, weight=(float, Field()))
    monkeypatch.setattr(LayeredStudy, "Settings", settings)
    assert levels(load("grid.weight=[1, 2]"), "weight") == [1.0, 2.0]
    with pytest.raises(SpecError, match="weight: found nothing"):
        load()


def test_without_fields_a_study_is_itself() -> None:
    assert type(load().study) is LayeredStudy
    assert [axis.name for axis in load().study.axes] == ["method", "seed", "dose"]


def test_columns_come_in_one_order_however_the_grid_is_written() -> None:
    one = load("grid.tuning.rounds=[1, 2]", "grid.growing.epochs=[1, 2]")
    other = load("grid.growing.epochs=[2, 1]", "grid.tuning.rounds=[1, 2]")
    assert [axis.name for axis in one.study.axes] == [axis.name for axis in other.study.axes]
    assert sorted(map(str, one.cells)) == sorted(map(str, other.cells))
