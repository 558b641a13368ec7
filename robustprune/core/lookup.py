"""Methods by name. Adding one takes its own file and one line in the registry of its folder."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

from robustprune.core.errors import InputError

Method = TypeVar("Method")


def lookup(registry: Mapping[str, Method], name: str, *, kind: str) -> Method:
    """Return the method called `name`.

    Raises:
        InputError: no such method; the message names the nearest one and all of them.
    """
    if name in registry:
        return registry[name]
    near = difflib.get_close_matches(name, registry, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise InputError(f"unknown {kind} {name!r}: expected one of {', '.join(registry)}{hint}")
