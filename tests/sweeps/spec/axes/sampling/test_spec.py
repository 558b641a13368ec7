"""A sample in a spec: draws are crossed with the grid, shared where they may be, and every mistake has one sentence."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import yaml

from sweeps.api.specs import loaded
from sweeps.errors import SpecError
from sweeps.planning.trials import trials
from sweeps.spec import Spec, parse
from sweeps.spec.axes.sampling.draws import Sample, draws
from tests.support.toy_study import SPEC, ToyStudy

TOY: dict[str, Any] = yaml.safe_load(SPEC)
SPACE = {"offset": {"uniform": [0, 1]}}


def sampled(space: dict[str, Any] = SPACE, **changes: Any) -> Spec:
    return loaded(TOY | {"sample": {"draws": 4, "space": space, **changes}})


def keys(spec: Spec) -> set[str]:
    return {str(row.key) for trial in trials(spec) for row in trial.rows}


def test_every_draw_has_every_cell() -> None:
    found = sampled().cells
    drawn = [draw["offset"] for draw in draws(Sample(draws=4, space=SPACE))]
    assert len(found) == 24 * 4
    assert Counter(cell["offset"] for cell in found) == dict.fromkeys(drawn, 24)


def test_more_draws_keep_the_rows_of_the_old() -> None:
    assert keys(sampled()) < keys(sampled(draws=7))


def test_a_draw_is_the_sweep_with_its_values() -> None:
    (offset, *_) = (draw["offset"] for draw in draws(Sample(draws=4, space=SPACE)))
    assert keys(loaded(TOY, {"offset": offset})) < keys(sampled())


def test_a_resolved_spec_draws_the_same() -> None:
    spec = sampled(sampler="sobol", seed=3)
    assert parse(spec.to_yaml(), "spec.yaml").cells == spec.cells


def test_whole_numbers_stay_whole() -> None:
    assert {cell["epochs"] for cell in sampled({"epochs": {"int": [1, 3]}}).cells} <= {1, 2, 3}


def test_the_spec_can_be_set_from_the_command_line() -> None:
    spec = parse(SPEC, "toy.yaml", ["sample.draws=2", "sample.space.offset={normal: [0, 1/8]}"])
    assert len({cell["offset"] for cell in spec.cells}) == 2


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        ({"draws": 0}, "sample.draws: found 0"),
        ({"sampler": "halton"}, "sample.sampler: found 'halton', expected 'random' or 'sobol'"),
        ({"seed": -1}, "sample.seed: found -1"),
        ({"space": {}}, "sample.space"),
        ({"space": {"ofset": {"uniform": [0, 1]}}}, "sample.space.ofset: unknown key; did you mean 'offset'?"),
        ({"space": {"seed": {"int": [0, 1]}}}, "sample.space.seed: found an axis of the study"),
        ({"space": {"name": {"choice": ["a"]}}}, "sample.space.name: found a field that says how a sweep runs"),
        ({"space": {"epochs": {"uniform": [1, 2]}}}, "sample.space.epochs, draw 0: found 1."),
        ({"space": {"offset": {"choice": ["many"]}}}, "sample.space.offset, draw 0: found 'many', expected a number"),
        ({"space": {"offset": {"uniform": [2, 1]}}}, "expected a lower end before a higher one"),
    ],
)
def test_mistakes_have_one_sentence(sample: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as raised:
        loaded(TOY | {"sample": {"draws": 3, "space": SPACE, **sample}})
    assert said in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("beside", [{}, SPACE])
def test_a_field_on_which_no_row_depends_is_refused(beside: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=r"sample\.space\.seconds: found several values of a field on which no row"):
        trials(sampled({"seconds": {"uniform": [0, 1]}, **beside}))


@pytest.mark.parametrize(("count", "asked"), [(12, 12), (200, 2)])
def test_of_many_numbers_the_ends_are_asked_about(monkeypatch: pytest.MonkeyPatch, count: int, asked: int) -> None:
    """To read the data for each of a thousand draws takes minutes."""
    seen: list[float] = []

    def check(self: ToyStudy, cells: object) -> list[str]:
        seen.append(self.settings.offset)
        return []

    monkeypatch.setattr(ToyStudy, "check", check)
    spec = sampled(draws=count)
    spec.study.check(spec.cells)
    drawn = {cell["offset"] for cell in spec.cells}
    assert len(seen) <= asked + 1
    assert {min(drawn), max(drawn)} <= {*seen}
    assert {*seen} == drawn or count > 12


def test_every_word_that_is_drawn_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str | None] = set()

    def check(self: ToyStudy, cells: object) -> list[str]:
        seen.add(self.settings.raise_in)
        return []

    monkeypatch.setattr(ToyStudy, "check", check)
    words = [f"stage {number}" for number in range(30)]
    spec = sampled({"raise_in": {"choice": words}, **SPACE}, draws=400)
    spec.study.check(spec.cells)
    assert seen == {*words}


def test_a_field_that_is_drawn_is_in_no_entry_of_the_grid() -> None:
    grid = TOY["grid"] | {"exclude": [{"offset": 1}]}
    with pytest.raises(
        SpecError, match=r"grid\.exclude\[0\]\.offset: found a field that is drawn, expected axes of the"
    ):
        loaded(TOY | {"grid": grid, "sample": {"draws": 2, "space": SPACE}})


def test_a_field_is_an_axis_or_drawn() -> None:
    with pytest.raises(SpecError, match="an axis of the grid too, expected one of the two"):
        loaded(TOY | {"grid": TOY["grid"] | {"offset": [0, 1]}, "sample": {"draws": 2, "space": SPACE}})
