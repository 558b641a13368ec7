"""A number may be written as a quotient, wherever one is expected and nowhere else."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from sweeps import spec
from sweeps.errors import SpecError
from sweeps.planning.keys import Keys, RowKey
from tests.support.toy_study import SPEC, ToyStudy


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Spring(Strict):
    kind: Literal["spring"]
    depth: float | None = Field(default=None, gt=0, le=1)
    pipes: Annotated[int, Field(ge=3)] | list[int] = 3
    weights: list[Annotated[float, Field(ge=0)]] = []


class Barrel(Strict):
    kind: Literal["barrel"]
    litres: int = 1


class Well(Strict):
    water: Annotated[Spring | Barrel, Field(discriminator="kind")]
    shares: dict[str, float] = {}
    folder: str = ""


class WellStudy(ToyStudy):
    Settings: ClassVar[Any] = Well
    files: ClassVar[Any] = {}


WELL = SPEC.replace("ToyStudy", "WellStudy").replace("tests.toy_study", __name__)
SPRING = WELL + "water: {kind: spring}\n"


def message(text: str, *changes: str) -> str:
    with pytest.raises(SpecError) as caught:
        spec.parse(text, "s.yaml", changes)
    return str(caught.value)


def rows(loaded: spec.Spec) -> list[RowKey]:
    """Return the keys of a spec's rows."""
    keys = Keys(loaded.study)
    return [keys.row(cell, keys.stages(cell)) for cell in loaded.cells]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("water.depth=8/255", {"water": {"depth": 8 / 255}}),
        ("water.depth= 1.5 / 3", {"water": {"depth": 0.5}}),
        ("water.weights=[1/3, 2, 0.5]", {"water": {"weights": [1 / 3, 2, 0.5]}}),
        ("shares={a/b: 1/4, water: -1/4}", {"shares": {"a/b": 0.25, "water": -0.25}}),
        ("folder=8/255", {"folder": "8/255"}),
    ],
)
def test_where_a_number_is_expected_a_quotient_is_one(change: str, found: dict[str, Any]) -> None:
    settings = spec.parse(SPRING, "s.yaml", [change]).settings.model_dump()
    for name, value in found.items():
        assert settings[name] == (settings[name] | value if isinstance(value, dict) else value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("water.depth=8/0", "s.yaml: water.depth: found '8/0', expected a number: nothing can be divided by 0"),
        ("water.weights=8/2", "s.yaml: water.weights: found '8/2', expected a list"),
        ("water.pipes=8/2", "s.yaml: water.pipes: found '8/2', expected a whole number or a list"),
        ("water.pipes=2", "s.yaml: water.pipes: found 2, expected at least 3 or a list"),
        ("water.depth=a/b", "s.yaml: water.depth: found 'a/b', expected a number, such as 0.5 or 8/255"),
        ("water.depth=255/8", "s.yaml: water.depth: found 31.875, expected at most 1"),
        ("water={kind: barrel, litres: 4/2}", "s.yaml: water.litres: found '4/2', expected a whole number"),
        ("grid.dose=[0, 1/0]", "s.yaml: grid.dose[1]: found '1/0', expected a number: nothing can be divided by 0"),
        ("grid.dose=[0.5, 1/2]", "s.yaml: grid.dose[1]: found 0.5 a second time, expected each value once"),
    ],
)
def test_what_is_none_is_said_in_one_sentence(change: str, sentence: str) -> None:
    assert message(SPRING, change) == sentence


def test_a_spec_with_quotients_is_that_with_their_numbers_and_so_are_its_keys() -> None:
    excluded = "[{shape: flat, dose: %s}]"
    written, plain = (
        spec.parse(SPEC, "s.yaml", [f"offset={half}", f"grid.dose=[0, {half}]", f"grid.exclude={excluded % half}"])
        for half in ("1/2", "0.5")
    )
    assert written.to_yaml() == plain.to_yaml()
    assert written.cells == plain.cells
    assert rows(written) == rows(plain)
