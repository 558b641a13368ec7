"""Trials whose process dies before they have begun: what it was to load is missing there, and no row is to blame."""

from __future__ import annotations

from typing import Any

from ray.tune import Callback

from sweeps.engine import nodes
from sweeps.engine.scheduling.deaths import death_of
from sweeps.engine.scheduling.health import Health

STILLBORN = 5
"""So many processes die before any trial has begun anywhere, and the sweep stops."""


class Beginnings(Callback):
    """Tells which nodes begin trials, and which lose them before. What Tune calls a trial is one start of ours."""

    def __init__(self, health: Health) -> None:
        """Take where it is told."""
        self._health = health
        self._begun: set[str] = set()
        self._stillborn = 0
        self._why = ""

    def __getstate__(self) -> dict[str, Any]:
        """Leave nothing to pickle: Tune keeps its callbacks for a restore that we do not use."""
        return {}

    @property
    def fault(self) -> str:
        """Why no trial can begin, in a sentence; no text while one has, or too few were tried."""
        if self._begun or self._stillborn < STILLBORN:
            return ""
        return f"no trial can begin: the processes of the first {self._stillborn} died before, the last of {self._why}"

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Note a beginning."""
        if "at" in result:
            self._begun.add(trial.trial_id)
            self._health.tell_begun(result["at"])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note a death before the beginning."""
        if trial.trial_id in self._begun:
            return
        death = death_of(trial)
        self._stillborn, self._why = self._stillborn + 1, death.why
        if (node := nodes.at(death.address)) is not None:
            self._health.tell_stillborn(*node)
