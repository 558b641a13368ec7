"""The tail of a sweep: no trial waits any more, and workers that fall idle may help the trials that still run."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import ray
from ray.exceptions import RayError
from ray.tune import Callback

from sweeps.engine.queue import Queue

MOST_TRIALS = 100_000
"""Trials that may listen at a time."""


class Bell:
    """Rings once. It is an actor so that trials hear it wherever they run, and at once."""

    def __init__(self) -> None:
        """Stay silent."""
        self._rung = asyncio.Event()

    async def ring(self) -> None:
        """Wake all who wait."""
        self._rung.set()

    async def wait(self) -> None:
        """Return when it rings."""
        await self._rung.wait()


class Tail(Callback):
    """Watches the queue, and rings when its last trial has found a place."""

    def __init__(self, queue: Queue) -> None:
        """Hang up the bell."""
        self._queue = queue
        self.bell_name = f"tail-{uuid.uuid4().hex}"
        options = {"num_cpus": 0, "max_concurrency": MOST_TRIALS, "name": self.bell_name}
        self._bell: Any = ray.remote(Bell).options(**options).remote()
        self._begun = False

    def __getstate__(self) -> dict[str, Any]:
        """Leave nothing to pickle: Tune keeps its callbacks for a restore that we do not use."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Look whether anyone still waits for a place."""
        if self._begun or not self._queue.nothing_waits or any(trial.status == "PENDING" for trial in trials):
            return
        self._begun = True
        self._bell.ring.remote()


def bell(name: str | None) -> ray.ObjectRef[Any] | None:
    """Return what becomes ready when the tail begins; None where nobody will ring."""
    if name is None:
        return None
    try:
        waiting: ray.ObjectRef[Any] = ray.get_actor(name).wait.remote()
    except (ValueError, RayError):
        return None  # its node is gone; a sweep can do without help
    return waiting
