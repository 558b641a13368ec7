"""When a whole sweep stops early: the storage failed, the study or the cluster is at fault, or too many rows failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ray.tune import Stopper

from sweeps.engine.scheduling.beginnings import Beginnings
from sweeps.engine.scheduling.health import Health
from sweeps.engine.scheduling.queue import Queue
from sweeps.errors import StorageError


class Stopping(Stopper):
    """Listens to every result of every trial; Tune asks it whether to stop."""

    def __init__(
        self,
        queue: Queue,
        health: Health,
        beginnings: Beginnings,
        check: Callable[[], str],
        *,
        after_failures: int | None,
    ) -> None:
        """Take what else can tell why to stop.

        Args:
            queue: whose claims may fail.
            health: of the nodes.
            beginnings: of trials.
            check: says why this run has to end, if its claims do not hold any more.
            after_failures: the number of failed rows at which to stop, if any.
        """
        self._queue, self._check, self._after_failures = queue, check, after_failures
        self._health, self._beginnings = health, beginnings
        self._failures: set[str] = set()
        self.storage_failure: str | None = None
        """Why the storage could not be used, once it could not."""
        self.lost = ""
        """Why this run has to end: it was out of touch, and others may have taken over."""
        self.study_fault: str | None = None
        """How the study breaks what it declares, once it does."""
        self.cluster_fault = ""
        """Why the nodes cannot run the study, once that is known."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave nothing to pickle: Tune keeps its stopper for a restore that we do not use."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Take note; no trial is stopped by itself."""
        self.storage_failure = self.storage_failure or result.get("storage")
        self.study_fault = self.study_fault or result.get("study")
        if "unfit" in result and not result["elsewhere"] and not self._health.anything_went_well:
            self.cluster_fault = f"node {result['host']} cannot run the study: {result['unfit']}"
        # A row is told again when its trial ends, or starts anew.
        if result.get("failure"):
            self._failures.add(result["row"])
        return False

    @contextmanager
    def storage_may_fail(self) -> Iterator[None]:
        """Stop the sweep where the storage fails in this context: Tune would print a traceback of what it raises."""
        try:
            yield
        except StorageError as error:
            self.storage_failure = self.storage_failure or str(error)

    def stop_all(self) -> bool:
        """Say whether to stop now."""
        with self.storage_may_fail():
            self.lost = self.lost or self._check()
        self.storage_failure = self.storage_failure or self._queue.storage_failure
        self.cluster_fault = self.cluster_fault or self._beginnings.fault
        if self.lost or self.cluster_fault:
            return True
        return self.storage_failure is not None or self.study_fault is not None or self.too_many_failures

    @property
    def too_many_failures(self) -> bool:
        """As many rows failed as the spec allows."""
        return self._after_failures is not None and len(self._failures) >= self._after_failures
