"""The values of axes that are fields of settings: each validated as the field is, and what a cell holds of it.

A cell holds numbers, texts and null as they are. Of a value that is a mapping or a list it holds a label: what the
mapping says under `label`, else a short text made of it. In a resolved grid, mappings have their label and every
default.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from sweeps.errors import SpecError
from sweeps.spec import numbers
from sweeps.spec.axes.fields import Place
from sweeps.spec.mistakes import found, sentences, unfit
from sweeps.study import Axis, Value

LABEL = "label"

ADJUSTING = ("include", "exclude")
"""Keys of a grid that are no axes."""


class FieldAxis(NamedTuple):
    """An axis that is a field of the study's settings.

    Attributes:
        axis: its name is the field's path.
        settings: what the field is set to, in JSON, by what cells hold of it, where these differ.
    """

    axis: Axis
    settings: Mapping[str, Any]

    @property
    def path(self) -> str:
        """Of the field."""
        return self.axis.name

    def setting(self, value: Value | None) -> Any:
        """Return what the field is set to in a cell of that value."""
        return self.settings.get(value, value) if isinstance(value, str) else value


def at(settings: Mapping[str, Any], path: str) -> Any:
    """Return what settings in JSON have at a path; None where they have nothing."""
    place: Any = settings
    for part in path.split("."):
        place = place.get(part) if isinstance(place, Mapping) else None
    return place


def laid_over(settings: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return settings in JSON with another value at a path; those that were given are left as they are."""
    head, _, rest = path.partition(".")
    if not rest:
        return {**settings, head: value}
    inside = settings.get(head)
    return {**settings, head: laid_over(inside if isinstance(inside, Mapping) else {}, rest, value)}


def unlabelled(given: Any) -> Any:
    """Return a value without its label."""
    return {name: item for name, item in given.items() if name != LABEL} if isinstance(given, Mapping) else given


def cell_value(given: Any, kind: type) -> Value | None:
    """Return what a cell holds of a value of a resolved grid."""
    if isinstance(given, Mapping):
        return str(given[LABEL]) if LABEL in given else _made_of(given)
    if given is None or (kind is not str and not isinstance(given, list)):
        value: Value | None = given
        return value
    return given if isinstance(given, str) else json.dumps(given)


def in_force(settings: Mapping[str, Any], path: str, grid: Mapping[str, Any], kind: type) -> Value | None:
    """Return what a cell holds of the value that a field has where the grid says nothing: by the same label, where the
    grid has that value too.

    Args:
        settings: in JSON.
        path: of the field.
        grid: resolved.
        kind: of the axis.
    """
    value = at(settings, path)
    given = grid.get(path)
    for item in given if isinstance(given, list) else ():
        if isinstance(item, Mapping) and value in (item, unlabelled(item)):
            return cell_value(item, kind)
    return cell_value(value, kind)


def in_cells(grid: Mapping[str, Any], kinds: Mapping[str, type]) -> dict[str, Any]:
    """Return a resolved grid as cells hold its values.

    Args:
        grid: with lists, or whatever stands in their place.
        kinds: of the axes that are fields, by path.
    """

    def of(path: str, given: Any) -> Any:
        if path not in kinds:
            return given
        return [cell_value(item, kinds[path]) for item in given] if isinstance(given, list) else given

    def entry(given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {path: cell_value(item, kinds[path]) if path in kinds else item for path, item in given.items()}

    return {
        name: [entry(each) for each in given] if name in ADJUSTING and isinstance(given, list) else of(name, given)
        for name, given in grid.items()
    }


class Values:
    """Reads the values of one axis.

    Attributes:
        known: what the field is set to, by what cells hold of it, of values that are mappings, lists, or of several
            kinds.
    """

    def __init__(self, path: str, place: Place, model: type[BaseModel], settings: Mapping[str, Any]) -> None:
        """Take the field, and the settings in JSON that have it."""
        self.path, self.place, self._model, self._settings = path, place, model, settings
        self.known: dict[str, Any] = {}

    def resolved(self, given: Any, where: str, *, anew: bool) -> Any:
        """Return a value as a resolved grid has it.

        Args:
            given: as it was read.
            where: it stands, for messages.
            anew: it is one of the axis's list; else of an entry, which may name the label of one of these.

        Raises:
            SpecError: the field cannot have it.
        """
        if self.place.labelled and isinstance(given, str) and not anew and given in self.known:
            return given
        label: Any = None
        if isinstance(given, dict) and LABEL in given:
            label = given[LABEL]
            if not isinstance(label, str) or not label.strip():
                raise SpecError(f"{where}.{LABEL}: found {found(label)}, expected a text that names this value")
            if not self.place.has_label:
                given = unlabelled(given)
        value = self._validated(given, where)
        if not self.place.labelled:
            if isinstance(value, (dict, list)):
                raise SpecError(f"{where}: found {found(given)}, expected a single value")
            return value
        if isinstance(value, dict):
            label = label or (None if anew else self._label_of(value))
            label = label or _made_of(given if isinstance(given, dict) else value)
            resolved: Any = {LABEL: label, **value}
        else:
            resolved, label = value, cell_value(value, str)
        if label is None:
            return resolved
        if label in self.known and (anew or self.known[label] != value):
            raise SpecError(f"{where}: found {label!r} a second time, expected each value once, by a label of its own")
        twin = self._label_of(value)
        if twin not in (None, label):
            raise SpecError(f"{where}: found the same settings as {twin!r} has, expected each value once")
        self.known[label] = value
        return resolved

    def _label_of(self, value: Any) -> str | None:
        return next((label for label, known in self.known.items() if known == value), None)

    def _validated(self, given: Any, where: str) -> Any:
        """Return a value in JSON, as the settings have it; mistakes elsewhere are told of whole cells, see `varied`."""
        settings = laid_over(self._settings, self.path, given)
        try:
            valid = self._model.model_validate(settings)
        except ValidationError as first:
            settings = numbers.with_numbers(settings, first)
            try:
                valid = self._model.model_validate(settings)
            except ValidationError as error:
                mistakes = [*self._own(sentences(error, settings, self._model))]
                if mistakes:
                    raise SpecError("\n".join(f"{where}{mistake}" for mistake in mistakes)) from error
                return at(settings, self.path)
        for mistake in self._own(unfit(valid.model_dump())):
            raise SpecError(f"{where}{mistake}")
        return at(valid.model_dump(mode="json"), self.path)

    def _own(self, mistakes: Any) -> Sequence[str]:
        """Return the mistakes that are of this field, without its path, which they begin with."""
        own = [each.removeprefix(self.path) for each in mistakes if each.startswith(self.path)]
        # How else to set one field is no help here.
        return [each.split("; give it with --set")[0].split("; replace the")[0] for each in own if each[0] in ":.["]


def _made_of(settings: Mapping[str, Any]) -> str:
    """Return a short text for settings without a label."""
    flat = dict(_flat(settings))
    if len(flat) == 1:
        return str(next(iter(flat.values())))
    return ", ".join(f"{name}={item if isinstance(item, str) else json.dumps(item)}" for name, item in flat.items())


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, item in settings.items():
        flat += _flat(item, f"{prefix}{name}.") if isinstance(item, Mapping) else [(f"{prefix}{name}", item)]
    return flat
