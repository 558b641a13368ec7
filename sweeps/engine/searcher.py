"""The queue as Tune asks it: which config to run next, and what became of those that ran."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher, SearchGenerator

from sweeps.engine.queue import Queue
from sweeps.planning.plan import Trial


class QueueSearcher(Searcher):
    """Hands a queue's trials to Tune. What Tune calls a trial is one start of ours."""

    def __init__(self, queue: Queue, config: dict[str, Any], give_up: Callable[[Trial], None]) -> None:
        """Take the rest of each trial's config, and what to do about a trial whose process keeps dying."""
        super().__init__()
        self._queue, self._config, self._give_up = queue, config, give_up
        self._numbers: dict[str, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave nothing to pickle: Tune keeps its searcher for a restore that we do not use."""
        return {}

    @property
    def nothing_waits(self) -> bool:
        """All trials have been started, though some may come back."""
        return self._queue.nothing_waits

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the config of the next trial; None while all that are left wait."""
        if self._queue.over:
            return str(Searcher.FINISHED)
        start = self._queue.next()
        if start is None:
            return None
        self._numbers[trial_id] = start.trial.number
        return {**self._config, **start._asdict()}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass on what matters to others."""
        number = self._numbers[trial_id]
        if "lost" in result:
            self._queue.lost(number, result["lost"])
        if "published" in result:
            self._queue.published(result["published"])
        if "published" in result or "row" in result:
            self._queue.made_progress(number)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Let the queue decide whether the trial comes back."""
        given_up = self._queue.ended(self._numbers[trial_id], died=error)
        if given_up is not None:
            self._give_up(given_up)

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: what is finished is what is in the storage."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""


class Search(SearchGenerator):
    """Has ended whenever no trial waits: Tune then frees the place of a process that it would keep for the next one.

    A trial that comes back waits, and Tune asks again.
    """

    searcher: QueueSearcher

    def is_finished(self) -> bool:
        """Say whether Tune need ask for no trial now."""
        return bool(super().is_finished()) or self.searcher.nothing_waits
