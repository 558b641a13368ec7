"""Settings and axes cut down to those that a stage declares, so that no other changes a result but not its key."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from sweeps.study import Cell


class UndeclaredError(Exception):
    """A setting or an axis was read that is not declared; `path` says which."""

    def __init__(self, path: str, *, kind: str = "setting") -> None:
        """Take the path, such as `training.epochs`, and what it leads to."""
        super().__init__(path)
        self.path, self.kind = path, kind


class DeclaredCell(Cell):
    """A cell in which a stage looks up no axis but those that it declares."""

    def __init__(self, cell: Cell, axes: Sequence[str]) -> None:
        """Take a cell, and the axes that may be looked up."""
        super().__init__(cell)
        self._axes = frozenset(axes)

    def __getitem__(self, axis: str) -> Any:
        """Return the value of an axis.

        Raises:
            UndeclaredError: the stage does not declare it.
            KeyError: there is none of that name.
        """
        value = super().__getitem__(axis)
        if axis not in self._axes:
            raise UndeclaredError(axis, kind="axis")
        return value

    def get(self, axis: str, default: Any = None) -> Any:
        """Return the value of an axis, as `__getitem__` does."""
        return self[axis] if axis in self else default  # noqa: SIM401 - `self.get` is this method


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
