"""The spec of a sweep: YAML in, validated settings and cells out, every mistake said in one sentence.

The top level holds the engine's own fields (`Engine` below), the grid, and the fields of the study named in it.
"""

from __future__ import annotations

import difflib
import importlib.resources
import re
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sweeps.errors import SpecError
from sweeps.grid import expand
from sweeps.study import Cell, Study, find


class Resources(BaseModel):
    """What one trial holds while it runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    cpus: int = Field(
        default=1, ge=1, description="CPUs of a trial, beside its GPU where the cluster has GPUs"
    )


class Engine(BaseModel):
    """The fields of a spec that are the same for every study."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="folder of the sweep in the storage"
    )
    study: str = Field(description="a registered study, or module:Class")
    description: str = ""
    grid: dict[str, Any] = Field(description="a list of values per axis, and `include` and `exclude` lists")
    resources: Resources = Resources()


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A validated spec. `cells` are the grid's, without baselines."""

    engine: Engine
    study: Study
    settings: BaseModel
    cells: list[Cell]

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.engine.name

    def to_yaml(self) -> str:
        """Return the resolved spec: every default written out."""
        resolved = self.engine.model_dump(mode="json") | self.settings.model_dump(mode="json")
        text: str = yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True)
        return text


class _Loader(yaml.SafeLoader):
    """YAML as people write it: 1e-4 is a number (YAML 1.2), though YAML 1.1 wants 1.0e-4; no key may repeat."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} is there twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: list(resolvers) for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def bundled() -> dict[str, Traversable]:
    """Return the specs that installed packages bundle, by name: entry points of the group `sweeps.specs`."""
    found: dict[str, Traversable] = {}
    for point in entry_points(group="sweeps.specs"):
        for file in importlib.resources.files(point.value).iterdir():
            if file.name.endswith(".yaml"):
                found[file.name.removesuffix(".yaml")] = file
    return dict(sorted(found.items()))


def descriptions() -> dict[str, str]:
    """Return the bundled specs' names and what they say of themselves."""
    return {
        name: str(_mapping(file.read_text(encoding="utf-8"), name).get("description", ""))
        for name, file in bundled().items()
    }


def load(name_or_path: str, changes: Sequence[str] = ()) -> Spec:
    """Read and validate a spec.

    Args:
        name_or_path: a bundled spec's name, or a YAML file.
        changes: `key.path=value` settings laid over it, the value in YAML.

    Raises:
        SpecError: anything in it is wrong.
    """
    source, text = _read(name_or_path)
    return parse(text, source, changes)


def parse(text: str, source: str, changes: Sequence[str] = ()) -> Spec:
    """Validate the text of a spec; `source` names it in messages."""
    raw = _mapping(text, source)
    for change in changes:
        _apply(raw, change)
    study_class = find(_text(raw, "study", source))
    engine_fields = set(Engine.model_fields)
    unknown = [
        key for key in raw if key not in engine_fields and key not in study_class.Settings.model_fields
    ]
    for key in unknown:
        known = [*Engine.model_fields, *study_class.Settings.model_fields]
        raise SpecError(f"{source}: {_unknown_key(str(key), known)}")
    try:
        engine = Engine.model_validate({k: v for k, v in raw.items() if k in engine_fields})
        settings = study_class.Settings.model_validate(
            {k: v for k, v in raw.items() if k not in engine_fields}
        )
        cells = expand(engine.grid, study_class.axes)
        study = study_class(settings)
    except ValidationError as error:
        raise SpecError("\n".join(f"{source}: {line}" for line in _sentences(error, study_class))) from error
    except (SpecError, ValueError) as error:
        raise SpecError(f"{source}: {error}") from error
    return Spec(engine=engine, study=study, settings=settings, cells=cells)


def _read(name_or_path: str) -> tuple[str, str]:
    specs = bundled()
    if name_or_path in specs:
        return f"spec {name_or_path}", specs[name_or_path].read_text(encoding="utf-8")
    path = Path(name_or_path)
    try:
        return str(path), path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = difflib.get_close_matches(name_or_path, specs, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise SpecError(
            f"spec {name_or_path!r}: found neither a file nor a bundled spec of that name, "
            f"expected a YAML file or one of {', '.join(specs)}{hint}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"spec {name_or_path!r} cannot be read: {error}") from error


def _mapping(text: str, source: str) -> dict[str, Any]:
    try:
        raw = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SpecError(
            f"{source}{where}: found {getattr(error, 'problem', error)}, expected YAML"
        ) from error
    if not isinstance(raw, dict):
        raise SpecError(f"{source}: found {type(raw).__name__}, expected a mapping of settings")
    return raw


def _apply(raw: dict[str, Any], change: str) -> None:
    path, equals, value = change.partition("=")
    if not equals or not all(path.split(".")):
        raise SpecError(f"--set {change!r}: expected key.path=value")
    *parents, last = path.split(".")
    place = raw
    for key in parents:
        place = place.setdefault(key, {})
        if not isinstance(place, dict):
            raise SpecError(f"--set {change!r}: {key} is not a mapping of settings")
    try:
        place[last] = yaml.load(value, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise SpecError(f"--set {change!r}: the value is not YAML") from error


def _text(raw: dict[str, Any], key: str, source: str) -> str:
    if not isinstance(raw.get(key), str):
        raise SpecError(f"{source}: {key}: found {raw.get(key)!r}, expected a name")
    return str(raw[key])


def _sentences(error: ValidationError, study_class: type[Study]) -> Iterator[str]:
    for problem in error.errors():
        where = [part for part in problem["loc"] if not str(part).startswith("function-")]
        field = ".".join(str(part) for part in where)
        if problem["type"] == "extra_forbidden":
            models = [_model_at(model, where[:-1]) for model in (study_class.Settings, Engine)]
            known = [name for model in models if model for name in model.model_fields]
            yield f"{'.'.join(map(str, where[:-1]))}: {_unknown_key(str(where[-1]), known)}"
        elif problem["type"] == "missing":
            yield f"{field}: found nothing, expected a value"
        else:
            expected = (
                problem["msg"].removeprefix("Value error, ").removeprefix("Input ").removeprefix("should be ")
            )
            yield f"{field}: found {problem['input']!r}, expected {expected[0].lower()}{expected[1:]}"


def _unknown_key(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
    return f"unknown key {key!r}; {hint}"


def _model_at(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel] | None:
    """Return the settings class that a path of field names leads to."""
    for part in path:
        field = model.model_fields.get(str(part))
        if field is None:
            return None
        options = (field.annotation, *typing.get_args(field.annotation))
        nested = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
        if not nested:
            return None
        model = nested[0]
    return model
