"""Settings cut down to those that a stage declares, so that none can change a result without changing its key."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel


class UndeclaredError(Exception):
    """A setting was read that is not declared; `path` says which."""

    def __init__(self, path: str) -> None:
        """Take the setting's path, such as `training.epochs`."""
        super().__init__(path)
        self.path = path


def only(settings: BaseModel, fields: Sequence[str], prefix: str = "") -> BaseModel:
    """Return settings of the same class that hold nothing but `fields`, paths such as `training.epochs` or `training`.

    Reading any other raises an `UndeclaredError`.
    """
    whole = {path for path in fields if "." not in path}
    parts: dict[str, list[str]] = {}
    for path in fields:
        head, dot, rest = path.partition(".")
        if dot and head not in whole:
            parts.setdefault(head, []).append(rest)
    kept: dict[str, Any] = {name: getattr(settings, name) for name in type(settings).model_fields if name in whole}
    for name, inside in parts.items():
        value = getattr(settings, name)
        kept[name] = only(value, inside, f"{prefix}{name}.") if isinstance(value, BaseModel) else value
    if len(kept) == len(type(settings).model_fields) and not parts:
        return settings
    cut = _guarded(type(settings), prefix).model_construct(**kept)
    for name in type(settings).model_fields.keys() - kept.keys():
        # `model_construct` gives what is left out its default.
        cut.__dict__.pop(name, None)
    return cut


@functools.lru_cache(maxsize=64)
def _guarded(model: type[BaseModel], prefix: str) -> type[BaseModel]:
    """Return a subclass that says which setting is missing, rather than that there is no such attribute."""

    def missing(self: BaseModel, name: str) -> Any:
        if name in model.model_fields:
            # No AttributeError: a property of the settings that reads one would be taken for the missing attribute.
            raise UndeclaredError(f"{prefix}{name}")
        # Private attributes and methods are pydantic's.
        return getattr(super(guarded, self), "__getattr__", self.__getattribute__)(name)

    guarded: type[BaseModel] = type(model.__name__, (model,), {"__getattr__": missing, "__module__": model.__module__})
    return guarded
