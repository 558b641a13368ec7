"""Which trial starts next: never one whose shared work is being done at this moment, by this run or another.

Plain logic: it knows neither Ray nor how claims are kept. A sibling (a trial that needs a result in the making) waits
without holding any resource. Trials that need nothing more than what is published go first. When the leader of a result
ends without it, the next sibling computes, unless the result failed by itself.

Claims are made and given back by threads of their own: a far storage takes its time, and Tune has one thread for all.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple, Protocol

from sweeps.errors import StorageError
from sweeps.planning.keys import digest
from sweeps.planning.plan import Trial
from sweeps.storage.backends.retry import patience
from sweeps.storage.leases import Run

DEATHS = 5
"""How often in a row a trial's process dies, with nothing finished or saved in between, before it is given up."""

LOOK_EVERY_S = 1.0
"""Seconds between looks at what other runs have claimed, at least."""

CLAIMS_AT_A_TIME = 8
"""Claims made at a time, at most."""

STORAGE_FAILURES = 3
"""How often in a row claims fail before the storage counts as broken; each has been tried again for minutes already,
where that could help."""

CLAIM_PATIENCE_S = 100.0
"""How long a storage that does not answer is asked for one claim; Ctrl-C has to wait for that."""

RUNNING_PER_CLAIM = 8
"""Trials that run for each further one that is claimed ahead: what is claimed and not started keeps others away."""


class Claims(Protocol):
    """What `sweeps.storage.leases.Leases` does for a queue."""

    def taken(self) -> Mapping[str, Run]:
        """Return what other runs have claimed."""

    def claim(self, work: Collection[str]) -> bool:
        """Claim all or nothing."""

    def release(self, work: Iterable[str]) -> None:
        """Give back."""


class Start(NamedTuple):
    """A trial to start now.

    `computes` are the shared results that it, and nobody else, is to compute; `failed` those that failed by themselves,
    with what is known of it. `avoid` is a node where something of it failed, and `second` what is now tried for the
    second time: rows and shared results, by their keys. `unfit` are nodes that could not run it. `claim` is the trial's
    own among the claims.
    """

    trial: Trial
    computes: frozenset[str]
    failed: Mapping[str, Mapping[str, Any]]
    avoid: str | None
    second: frozenset[str]
    unfit: frozenset[str]
    claim: str


class Queue:
    """The trials of one run that have not ended."""

    def __init__(
        self,
        sweep: str,
        trials: Sequence[Trial],
        published: Collection[str],
        claims: Claims,
        clock: Callable[[], float] = time.monotonic,
        *,
        limit: int | None = None,
        executor: Executor | None = None,
    ) -> None:
        """Take the trials to run, and the keys of published checkpoints.

        Args:
            limit: trials that run at a time, at most.
            executor: to make claims in; threads of its own by default.
        """
        self._claims, self._clock, self._limit = claims, clock, limit
        self._executor = executor or ThreadPoolExecutor(CLAIMS_AT_A_TIME, thread_name_prefix="claims")
        self._published = set(published)
        self._waiting = {trial.number: trial for trial in trials}
        self._missing: dict[int, set[str]] = {}
        self._needed_by: defaultdict[str, set[int]] = defaultdict(set)
        self._claim_of = {trial.number: f"trial-{digest([sweep, trial.label])}" for trial in trials}
        self._asked: dict[int, Future[tuple[bool, Mapping[str, Run]]]] = {}
        self._granted: deque[int] = deque()
        self._giving_back: dict[Future[None], set[str]] = {}
        self._running: dict[int, Start] = {}
        self._leading: dict[int, set[str]] = {}
        self._returning: set[int] = set()
        self._deaths: Counter[int] = Counter()
        self._failed: dict[str, Mapping[str, Any]] = {}
        self._avoid: dict[int, str] = {}
        self._second: defaultdict[int, set[str]] = defaultdict(set)
        self._unfit: defaultdict[int, set[str]] = defaultdict(set)
        self._looking: Future[Mapping[str, Run]] | None = None
        self._taken: Mapping[str, Run] = {}
        self._look_at = self._step_back_until = -math.inf
        self._none_is_free = False
        self._storage_failures = 0
        self.storage_failure: str | None = None
        """Why a claim could not be made or given back, once one could not."""
        for trial in trials:
            self._note_missing(trial)

    def close(self) -> None:
        """End the threads; what is still claimed is given back with everything else, when the leases end."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    @property
    def nothing_waits(self) -> bool:
        """All trials have been started, though some may come back."""
        return not self._waiting

    @property
    def over(self) -> bool:
        """All trials have ended for good."""
        return not self._waiting and not self._running

    @property
    def waits_for_others_only(self) -> bool:
        """Whatever runs here, no trial can start before another run has finished something."""
        self._look()
        return bool(self._waiting and self._taken) and all(
            not self._taken.keys().isdisjoint(self._work(number)) for number in self._waiting
        )

    def waits_for(self) -> Run | None:
        """Return another run whose end a trial waits for, if there is one."""
        for number in self._waiting if self._taken else ():
            for work in self._work(number) & self._taken.keys():
                return self._taken[work]
        return None

    def next(self) -> Start | None:
        """Return a trial to start; None while all that are left wait for someone."""
        if self._limit is not None and len(self._running) >= self._limit:
            return None
        self._look()
        self._take_in()
        while not self._granted and (asked := self._ask()) is not None:
            if not self._running:
                # There is nothing else to do, and Tune would sleep for a second.
                wait([asked])
            if not asked.done():
                return None
            self._take_in()
        if not self._granted:
            return None
        number = self._granted.popleft()
        missing = self._missing[number]
        self._leading[number] = set(missing)
        self._running[number] = Start(
            self._waiting.pop(number),
            frozenset(missing),
            dict(self._failed),
            self._avoid.get(number),
            frozenset(self._second[number]),
            frozenset(self._unfit[number]),
            self._claim_of[number],
        )
        return self._running[number]

    def published(self, key: str) -> None:
        """Free the siblings of a result that was published."""
        self._published.add(key)
        self._failed.pop(key, None)
        self._done(key)

    def failed(self, key: str, failure: Mapping[str, Any]) -> None:
        """Note that a shared result failed by itself: its siblings fail with the same cause, and none computes it."""
        self._failed[key] = failure
        self._done(key)

    def lost(self, number: int, key: str) -> None:
        """Note that a trial found a published result gone or damaged: it comes back, and someone computes it again."""
        self._published.discard(key)
        self._returning.add(number)
        for waiting, trial in self._waiting.items():
            if waiting not in self._asked and waiting not in self._granted:
                self._note_missing(trial)

    def again(self, number: int, key: str, node: str) -> None:
        """Note that a row or a shared result of a trial failed on a node: the trial comes back to try it on another."""
        self._second[number].add(key)
        self._avoid[number] = node
        self._returning.add(number)

    def elsewhere(self, number: int, node: str) -> None:
        """Note that a node cannot run a trial: it comes back to run on another."""
        self._unfit[number].add(node)
        self._returning.add(number)

    def back(self, number: int) -> None:
        """Note that a trial has ended before its end: it comes back."""
        self._returning.add(number)

    def made_progress(self, number: int) -> None:
        """Note that a trial finished something, however often its process dies."""
        self._deaths[number] = 0

    def ended(self, number: int, *, died: bool) -> Trial | None:
        """Take note of a trial's end; return the trial if its process died once too often.

        Any other whose process died comes back, and so does one that lost a result.
        """
        start = self._running.pop(number)
        self._release({self._claim_of[number], *self._leading.pop(number)})
        self._none_is_free = False
        self._deaths[number] += died
        if self._deaths[number] >= DEATHS:
            return start.trial
        if died or number in self._returning:
            self._returning.discard(number)
            self._waiting[number] = start.trial
            self._note_missing(start.trial)
        return None

    def take_back(self, *, died: bool = True) -> list[Trial]:
        """Take back trials of whose end nothing was told, once none runs any more; return those to be given up.

        Args:
            died: count it as a death; else they had not begun.
        """
        if not died:
            self._returning.update(self._running)
        ended = [self.ended(number, died=died) for number in [*self._running]]
        return [trial for trial in ended if trial is not None]

    def _note_missing(self, trial: Trial) -> None:
        """Find out which shared results a trial has to wait for or to compute."""
        self._missing[trial.number] = set(trial.missing(self._published)) - self._failed.keys()
        for key in self._missing[trial.number]:
            self._needed_by[key].add(trial.number)
        self._none_is_free = False

    def _done(self, key: str) -> None:
        """Let no trial wait for a shared result any more, nor compute it."""
        self._release({key})
        for number in self._needed_by.pop(key, ()):
            self._missing[number].discard(key)
            self._leading.get(number, set()).discard(key)
        self._none_is_free = False

    def _work(self, number: int) -> set[str]:
        """Return what a trial has to claim: its rows, and the shared results it would lead."""
        return {self._claim_of[number], *self._missing[number]}

    def _look(self) -> None:
        """Take in what others have claimed, and look again where that was a while ago."""
        if self._looking is None and self._clock() >= self._look_at:
            self._looking = self._executor.submit(self._claims.taken)
            self._look_at = self._clock() + LOOK_EVERY_S
        if self._looking is not None and (self._looking.done() or not self._running):
            looked, self._looking = self._looking, None
            try:
                self._taken, self._none_is_free = looked.result(), False
            except StorageError as error:
                self._note_storage(error)

    def _ask(self) -> Future[Any] | None:
        """Claim one more trial, or return a claim under way where there are enough; None where nothing can start."""
        most = min(CLAIMS_AT_A_TIME, 1 + len(self._running) // RUNNING_PER_CLAIM)
        if len(self._asked) >= most:
            return next(iter(self._asked.values()))
        if self._none_is_free or self._clock() < self._step_back_until:
            return None
        ahead = [*self._asked, *self._granted]
        not_now: set[str] = set().union(
            *self._leading.values(), *(self._missing[number] for number in ahead), *self._giving_back.values()
        )
        not_now |= self._taken.keys()
        free = [
            (len(self._missing[number]), number)
            for number in self._waiting
            if number not in ahead
            and self._claim_of[number] not in not_now
            and self._missing[number].isdisjoint(not_now)
        ]
        if not free:
            self._none_is_free = True
            return None
        _, number = min(free)
        self._asked[number] = self._executor.submit(self._claim, self._work(number))
        return self._asked[number]

    def _claim(self, work: set[str]) -> tuple[bool, Mapping[str, Run]]:
        """Return whether work was claimed; where it was not, what others have."""
        with patience(CLAIM_PATIENCE_S):
            return (True, {}) if self._claims.claim(work) else (False, self._claims.taken())

    def _take_in(self) -> None:
        """See which claims have been granted, and what has been given back."""
        for done in [each for each in self._giving_back if each.done()]:
            del self._giving_back[done]
            self._none_is_free = False
            if isinstance(error := done.exception(), StorageError):
                self._note_storage(error)
        for number in [number for number, asked in self._asked.items() if asked.done()]:
            try:
                granted, taken = self._asked.pop(number).result()
            except StorageError as error:
                self._note_storage(error)
                continue
            self._storage_failures = 0
            if granted:
                self._granted.append(number)
                continue
            self._taken, self._none_is_free = taken, False
            if taken.keys().isdisjoint(self._work(number)):
                # Another run wanted the same at this moment, and both stepped back; let it not be in step.
                self._step_back_until = self._clock() + random.random()

    def _note_storage(self, error: StorageError) -> None:
        """Claim again a little later; a storage that fails several times in a row is broken."""
        self._storage_failures += 1
        self._step_back_until = self._clock() + LOOK_EVERY_S
        if self._storage_failures >= STORAGE_FAILURES:
            self.storage_failure = str(error)

    def _release(self, work: Iterable[str]) -> None:
        wanted = set(work)
        self._giving_back[self._executor.submit(self._claims.release, wanted)] = wanted
