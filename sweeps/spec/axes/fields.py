"""Which field of a study's settings a path leads to, and of what kind a column of its values is."""

from __future__ import annotations

import difflib
import enum
import typing
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sweeps.errors import SpecError
from sweeps.spec.schema import fields as described

_SCALARS = (bool, int, float, str)


class Place(NamedTuple):
    """What a path leads to.

    Attributes:
        kind: of a column of its values: str, int, float or bool.
        labelled: values may be mappings, lists, or of several kinds: cells hold a text for each.
        has_label: settings there have a field `label` of their own.
        meaning: what the field is; empty where nobody has told it.
    """

    kind: type
    labelled: bool
    has_label: bool
    meaning: str


def place_of(path: str, settings: type[BaseModel]) -> Place | None:
    """Return what a path such as `attack.epsilon` leads to; None where there is no such field."""
    found: list[tuple[Any, FieldInfo | None]] = [(settings, None)]
    for part in path.split("."):
        found = [below for annotation, _ in found for below in _below(annotation, part)]
    if not found:
        return None
    kinds = {kind for annotation, _ in found for kind in _kinds(annotation)}
    models = [model for annotation, _ in found for model in _options(annotation) if _is_model(model)]
    meaning = next((info.description for _, info in found if info is not None and info.description), "")
    plain = kinds in ({bool}, {int}, {float}, {int, float}, {str})
    kind = float if kinds == {int, float} else next(iter(kinds)) if plain else str
    return Place(kind, not plain, any("label" in model.model_fields for model in models), meaning)


def check_path(
    path: str, settings: type[BaseModel], *, axes: Sequence[str], engine: Collection[str], where: str = "grid"
) -> Place:
    """Return what a key of `grid` that is no axis of the study leads to.

    Args:
        where: it stands, for messages.
        axes: of the study.
        engine: fields of a spec that are the same for every study.

    Raises:
        SpecError: it leads nowhere, or to a field that no result depends on.
    """
    if path.split(".")[0] in engine:
        raise SpecError(
            f"{where}.{path}: found a field that says how a sweep runs, on which no result depends, expected an axis "
            "of the study or a field of its settings"
        )
    place = place_of(path, settings) if all(path.split(".")) else None
    if place is None:
        raise SpecError(f"{where}.{path}: unknown key; {_nearest(path, settings, [*axes, 'include', 'exclude'])}")
    return place


def _nearest(path: str, settings: type[BaseModel], axes: Sequence[str]) -> str:
    known = [*axes, *(field.path for field in described(settings) if "[]" not in field.path and "*" not in field.path)]
    near = difflib.get_close_matches(path, known, n=1, cutoff=0.7)
    if not near:  # a misspelt last part is far from a long path, and a path without its beginning too
        ends = {each.rpartition(".")[2]: each for each in reversed(known)}
        near = [ends[end] for end in difflib.get_close_matches(path.rpartition(".")[2], ends, n=1)]
    among = f"expected one of {', '.join(axes)}, or the path of a field of the study's settings"
    return f"did you mean {near[0]!r}?" if near else among


def _below(annotation: Any, part: str) -> Iterator[tuple[Any, FieldInfo | None]]:
    """Yield what a part of a path leads to from settings of that type."""
    for option in _options(annotation):
        if _is_model(option) and part in option.model_fields:
            info = option.model_fields[part]
            yield info.annotation, info
        elif typing.get_origin(option) is dict:
            yield typing.get_args(option)[1], None


def _options(annotation: Any) -> Iterator[Any]:
    """Yield the types that an annotation stands for, one by one: those of a union, without what annotates them."""
    annotation = getattr(annotation, "__value__", annotation)
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        yield from _options(typing.get_args(annotation)[0])
    elif origin in (dict, list, tuple, set, frozenset, Literal) or not typing.get_args(annotation):
        yield annotation
    else:
        for option in typing.get_args(annotation):
            yield from _options(option)


def _kinds(annotation: Any) -> Iterator[type]:
    """Yield the types that values have in JSON; `object` stands for all that is no scalar."""
    for option in _options(annotation):
        if typing.get_origin(option) is Literal:
            yield from (type(value) for value in typing.get_args(option) if value is not None)
        elif isinstance(option, type) and issubclass(option, enum.Enum):
            yield from (type(member.value) for member in option)
        elif option in _SCALARS:
            yield option
        elif option is not type(None):
            structured = not isinstance(option, type) or _is_model(option) or typing.get_origin(option) is not None
            yield object if structured else str


def _is_model(option: Any) -> bool:
    return isinstance(option, type) and issubclass(option, BaseModel)
