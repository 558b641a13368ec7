"""The driver's end of what stages say of themselves: asked for now and then, and never waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.exceptions import RayError

from sweeps.planning.underway import UnderWay

ASK_EVERY_S = 1.0


class Listener:
    """Knows how far the stages of a run are, as of a moment ago; `stages` by the keys of stages and rows."""

    def __init__(self, messages: Any, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the handle of the run's `Messages`."""
        self._messages, self._clock = messages, clock
        self._asked: ray.ObjectRef[Any] | None = None
        self._asked_at = -ASK_EVERY_S
        self.stages: Mapping[str, UnderWay] = {}

    def look(self) -> None:
        """Take the answer, if it is there, and ask again if that is due. Where nobody answers nothing is known."""
        if self._asked is not None and ray.wait([self._asked], timeout=0)[0]:
            answer, self._asked = self._asked, None
            try:
                self.stages = ray.get(answer)
            except RayError:
                self.stages = {}
        if self._asked is None and self._clock() - self._asked_at >= ASK_EVERY_S:
            self._asked, self._asked_at = self._messages.stages.remote(), self._clock()
