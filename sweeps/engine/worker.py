"""The process that computes. It belongs to one place for good: CUDA reads once which devices it may see.

Ray would hand a kept process of tasks to any trial, with another GPU in its environment and the first one in CUDA. An
actor keeps what it was given when it started.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from sweeps.engine import tasks
from sweeps.engine.job import Job
from sweeps.engine.progress.reports import ToDriver
from sweeps.engine.scheduling import whereabouts
from sweeps.engine.scheduling.whereabouts import Whereabouts
from sweeps.errors import NodeError
from sweeps.planning.plan import Row
from sweeps.study import Checkpoint

HOLDS_GPU = "SWEEPS_HOLDS_GPU"
"""Environment variable of a worker: "1" where its place holds a GPU, so that no study computes without in silence."""

ROWS_PER_DEVICE = "SWEEPS_ROWS_PER_DEVICE"
"""Environment variable of a worker: how many rows share its GPU."""


class Worker:
    """An actor; see `sweeps.engine.tasks` for what it computes."""

    def __init__(self, environment: Mapping[str, str], messages: str = "") -> None:
        """Let the study know where it runs, before it is made; `messages` are those of the run."""
        os.environ.update(environment)
        self._tell = ToDriver(messages)

    def whereabouts(self) -> Whereabouts:
        """Say where this process is, while it still can."""
        return whereabouts.here()

    def compute_stage(self, job: Job, name: str, key: str, *given: Any, **declared: Any) -> Checkpoint:
        """Compute a shared stage."""
        with _saying_where(), self._telling(key):
            return tasks.compute_stage(job, name, key, *given, **declared, tell=self._tell)

    def compute_row(self, job: Job, row: Row, *given: Any) -> tasks.Outcome:
        """Compute a row."""
        with _saying_where(), self._telling(str(row.key)):
            outcome = tasks.compute_row(job, row, *given, tell=self._tell)
        return outcome._replace(node=ray.get_runtime_context().get_node_id(), host=socket.gethostname())

    @contextlib.contextmanager
    def _telling(self, key: str) -> Iterator[None]:
        """Say in the end that nothing is computed under a key any more."""
        try:
            yield
        finally:
            self._tell(key, None)


@contextlib.contextmanager
def _saying_where() -> Iterator[None]:
    try:
        yield
    except NodeError as error:
        raise NodeError(error.said, ray.get_runtime_context().get_node_id(), socket.gethostname()) from error


class Share(NamedTuple):
    """What a trial holds: `resources` of a place, in which `width` rows run at a time.

    `signal` is that of idle workers and `messages` names who tells it; `run` the driver whose shelves it uses, and
    `lease` its run among claims.
    """

    resources: Mapping[str, float]
    width: int = 1
    signal: str | None = None
    run: str = ""
    lease: str = ""
    messages: str = ""


class Seat:
    """One worker of a place, started when it is first asked for something."""

    def __init__(self, place: Place, width: int) -> None:
        """Take the place, and how many workers share it."""
        self.place, self.width = place, width
        self._worker: Any = None
        self._told: ray.ObjectRef[Any] | None = None

    def begin(self) -> Any:
        """Return the actor's handle, for one piece of work; before it, the actor says where it is."""
        if self._worker is None:
            resources = self.place.share.resources
            gpus = resources.get("GPU", 0)
            self._worker = (
                ray.remote(Worker)
                .options(
                    num_cpus=_part(resources["CPU"], self.width),
                    num_gpus=_part(gpus, self.width),
                    # Retrying is ours: the attempt is recorded, and Ray's retries would multiply with it.
                    max_restarts=0,
                    max_task_retries=0,
                    scheduling_strategy=PlacementGroupSchedulingStrategy(
                        self.place.group, placement_group_bundle_index=self.place.bundle
                    ),
                )
                .remote({HOLDS_GPU: "1" if gpus else "", ROWS_PER_DEVICE: str(self.width)}, self.place.share.messages)
            )
        self._told = self._worker.whereabouts.remote()
        return self._worker

    @property
    def process(self) -> Whereabouts | None:
        """Where the actor was when it last began something; None where it did not come to say so."""
        try:
            return None if self._told is None else ray.get(self._told, timeout=0)
        except RayError:  # also where it has said nothing yet
            return None

    def end(self) -> None:
        """End the process, if there is one; the next who asks has another."""
        if self._worker is not None:
            ray.kill(self._worker)
            self._worker = None


class Place:
    """Room for one trial's worker, or for several that share a GPU: a bundle of a placement group."""

    def __init__(self, group: PlacementGroup, bundle: int, share: Share) -> None:
        """Start no process yet."""
        self.group, self.bundle, self.share = group, bundle, share
        self._seats = [Seat(self, share.width) for _ in range(share.width)]
        self._taken: list[Seat] = []

    @property
    def idle(self) -> bool:
        """Nothing runs here."""
        return not self._taken

    def take(self, *, alone: bool = False) -> Seat | None:
        """Return a worker that nobody else has; None where none is free. `alone` with the whole place to itself.

        What needs that finds the device as a new process does: those that shared it have ended.
        """
        if alone:
            if self._taken:
                return None
            for seat in self._seats:
                seat.end()
            self._taken.append(Seat(self, 1))
            return self._taken[-1]
        if any(seat not in self._seats for seat in self._taken):
            return None
        free = next((seat for seat in self._seats if seat not in self._taken), None)
        if free is not None:
            self._taken.append(free)
        return free

    def give_back(self, seat: Seat, *, used_up: bool = False) -> None:
        """Return a worker. `used_up`: its process is gone, or not to be used again."""
        self._taken.remove(seat)
        if used_up or seat not in self._seats:
            seat.end()


def _part(amount: float, width: int) -> float:
    """Return what one of `width` workers asks for; Ray takes fractions of one, and whole numbers beyond."""
    part = amount / width
    return part if part < 1 else int(part)
