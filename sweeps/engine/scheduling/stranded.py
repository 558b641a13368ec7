"""Trials that wait for another node than where something of them failed, while all others have gone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ray.tune import Callback, Stopper

from sweeps.engine import nodes

LOOK_EVERY_S = 5.0
"""Seconds between looks at the nodes."""


class Stranded(Callback, Stopper):
    """Ends Tune's waiting where nothing runs and nothing can: what is placed again takes the nodes that are left."""

    def __init__(self, resources: Mapping[str, float]) -> None:
        """Take what a trial holds."""
        self._resources, self._look_at = resources, 0.0
        self.found = False
        """Whether it came to that."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave nothing to pickle: Tune keeps its callbacks for a restore that we do not use."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Stop no trial by itself."""
        return False

    def stop_all(self) -> bool:
        """Say whether to end."""
        return self.found

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Look at those that wait."""
        waiting = [trial for trial in trials if trial.status == "PENDING"]
        running = any(trial.status == "RUNNING" for trial in trials)
        if running or not waiting or time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_EVERY_S
        self.found = all(
            _chooses(trial) and not nodes.others_can_hold(self._resources, avoided_by(trial.config))
            for trial in waiting
        )


def avoided_by(config: Mapping[str, Any]) -> set[str]:
    """Return the nodes that a trial keeps away from, while there are others.

    All trials leave some out, see `Health`; others could not run this one, or something of it failed there.
    """
    return {*config["left_out"], *config["unfit"], *([config["avoid"]] if config["avoid"] is not None else [])}


def _chooses(trial: Any) -> bool:
    """Say whether a trial does not take any node: one that avoids the only node there is does."""
    return "bundle_label_selector" in trial.placement_group_factory._kwargs
