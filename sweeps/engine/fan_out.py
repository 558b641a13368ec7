"""The rows of one trial, spread over the places it holds: its own, and at the end of a sweep those nobody else needs.

A row is handed to a place only when the place is there, so a trial waits for none but its own and can always finish.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from sweeps.engine.tasks import Outcome
from sweeps.planning.plan import Row

ATTEMPTS = 5
"""How often a stage or row is tried when its worker process dies. Errors it raises itself are not tried again.

As patient as with a trial's own process: under a hundred kills, three were too few (`benchmarks.chaos`).
"""

LOOK_FOR_HELP_S = 0.5
"""Seconds between looks whether a place asked for has been granted."""


class Try(NamedTuple):
    """One attempt at a row; `alone` with its device to itself, in a process of its own."""

    row: Row
    attempt: int = 1
    alone: bool = False


@dataclass(eq=False)
class Place:
    """Room for one trial's worker, or for several rows that share a GPU. `group` None is the trial's own."""

    group: PlacementGroup | None
    running: int = 0


Submit = Callable[[Try, PlacementGroup | None], "ray.ObjectRef[Any]"]
"""Starts a row in a place and returns what will hold its `Outcome`."""


class FanOut:
    """Rows on their way; iterate over `outcomes`."""

    def __init__(
        self,
        rows: Sequence[Row],
        submit: Submit,
        *,
        width: int,
        resources: Mapping[str, float],
        idle: ray.ObjectRef[Any] | None,
    ) -> None:
        """Take the rows and how to start one.

        Args:
            width: rows that run in one place at a time.
            resources: what a place holds, to ask for more of them.
            idle: becomes ready when idle workers of the cluster may be asked for; None if never.
        """
        self._submit, self._width, self._resources, self._idle = submit, width, dict(resources), idle
        self._waiting = deque(Try(row) for row in rows)
        self._running: dict[ray.ObjectRef[Any], tuple[Try, Place]] = {}
        self._own = Place(None)
        self._places = [self._own]
        self._may_ask = False
        self._asked: PlacementGroup | None = None

    def outcomes(self) -> Iterator[tuple[Row, Outcome | BaseException]]:
        """Yield each row with what became of it, or why its worker could not tell, as they finish."""
        try:
            self._fill()
            while self._running:
                for ref in self._finished():
                    settled = self._settle(ref)
                    # Before anyone hears of it: a report takes time, and a place would stand idle.
                    self._fill()
                    if settled is not None:
                        yield settled
        finally:
            for group in [place.group for place in self._places] + [self._asked]:
                if group is not None:
                    remove_placement_group(group)

    def _fill(self) -> None:
        """Start as many rows as there is room for, and give back or ask for places."""
        for place in self._places:
            while self._waiting and place.running < self._width and self._fits(self._waiting[0], place):
                one = self._waiting.popleft()
                self._running[self._submit(one, place.group)] = (one, place)
                place.running += self._width if one.alone else 1
        if not self._waiting:
            for place in [place for place in self._places if place.group is not None and place.running == 0]:
                self._give_back(place)
            if self._asked is not None:
                remove_placement_group(self._asked)
                self._asked = None
        elif self._may_ask and self._asked is None:
            self._asked = placement_group([self._resources])

    def _fits(self, one: Try, place: Place) -> bool:
        """What needs room runs where the trial can be sure of it, and when nothing else does."""
        return not one.alone or (place is self._own and place.running == 0)

    def _finished(self) -> list[ray.ObjectRef[Any]]:
        """Wait until a row is finished, or a place was granted, or help may be asked for."""
        pending = [*self._running, *([self._idle] if self._idle is not None else [])]
        done, _ = ray.wait(pending, num_returns=1, timeout=LOOK_FOR_HELP_S if self._asked is not None else None)
        if self._idle in done:
            done.remove(self._idle)
            self._may_ask, self._idle = _given(self._idle), None
            self._fill()
        if self._asked is not None and self._asked.wait(timeout_seconds=0):
            self._places.append(Place(self._asked))
            self._asked = None
            self._fill()
        return done

    def _settle(self, ref: ray.ObjectRef[Any]) -> tuple[Row, Outcome | BaseException] | None:
        """Return what became of a row, or None where it is tried again."""
        one, place = self._running.pop(ref)
        place.running -= self._width if one.alone else 1
        try:
            outcome: Outcome = ray.get(ref)
        except RayTaskError as error:
            return one.row, error.cause
        except RayError as error:
            if place.group is not None:
                self._give_back(place)  # its node may be gone
            if one.attempt == ATTEMPTS:
                return one.row, error
            # Where a whole node goes down, this very process is about to: it shall not use up the attempts before.
            time.sleep(one.attempt - 1)
            self._waiting.appendleft(one._replace(attempt=one.attempt + 1))
            return None
        if outcome.needs_room:
            self._waiting.append(one._replace(alone=True))
            return None
        return one.row, outcome

    def _give_back(self, place: Place) -> None:
        assert place.group is not None
        if place in self._places:
            self._places.remove(place)
            remove_placement_group(place.group)


def _given(signal: ray.ObjectRef[Any]) -> bool:
    try:
        ray.get(signal)
    except RayError:
        return False  # the signal's node is gone
    return True
