"""The spec of a sweep: YAML in, validated settings and cells out, every mistake said in one sentence.

The top level holds the engine's own fields (`Engine` below), the grid, and the fields of the study named in it.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sweeps.errors import SpecError
from sweeps.spec import plain_yaml
from sweeps.spec.answers import asking, check_answers
from sweeps.spec.axes.checked_rules import check_rules
from sweeps.spec.axes.grid import as_meant
from sweeps.spec.axes.merging import Merged, merge
from sweeps.spec.axes.reading import cells_of, field_axes, field_paths
from sweeps.spec.axes.sampling.draws import Sample, draws
from sweeps.spec.axes.skipping import Skip
from sweeps.spec.axes.values import at, laid_over, unlabelled
from sweeps.spec.axes.varied import VariedStudy, check_cells
from sweeps.spec.bundles import broken, bundled_files
from sweeps.spec.conformance import check_study
from sweeps.spec.mistakes import found, unknown_key, validated
from sweeps.spec.studies import find
from sweeps.study import Cell, Study

STDIN = "<stdin>"
"""What a spec from standard input is called in messages."""


class Resources(BaseModel):
    """What one trial holds while it runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    cpus: int = Field(default=1, ge=1, description="CPUs of a trial, beside its GPU")
    gpus: Literal[0, 1] | None = Field(
        default=None, description="GPUs of a trial; by default 1 where the cluster has any when the sweep starts"
    )
    workers_per_gpu: int = Field(default=1, ge=1, description="rows of a trial that share its GPU at a time")
    accelerator: str | None = Field(
        default=None, description="keep to nodes with this accelerator, by Ray's name for it, such as H100"
    )


class Engine(BaseModel):
    """The fields of a spec that are the same for every study."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="folder of the sweep in the storage")
    study: str = Field(description="a registered study, or module:Class")
    description: str = Field(default="", description="what the sweep is, for people")
    grid: dict[str, Any] = Field(
        description="a list of values per axis of the study, or per field of the study by its path, such as "
        "`a.b: [1, 2]`; and `include` and `exclude` lists"
    )
    sample: Sample | None = Field(default=None, description="draws of a space of settings, crossed with the grid")
    skip: Skip | None = Field(default=None, description="when the rest of a trial's rows is left out, by a metric")
    resources: Resources = Resources()
    stop_after_failures: int | None = Field(default=None, ge=1, description="stop once that many rows of a run failed")
    progress_every: str = Field(
        default="10 min",
        pattern=r"^\d+(\.\d+)? ?(s|min|h)$",
        description="how long an epoch may last before the state within it is kept, such as 90 s or 10 min",
    )

    @property
    def progress_every_s(self) -> float:
        """`progress_every` in seconds."""
        number = self.progress_every.rstrip("sminh ")
        return float(number) * {"s": 1, "min": 60, "h": 3600}[self.progress_every.removeprefix(number).strip()]


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A validated spec. `cells` are the grid's, without baselines.

    `merged` are cells, baselines among them, to whose rows some fields do not matter. They are known of a sweep that
    was run; see `axes.merging`.
    """

    engine: Engine
    study: Study
    settings: BaseModel
    cells: list[Cell]
    merged: tuple[Merged, ...] = ()

    @property
    def planned(self) -> list[Cell]:
        """The cells of rows, as they are published: those of the baselines, then those of the grid."""
        return [*self.baselines, *merge(self.cells, self.merged)]

    @property
    def baselines(self) -> list[Cell]:
        """The cells of the baselines' rows, as they are published."""
        return merge(self.study.baselines(self.cells), self.merged)

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.engine.name

    def to_yaml(self) -> str:
        """Return the resolved spec: every default written out."""
        resolved = self.engine.model_dump(mode="json") | self.settings.model_dump(mode="json")
        return plain_yaml.write(resolved)


def bundled() -> dict[str, Traversable]:
    """Return the specs that installed packages bundle, by name."""
    return bundled_files(".yaml")


def descriptions() -> dict[str, str]:
    """Return the bundled specs' names and what they say of themselves, or what is wrong with one."""
    found: dict[str, str] = {}
    for name, file in bundled().items():
        try:
            found[name] = str(mapping_of(file.read_text(encoding="utf-8"), name).get("description", ""))
        except (SpecError, OSError, UnicodeDecodeError) as error:  # one of another package, which fells no other
            found[name] = f"cannot be read: {error}"
    return found


def load(name_or_path: str, changes: Sequence[str] = ()) -> Spec:
    """Read and validate a spec.

    Args:
        name_or_path: a bundled spec's name, a YAML file, or `-` for standard input.
        changes: `key.path=value` settings laid over it, the value in YAML.

    Raises:
        SpecError: anything in it is wrong.
    """
    source, text = _read(name_or_path)
    return parse(text, source, changes)


def parse(text: str, source: str, changes: Sequence[str] = (), *, importing: bool = True) -> Spec:
    """Validate the text of a spec.

    Args:
        text: YAML.
        source: names it in messages.
        changes: see `load`.
        importing: import the study that it names, whatever that is. A spec from a storage is no user's word: see
            `studies.find`.

    Raises:
        SpecError: anything in it is wrong.
    """
    raw = mapping_of(text, source)
    for change in changes:
        overlay(raw, change)
    try:
        study_class = find(_study_name(raw), importing=importing)
        check_study(study_class, Engine.model_fields)
        own = study_class.Settings.model_fields
        for key in raw:
            if key not in Engine.model_fields and key not in own:
                raise SpecError(unknown_key(str(key), [*Engine.model_fields, *own]))
        if "grid" in raw:
            raw["grid"] = as_meant(raw["grid"], study_class.axes)
        engine = validated(Engine, {k: v for k, v in raw.items() if k not in own})
        if engine.name == "checkpoints":
            raise SpecError("name: found 'checkpoints', which is the folder that sweeps share, expected another name")
        settings = _settings(study_class, {k: v for k, v in raw.items() if k in own}, engine.grid)
        plain = settings.model_dump(mode="json")
        drawn = [] if engine.sample is None else draws(engine.sample)
        grid, fields = field_axes(engine.grid, study_class, plain, engine=Engine.model_fields, drawn=drawn)
        engine = engine.model_copy(update={"grid": grid})
        cells = cells_of(grid, [*study_class.axes, *(field.axis for field in fields)], plain, drawn)
        with asking(study_class, "__init__"):
            study: Study = study_class(settings)
        if fields:
            study = VariedStudy(study, fields)
        check_cells(study, cells, check_answers)
        halving = None if engine.sample is None else engine.sample.halving
        check_rules(study, cells, skip=engine.skip, halving=halving)
    except (SpecError, ValueError) as error:
        raise SpecError("\n".join(f"{source}: {line}" for line in str(error).splitlines())) from error
    return Spec(engine=engine, study=study, settings=settings, cells=cells)


def _settings(study: type[Study], given: dict[str, Any], grid: Mapping[str, Any]) -> BaseModel:
    """Return what holds wherever the grid says nothing: what the spec says of a field. Where that is not enough without
    fields that are axes, the first of their values stand for them.

    Raises:
        SpecError: anything in it is wrong.
    """
    try:
        return validated(study.Settings, given)
    except SpecError:
        completed = given
        for path in field_paths(grid, study):
            values = grid.get(path)
            if isinstance(values, list) and values and at(given, path) is None:
                completed = laid_over(completed, path, unlabelled(values[0]))
        if completed is given:
            raise
        return validated(study.Settings, completed)


def _read(name_or_path: str) -> tuple[str, str]:
    specs = bundled()
    if name_or_path in specs:
        return f"spec {name_or_path}", specs[name_or_path].read_text(encoding="utf-8")
    path = Path(name_or_path)
    source, expected = f"spec {name_or_path!r}", "expected a YAML file"
    try:
        if name_or_path == "-":
            source, expected = STDIN, "expected YAML"
            return source, sys.stdin.buffer.read().decode("utf-8")
        return str(path), path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = difflib.get_close_matches(name_or_path, specs, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise SpecError(
            f"spec {name_or_path!r}: found neither a file nor a bundled spec of that name, "
            f"expected a YAML file or one of {', '.join(specs)}{hint}{''.join(f'; {each}' for each in broken())}"
        ) from None
    except OSError as error:
        raise SpecError(f"{source}: {error.strerror}, {expected}") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{source}: found bytes that are no UTF-8 text, {expected}") from error
    except ValueError as error:  # a name that no file can have
        raise SpecError(f"{source}: {error}, {expected}") from error


def mapping_of(text: str, source: str) -> dict[str, Any]:
    """Return the settings in a YAML text.

    Raises:
        SpecError: it is none, or holds something else.
    """
    raw = plain_yaml.read(text, source)
    if not isinstance(raw, dict):
        raise SpecError(f"{source}: found {found(raw)}, expected a mapping of settings")
    return raw


def overlay(raw: dict[str, Any], change: str) -> None:
    """Lay a `key.path=value` setting over others, in place.

    Raises:
        SpecError: it is none, or its path leads through what is no mapping.
    """
    path, equals, value = change.partition("=")
    if not equals or not all(path.split(".")):
        raise SpecError(f"--set {change!r}: expected key.path=value")
    # The keys of a grid, and of a space, are paths themselves.
    holder = next((each for each in ("grid.", "sample.space.") if path.startswith(each)), "")
    parts = [*holder.split(".")[:-1], path.removeprefix(holder)] if holder else path.split(".")
    *parents, last = parts
    place = raw
    for key in parents:
        place = place.setdefault(key, {})
        if not isinstance(place, dict):
            raise SpecError(f"--set {change!r}: {key} is {found(place)}, expected a mapping of settings")
    place[last] = plain_yaml.read(value, f"--set {change!r}")


def _study_name(raw: dict[str, Any]) -> str:
    name = raw.get("study")
    if not isinstance(name, str):
        raise SpecError(f"study: found {found(name)}, expected the name of a study")
    return name
