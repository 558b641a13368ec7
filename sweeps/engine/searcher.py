"""Which trial starts next: never one whose shared work another trial is doing at this moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ray.tune.search import Searcher

from sweeps.plan import Trial


class SiblingSearcher(Searcher):
    """Hands out a sweep's trials so that each shared result is computed by one of them, its leader.

    A sibling (a trial that needs a result in the making) waits without holding any resource. Trials that need nothing
    more than what is published go first. When a leader fails, the next sibling leads.
    """

    def __init__(self, trials: Sequence[Trial], published: set[str], config: dict[str, Any]) -> None:
        """Take trials to run, the keys of published checkpoints, and the rest of each trial's Tune config."""
        super().__init__()
        self._waiting = {trial.number: trial for trial in trials}
        self._missing = {trial.number: set(trial.missing(published)) for trial in trials}
        self._config = config
        self._leading: dict[str, set[str]] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the config of the next trial; None while all that are left wait for a leader."""
        if not self._waiting:
            return str(Searcher.FINISHED)
        in_the_making = set().union(*self._leading.values())
        ready = [number for number in self._waiting if in_the_making.isdisjoint(self._missing[number])]
        if not ready:
            return None
        # min is stable: among equals, grid order.
        number = min(ready, key=lambda number: len(self._missing[number]))
        self._leading[trial_id] = set(self._missing[number])
        return {**self._config, "trial": self._waiting.pop(number)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Free the siblings of a result that was published."""
        key = result.get("published")
        if key is not None:
            for keys in (*self._missing.values(), *self._leading.values()):
                keys.discard(key)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Hand on the lead of what a trial did not publish."""
        self._leading.pop(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: what is finished is what is in the storage."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""
