"""A drafted spec explains each of its values, by the settings themselves, and reads back as it is."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from sweeps.errors import SpecError
from sweeps.reporting.terminal import drafted
from sweeps.reporting.terminal.drafted import commented
from sweeps.spec import plain_yaml, studies
from sweeps.study import Draft, Drafted
from tests.support.toy_study import ToyStudy


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Spring(Strict):
    """Water from the ground."""

    kind: Literal["spring"]
    depth: float = Field(description="below ground", json_schema_extra={"unit": "m"})


class Barrel(Strict):
    kind: Literal["barrel"]
    depth: float = Field(description="of the barrel")


class Well(Strict):
    water: Annotated[Spring | Barrel, Field(discriminator="kind", description="where it comes from")]
    tags: list[str] = Field(default=[], description=f"words; {'long ' * 30}!")


GRID: dict[str, Any] = {"shape": ["round"], "method": ["slow"], "seed": [0, 1], "dose": [0, 0.5]}
NOTES = {"water.depth": "As deep as it is.", "grid.seed": "Two."}


class WellStudy(ToyStudy):
    Settings: ClassVar[Any] = Well
    files: ClassVar[Any] = {}
    drafts: ClassVar = {
        "well": Draft(
            "DIR",
            "folder",
            lambda source, given, beside: Drafted({"grid": GRID, "water": water(source)}, NOTES, {".map": str(beside)}),
        )
    }


def water(source: str) -> dict[str, Any]:
    if source == "desert":
        raise ValueError("desert: found sand, expected water")
    return {"kind": "spring", "depth": 3.0}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str, **options: Any) -> Any:
        if name == "broken":
            raise SpecError("broken")
        return WellStudy

    monkeypatch.setattr(studies, "registered", lambda: dict.fromkeys(("broken", "wells")))
    monkeypatch.setattr(studies, "find", find)
    monkeypatch.setattr("sweeps.spec.loading.find", find)


def test_every_value_has_its_meaning_and_its_reason() -> None:
    settings = {"name": "x", "grid": GRID, "water": water("hill"), "tags": ["1e-4", "a: b"]}
    text = commented(WellStudy, settings, NOTES, head="Made here.")
    assert plain_yaml.read(text, "text") == settings
    assert text.startswith("# Made here.\n\n# Folder of the sweep in the storage.\nname: x\n\n")
    assert "  # Two.\n  seed: [0, 1]\n" in text
    assert text.endswith(
        "\n# Where it comes from.\nwater:\n  # Water from the ground.\n  kind: spring\n"
        "  # Below ground (m). As deep as it is.\n  depth: 3.0\n\n"
        f"# Words; {'long ' * 17}long\n# {'long ' * 12}!\ntags: ['1e-4', 'a: b']\n"
    )


def test_a_draft_is_a_spec_that_loads_and_the_users_choice_goes_before_its_own() -> None:
    assert [*drafted.drafts()] == ["well"]
    chosen = ("water.depth=5", "grid.seed=[7]")
    text, files = drafted.drafted("well", "hill", chosen, name="own", file="own.yaml", beside="/own")
    assert files == {".map": "/own"}
    found = plain_yaml.read(text, "own.yaml")
    assert found["water"] == {"kind": "spring", "depth": 5}
    assert found["grid"]["seed"] == [7]
    assert (found["name"], found["study"]) == ("own", "wells")
    assert "As deep as it is" not in text
    assert "Two." not in text
    assert "Made by `sweeps new own.yaml --well hill --set=water.depth=5 '--set=grid.seed=[7]'`. " in text.replace(
        "\n# ", " "
    )


@pytest.mark.parametrize(
    ("source", "changes", "message"),
    [
        ("desert", (), "--well desert: desert: found sand, expected water"),
        ("hill", ("water.dept=5",), "new own.yaml: water.dept: unknown key; did you mean 'depth'?"),
        ("hill", ("water.depth",), "--set 'water.depth': expected key.path=value"),
    ],
)
def test_what_cannot_be_drafted_is_said(source: str, changes: tuple[str, ...], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        drafted.drafted("well", source, changes, name="own", file="own.yaml", beside=None)
    assert str(caught.value) == message
