"""The end of a sweep: no trial waits any more, and workers that fall idle may help the trials that still run."""

from __future__ import annotations

import contextlib
import uuid
from typing import Any

import ray
from ray.tune import Callback
from ray.util.placement_group import get_placement_group, placement_group_table, remove_placement_group

from sweeps.engine.messages import Switchboard, reach
from sweeps.engine.scheduling.queue import Queue


class IdleHelp(Callback):
    """Watches the queue, and gives the signal when its last trial has found a place."""

    def __init__(self, queue: Queue, switchboard: Switchboard) -> None:
        """Name the signal, not given yet; it is heard over the switchboard."""
        self._queue, self._switchboard = queue, switchboard
        self.signal_name = f"idle-help-{uuid.uuid4().hex}"
        self._begun = False

    def close(self) -> None:
        """Let all help go, which on a Ray that stays would hold places."""
        _free(self.signal_name)

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
        self._switchboard.actor.give.remote(self.signal_name)


def help_of(signal_name: str | None, trial: int) -> str:
    """Return how the names of places begin that help a trial."""
    return f"{signal_name}-{trial}-"


def _free(beginning: str) -> None:
    for group in placement_group_table().values():
        if group["name"].startswith(beginning) and group["state"] != "REMOVED":
            # It may go in this very moment.
            with contextlib.suppress(ValueError):
                remove_placement_group(get_placement_group(group["name"]))


def signal(name: str | None, messages: str) -> ray.ObjectRef[Any] | None:
    """Return what becomes ready when idle workers may help; None where nobody will say so.

    Args:
        name: of the signal; None where it is never given.
        messages: the name of those of the run.
    """
    heard = None if name is None else reach(messages)
    waiting: ray.ObjectRef[Any] | None = None if heard is None else heard.wait.remote(name)
    return waiting
