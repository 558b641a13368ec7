"""Kept models in any study of pruning: the setting that keeps them, and what rows say of an attack on these."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from robustprune.core.settings import Settings
from sweeps.study import Axis

ATTACK = Axis("attack", str, meaning="the label of an attack that kept models were measured under")

KEPT_BY = "keep_models=true"

_KINDS = (str, int, float, bool)


def keep_models_field() -> Any:
    """Return the field of a study's settings that has rows keep their models."""
    return Field(
        default=False,
        description="keep each row's model in <sweep>/models, as large as its float32 weights; set it before rows are "
        "computed: those that are finished get none",
    )


def attack_columns(attacks: Iterable[type[Settings]]) -> dict[str, type]:
    """Return a column for each setting of attacks that is a number, a text, true or false: `attack_epsilon`."""
    found: dict[str, set[type]] = {}
    for settings in attacks:
        for name, field in settings.model_fields.items():
            found.setdefault(f"attack_{name}", set()).add(_kind(field.annotation))
    merged = {name: float if kinds == {int, float} else next(iter(kinds)) for name, kinds in found.items()}
    return {name: kind for name, kind in merged.items() if kind in _KINDS and (len(found[name]) == 1 or kind is float)}


def attack_meanings(attacks: Iterable[type[Settings]]) -> dict[str, str]:
    """Return what `attack_columns` are, as the settings say it; null in rows of attacks without such a setting."""
    attacks = list(attacks)
    said = {
        f"attack_{name}": f"{field.description or 'of the attack'}; null where it has no such setting"
        for settings in reversed(attacks)
        for name, field in settings.model_fields.items()
    }
    return {name: said[name] for name in attack_columns(attacks)} | {"attack_name": "of the attack"}


def attack_values(settings: Settings, columns: Iterable[str]) -> dict[str, Any]:
    """Return what an attack's settings say in those of `columns` that are of attacks; None where it has none such."""
    return {
        name: getattr(settings, name.removeprefix("attack_"), None) for name in columns if name.startswith("attack_")
    }


def _kind(annotation: Any) -> type:
    """Return the type of a setting's values, where it may be missing too; `object` for any that no column holds."""
    if typing.get_origin(annotation) is Literal:
        kinds = {type(value) for value in typing.get_args(annotation)}
        return kinds.pop() if len(kinds) == 1 else object
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        inside = [part for part in typing.get_args(annotation) if part is not types.NoneType]
        return _kind(inside[0]) if len(inside) == 1 else object
    return annotation if annotation in _KINDS else object
