"""What settings say of themselves: a line for each field there may be, read from pydantic's JSON schema of a model.

A field's meaning is its description, or what the settings in it say of themselves: their docstring. Its unit is `unit`
in pydantic's `json_schema_extra`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema

from sweeps.errors import SpecError

Schema = Mapping[str, Any]

REQUIRED = "required"
AS_BELOW = "as below"

_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "null": "null",
    "object": "mapping",
}
_BOUNDS = {
    "exclusiveMinimum": "more than {}",
    "minimum": "at least {}",
    "exclusiveMaximum": "less than {}",
    "maximum": "at most {}",
    "minItems": "at least {} of them",
    "maxItems": "at most {} of them",
    "minLength": "at least {} characters",
    "pattern": "matches {}",
}


class Field(NamedTuple):
    """A field of a spec, or of one option of a union.

    Attributes:
        path: as in `--set`; `*` stands for any name, and `[]` for each of a list.
        option: of a union that it belongs to, such as `kind: barrel`; the last one where they are nested.
        type: in words.
        default: in YAML; `REQUIRED`, or `AS_BELOW` for settings that have the defaults of their own fields.
        unit: of a number; empty where it has none.
        range: in words; empty where there is none.
        meaning: empty where nobody has told it.
    """

    path: str
    option: str
    type: str
    default: str
    unit: str
    range: str
    meaning: str


def fields(model: type[BaseModel]) -> list[Field]:
    """Return all fields that settings may have, those inside others after these.

    Raises:
        SpecError: the settings have a type that no JSON is of.
    """
    try:
        schema = model.model_json_schema()
    except PydanticInvalidForJsonSchema as error:
        raise SpecError(f"{model.__name__}: its fields cannot be described: {' '.join(str(error).split())}") from error
    return list(_Walk(schema.get("$defs", {})).of(schema, path="", option="", inside=()))


class _Walk:
    """Follows references from settings to settings.

    Attributes:
        models: schemas by name.
    """

    def __init__(self, models: Mapping[str, Schema]) -> None:
        self.models = models

    def of(self, schema: Schema, *, path: str, option: str, inside: Sequence[str]) -> Iterator[Field]:
        """Yield the fields of settings. `inside` are the models around them, which are not entered again."""
        for name, field in schema.get("properties", {}).items():
            if "const" in field:
                continue  # what tells an option of a union from the others
            own = f"{path}{name}"
            yield Field(
                own,
                option,
                self.type(field),
                self._default(field, required=name in schema.get("required", ())),
                str(field.get("unit", "")),
                _range(field),
                _first(field) or next((_first(each) for each in self._models(field)), ""),
            )
            yield from self._below(field, path=own, option=option, inside=inside)

    def _below(self, field: Schema, *, path: str, option: str, inside: Sequence[str]) -> Iterator[Field]:
        """Yield the fields of what a field may hold, each option of a union with a line of its own before them."""
        if "$ref" in field:
            name = _name(field)
            if name not in inside:
                model = self.models[name]
                yield from self.of(model, path=f"{path}.", option=option, inside=[*inside, name])
        for part in field.get("anyOf", ()):
            yield from self._below(part, path=path, option=option, inside=inside)
        for part in field.get("oneOf", ()):
            told = self._told(field, part)
            yield Field(path, told, "settings", "", "", "", _first(self.models[_name(part)]))
            yield from self._below(part, path=path, option=told, inside=inside)
        if isinstance(field.get("items"), dict):
            yield from self._below(field["items"], path=f"{path}[]", option=option, inside=inside)
        if isinstance(field.get("additionalProperties"), dict):
            yield from self._below(field["additionalProperties"], path=f"{path}.*", option=option, inside=inside)

    def type(self, field: Schema) -> str:
        """Return the type of a field in words."""
        if "enum" in field:
            return " or ".join(json.dumps(each) if each is None else str(each) for each in field["enum"])
        if "anyOf" in field:
            return " or ".join(dict.fromkeys(self.type(part) for part in field["anyOf"]))
        if "oneOf" in field:
            tag = field["discriminator"]["propertyName"]
            return f"settings with {tag}: {' or '.join(field['discriminator']['mapping'])}"
        if "items" in field:
            return f"list of {self.type(field['items'])}"
        if isinstance(field.get("additionalProperties"), dict):
            return f"mapping from names to {self.type(field['additionalProperties'])}"
        return "settings" if "$ref" in field else _TYPES.get(str(field.get("type")), "anything")

    def _default(self, field: Schema, *, required: bool) -> str:
        if required:
            return REQUIRED
        given = field.get("default")
        own = [self._defaults(model) for model in self._models(field)]
        return AS_BELOW if isinstance(given, dict) and given and given in own else _yaml(given)

    def _defaults(self, model: Schema) -> dict[str, Any]:
        return {name: field.get("default") for name, field in model.get("properties", {}).items()}

    def _models(self, field: Schema) -> list[Schema]:
        """Return the settings that a field holds, if it is no union of several."""
        if "$ref" in field:
            return [self.models[_name(field)]]
        return [model for part in field.get("anyOf", ()) for model in self._models(part)]

    def _told(self, field: Schema, part: Schema) -> str:
        tag, mapping = field["discriminator"]["propertyName"], field["discriminator"]["mapping"]
        return f"{tag}: {next(value for value, target in mapping.items() if target == part['$ref'])}"


def _name(reference: Schema) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _range(field: Schema) -> str:
    found = [words.format(field[bound]) for bound, words in _BOUNDS.items() if bound in field]
    found = ["not empty" if words == _BOUNDS["minLength"].format(1) else words for words in found]
    if isinstance(field.get("items"), dict) and (each := _range(field["items"])):
        found.append(f"each {each}")
    return ", ".join([*found, *filter(None, map(_range, field.get("anyOf", ())))])


def _first(schema: Schema) -> str:
    """Return the first paragraph of a description, in one line."""
    return " ".join(str(schema.get("description", "")).split("\n\n")[0].split())


def _yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")
