"""The rows of one trial, spread over the places it holds: its own, and at the end of a sweep those nobody else needs.

A row is handed to a place only when the place is there, so a trial waits for none but its own and can always finish.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group

from sweeps.engine import nodes
from sweeps.engine.scheduling.deaths import Death, examined, failure_by
from sweeps.engine.tasks import Outcome
from sweeps.engine.worker import Place, Seat
from sweeps.errors import NodeError, StorageError
from sweeps.planning.plan import Row
from sweeps.storage.backends.retry import passes

ATTEMPTS = 5
"""How often in a row a stage or row is tried when its worker process dies with no progress saved in between.

As patient as with a trial's own process: under a hundred kills, three were too few (`benchmarks.chaos`).
"""

LOOK_FOR_HELP_S = 0.5
"""Seconds between looks whether a place asked for has been granted, or is there to be asked for."""

GRANTED_WITHIN_S = 5.0
"""How long a place may take to be granted that was free when it was asked for. Where it was not, somebody else was
faster, and a cluster that grows on demand would start a node for the wish."""


STORAGE_RESTS_S = 2.0
"""Before a row is tried again that a storage failed, though each request had been tried again for minutes."""


class Try(NamedTuple):
    """One attempt at a row; `alone` with its device to itself, in a process of its own.

    `deaths` are those of its workers since it last saved any progress; `afresh`: an earlier process had a device that
    could not be used any more; `waited`: the storage failed in a way that may pass, and was given a moment.
    """

    row: Row
    attempt: int = 1
    deaths: tuple[Death, ...] = ()
    alone: bool = False
    afresh: bool = False
    waited: bool = False


Submit = Callable[[Try, Seat], "ray.ObjectRef[Any]"]
"""Starts a row in a worker and returns what will hold its `Outcome`."""


class FanOut:
    """Rows on their way; iterate over `outcomes`."""

    def __init__(
        self,
        rows: Sequence[Row],
        submit: Submit,
        own: Place,
        *,
        idle: ray.ObjectRef[Any] | None = None,
        saved: Callable[[Row], bool] = lambda row: False,
        died: Callable[[Death], None] = lambda death: None,
        avoid: Sequence[str] = (),
        name: str = "",
    ) -> None:
        """Take the rows and how to start one.

        Args:
            own: the trial's own place.
            idle: becomes ready when idle places of the cluster may be asked for; None if never.
            saved: says whether a row whose worker died had saved any progress since it was asked last.
            died: is told of each worker that died.
            avoid: nodes where no help is wanted.
            name: begins the names of places that are asked for, by which the driver finds those of a trial that died.
        """
        self._submit, self._own, self._idle, self._saved, self._avoid = submit, own, idle, saved, tuple(avoid)
        self._tell_died, self._name = died, name
        self._waiting = deque(Try(row) for row in rows)
        self._running: dict[ray.ObjectRef[Any], tuple[Try, Seat]] = {}
        self._places = [own]
        self._may_ask = False
        self._asked: PlacementGroup | None = None
        self._asked_at = 0.0

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
            for _, seat in self._running.values():
                if seat.place is self._own:  # nobody waits for it any more, and the next trial wants its place
                    seat.place.give_back(seat, used_up=True)
            for place in self._places[1:]:
                remove_placement_group(place.group)
            self._ask_no_more()

    def _fill(self) -> None:
        """Start as many rows as there is room for, and give back or ask for places."""
        for place in self._places:
            while (found := self._next(place)) is not None:
                one, seat = found
                self._waiting.remove(one)
                self._running[self._submit(one, seat)] = (one, seat)
        if not self._help_is_of_use:
            for place in [place for place in self._places[1:] if place.idle]:
                self._give_back(place)
            self._ask_no_more()
        elif self._may_ask and self._asked is None and nodes.room_now(self._own.share.resources, self._avoid):
            avoided = [nodes.all_but(self._avoid)] if self._avoid else None
            self._asked = placement_group(
                [dict(self._own.share.resources)],
                name=f"{self._name}{uuid.uuid4().hex}",
                bundle_label_selector=avoided,
            )
            self._asked_at = time.monotonic()

    @property
    def _help_is_of_use(self) -> bool:
        return not all(one.alone for one in self._waiting)

    def _next(self, place: Place) -> tuple[Try, Seat] | None:
        """Return what can run in a place now, and in which of its workers.

        What needs room runs where the trial can be sure of it; those behind it need not wait elsewhere.
        """
        one = next((one for one in self._waiting if place is self._own or not one.alone), None)
        seat = place.take(alone=one.alone) if one is not None else None
        return None if one is None or seat is None else (one, seat)

    def _finished(self) -> list[ray.ObjectRef[Any]]:
        """Wait until a row is finished, or a place was granted, or help may be asked for."""
        pending = [*self._running, *([self._idle] if self._idle is not None else [])]
        looks = self._asked is not None or (self._may_ask and self._help_is_of_use)
        done, _ = ray.wait(pending, num_returns=1, timeout=LOOK_FOR_HELP_S if looks else None)
        if self._idle in done:
            done.remove(self._idle)
            self._may_ask, self._idle = _given(self._idle), None
            self._fill()
        if self._asked is not None and _granted(self._asked):
            self._places.append(Place(self._asked, 0, self._own.share))
            self._asked = None
            self._fill()
        elif self._asked is not None and time.monotonic() - self._asked_at > GRANTED_WITHIN_S:
            self._ask_no_more()
        elif looks and self._asked is None:
            self._fill()
        return done

    def _settle(self, ref: ray.ObjectRef[Any]) -> tuple[Row, Outcome | BaseException] | None:
        """Return what became of a row, or None where it is tried again."""
        one, seat = self._running.pop(ref)
        try:
            outcome: Outcome = ray.get(ref)
        except RayError as error:
            if was_lost(error):
                return self._died(one, seat, error)
            seat.place.give_back(seat)
            cause: Exception = error.cause  # type: ignore[attr-defined]
            if isinstance(cause, StorageError) and not one.waited and passes(OSError(str(cause))):
                time.sleep(STORAGE_RESTS_S)
                self._waiting.appendleft(one._replace(attempt=one.attempt + 1, waited=True))
                return None
            if isinstance(cause, NodeError) and seat.place is not self._own:
                self._avoid = (*self._avoid, cause.node)
                self._give_back(seat.place)
            return one.row, cause
        seat.place.give_back(seat, used_up=outcome.device_is_broken)
        if outcome.needs_room:
            self._waiting.append(one._replace(alone=True))
            return None
        if outcome.device_is_broken and not one.afresh:
            self._waiting.append(one._replace(attempt=one.attempt + 1, afresh=True))
            return None
        if outcome.failure is not None:
            outcome = outcome._replace(failure={**outcome.failure, "attempts": one.attempt})
        return one.row, outcome

    def _died(self, one: Try, seat: Seat, error: RayError) -> tuple[Row, Outcome] | None:
        death = examined(error, seat.process)
        seat.place.give_back(seat, used_up=True)
        if seat.place is not self._own:
            self._give_back(seat.place)  # its node may be gone
        self._tell_died(death)
        deaths = (death,) if self._saved(one.row) else (*one.deaths, death)
        if len(deaths) >= ATTEMPTS:
            return one.row, Outcome(failure_by("row", error, deaths), 0.0, node=death.node, host=death.host)
        # Where a whole node goes down, this very process is about to: it shall not use up the attempts before.
        time.sleep(len(deaths) - 1)
        self._waiting.appendleft(one._replace(attempt=one.attempt + 1, deaths=deaths))
        return None

    def _give_back(self, place: Place) -> None:
        # Others may still run there; what became of them is told by their own ends.
        if place in self._places:
            self._places.remove(place)
            remove_placement_group(place.group)

    def _ask_no_more(self) -> None:
        if self._asked is not None:
            remove_placement_group(self._asked)
            self._asked = None


def was_lost(error: RayError) -> bool:
    """Say whether a process or what it was to read is gone, rather than that the work raised something itself."""
    return not isinstance(error, RayTaskError) or isinstance(error.cause, RayError)


def _granted(group: PlacementGroup) -> bool:
    # `PlacementGroup.wait` counts whole seconds, and with none it hardly ever says yes.
    return bool(placement_group_table(group).get("state") == "CREATED")


def _given(signal: ray.ObjectRef[Any]) -> bool:
    try:
        ray.get(signal)
    except RayError:
        return False  # the signal's node is gone
    return True
