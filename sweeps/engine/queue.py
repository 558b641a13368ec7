"""Which trial starts next: never one whose shared work is being done at this moment, by this run or another.

Plain logic: it knows neither Ray nor how claims are kept. A sibling (a trial that needs a result in the making) waits
without holding any resource. Trials that need nothing more than what is published go first. When the leader of a result
ends without it, the next sibling computes.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from sweeps.planning.keys import digest
from sweeps.planning.plan import Trial
from sweeps.storage.leases import Run

DEATHS = 5
"""How often in a row a trial's process dies, with nothing finished in between, before the trial is given up.

Some patience: on machines that can be taken away at any time, a long pretraining goes on from its last epoch.
"""

LOOK_EVERY_S = 1.0
"""Seconds between looks at what other runs have claimed, at least."""


class Claims(Protocol):
    """What `sweeps.storage.leases.Leases` does for a queue."""

    def taken(self) -> Mapping[str, Run]:
        """Return what other runs have claimed."""

    def claim(self, work: Collection[str]) -> bool:
        """Claim all or nothing."""

    def release(self, work: Iterable[str]) -> None:
        """Give back."""


class Start(NamedTuple):
    """A trial to start now. `computes` are the shared results that it, and nobody else, is to compute."""

    trial: Trial
    computes: frozenset[str]


class Queue:
    """The trials of one run that have not ended."""

    def __init__(
        self,
        sweep: str,
        trials: Sequence[Trial],
        published: Collection[str],
        claims: Claims,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the trials to run, and the keys of published checkpoints."""
        self._claims, self._clock = claims, clock
        self._published = set(published)
        self._waiting = {trial.number: trial for trial in trials}
        self._missing = {trial.number: set(trial.missing(published)) for trial in trials}
        self._claim_of = {trial.number: f"trial-{digest([sweep, trial.label])}" for trial in trials}
        self._running: dict[int, Start] = {}
        self._leading: dict[int, set[str]] = {}
        self._returning: set[int] = set()
        self._deaths: Counter[int] = Counter()
        self._taken: Mapping[str, Run] = {}
        self._look_at = self._step_back_until = -math.inf

    @property
    def nothing_waits(self) -> bool:
        """All trials have been started, though some may come back."""
        return not self._waiting

    @property
    def over(self) -> bool:
        """All trials have ended for good."""
        return not self._waiting and not self._running

    def waits_for(self) -> Run | None:
        """Return another run whose end a trial waits for, if there is one."""
        for number in self._waiting:
            for work in self._work(number) & self._taken.keys():
                return self._taken[work]
        return None

    def next(self) -> Start | None:
        """Return a trial to start; None while all that are left wait for someone."""
        in_the_making = set().union(*self._leading.values())
        ready = [number for number in self._waiting if in_the_making.isdisjoint(self._missing[number])]
        if not ready or self._clock() < self._step_back_until:
            return None
        if self._clock() >= self._look_at:
            self._look()
        while free := [number for number in ready if self._taken.keys().isdisjoint(self._work(number))]:
            # min is stable: among equals, grid order.
            number = min(free, key=lambda number: len(self._missing[number]))
            if self._claims.claim(self._work(number)):
                missing = self._missing[number]
                self._leading[number] = set(missing)
                self._running[number] = Start(self._waiting.pop(number), frozenset(missing))
                return self._running[number]
            self._look()
            if self._taken.keys().isdisjoint(self._work(number)):
                # Another run wanted the same at this moment, and both stepped back; let it not be in step.
                self._step_back_until = self._clock() + random.random()
                return None
        return None

    def published(self, key: str) -> None:
        """Free the siblings of a result that was published."""
        self._published.add(key)
        self._claims.release({key})
        for keys in (*self._missing.values(), *self._leading.values()):
            keys.discard(key)

    def lost(self, number: int, key: str) -> None:
        """Note that a trial found a published result gone or damaged: it comes back, and someone computes it again."""
        self._published.discard(key)
        self._returning.add(number)
        for waiting, trial in self._waiting.items():
            self._missing[waiting] = set(trial.missing(self._published))

    def made_progress(self, number: int) -> None:
        """Note that a trial finished something, however often its process dies."""
        self._deaths[number] = 0

    def ended(self, number: int, *, died: bool) -> Trial | None:
        """Take note of a trial's end; return the trial if its process died once too often.

        Any other whose process died comes back, and so does one that lost a result.
        """
        start = self._running.pop(number)
        self._claims.release({self._claim_of[number], *self._leading.pop(number)})
        self._deaths[number] += died
        if self._deaths[number] >= DEATHS:
            return start.trial
        if died or number in self._returning:
            self._returning.discard(number)
            self._waiting[number] = start.trial
            self._missing[number] = set(start.trial.missing(self._published))
        return None

    def _work(self, number: int) -> set[str]:
        """Return what a trial has to claim: its rows, and the shared results it would lead."""
        return {self._claim_of[number], *self._missing[number]}

    def _look(self) -> None:
        self._taken = self._claims.taken()
        self._look_at = self._clock() + LOOK_EVERY_S
