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
        self._waiting = list(trials)
        self._published = set(published)
        self._config = config
        self._leading: dict[str, set[str]] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the config of the next trial; None while all that are left wait for a leader."""
        if not self._waiting:
            return str(Searcher.FINISHED)
        in_the_making = set().union(*self._leading.values())
        ready = [trial for trial in self._waiting if not self._missing(trial) & in_the_making]
        if not ready:
            return None
        # min is stable: among equals, grid order.
        trial = min(ready, key=lambda trial: len(self._missing(trial)))
        self._waiting.remove(trial)
        self._leading[trial_id] = self._missing(trial)
        return {**self._config, "trial": trial}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Free the siblings of a result that was published."""
        key = result.get("published")
        if key is not None:
            self._published.add(key)
            self._leading.get(trial_id, set()).discard(key)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Hand on the lead of what a trial did not publish."""
        self._leading.pop(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: what is finished is what is in the storage."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""

    def _missing(self, trial: Trial) -> set[str]:
        return {stage.key for stage in trial.shared} - self._published
