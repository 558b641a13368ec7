"""What of a storage nobody needs any more, and removing it; safe beside runs at work.

What a living run may still need stays: all that is young, whatever it has claimed, and the progress and the files of
the sweep that it runs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sweeps.storage import tensors
from sweeps.storage.backends import Upload
from sweeps.storage.leases import ABANDONED_AFTER_S, Run, read_runs
from sweeps.storage.leases import FOLDER as LEASES
from sweeps.storage.store import Store
from sweeps.storage.usage import CHECKPOINTS, Item, Usage

YOUNG_BESIDE_RUNS_S = 900.0
"""While runs are at work, what is younger than this stays: a large file may take minutes from its first byte to its
name, and clocks differ. Where none is, `ABANDONED_AFTER_S` is enough."""


class Removal(NamedTuple):
    """Files that can go, and why, in words that end a sentence which begins with how large they are."""

    why: str
    items: tuple[Item, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(item.size for item in self.items)


@dataclass(frozen=True)
class _Living:
    """What the runs at work have: the sweeps that they run, what they have claimed, and who they are."""

    sweeps: frozenset[str]
    claims: frozenset[str]
    ids: frozenset[str]
    unknown: bool

    def runs(self, sweep: str) -> bool:
        return self.unknown or sweep in self.sweeps


def removals(store: Store, usage: Usage, *, unused: bool = False, now_s: float | None = None) -> list[Removal]:
    """Return what can be removed.

    Args:
        store: the storage.
        usage: what is in it.
        unused: also checkpoints that no sweep refers to; see `cannot_tell`.
        now_s: seconds since 1970.
    """
    now = time.time() if now_s is None else now_s
    living = _living(store, usage, now)
    young_s = YOUNG_BESIDE_RUNS_S if living.ids else ABANDONED_AFTER_S
    recent = {item for item in usage.items if item.modified_ns / 1e9 >= now - young_s}
    # What belongs together goes or stays together.
    kept = {(item.sweep, item.of) for item in recent if item.of}
    old = {item for item in usage.items if item not in recent and (item.sweep, item.of) not in kept}
    sorts = {
        "progress of rows that are finished or failed": _settled_progress(usage, living),
        "progress of checkpoints that are published": _published_progress(usage, living),
        "what writers left that died half way": _leftovers(usage, living),
    }
    if unused and not cannot_tell(store, usage):
        sorts["checkpoints that no sweep here refers to"] = _unused(store, usage, living)
    found = [Removal(why, tuple(item for item in items if item in old)) for why, items in sorts.items()]
    # Who is dead is known by more than age.
    found.append(Removal("claims of runs that are dead", tuple(_dead_leases(usage, living, old))))
    return [removal for removal in found if removal.items]


def cannot_tell(store: Store, usage: Usage) -> list[str]:
    """Return the sweeps that do not say which checkpoints they refer to: a version before 0.2 wrote them. While there
    are any, no checkpoint counts as unused.
    """
    return [sweep for sweep in usage.sweeps if store.noted_checkpoints(sweep) is None]


def remove(store: Store, wanted: Sequence[Removal]) -> None:
    """Remove files. What makes a checkpoint count goes first, so that none is ever there in half."""
    items = [item for removal in wanted for item in removal.items]
    store.files.abort([Upload(item.name, item.upload_id, item.modified_ns) for item in items if item.upload_id])
    names = [item.name for item in items if not item.upload_id]
    first = [name for name in names if name.endswith(f"/{tensors.META}")]
    store.files.delete(*first)
    store.files.delete(*(name for name in names if name not in set(first)))


def _living(store: Store, usage: Usage, now: float) -> _Living:
    heard = {
        item.name.rpartition("/")[2].removesuffix(".json"): item.modified_ns / 1e9
        for item in usage.items
        if item.kind == "leases" and item.name.startswith(f"{LEASES}/runs/")
    }
    runs: dict[str, Run] = {
        run: who
        for run, who in read_runs(store.files, [*heard]).items()
        if not who.is_gone() and heard[run] > now - YOUNG_BESIDE_RUNS_S
    }
    claims = {work for work, run in map(_claim, usage.items) if run in runs}
    return _Living(
        sweeps=frozenset(run.sweep for run in runs.values()),
        claims=frozenset(claims),
        ids=frozenset(runs),
        unknown=any(not run.sweep for run in runs.values()),
    )


def _settled_progress(usage: Usage, living: _Living) -> Iterator[Item]:
    for item in usage.items:
        busy = not item.sweep or living.runs(item.sweep)
        if item.kind == "progress" and not busy and item.of in usage.settled[item.sweep]:
            yield item


def _published_progress(usage: Usage, living: _Living) -> Iterator[Item]:
    published = usage.published() - living.claims
    return (item for item in usage.items if item.kind == "progress" and not item.sweep and item.of in published)


def _leftovers(usage: Usage, living: _Living) -> Iterator[Item]:
    for item in usage.items:
        if item.kind == "leftovers":
            busy = living.runs(item.sweep) if item.sweep else item.of in living.claims
            if not busy:
                yield item


def _unused(store: Store, usage: Usage, living: _Living) -> Iterator[Item]:
    noted = set().union(*(store.noted_checkpoints(sweep) or set() for sweep in usage.sweeps))
    needed = noted | usage.referred | living.claims
    for item in usage.items:
        if (
            item.name.startswith(f"{CHECKPOINTS}/")
            and item.of not in needed
            and item.kind not in ("leftovers", "other")
        ):
            yield item


def _dead_leases(usage: Usage, living: _Living, old: set[Item]) -> Iterator[Item]:
    known = {item.name.rpartition("/")[2].removesuffix(".json") for item in usage.items if _is_run(item)}
    for item in usage.items:
        if _is_run(item) and item.name.rpartition("/")[2].removesuffix(".json") not in living.ids:
            yield item
        _, run = _claim(item)
        # A claim without its run may be one of a run whose heart is about to beat for the first time.
        if run and run not in living.ids and (run in known or item in old):
            yield item


def _is_run(item: Item) -> bool:
    return item.kind == "leases" and item.name.startswith(f"{LEASES}/runs/")


def _claim(item: Item) -> tuple[str, str]:
    """Return what a claim is on, and whose it is; nothing for any other file."""
    if item.kind != "leases" or not item.name.startswith(f"{LEASES}/claims/"):
        return "", ""
    work, _, run = item.name.rpartition("/")[2].rpartition("@")
    return work, run
