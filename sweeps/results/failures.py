"""Why rows of a sweep failed, as far as the records of it tell: another version may say less, or more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sweeps.storage import Store

_UNTOLD = {"stage": "an unknown stage", "cause": "an unknown cause", "traceback": "", "host": "an unknown host"}


def failures_of(store: Store, sweep: str) -> Iterator[dict[str, Any]]:
    """Yield recorded failures in a stable order, each with `row_key`, `cell`, `stage`, `cause`, `traceback` and `host`.
    Of a record that cannot be read, the cause says so: its row has failed all the same.
    """
    for found in store.failures(sweep):
        told = {name: found[name] for name in _UNTOLD if isinstance(found.get(name), str)}
        failure = {**found, **_UNTOLD, **told}
        cell = found.get("cell")
        values = cell.items() if isinstance(cell, dict) else ()
        failure["cell"] = {axis: value for axis, value in values if isinstance(value, str | int | float)}
        yield failure | {"traceback": failure["traceback"] or failure["cause"]}
