"""How far an unfinished stage is, kept in the storage, no more often than is worth it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import SupportsFloat

from sweeps.storage import Store
from sweeps.study import Checkpoint

WORTH = 20
"""A state is saved when at least this many times what the last saving took has passed since: at most 5% of the time."""

Report = Callable[[float, float, str, Mapping[str, SupportsFloat]], None]
"""Takes what `Progress.report` was told: `done` of `of`, the unit, and what was measured."""

EVERY_S = 600.0
"""Seconds after which a state is wanted within an epoch too."""


class KeptProgress:
    """The progress of one stage of one cell; a `sweeps.study.Progress`."""

    def __init__(
        self, store: Store, place: str, *, every_s: float = EVERY_S, report: Report = lambda *said: None
    ) -> None:
        """Keep states in the folder `place` of `store`; `every_s` is how long a stage may work without being asked for
        one. What the stage reports is handed on to `report`.
        """
        self._store, self._place, self._every_s, self._report = store, place, every_s, report
        self._last_save_s = 0.0
        self._began = self._saved = time.monotonic()
        self.seconds_before = 0.0
        """What earlier processes spent on the state that was loaded."""
        self.kept = False
        """There is something in the storage, as far as is known."""

    @property
    def is_due(self) -> bool:
        """Whether nothing was saved for `every_s`."""
        return time.monotonic() - self._saved >= self._every_s

    def load(self) -> Checkpoint | None:
        """Return the state last saved, by whichever process; None where there is none or it is damaged."""
        state, self.seconds_before = self._store.load_progress(self._place)
        self.kept = self.kept or state is not None
        return state

    def save(self, state: Callable[[], Checkpoint]) -> None:
        """Keep a state in place of the last one, unless that was a moment ago."""
        start = time.monotonic()
        if start - self._saved < WORTH * self._last_save_s:
            return
        self._store.save_progress(self._place, state(), seconds=self.seconds_before + start - self._began)
        self.kept = True
        self._saved = time.monotonic()
        self._last_save_s = self._saved - start

    def report(self, done: float, of: float, unit: str = "epoch", **measured: SupportsFloat) -> None:
        """Hand on how far the stage is."""
        self._report(done, of, unit, measured)

    def forget(self) -> None:
        """Remove what was kept."""
        if self.kept:
            self._store.forget_progress(self._place)
