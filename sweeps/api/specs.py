"""A spec as a program has it: the name of a bundled one, a file, or a mapping."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from sweeps.errors import SpecError
from sweeps.spec import Spec, load, plain_yaml
from sweeps.spec.loading import parse
from sweeps.study import Study

Given = str | os.PathLike[str] | Mapping[str, Any]
"""A bundled spec's name, the path of a YAML file, or what such a file would hold."""

GIVEN = "the spec given"
"""What a mapping is called in messages."""


def loaded(spec: Given, changes: Mapping[str, Any] | None = None) -> Spec:
    """Return a spec, validated.

    Args:
        spec: a name, a path or a mapping. In a mapping, the study may be its class.
        changes: values by the path of their field, such as `{"finetune.epochs": 2}`.

    Raises:
        SpecError: anything in it is wrong.
    """
    if not isinstance(spec, str | os.PathLike | Mapping):
        found = type(spec).__name__
        raise SpecError(f"{GIVEN}: found {found}, expected a bundled spec's name, the path of a YAML file or a mapping")
    if not isinstance(changes, Mapping | None):
        found = type(changes).__name__
        raise SpecError(f"set: found {found}, expected a mapping of values, such as {{'grid.seed': [0, 1]}}")
    overlaid = [f"{path}={_text(value, f'set[{path!r}]')}" for path, value in (changes or {}).items()]
    if isinstance(spec, Mapping):
        return parse(_text(spec, GIVEN), GIVEN, overlaid)
    return load(os.fspath(spec), overlaid)


def _text(value: Any, where: str) -> str:
    """Return a value as YAML."""
    return plain_yaml.write(_plain(value, where))


def _plain(value: Any, where: str) -> Any:
    """Return a value of Python or numpy as YAML knows it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple | range):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, type) and issubclass(value, Study):
        return f"{value.__module__}:{value.__qualname__}"
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise SpecError(f"{where}: found {type(value).__name__}, expected text, a number, true, false, a list or a mapping")
