"""What the processes of a run tell each other at once, past Tune: an actor of the driver's, that all can reach."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import defaultdict
from typing import Any

import ray
from ray.exceptions import RayError

from sweeps.planning.underway import UnderWay

MOST_TRIALS = 100_000
"""Trials that may listen at a time."""


class Messages:
    """Signals, each given once, and how far stages are. An actor, so that trials hear it wherever they run."""

    def __init__(self) -> None:
        """Nothing was told yet."""
        self._signals: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._stages: dict[str, tuple[UnderWay, float]] = {}

    async def give(self, signal: str) -> None:
        """Wake all who wait for a signal."""
        self._signals[signal].set()

    async def wait(self, signal: str) -> None:
        """Return when a signal is given."""
        await self._signals[signal].wait()

    async def note(self, key: str, stage: UnderWay | None) -> None:
        """Remember how far the stage or row of a key is; None: it is not computed any more."""
        if stage is None:
            self._stages.pop(key, None)
        else:
            self._stages[key] = stage, time.monotonic()

    async def stages(self) -> dict[str, UnderWay]:
        """Return what was noted last of each, and how long ago that was."""
        now = time.monotonic()
        return {key: stage._replace(age_s=now - at) for key, (stage, at) in self._stages.items()}


class Switchboard:
    """The driver's end: starts the actor, and ends it."""

    def __init__(self) -> None:
        """Start it."""
        self.name = f"messages-{uuid.uuid4().hex}"
        options = {"num_cpus": 0, "max_concurrency": MOST_TRIALS, "name": self.name}
        self.actor: Any = ray.remote(Messages).options(**options).remote()

    def close(self) -> None:
        """End it, which on a Ray that stays would hold a process."""
        ray.kill(self.actor)


def reach(name: str) -> Any:
    """Return the handle of a run's `Messages`; None where it is gone, without which a sweep can do."""
    try:
        return ray.get_actor(name)
    except (ValueError, RayError):
        return None
