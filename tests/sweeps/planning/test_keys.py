"""A key depends on what a study declares, all of it, and on nothing else."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.planning.keys import Digests, Keys, RowKey, StageKey, cell_digest, digest
from sweeps.study import Axis, Cell, Stage, Study

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
cells = st.fixed_dictionaries({"method": st.text(), "seed": st.integers(), "dose": numbers})


class Declared(Study):
    """A study that is nothing but its declarations."""

    row_axis = "dose"
    axes = tuple(Axis(name, str) for name in ("method", "seed", "dose"))
    stages = ("base", "pretrain", "score", "evaluate_row")

    def __init__(self, **changes: Stage | None) -> None:
        self.declared: dict[str, Stage | None] = {
            "base": Stage((), {"rate": 1}),
            "pretrain": Stage(("seed",), {"rate": 2}),
            "score": Stage(("seed", "method"), {"images": 3}),
            "evaluate_row": Stage(("method", "seed", "dose"), {"steps": 4}),
            **changes,
        }

    def stage(self, name: str, cell: Cell) -> Stage | None:
        return self.declared[name]

    def base(self, *given: Any) -> Any:
        """Of the right arity, whatever is read."""

    pretrain = score = evaluate_row = base


CELL: Cell = {"method": "quick", "seed": 1, "dose": 0.5}


def keys(cell: Cell = CELL, **changes: Stage | None) -> tuple[dict[str, StageKey], RowKey]:
    named = Keys(cast(Study, Declared(**changes)))
    stages = named.stages(cell)
    return {stage.name: stage for stage in stages}, named.row(cell, stages)


def changed(before: tuple[dict[str, StageKey], RowKey], after: tuple[dict[str, StageKey], RowKey]) -> set[str]:
    """Return the stages and the part of the row's key that differ."""
    found = {str(name) for name in before[0] if before[0][name] != after[0].get(name)}
    return found | {part for part in RowKey._fields if getattr(before[1], part) != getattr(after[1], part)}


def shuffled(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: shuffled(item) for name, item in reversed(value.items())}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@given(json_values)
def test_a_digest_does_not_depend_on_the_order_of_mappings(value: Any) -> None:
    assert digest(value) == digest(shuffled(value))


@given(st.lists(json_values, min_size=2, max_size=2))
def test_different_content_has_different_digests(values: list[Any]) -> None:
    one, other = values
    # 1, 1.0 and True are equal to Python, but not the same JSON; that they may differ is harmless.
    if one != other:
        assert digest(one) != digest(other)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused(value: float) -> None:
    for inside in (value, [value], {"deep": {"rate": value}}):
        with pytest.raises(ValueError, match="not JSON compliant"):
            digest(inside)
    with pytest.raises(ValueError, match="not JSON compliant"):
        cell_digest({"dose": value})


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False).filter(float.is_integer).map(int))
def test_a_whole_number_is_one_cell_however_it_is_written(number: int) -> None:
    if abs(number) < 2**53:
        assert cell_digest({"dose": number}) == cell_digest({"dose": float(number)})
    assert cell_digest({"dose": number}) != cell_digest({"dose": number + 1})


def test_zero_and_its_negative_are_one_cell() -> None:
    assert cell_digest({"dose": 0}) == cell_digest({"dose": 0.0}) == cell_digest({"dose": -0.0})


@given(cells, cells)
def test_cells_are_told_apart(one: Cell, other: Cell) -> None:
    assert (cell_digest(one) == cell_digest(other)) == (one == other)
    assert cell_digest(one) == cell_digest(dict(reversed(one.items())))


@given(st.dictionaries(st.text(), json_values, max_size=3))
def test_settings_that_are_written_once_give_the_digest_of_the_whole(settings: dict[str, Any]) -> None:
    digests = Digests()
    # 1, 1.0 and true are equal to Python, and other JSON.
    for given_settings in (settings, {"rate": 1}, {"rate": 1.0}, {"rate": True}, settings):
        found = digests.of(2, {"seed": 1}, digests.text(given_settings), ["a", "b"], length=20)
        assert found == digest([2, {"seed": 1}, given_settings, ["a", "b"]], length=20)


def test_settings_are_written_once_of_a_stage_that_is_declared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []
    text = Digests.text

    def told(self: Digests, value: Any) -> str:
        written.append(value)
        return text(self, value)

    monkeypatch.setattr(Digests, "text", told)
    named = Keys(cast(Study, Declared()))
    cells = [CELL | {"seed": seed} for seed in range(5)]
    assert len({named.row(cell, named.stages(cell)) for cell in cells}) == 5
    assert [each for each in written if isinstance(each, dict)] == [
        {"rate": 1},
        {"rate": 2},
        {"images": 3},
        {"steps": 4},
    ]


@pytest.mark.parametrize(
    ("stage", "downstream"),
    [
        ("base", {"base", "pretrain", "score", "inputs"}),
        ("pretrain", {"pretrain", "score", "inputs"}),
        ("score", {"score", "inputs"}),
        ("evaluate_row", {"inputs"}),
    ],
)
@given(data=st.data())
def test_a_changed_declaration_changes_its_stage_and_all_after_it(
    stage: str, downstream: set[str], data: st.DataObject
) -> None:
    declared = Declared().declared[stage]
    assert declared is not None
    settings = data.draw(st.dictionaries(st.text(), json_values, max_size=2), "settings")
    before = keys(CELL, **{stage: declared._replace(settings=settings)})
    added = data.draw(st.text().filter(lambda name: name not in settings), "a new setting")
    assert changed(before, keys(CELL, **{stage: declared._replace(settings={**settings, added: 0})})) == downstream
    newer = declared._replace(settings=settings, version=declared.version + 1)
    assert changed(before, keys(CELL, **{stage: newer})) == downstream
    assert keys(CELL, **{stage: declared._replace(settings=shuffled(settings))}) == before


@pytest.mark.parametrize(
    ("axis", "value", "expected"),
    [
        ("seed", 2, {"pretrain", "score", "cell", "inputs"}),
        ("method", "slow", {"score", "cell", "inputs"}),
        ("dose", 0.75, {"cell", "inputs"}),
        ("label", "other", {"cell"}),
    ],
)
def test_an_axis_changes_the_stages_that_declare_it(axis: str, value: Any, expected: set[str]) -> None:
    cell = {**CELL, "label": "one"}
    assert changed(keys(cell), keys({**cell, axis: value})) == expected


def test_a_stage_left_out_changes_what_comes_after() -> None:
    assert changed(keys(), keys(pretrain=None)) == {"pretrain", "score", "inputs"}
    assert changed(keys(), keys(score=None)) == {"score", "inputs"}


def test_only_what_leaves_out_the_row_axis_is_shared() -> None:
    stages, _ = keys(score=Stage(("seed", "dose"), {}))
    assert {name for name, stage in stages.items() if stage.shared} == {"base", "pretrain"}


def test_the_name_of_a_row_begins_with_its_cell() -> None:
    _, row = keys()
    assert str(row) == f"{cell_digest(CELL)}-{row.inputs}"
    assert str(row).replace("-", "").isalnum()


def test_keys_are_the_same_in_every_process() -> None:
    program = (
        "from sweeps import spec; from sweeps.planning import plan; from tests.support.toy_study import SPEC\n"
        "for trial in plan.trials(spec.parse(SPEC, 'toy')):\n"
        "    print([str(row.key) for row in trial.rows], [stage.key for stage in trial.shared])"
    )

    def output(hash_seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", program]
        root = Path(__file__).parents[3]
        return subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=True).stdout

    assert output("1") == output("2") != ""
