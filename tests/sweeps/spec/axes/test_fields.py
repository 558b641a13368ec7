"""A key of `grid` that is no axis of the study leads to a field of its settings, or is refused with the reason."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from sweeps import spec
from sweeps.errors import SpecError
from sweeps.spec.axes.fields import place_of
from tests.support.layered_study import SPEC, LayeredSettings


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    rate: float = Field(default=1.0, description="how fast")
    label: str = "of its own"


class Many(BaseModel):
    whole: int = 1
    either: int | float = 1
    maybe: float | None = None
    truth: bool = False
    word: Literal["a", "b"] | None = None
    colour: Colour = Colour.RED
    sides: int | list[int] = 1
    inner: Inner | None = None
    by_name: dict[str, Inner] = {}
    limits: dict[str, float] = {}
    sort: Annotated[int | str, Field()] = 1
    odd: Literal[1, "one"] = 1


@pytest.mark.parametrize(
    ("path", "kind", "labelled"),
    [
        ("whole", int, False),
        ("either", float, False),
        ("maybe", float, False),
        ("truth", bool, False),
        ("word", str, False),
        ("colour", str, False),
        ("sides", str, True),
        ("inner", str, True),
        ("inner.rate", float, False),
        ("by_name", str, True),
        ("by_name.any.rate", float, False),
        ("limits.any", float, False),
        ("sort", str, True),
        ("odd", str, True),
    ],
)
def test_a_path_leads_to_a_kind_of_values(path: str, kind: type, labelled: bool) -> None:
    place = place_of(path, Many)
    assert place is not None
    assert (place.kind, place.labelled) == (kind, labelled)


def test_a_path_leads_to_what_is_said_of_the_field() -> None:
    rate, inner = place_of("inner.rate", Many), place_of("inner", Many)
    assert rate is not None
    assert inner is not None
    assert rate.meaning == "how fast"
    assert inner.has_label


@pytest.mark.parametrize("path", ["nothing", "whole.deeper", "inner.nothing", "limits.any.deeper", "sides.0"])
def test_a_path_may_lead_nowhere(path: str) -> None:
    assert place_of(path, Many) is None


def test_a_field_of_one_option_of_a_union_is_one() -> None:
    place = place_of("stress.steps", LayeredSettings)
    assert place is not None
    assert place.kind is int


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("grid.growing.epoch=[1]", "grid.growing.epoch: unknown key; did you mean 'growing.epochs'?"),
        ("grid.epochs=[1]", "grid.epochs: unknown key; did you mean 'growing.epochs'?"),
        ("grid.metod=[plain]", "grid.metod: unknown key; did you mean 'method'?"),
        (
            "grid.zzz=[1]",
            "grid.zzz: unknown key; expected one of method, seed, dose, include, exclude, or the path of a field of "
            "the study's settings",
        ),
        (
            "grid.resources.cpus=[1, 2]",
            "grid.resources.cpus: found a field that says how a sweep runs, on which no result depends, expected an "
            "axis of the study or a field of its settings",
        ),
        (
            "grid.name=[a, b]",
            "grid.name: found a field that says how a sweep runs, on which no result depends, expected an axis of the "
            "study or a field of its settings",
        ),
        ("grid.growing.epochs=3", "grid.growing.epochs: found 3, expected a list of values"),
        ("grid.growing.epochs=[]", "grid.growing.epochs: found [], expected a list of values"),
        ("grid.growing.epochs=[1, two]", "grid.growing.epochs[1]: found 'two', expected a whole number"),
        ("grid.growing.epochs=[1, 0]", "grid.growing.epochs[1]: found 0, expected at least 1"),
        ("grid.growing.epochs=[1, null]", "grid.growing.epochs[1]: found nothing, expected a whole number"),
        ("grid.growing.epochs=[1, 1]", "grid.growing.epochs[1]: found 1 a second time, expected each value once"),
        ("grid.growing.epochs=[[1]]", "grid.growing.epochs[0]: found [1], expected a whole number"),
        ("grid.stress.force=[.inf]", "grid.stress.force[0]: found inf, expected a finite number"),
        ("grid.finish=[matt, glos]", "grid.finish[1]: found 'glos', expected 'matt' or 'gloss'"),
        ("grid.polish=[true, 1]", "grid.polish[1]: found 1, expected true or false"),
        ("grid.stress=[{name: pull}]", "grid.stress[0].name: found 'pull', expected one of 'push', 'kick'"),
        ("grid.stress=[{name: kick, steps: 2}]", "grid.stress[0].steps: kick has no such setting"),
        ("grid.stress=[{name: kick, force: -1}]", "grid.stress[0].force: found -1, expected more than 0"),
        (
            "grid.stress=[{name: kick, label: ''}]",
            "grid.stress[0].label: found '', expected a text that names this value",
        ),
        (
            "grid.stress=[{name: kick, label: a}, {name: push, label: a}]",
            "grid.stress[1]: found 'a' a second time, expected each value once, by a label of its own",
        ),
        (
            "grid.stress=[{name: kick, label: a}, {name: kick, force: 2, label: b}]",
            "grid.stress[1]: found the same settings as 'a' has, expected each value once",
        ),
        (
            "grid.exclude=[{growing.epochs: none}]",
            "grid.exclude[0].growing.epochs: found 'none', expected a whole number",
        ),
        (
            "grid.exclude=[{dose: 0}, {growing.epoch: 1}]",
            "grid.exclude[1].growing.epoch: unknown key; did you mean 'growing.epochs'?",
        ),
        (
            "grid.include=[{growing.epoch: 1}]",
            "grid.include[0].growing.epoch: unknown key; did you mean 'growing.epochs'?",
        ),
        (
            "grid.stress.name=[kick]",
            "grid: stress.name kick: stress.steps: kick has no such setting; give whole alternatives, "
            "grid.stress: [{name: kick}, ...]",
        ),
    ],
)
def test_what_no_axis_can_be_is_refused(change: str, said: str) -> None:
    with pytest.raises(SpecError) as refused:
        spec.parse(SPEC, "it", [change])
    assert str(refused.value) == f"it: {said}"


def test_a_field_and_what_it_is_in_cannot_both_be_axes() -> None:
    with pytest.raises(SpecError, match=r"grid.stress.force: found a field of 'stress', which is an axis too"):
        spec.parse(SPEC, "it", ["grid.stress=[{name: kick}]", "grid.stress.force=[1]"])


def test_every_mistake_is_told() -> None:
    with pytest.raises(SpecError) as refused:
        spec.parse(SPEC, "it", ["grid.growing.epochs=[0, x]", "grid.polish=[maybe]"])
    assert str(refused.value).splitlines() == [
        "it: grid.growing.epochs[0]: found 0, expected at least 1",
        "it: grid.growing.epochs[1]: found 'x', expected a whole number",
        "it: grid.polish[0]: found 'maybe', expected true or false",
    ]


def test_a_field_named_like_a_column_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.layered_study import LayeredStudy

    columns: dict[str, Any] = {"height": float, "polish": float}
    monkeypatch.setattr(LayeredStudy, "columns", columns)
    with pytest.raises(SpecError, match="grid.polish: found a field whose name another column of rows"):
        spec.parse(SPEC, "it", ["grid.polish=[true, false]"])
