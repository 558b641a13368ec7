"""Why rows of a sweep failed, as far as the records of it tell: another version may say less, or more."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sweeps.results.rows.places import places
from sweeps.spec import Spec
from sweeps.storage import Store
from sweeps.storage.rows import row_values

_UNTOLD = {"stage": "an unknown stage", "cause": "an unknown cause", "traceback": "", "host": "an unknown host"}

_VARIES = re.compile(r"0x[0-9a-f]+|\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b|\d+(?:\.\d+)?(?:e[-+]?\d+)?", re.IGNORECASE)
"""What differs between messages of one cause: addresses, digests and numbers."""

DIED = "its process died"
"""Begins the cause of a failure that the work itself had no chance to tell. Its numbers, as of an exit, tell causes
apart."""


class Group(NamedTuple):
    """Failures of one cause in one stage; `cause` as the first of them tells it, and whether all use the same words."""

    stage: str
    cause: str
    alike: bool
    failures: list[dict[str, Any]]

    def __str__(self) -> str:
        """Return stage and cause in a line."""
        return f"{self.stage}: {self.cause}{'' if self.alike else ' (and the like)'}"


class Unmended(NamedTuple):
    """Failures of rows that are not finished, and how many others there are of rows outside the present grid."""

    failures: list[dict[str, Any]]
    outside: int


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


def unmended(store: Store, spec: Spec, *, all_rows: bool = False) -> Unmended:
    """Return the failures of a sweep that were not mended since; `all_rows`: also those of rows outside its present
    grid.
    """
    place, axes = places(spec.study)
    known = {place("", cell): cell for cell in spec.planned}
    lines = row_values(store, spec.name, axes) if axes else {}
    published = {place(key, lines.get(key, {})): at for key, at in store.published_at(spec.name).items()}
    failures, others = [], 0
    for failure in failures_of(store, spec.name):
        there = place(str(failure["row_key"]), failure["cell"])
        if there in published and _seconds(failure.get("failed_at")) < published[there] / 1e9:
            continue
        others += there not in known
        if there in known or all_rows:
            failures.append(failure | {"cell": known.get(there, {}) | failure["cell"]})
    return Unmended(failures, others)


def grouped(failures: Iterable[Mapping[str, Any]]) -> list[Group]:
    """Return failures by stage and cause, the most frequent cause and its earliest failure first.

    Numbers and values of axes in a message are no part of its cause.
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for failure in sorted(failures, key=lambda failure: str(failure.get("failed_at", ""))):
        kind = failure["stage"], _kind(failure["cause"], failure["cell"].values())
        groups.setdefault(kind, []).append(dict(failure))
    made = [
        Group(stage, alike[0]["cause"], len({each["cause"] for each in alike}) == 1, alike)
        for (stage, _), alike in groups.items()
    ]
    return sorted(made, key=lambda group: -len(group.failures))


def _kind(cause: str, values: Collection[Any]) -> str:
    if cause.startswith(DIED):
        return cause
    words = "|".join(re.escape(value) for value in values if isinstance(value, str) and value)
    return _VARIES.sub("…", re.sub(rf"\b(?:{words})\b", "…", cause) if words else cause)


def _seconds(failed_at: Any) -> float:
    """Return when something failed, at the end of the second that is recorded; never, where that is not known."""
    try:
        return datetime.fromisoformat(failed_at).timestamp() + 1
    except (TypeError, ValueError):
        return float("inf")
