"""Specs that studies draft for data a user has, as a text: every value with what it means, and why it is what it is.

What fields mean is read from the settings, as `sweeps describe` reads it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sweeps import spec
from sweeps.errors import SpecError
from sweeps.spec import plain_yaml, studies
from sweeps.spec.loading import Engine, overlay
from sweeps.spec.schema import Field, fields
from sweeps.study import Draft, Study

WIDTH = 100

Meanings = Mapping[str, Sequence[Field]]
"""What is known of a field by its path: something of each option of a union that has it."""


def drafts() -> dict[str, tuple[str, type[Study], Draft]]:
    """Return by option what can be drafted: the name of the study, the study, and its draft.

    Studies of other packages that cannot be loaded are passed over: `sweeps specs` tells of them.
    """
    found = {
        option: (name, study, draft) for name, study in studies.loadable() for option, draft in study.drafts.items()
    }
    return dict(sorted(found.items()))


def drafted(
    option: str, source: str, changes: tuple[str, ...], *, name: str, file: str, beside: str | None
) -> tuple[str, Mapping[str, str]]:
    """Return the text of a spec that has been validated, and those of files beside it, by their endings.

    Args:
        option: of `drafts`.
        source: of the data, as the option takes it.
        changes: `key.path=value` settings that the user chose.
        name: of the sweep.
        file: where it will be, as the user has it.
        beside: its absolute path without the ending; None where it will be nowhere.

    Raises:
        SpecError: the data cannot be read, or a setting is wrong.
    """
    study_name, study, draft = drafts()[option]
    chosen: dict[str, Any] = {}
    for change in changes:
        overlay(chosen, change)
    try:
        fitted, notes, files = draft.write(source, chosen, beside)
    except ValueError as error:
        raise SpecError(f"--{option} {source}: {error}") from error
    settings: dict[str, Any] = {"name": name, "study": study_name, "description": f"{source}, a first curve"}
    settings.update(fitted)
    for change in changes:
        overlay(settings, change)
    settled = [change.partition("=")[0] for change in changes]
    text = commented(
        study,
        settings,
        {path: note for path, note in notes.items() if not any(f"{path}.".startswith(f"{own}.") for own in settled)},
        head=f"Made by `sweeps new {file} --{option} {source}`. Every field that is not here has a default: "
        f"`sweeps describe {study_name}` tells all, and `sweeps describe {study_name} NAME` one.",
    )
    spec.parse(text, f"new {file}")
    return text, files


def commented(study: type[Study], settings: Mapping[str, Any], notes: Mapping[str, str], *, head: str) -> str:
    """Return a spec in YAML, with a comment above every value.

    Args:
        study: whose spec it is.
        settings: the engine's and the study's, as they stand in a spec.
        notes: sentences on why a value is what it is, by its path.
        head: sentences on the whole.
    """
    meanings: dict[str, list[Field]] = {}
    for field in (*fields(Engine), *fields(study.Settings)):
        meanings.setdefault(field.path, []).append(field)
    for axis in study.axes:
        meanings[f"grid.{axis.name}"] = [Field(f"grid.{axis.name}", "", "", "", "", "", axis.meaning)]
    lines = [*_comment(head, 0)]
    for name, value in settings.items():
        lines += ["", *_field(name, value, settings, path=name, depth=0, meanings=meanings, notes=notes)]
    return "\n".join(lines) + "\n"


def _field(
    name: str,
    value: Any,
    around: Mapping[str, Any],
    *,
    path: str,
    depth: int,
    meanings: Meanings,
    notes: Mapping[str, str],
) -> Iterator[str]:
    said = " ".join(filter(None, (_sentence(_meaning(path, around, meanings)), notes.get(path, ""))))
    yield from _comment(said, depth)
    key = f"{'  ' * depth}{plain_yaml.write_in_line(name)}:"
    if not isinstance(value, Mapping) or not value:
        yield f"{key} {plain_yaml.write_in_line(value)}"
        return
    yield key
    for inner, each in value.items():
        below = f"{path}.{inner}"
        yield from _field(inner, each, value, path=below, depth=depth + 1, meanings=meanings, notes=notes)


def _meaning(path: str, around: Mapping[str, Any], meanings: Meanings) -> str:
    """Return what a field means: where several options of a union have it, in the one that is chosen beside it."""
    outer, _, name = path.rpartition(".")
    for field in meanings.get(path, ()):
        if not field.option or _is_chosen(field.option, around):
            return f"{field.meaning} ({field.unit})" if field.unit else field.meaning
    # What tells the options apart is no field: it means what its option does.
    chosen = f"{name}: {around[name]}"
    return next((field.meaning for field in meanings.get(outer, ()) if field.option == chosen), "")


def _is_chosen(option: str, settings: Mapping[str, Any]) -> bool:
    tag, _, value = option.partition(": ")
    return str(settings.get(tag)) == value


def _sentence(meaning: str) -> str:
    if not meaning:
        return ""
    return f"{meaning[:1].upper()}{meaning[1:]}{'' if meaning.endswith(('.', '?', '!')) else '.'}"


def _comment(text: str, depth: int) -> list[str]:
    indent = f"{'  ' * depth}# "
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
