"""A worker's end of what stages say of themselves: seldom, in the background, and never in the way."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any, SupportsFloat

from sweeps.engine import messages
from sweeps.planning.underway import UnderWay

TELL_EVERY_S = 2.0
"""Seconds between two words of a stage, at least."""

Tell = Callable[[str, UnderWay | None], None]
"""Takes how far the stage or row of a key is; None: it is over."""


def nobody(key: str, stage: UnderWay | None) -> None:
    """Tell no one."""


class StageReports:
    """What one stage reports, as `Progress.report` takes it, made into words for `tell` now and then."""

    def __init__(self, tell: Tell, key: str, about: UnderWay, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Know the stage.

        Args:
            tell: whom to tell.
            key: of the stage or row.
            about: the stage before it has said anything.
            clock: in seconds.
        """
        self._tell, self._key, self._about, self._clock = tell, key, about, clock
        self._told_at: float | None = None
        self._began: tuple[str, float, float, float] | None = None

    def __call__(self, done: float, of: float, unit: str, measured: Mapping[str, SupportsFloat]) -> None:
        """Take a report. Whatever is wrong with it is no reason for a stage to fail."""
        now = self._clock()
        if self._began is not None and self._began[0] == unit and now - (self._told_at or now) < TELL_EVERY_S:
            return
        with contextlib.suppress(Exception):
            self._take(float(done), float(of), unit, {name: float(value) for name, value in measured.items()}, now)

    def _take(self, done: float, of: float, unit: str, measured: Mapping[str, float], now: float) -> None:
        if not 0 < of < float("inf"):
            return
        if self._began is None or self._began[0] != unit or self._began[1] != of or done < self._began[2]:
            # Another part of the stage, which has a pace of its own.
            self._began = unit, of, done, now
        *_, first, since = self._began
        each_s = (now - since) / (done - first) if done > first else None
        self._told_at = now
        self._tell(self._key, self._about._replace(unit=unit, done=done, of=of, measured=measured, each_s=each_s))


class ToDriver:
    """Tells the driver, and waits for nothing."""

    def __init__(self, name: str) -> None:
        """Take the name of the run's `Messages`; they are looked for when there is something to tell."""
        self._name = name
        self._actor: Any = None
        self._silent = not name

    def __call__(self, key: str, stage: UnderWay | None) -> None:
        """Tell how far a stage or row is; None: it is over. Nobody may be there to hear it."""
        if self._actor is None and not self._silent:
            self._actor = messages.reach(self._name)
            self._silent = self._actor is None
        if not self._silent:
            with contextlib.suppress(Exception):
                self._actor.note.remote(key, stage)
