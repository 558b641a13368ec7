"""What the driver of a large sweep does, without a cluster: queue, searcher and view at 512 GPUs and 100,000 rows.

Trials are events of a simulated clock: each takes what its stages and rows take, told to the searcher and the view as
Tune would tell it, and its GPU asks for the next one when it ends. Claims are real ones on a local storage, and
`requests` counts them. `gpu_busy_share` is the work over what the GPUs could have done from the first start to the
last end; what Ray and Tune themselves take is not in it, nor help at the tail. `driver_cpu_s` and `driver_rss_mb` are
those of this process in the simulation, planning not included in the seconds.
"""

from __future__ import annotations

import heapq
import io
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from rich.console import Console

from benchmarks import simulated_study
from benchmarks.output import parser, write
from sweeps import spec
from sweeps.engine.progress.live import Live
from sweeps.engine.scheduling.health import Health
from sweeps.engine.scheduling.queue import Queue, Start
from sweeps.engine.scheduling.searcher import QueueSearcher
from sweeps.planning import plan as planning
from sweeps.planning.plan import Plan
from sweeps.storage import Store
from sweeps.storage.files import Files
from sweeps.storage.leases import Leases

SECONDS = {"pretrain": 4000.0, "score": 600.0, "row": 300.0}
"""Of a simulated stage or row, on average; each takes between half and one and a half of it."""

ROWS_PER_SEED, ROWS_PER_TRIAL = 45, 9


class AtOnce(Executor):
    """Does what it is handed before it returns: simulated time stands still meanwhile."""

    def submit(self, work: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        """Do it now."""
        done: Future[Any] = Future()
        done.set_result(work(*given, **named))
        return done


@dataclass
class TuneTrial:
    """What the live view reads of a trial of Tune."""

    trial_id: str
    config: dict[str, Any]
    pickled_error_file: str | None = None


@dataclass(order=True)
class Event:
    """Something that a running trial tells at a time; `result` None is its end."""

    at: float
    number: int
    trial: TuneTrial = field(compare=False)
    result: dict[str, Any] | None = field(compare=False)


def main() -> None:
    """Simulate, and print the figures."""
    command_line = parser(__doc__)
    command_line.add_argument("--gpus", type=int, default=512)
    command_line.add_argument("--rows", type=int, default=100_000)
    arguments = command_line.parse_args()
    write(measure(arguments.gpus, arguments.rows), arguments.format)


def measure(gpus: int, rows: int) -> dict[str, Any]:
    """Return the figures of one simulated sweep of about so many rows."""
    seeds = list(range(max(1, round(rows / ROWS_PER_SEED))))
    with tempfile.TemporaryDirectory(prefix="sweeps-scale-") as folder:
        loaded = spec.parse(simulated_study.SPEC, "simulated", [f"grid.seed={seeds}", "diary=unused"])
        store = Store(folder)
        plan = planning.make(loaded, store)
        requests: Counter[str] = Counter()
        began = time.process_time()
        with Leases(store.files, loaded.name) as leases, _counted(requests):
            busy_s, makespan_s = _simulate(plan, leases, gpus, loaded.name)
        return {
            "gpus": gpus,
            "rows": plan.rows,
            "trials": len(plan.trials),
            "gpu_busy_share": busy_s / (gpus * makespan_s),
            "makespan_h": makespan_s / 3600,
            "driver_cpu_s": time.process_time() - began,
            "driver_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "requests": requests.total(),
            "requests_per_trial": requests.total() / len(plan.trials),
        }


def _simulate(plan: Plan, leases: Leases, gpus: int, sweep: str) -> tuple[float, float]:
    """Run all trials on a simulated clock; return the seconds that GPUs worked, and those from start to end."""
    now, busy_s, chance = 0.0, 0.0, random.Random(0)
    events: list[Event] = []
    queue = Queue(sweep, plan.todo, plan.checkpoints, leases, clock=lambda: now, executor=AtOnce())
    searcher = QueueSearcher(queue, {}, lambda trial, why: None)
    live = Live(plan, Console(file=io.StringIO(), width=120))
    live.watch(queue, Health())
    free, started = gpus, 0
    while True:
        while free:
            config = searcher.suggest(str(started))
            if not isinstance(config, dict):
                break
            trial = TuneTrial(str(started), config)
            live.on_trial_start(0, [], trial)
            free, started = free - 1, started + 1
            at = now
            for seconds, result in _course(Start(*(config[name] for name in Start._fields)), chance):
                at, busy_s = at + seconds, busy_s + seconds
                heapq.heappush(events, Event(at, len(events) + started, trial, result))
            heapq.heappush(events, Event(at, len(events) + started, trial, None))
        if not events:
            break
        event = heapq.heappop(events)
        now = event.at
        if event.result is None:
            searcher.on_trial_complete(event.trial.trial_id)
            live.on_trial_complete(0, [], event.trial)
            free += 1
        else:
            searcher.on_trial_result(event.trial.trial_id, event.result)
            live.on_trial_result(0, [], event.trial, event.result)
    assert queue.over, "trials are left that nobody can start"
    assert live.done == plan.rows
    return busy_s, now


def _course(start: Start, chance: random.Random) -> Iterator[tuple[float, dict[str, Any]]]:
    """Yield what a trial tells, and the seconds before it does."""
    for stage in start.trial.shared:
        if stage.key in start.computes:
            seconds = SECONDS[stage.name] * chance.uniform(0.5, 1.5)
            yield seconds, {"published": stage.key, "stage": stage.name, "seconds": seconds}
    for row in start.trial.rows:
        seconds = SECONDS["row"] * chance.uniform(0.5, 1.5)
        told = {"row": str(row.key), "failure": None, "seconds": seconds}
        yield seconds, {**told, "node": "a", "host": "a", "went_wrong": False}


@contextmanager
def _counted(requests: Counter[str]) -> Iterator[None]:
    """Count the requests to a storage, as many as a bucket would be asked."""

    def counting(name: str, names: Callable[..., int]) -> Any:
        real = getattr(Files, name)

        def counted(self: Files, *given: Any, **options: Any) -> Any:
            requests[name] += names(*given)
            return real(self, *given, **options)

        return mock.patch.object(Files, name, counted)

    with (
        counting("publish", lambda *given: 1),
        counting("publish_many", lambda names, *data: len(names)),
        counting("delete", lambda *names: len(names)),
        counting("list", lambda *given: 1),
    ):
        yield


if __name__ == "__main__":
    main()
