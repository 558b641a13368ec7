"""Which fields of specs differ: read from their text, so that a spec which is none any more can be told too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from sweeps.errors import SpecError
from sweeps.spec import parse


def differences(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Return the fields that are not the same in all specs, sorted, with the value in each; None where it has none.

    Args:
        texts: of resolved specs; fields that are younger than one of them are there at their defaults.
    """
    specs = [_flat(yaml.safe_load(_completed(text)) or {}) for text in texts]
    values = {field: [spec.get(field) for spec in specs] for field in sorted(set().union(*specs))}
    return {field: found for field, found in values.items() if any(value != found[0] for value in found)}


def _completed(text: str) -> str:
    """Return a stored spec with the fields that are younger than it, at their defaults; as it is if it is none now, or
    of a study that is not here.
    """
    try:
        return parse(text, "spec.yaml", importing=False).to_yaml()
    except SpecError:
        return text


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
