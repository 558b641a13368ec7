"""The queue as Tune asks it: which config to run next, and what became of those that ran."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher, SearchGenerator

from sweeps.engine.scheduling.health import Health
from sweeps.engine.scheduling.queue import DEATHS, Queue
from sweeps.planning.plan import Trial


class QueueSearcher(Searcher):
    """Hands a queue's trials to Tune. What Tune calls a trial is one start of ours."""

    def __init__(
        self,
        queue: Queue,
        config: dict[str, Any],
        give_up: Callable[[Trial, str], None],
        *,
        health: Health | None = None,
        saved: Callable[[Trial], bool] = lambda trial: False,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take the rest of each trial's config.

        Args:
            give_up: what to do about a trial whose process keeps dying, or that no node can run; takes why, in words.
            health: of the nodes.
            saved: says whether a trial whose process died had saved any progress since it was asked last.
            stop: says whether the sweep is to stop, which Tune does not ask while no trial runs.
        """
        super().__init__()
        self._queue, self._config, self._give_up, self._saved = queue, config, give_up, saved
        self._health, self._stop = health or Health(), stop
        self._starts: dict[str, Trial] = {}
        self._places: dict[str, tuple[str, str]] = {}
        self._unfit: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave nothing to pickle: Tune keeps its searcher for a restore that we do not use."""
        return {}

    @property
    def nothing_can_start(self) -> bool:
        """No trial waits, though some may come back; or all that wait do so for another run; or the sweep stops."""
        return self._stop() or self._queue.nothing_waits or self._queue.waits_for_others_only

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the config of the next trial; None while all that are left wait."""
        if self._queue.over:
            return str(Searcher.FINISHED)
        start = self._queue.next()
        if start is None:
            return None
        self._starts[trial_id] = start.trial
        return {**self._config, **start._asdict(), "left_out": self._health.left_out()}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass on what matters to others."""
        number = self._starts[trial_id].number
        if "lost" in result:
            self._queue.lost(number, result["lost"])
        if "published" in result:
            self._queue.published(result["published"])
        if "stage_failed" in result:
            self._queue.failed(result["stage_failed"], json.loads(result["record"]))
        if "again" in result:
            self._queue.again(number, result["again"], result["node"])
        if "unfit" in result:
            self._health.tell_unfit(result["node"], result["host"])
            if result["elsewhere"]:
                self._queue.elsewhere(number, result["node"])
            else:
                self._unfit[trial_id] = f"no node can run it ({result['unfit']})"
        if "taken_over" in result:
            self._queue.back(number)
        if "at" in result:
            self._places[trial_id] = result["at"], result["host"]
        if "published" in result or "row" in result:
            self._queue.made_progress(number)
        if result.get("node") and "unfit" not in result:
            self._health.tell(result["node"], result.get("host", ""), failed=result["went_wrong"])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Let the queue decide whether the trial comes back."""
        trial, place = self._starts[trial_id], self._places.pop(trial_id, None)
        if error and self._saved(trial):
            self._queue.made_progress(trial.number)
        elif error and place is not None:
            self._health.tell(*place, failed=True)
        given_up = self._queue.ended(trial.number, died=error)
        if given_up is not None:
            self._give_up(given_up, f"its process died {DEATHS} times in a row with nothing finished in between")
        elif trial_id in self._unfit:
            self._give_up(trial, self._unfit[trial_id])

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: what is finished is what is in the storage."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""


class Search(SearchGenerator):
    """Has ended whenever no trial can start: Tune then frees the places of processes that it keeps for the next one.

    A trial that comes back waits, and Tune asks again. Where all wait for another run, and the other for a place, both
    would wait for ever if this one held any.
    """

    searcher: QueueSearcher

    def is_finished(self) -> bool:
        """Say whether Tune need ask for no trial now."""
        return bool(super().is_finished()) or self.searcher.nothing_can_start
