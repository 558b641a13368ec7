"""When a whole sweep stops early: the storage failed, the study is at fault, or too many rows failed."""

from __future__ import annotations

from typing import Any

from ray.tune import Stopper

from sweeps.engine.scheduling.queue import Queue


class Stopping(Stopper):
    """Listens to every result of every trial; Tune asks it whether to stop."""

    def __init__(self, queue: Queue, *, after_failures: int | None) -> None:
        """Take the number of failed rows at which to stop, if any."""
        self._queue, self._after_failures = queue, after_failures
        self._failures = 0
        self.storage_failure: str | None = None
        """Why the storage could not be used, once it could not."""
        self.study_fault: str | None = None
        """How the study breaks what it declares, once it does."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave nothing to pickle: Tune keeps its stopper for a restore that we do not use."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Take note; no trial is stopped by itself."""
        self.storage_failure = self.storage_failure or result.get("storage")
        self.study_fault = self.study_fault or result.get("study")
        self._failures += bool(result.get("failure"))
        return False

    def stop_all(self) -> bool:
        """Say whether to stop now."""
        self.storage_failure = self.storage_failure or self._queue.storage_failure
        return self.storage_failure is not None or self.study_fault is not None or self.too_many_failures

    @property
    def too_many_failures(self) -> bool:
        """As many rows failed as the spec allows."""
        return self._after_failures is not None and self._failures >= self._after_failures
