"""What pydantic finds wrong in settings, told to whoever wrote them: field, what was found, what was expected."""

from __future__ import annotations

import difflib
import math
import re
import typing
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from sweeps.errors import SpecError
from sweeps.spec import numbers

Fields = TypeVar("Fields", bound=BaseModel)

_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping of settings",
    "finite_number": "a finite number",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_attributes_type": "a mapping of settings",
    "model_type": "a mapping of settings",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_type": "text",
    "too_short": "at least {min_length} of them",
    "union_tag_invalid": "one of {expected_tags}",
    "union_tag_not_found": "a value",
}
"""Pydantic's types of error, in a user's words."""


def sentences(error: ValidationError, settings: Any, model: type[BaseModel]) -> Iterator[str]:
    """Yield a sentence per mistake.

    Args:
        error: from validating `settings`.
        settings: as they were read.
        model: that they were validated against.
    """
    expected: dict[str, list[str]] = {}
    for sentence in _each(error, settings, model):
        found, _, wanted = sentence.partition(", expected ")
        expected.setdefault(found, []).append(wanted)
    # Where a field may be of several types, pydantic finds a mistake for each.
    for found, every in expected.items():
        yield ", expected ".join(filter(None, [found, " or ".join(dict.fromkeys(every))]))


def _each(error: ValidationError, settings: Any, model: type[BaseModel]) -> Iterator[str]:
    problems = error.errors(include_url=False)
    unknown = [problem for problem in problems if problem["type"] == "extra_forbidden"]
    # A field that is missing may be one that is misspelt.
    for problem in unknown or problems:
        field = _field(problem["loc"], settings, model)
        if unknown:
            yield _of_another(field, problem["loc"], model) or unknown_key(
                field, [*_fields(problem["loc"][:-1], model)]
            )
        elif problem["type"] == "missing":
            yield _missing(field, _fields(problem["loc"][:-1], model)[str(problem["loc"][-1])])
        else:
            yield _sentence(problem, field)


def validated(model: type[Fields], settings: dict[str, Any]) -> Fields:
    """Return settings as their model has them.

    Raises:
        SpecError: anything in them is wrong.
    """
    try:
        valid = model.model_validate(settings)
    except ValidationError as first:
        settings = numbers.with_numbers(settings, first)
        try:
            valid = model.model_validate(settings)
        except ValidationError as error:
            raise SpecError("\n".join(sentences(error, settings, model))) from error
    for sentence in unfit(valid.model_dump()):
        raise SpecError(sentence)
    try:
        valid.model_dump(mode="json")
    except ValueError as error:
        raise SpecError(f"{model.__name__}: {error}, expected settings that YAML can hold") from error
    return valid


LARGEST = 2**63 - 1
"""The largest whole number that a column holds; that a library under a study takes none larger is as sure."""


def unfit(settings: Any, field: str = "") -> Iterator[str]:
    """Yield a sentence per value in validated settings that keys or columns cannot be made of: NaN and infinity, which
    JSON does not have, whole numbers beyond 64 bits, and sets, whose order is another in every process.
    """
    if isinstance(settings, float) and not math.isfinite(settings):
        yield f"{field}: found {settings!r}, expected a finite number"
    elif isinstance(settings, int) and abs(settings) > LARGEST:
        yield f"{field}: found {settings!r}, expected a whole number of at most 64 bits"
    elif isinstance(settings, (set, frozenset)):
        yield f"{field}: found a {type(settings).__name__}, which has no order, expected the study to take a tuple here"
    elif isinstance(settings, dict):
        for name, value in settings.items():
            yield from unfit(value, f"{field}.{name}".removeprefix("."))
    elif isinstance(settings, (list, tuple)):
        for index, value in enumerate(settings):
            yield from unfit(value, f"{field}[{index}]")


def unknown_key(field: str, known: Sequence[str]) -> str:
    """Say that there is no such field, and which may have been meant."""
    near = difflib.get_close_matches(field.rpartition(".")[2], known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
    return f"{field}: unknown key; {hint}"


def found(value: Any) -> str:
    """Show a value in a message."""
    return "nothing" if value is None else repr(value)


def _sentence(problem: ErrorDetails, field: str) -> str:
    kind, given, context = problem["type"], problem["input"], problem.get("ctx", {})
    if kind == "value_error":
        return f"{field}: {context['error']}" if field else str(context["error"])
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tag = context["discriminator"].strip("'")
        field, given = f"{field}.{tag}", given.get(tag)
    if kind == "float_type":
        return f"{field}: found {found(given)}, expected {numbers.expected(given)}"
    expected = _EXPECTED[kind].format_map(context) if kind in _EXPECTED else problem["msg"]
    if kind == "union_tag_invalid":
        near = difflib.get_close_matches(str(given), re.findall("'([^']*)'", context["expected_tags"]), n=1)
        expected += f"; did you mean {near[0]!r}?" if near else ""
    return f"{field}: found {found(given)}, expected {expected}"


def _missing(field: str, info: FieldInfo) -> str:
    meaning = f" ({info.description})" if info.description else ""
    # No path of --set leads into a list.
    hint = "" if "[" in field else f"; give it with --set {field}=VALUE"
    return f"{field}: found nothing, expected a value{meaning}{hint}"


def _of_another(field: str, location: Sequence[str | int], model: type[BaseModel]) -> str | None:
    """Say that a key belongs to another option of a union than the one chosen, if so: its tag alone was changed."""
    if len(location) < 2:
        return None
    *place, tag, key = location
    options = _options(place, model)
    chosen = next((each for each in options if tag in _tags(each)), None)
    if chosen is None or not any(key in each.model_fields for each in options):
        return None
    if "[" in field:
        return f"{field}: {tag} has no such setting"
    discriminator = next(name for name, info in chosen.model_fields.items() if tag in typing.get_args(info.annotation))
    mapping = f"{field.rpartition('.')[0]}={{{discriminator}: {tag}}}"
    return f"{field}: {tag} has no such setting; replace the whole mapping (--set '{mapping}')"


def _field(location: Sequence[str | int], settings: Any, model: type[BaseModel]) -> str:
    """Return where a mistake is as its author knows it: pydantic's location also has the tags of unions."""
    field, place = "", settings
    for depth, part in enumerate(location):
        if isinstance(place, list) and isinstance(part, int):
            field, place = f"{field}[{part}]", place[part]
        elif isinstance(place, dict) and (part in place or part in _fields(location[:depth], model)):
            field, place = f"{field}.{part}", place.get(part)
    return field.removeprefix(".")


def _fields(location: Sequence[str | int], model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields there may be at a location, by name."""
    return {name: info for each in _options(location, model) for name, info in each.model_fields.items()}


def _options(location: Sequence[str | int], model: type[BaseModel]) -> list[type[BaseModel]]:
    """Return the models that settings at a location may have: several where a union's tag is not part of it."""
    options = [model]
    keyed = False
    for part in location:
        if keyed:  # whatever the key: the values of a mapping are alike
            keyed = False
            continue
        fields = [each.model_fields[part] for each in options if part in each.model_fields]
        if fields:
            options = [option for field in fields for option in _models(field.annotation)]
            keyed = any(typing.get_origin(field.annotation) is dict for field in fields)
        elif isinstance(part, str):
            options = [each for each in options if part in _tags(each)]
    return options


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that an annotation names, be it a union or a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _models(argument)]


def _tags(model: type[BaseModel]) -> set[Any]:
    return {tag for field in model.model_fields.values() for tag in typing.get_args(field.annotation)}
