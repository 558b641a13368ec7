"""What can be looked up of a study: every field, axis, column and table, with what there is to know of each."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict, Field

from sweeps.errors import SpecError
from sweeps.spec import reference, schema
from sweeps.study import Axis
from tests.support.toy_study import ToyStudy


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Spring(Strict):
    """Water from below.

    More than that need not be known.
    """

    kind: Literal["spring"]
    litres: float = Field(default=1.0, gt=0, le=9, description="per\nhour", json_schema_extra={"unit": "l/h"})


class Barrel(Strict):
    """Water from above."""

    kind: Literal["barrel"]
    staves: list[Annotated[int, Field(ge=1)]] = Field(min_length=2, description="their widths")


class Lid(Strict):
    """What closes it."""

    wood: Literal["oak", "pine"] = Field(default="oak", description="of which tree")
    inner: Lid | None = Field(default=None, description="another below it")


class Well(Strict):
    water: Annotated[Spring | Barrel, Field(discriminator="kind")] = Field(
        default=Spring(kind="spring", litres=2.0), description="where it comes from"
    )
    lid: Lid = Lid()
    jars: dict[str, Lid] = Field(default={}, description="by owner")
    bucket: str | None = None


class WellStudy(ToyStudy):
    Settings: ClassVar[Any] = Well
    axes: ClassVar[Any] = (
        Axis("seed", int, bounds=(0, 2**31 - 1), meaning="of random numbers"),
        Axis("dose", float, bounds=(0, 1)),
        Axis("taste", str, choices=("sweet", "dry")),
    )
    columns: ClassVar[Any] = {"depth": float, "sealed": bool}
    metrics: ClassVar[Any] = {"depth": "depth (m)"}
    tables: ClassVar[Any] = {"drops": {"size": np.float32, "name": str}}
    meanings: ClassVar[Any] = {"sealed": "nothing gets in", "drops": "one by one", "drops.size": "in mm"}
    doubts: ClassVar[Any] = {}
    trade_off: ClassVar[Any] = None
    panel_axis: ClassVar[Any] = None
    row_axis: ClassVar[Any] = "dose"
    replicate_axis: ClassVar[Any] = "seed"


NAME = f"{__name__}:WellStudy"


def test_a_field_says_what_it_is() -> None:
    assert [tuple(field) for field in schema.fields(Well)] == [
        (
            "water",
            "",
            "settings with kind: barrel or spring",
            "{kind: spring, litres: 2.0}",
            "",
            "",
            "where it comes from",
        ),
        ("water", "kind: spring", "settings", "", "", "", "Water from below."),
        ("water.litres", "kind: spring", "number", "1.0", "l/h", "more than 0, at most 9", "per hour"),
        ("water", "kind: barrel", "settings", "", "", "", "Water from above."),
        (
            "water.staves",
            "kind: barrel",
            "list of whole number",
            "required",
            "",
            "at least 2 of them, each at least 1",
            "their widths",
        ),
        ("lid", "", "settings", "as below", "", "", "What closes it."),
        ("lid.wood", "", "oak or pine", "oak", "", "", "of which tree"),
        ("lid.inner", "", "settings or null", "null", "", "", "another below it"),
        ("jars", "", "mapping from names to settings", "{}", "", "", "by owner"),
        ("jars.*.wood", "", "oak or pine", "oak", "", "", "of which tree"),
        ("jars.*.inner", "", "settings or null", "null", "", "", "another below it"),
        ("bucket", "", "text or null", "null", "", "", ""),
    ]


def test_axes_columns_and_tables_say_what_they_are() -> None:
    _, axes, columns, drops = reference.study_sections(NAME)
    assert [(line.name, line.type, line.range, line.meaning) for line in axes.lines] == [
        ("grid.seed", "whole number", "at least 0, at most 2147483647", "of random numbers"),
        ("grid.dose", "number", "at least 0, at most 1", ""),
        ("grid.taste", "text", "sweet, dry", ""),
    ]
    depth, sealed, *stages = columns.lines
    assert (depth.type, depth.meaning) == ("number", "depth (m)")
    assert (sealed.type, sealed.meaning) == ("true or false", "nothing gets in")
    assert [line.name for line in stages] == [f"{stage}_s" for stage in ToyStudy.stages[:-1]]
    assert drops.title == "Table `drops`: one by one"
    assert [(line.name, line.type, line.meaning) for line in drops.lines] == [
        ("drops", "table", "one by one"),
        ("drops.size", "float32", "in mm"),
        ("drops.name", "text", ""),
    ]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("water.litres", ["water.litres"]),
        ("lid", ["lid", "lid.wood", "lid.inner"]),
        ("dose", ["grid.dose"]),
        ("wood", ["lid.wood", "jars.*.wood"]),
        ("drops", ["drops", "drops.size", "drops.name"]),
        ("depth", ["depth"]),
        ("resources.cpus", ["resources.cpus"]),
        ("git_commit", ["git_commit"]),
    ],
)
def test_one_or_several_are_found_by_name_beginning_or_end(name: str, found: list[str]) -> None:
    sections = [*reference.study_sections(NAME), *reference.common_sections()]
    assert [line.name for section in reference.looked_up(sections, name) for line in section.lines] == found


@pytest.mark.parametrize(
    ("name", "near"),
    [("watr.litres", "water.litres"), ("deph", "depth"), ("littres", "water.litres"), ("zzz", None)],
)
def test_what_is_not_there_is_told_with_the_nearest(name: str, near: str | None) -> None:
    hint = f"; did you mean {near!r}?" if near else ""
    with pytest.raises(SpecError) as caught:
        reference.looked_up(reference.study_sections(NAME), name)
    assert str(caught.value).endswith(f"as listed without it{hint}")


def test_settings_of_which_no_json_is_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        rng: np.random.Generator

    with pytest.raises(SpecError, match=r"^Odd: its fields cannot be described: "):
        schema.fields(Odd)
