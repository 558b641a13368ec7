"""A toy study whose rows keep souvenirs that can be measured again, with a spoon or a cup."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from sweeps import spec
from sweeps.planning import plan
from sweeps.spec import recorded
from sweeps.storage import Store
from sweeps.study import Axis, Cell, Files, Measurement, Stage
from tests.support import toy_rows, toy_study
from tests.support.toy_study import ToySettings, ToyStudy


class Spoon(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Literal["spoon"] = "spoon"
    size: float = Field(default=1.0, gt=0)
    silver: bool = False


class Cup(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Literal["cup"] = "cup"
    depth: int = 1


class TastingSettings(ToySettings):
    saucer: Cup | None = None


class Tasting(ToyStudy):
    """What is measured of a souvenir is its dose in spoons, or in cups, and the offset; deeper by that of a saucer,
    which matters to the slow alone.
    """

    Settings: ClassVar = TastingSettings
    settings: TastingSettings
    measurement: ClassVar = Measurement(
        axis=Axis("vessel", str, meaning="what it was measured with"),
        settings=Annotated[Spoon | Cup, Field(discriminator="name")],
        columns={"outcome": float},
        kept_by="souvenirs=true",
    )

    @property
    def measured_under(self) -> Mapping[str, Any]:
        return {"name": "spoon", "size": 3.0, "silver": False}

    def stage(self, name: str, cell: Cell) -> Stage | None:
        stage, saucer = super().stage(name, cell), self.settings.saucer
        if stage is None or saucer is None or (name, cell["method"]) != ("evaluate_row", "slow"):
            return stage
        return stage._replace(settings={**(stage.settings or {}), "saucer": saucer.depth})

    def measuring(self, asked: Any) -> Mapping[str, Any]:
        return {"offset": self.settings.offset}

    def measure_kept(self, cell: Cell, files: Mapping[str, Files], asked: Any) -> dict[str, Any]:
        with self._entry("measure", cell):
            size = asked.size if isinstance(asked, Spoon) else 100.0 * asked.depth
            outcome = float(files["souvenirs"][".txt"]) / size + self.settings.offset
            saucer = self.settings.saucer
            return {"outcome": outcome + (1000 * saucer.depth if saucer and cell["method"] == "slow" else 0)}


SPEC = toy_study.SPEC.replace("tests.toy_study:ToyStudy", f"{__name__}:Tasting") + "souvenirs: true\n"


def publish(store: Store, text: str = SPEC, *, without: int = 0) -> str:
    """Return where a sweep is whose rows have souvenirs, but for so many of them, the last ones."""
    loaded = spec.parse(text, "toy.yaml")
    recorded.write(loaded, store)
    rows = toy_rows.all_rows(plan.make(loaded, store))
    for number, row in enumerate(rows):
        key = f"{row.key}-01234567"
        toy_rows.publish(store, loaded, [row], files_key=key)
        if loaded.study.files and number < len(rows) - without:
            for ending, data in ((".txt", str(row.cell["dose"]).encode()), (".bin", b"\0")):
                store.publish_file(loaded.name, "souvenirs", key, ending, data)
    return f"{store.location}/{loaded.name}"
