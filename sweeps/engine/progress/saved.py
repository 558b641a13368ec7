"""Whether work whose process died had got further: deaths are forgiven where it had."""

from __future__ import annotations

from collections.abc import Iterable

from sweeps.planning.keys import StageKey
from sweeps.planning.plan import Row
from sweeps.storage import Store


class Saved:
    """What is kept of unfinished stages and rows, seen by its names: states are named by their content."""

    def __init__(self, store: Store) -> None:
        """Have seen nothing yet."""
        self._store = store
        self._seen: dict[str, frozenset[str]] = {}

    def since_last(self, sweep: str, *, rows: Iterable[Row] = (), stages: Iterable[StageKey] = ()) -> bool:
        """Say whether any of them has saved progress since this was asked last. To be asked when a process died."""
        places = [
            *(f"{sweep}/progress/{row.key}" for row in rows),
            *(f"checkpoints/{each.key}/progress" for each in stages),
        ]
        new = [self._is_new(place) for place in places]
        return any(new)

    def _is_new(self, place: str) -> bool:
        names = frozenset(file.name for file in self._store.files.list(place, recursive=True))
        before, self._seen[place] = self._seen.get(place, frozenset()), names
        return bool(names - before)
