"""The end of a sweep: no trial waits any more, and workers that fall idle may help the trials that still run."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import Any

import ray
from ray.exceptions import RayError
from ray.tune import Callback
from ray.util.placement_group import get_placement_group, placement_group_table, remove_placement_group

from sweeps.engine.scheduling.queue import Queue

MOST_TRIALS = 100_000
"""Trials that may listen at a time."""


class Signal:
    """Is given once. It is an actor so that trials hear it wherever they run, and at once."""

    def __init__(self) -> None:
        """Not given yet."""
        self._given = asyncio.Event()

    async def give(self) -> None:
        """Wake all who wait."""
        self._given.set()

    async def wait(self) -> None:
        """Return when it is given."""
        await self._given.wait()


class IdleHelp(Callback):
    """Watches the queue, and gives the signal when its last trial has found a place."""

    def __init__(self, queue: Queue) -> None:
        """Make the signal, not given yet."""
        self._queue = queue
        self.signal_name = f"idle-help-{uuid.uuid4().hex}"
        options = {"num_cpus": 0, "max_concurrency": MOST_TRIALS, "name": self.signal_name}
        self._signal: Any = ray.remote(Signal).options(**options).remote()
        self._begun = False

    def close(self) -> None:
        """Let the signal and all help go, which on a Ray that stays would hold processes and places."""
        _free(self.signal_name)
        ray.kill(self._signal)

    def __getstate__(self) -> dict[str, Any]:
        """Leave nothing to pickle: Tune keeps its callbacks for a restore that we do not use."""
        return {}

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Free what a trial held whose process died: Ray frees it only when the driver ends."""
        if self._begun:
            _free(help_of(self.signal_name, trial.config["trial"].number))

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Look whether anyone still waits for a place."""
        if self._begun or not self._queue.nothing_waits or any(trial.status == "PENDING" for trial in trials):
            return
        self._begun = True
        self._signal.give.remote()


def help_of(signal_name: str | None, trial: int) -> str:
    """Return how the names of places begin that help a trial."""
    return f"{signal_name}-{trial}-"


def _free(beginning: str) -> None:
    for group in placement_group_table().values():
        if group["name"].startswith(beginning) and group["state"] != "REMOVED":
            # It may go in this very moment.
            with contextlib.suppress(ValueError):
                remove_placement_group(get_placement_group(group["name"]))


def signal(name: str | None) -> ray.ObjectRef[Any] | None:
    """Return what becomes ready when idle workers may help; None where nobody will say so."""
    if name is None:
        return None
    try:
        waiting: ray.ObjectRef[Any] = ray.get_actor(name).wait.remote()
    except (ValueError, RayError):
        return None  # its node is gone; a sweep can do without help
    return waiting
