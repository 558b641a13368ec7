"""What is left of the promise "each row once" when workers, trials and whole nodes are killed all the time.

The reference grid with stages that only sleep runs twice on nodes of this machine, as `sweeps run --address`: once
undisturbed, then under kills spread at random over the run, by two drivers at once, of which one is stopped now and
then for longer than its leases last. `rows_recomputed` and `checkpoints_retrained` count what began after its result
was published (a file's change time); `computed_twice` counts stages and rows that came to their end more than once:
what a kill hits between the end and the publication, or a paused driver's workers do beside those of who took over.
`metrics_differing` are rows whose metric is not exactly the undisturbed one, and `rows_of_other_checkpoints` those
made from something else than what is published under their checkpoint's key: with `--set noise=true` no two trainings
are equal, as on GPUs, and that is what is left to compare. Where so many deaths hit a row or trial that the sweep gives
it up, or a driver finds that it was out of touch, all are launched again with `--retry-failed`, and `relaunches` counts
that. Live lines go to stderr.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.nodes import Nodes, kill
from benchmarks.output import parser, write
from benchmarks.simulated_study import SPEC, SimulatedSettings, SimulatedStudy
from sweeps import spec
from sweeps.planning import plan
from sweeps.storage.leases import ABANDONED_AFTER_S
from sweeps.study import Cell, Checkpoint, Progress
from tests.support import processes

NODES, SLOTS = 3, 2
KINDS = {"worker": 0.7, "trial": 0.2, "node": 0.1}
"""What is killed, and how often."""

PAUSE, PAUSED_S = "pause", ABANDONED_AFTER_S + 15
"""A driver is stopped, as when its machine sleeps, for so long that others take it for dead."""

LOOK_WITHIN_S = 1.0
"""A kill comes at most so long after its time, which is when something begins."""

LAUNCHES = 10
"""How often a sweep is launched before this benchmark gives up."""


class ChaosSettings(SimulatedSettings):
    """Seconds are those of whole stages."""

    pretrain: float = 2.0
    score: float = 0.3
    ratio: float = 0.3
    parameters: int = 10_000
    epochs: int = 10
    noise: bool = False


class ChaosStudy(SimulatedStudy):
    """The simulated study, which trains in epochs it can go on from, and writes down what it begins."""

    Settings: ClassVar = ChaosSettings
    settings: ChaosSettings

    def pretrain(self, cell: Cell, progress: Progress) -> Checkpoint:
        """Compute weights that depend on every epoch."""
        state = progress.load() or {"weights": np.arange(self.settings.parameters, dtype=float), "epoch": np.array(0)}
        weights, done = state["weights"], int(state["epoch"])
        with self._written("pretrain", cell):
            for epoch in range(done + 1, self.settings.epochs + 1):
                time.sleep(self.settings.pretrain / self.settings.epochs)
                weights = np.sqrt(weights * (1 + float(cell["seed"])) + epoch * len(str(cell["colour"])))
                progress.save(lambda weights=weights, epoch=epoch: {"weights": weights, "epoch": np.array(epoch)})  # type: ignore[misc]
        return {"weights": weights + (time.time() % 1 if self.settings.noise else 0)}

    def score(self, cell: Cell, checkpoint: Checkpoint, progress: Progress) -> Checkpoint:
        """Score weights in a way that every initializer has of its own."""
        with self._written("score", cell):
            time.sleep(self.settings.score)
        return {"scores": np.sin(checkpoint["weights"] * len(str(cell["initializer"])))}

    def evaluate_row(
        self, cell: Cell, checkpoint: Checkpoint, scores: Checkpoint | None, progress: Progress
    ) -> dict[str, Any]:
        """Sum the weights that are left."""
        assert scores is not None
        with self._written("ratio", cell):
            time.sleep(self.settings.ratio)
        kept = scores["scores"] >= np.quantile(scores["scores"], float(cell["ratio"]))
        return {"kept": float(checkpoint["weights"][kept].sum()) + len(str(cell["structure"]))}

    @contextmanager
    def _written(self, stage: str, cell: Cell) -> Iterator[None]:
        entry = {"stage": stage, "cell": cell, "begun": time.time()}
        # In one step: this process may be killed at any moment.
        draft = Path(self.settings.diary, f"{uuid.uuid4().hex}.draft")
        draft.write_text(json.dumps(entry))
        draft.rename(draft.with_suffix(".json"))
        yield
        draft.with_suffix(".json").rename(draft.with_suffix(".done.json"))


class Kill(NamedTuple):
    """Kill something of a kind once so many stages and rows have begun."""

    begun: int
    kind: str


class Sweep:
    """One sweep in a folder of its own, launched as often as it takes."""

    def __init__(self, folder: Path, nodes: Nodes, changes: Sequence[str]) -> None:
        """Write its spec."""
        self._nodes = nodes
        self._diary, self._storage, self._file = folder / "diary", folder / "runs", folder / "chaos.yaml"
        self._diary.mkdir(parents=True)
        self._file.write_text(SPEC.replace("benchmarks.simulated_study:SimulatedStudy", "benchmarks.chaos:ChaosStudy"))
        self._changes = [*changes, f"diary={self._diary}"]
        self._spec = spec.load(str(self._file), self._changes)
        self._published: dict[str, float] = {}
        self.killed = Counter(dict.fromkeys([*KINDS, PAUSE], 0))
        self.launches = self.failures_recorded = 0

    @property
    def stages(self) -> int:
        """All stages and rows of the grid."""
        return len(set(self._keys().values()))

    def run(self, kills: Sequence[Kill], *, seed: int, log: IO[str], drivers: int = 1) -> float:
        """Run the sweep to its end, under kills; return the seconds it took."""
        sets = [f"--set={change}" for change in self._changes]
        arguments = ["run", str(self._file), "--storage", str(self._storage), "--address", self._nodes.address, *sets]
        start, chance, pending = time.monotonic(), random.Random(seed), deque(kills)
        with self._watched():
            for _ in range(LAUNCHES):
                self.launches += 1
                with ExitStack() as running:
                    launched = [
                        running.enter_context(_launched([*arguments, "--retry-failed"], log)) for _ in range(drivers)
                    ]
                    # The first one is paused, and the last one goes on.
                    while pending and self._wait_for(launched[-1], pending[0].begun):
                        self._kill(pending.popleft().kind, launched, chance)
                    if 0 in [driver.wait() for driver in reversed(launched)]:
                        return time.monotonic() - start
                self.failures_recorded += len(list(self._storage.glob("*/failures/*.json")))
        raise RuntimeError(f"the sweep was launched {LAUNCHES} times and did not finish; stderr tells why")

    def rows(self) -> pd.DataFrame:
        """Return the rows as they lie in the storage, whatever they are."""
        return pd.read_parquet(self._storage / self._spec.name / "results")

    def begun_late(self, kind: str) -> int:
        """Return how many stages of a kind began when their result was published already."""
        keys = self._keys()
        entries = [json.loads(file.read_text()) for file in self._diary.glob("*.json")]
        return sum(
            entry["begun"] > self._published[keys[kind, json.dumps(entry["cell"])]]
            for entry in entries
            if entry["stage"] == kind
        )

    def computed_twice(self) -> int:
        """Return how many stages and rows were computed to their end more than once."""
        entries = [json.loads(file.read_text()) for file in self._diary.glob("*.done.json")]
        keys = self._keys()
        ends = Counter(keys[entry["stage"], json.dumps(entry["cell"])] for entry in entries)
        return sum(count > 1 for count in ends.values())

    def rows_of_other_checkpoints(self) -> int:
        """Return how many rows were not made from what is published under their checkpoint's key."""
        published = {
            file.parent.name: json.loads(file.read_text())["sha256"]
            for file in self._storage.glob("checkpoints/*/meta.json")
        }
        rows = self.rows()
        return int((rows.checkpoint_key.map(published) != rows.checkpoint_sha256).sum())

    def _keys(self) -> dict[tuple[str, str], str]:
        """Return under which key the result of a stage of a cell is published."""
        keys = {}
        for trial in plan.trials(self._spec):
            for row in trial.rows:
                keys["ratio", json.dumps(row.cell)] = str(row.key)
                keys |= {(stage.name, json.dumps(row.cell)): stage.key for stage in trial.shared}
        return keys

    def _wait_for(self, driver: subprocess.Popen[str], begun: int) -> bool:
        """Return whether so many stages began before the driver ended."""
        while len(list(self._diary.glob("*.json"))) < begun:
            if driver.poll() is not None:
                return False
            time.sleep(0.02)
        return True

    def _kill(self, kind: str, drivers: Sequence[subprocess.Popen[str]], chance: random.Random) -> None:
        """Kill one of a kind; where there is none, look again later, else what begins next would always be hit."""
        if kind == PAUSE:
            # After an earlier pause it may have found itself out of touch, and ended.
            if drivers[0].poll() is None:
                _pause(drivers[0])
                self.killed[kind] += 1
            return
        victims: Sequence[Any] = ()
        while not victims:
            time.sleep(chance.uniform(0, LOOK_WITHIN_S))
            if drivers[-1].poll() is not None:
                return
            victims = self._victims(kind)
        if kind == "node":
            self._nodes.remove(chance.choice(victims))
            self._nodes.add()
        else:
            kill(chance.choice(victims))
        self.killed[kind] += 1

    def _victims(self, kind: str) -> Sequence[Any]:
        """Return processes or nodes."""
        if kind == "node":
            return self._nodes.computing
        return self._nodes.trials() if kind == "trial" else self._nodes.workers()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Note when each result was published first, though a checkpoint may be written twice."""
        over = threading.Event()

        def look() -> None:
            for file in self._storage.glob("checkpoints/*/meta.json"):
                self._published.setdefault(file.parent.name, file.stat().st_ctime)
            for file in self._storage.glob("*/results/*.parquet"):
                self._published.setdefault(file.stem, file.stat().st_ctime)

        def keep_looking() -> None:
            while not over.wait(0.2):
                look()

        watcher = threading.Thread(target=keep_looking, name="watcher")
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
            look()


def main() -> None:
    """Run the sweep twice and print what the kills changed."""
    command_line = parser(__doc__)
    command_line.add_argument("--kills", type=int, default=100)
    command_line.add_argument("--seed", type=int, default=0, help="of what is killed, and when")
    command_line.add_argument("--drivers", type=int, default=2, help="that run the sweep at once")
    command_line.add_argument("--pauses", type=int, default=2, help="of the first driver")
    command_line.add_argument("--set", dest="changes", action="append", default=[], help="as `sweeps run --set`")
    given = command_line.parse_args()
    options = {"drivers": given.drivers, "pauses": given.pauses}
    write(measure(given.kills, given.seed, changes=given.changes, log=sys.stderr, **options), given.format)


def measure(
    kills: int, seed: int, *, changes: Sequence[str], log: IO[str], drivers: int = 1, pauses: int = 0
) -> dict[str, Any]:
    """Return the figures of a sweep under kills; `changes` are those of its spec, as `sweeps run --set` takes them."""
    with tempfile.TemporaryDirectory(prefix="sweeps-chaos-") as folder, Nodes(NODES, slots=SLOTS) as nodes:
        undisturbed = Sweep(Path(folder, "undisturbed"), nodes, changes)
        undisturbed_s = undisturbed.run([], seed=seed, log=log)
        sweep = Sweep(Path(folder, "chaos"), nodes, changes)
        schedule = _schedule(kills, seed, sweep.stages, pauses=pauses)
        wall_s = sweep.run(schedule, seed=seed, log=log, drivers=drivers)
        rows, expected = sweep.rows(), undisturbed.rows()
        axes = [axis.name for axis in ChaosStudy.axes]
        both = expected.merge(rows.drop_duplicates(axes), on=axes, suffixes=("_expected", ""))
        return {
            "rows": len(rows),
            "duplicates": int(rows.duplicated(axes).sum()),
            "rows_recomputed": sweep.begun_late("ratio"),
            "checkpoints_retrained": sweep.begun_late("pretrain") + sweep.begun_late("score"),
            "computed_twice": sweep.computed_twice(),
            "rows_of_other_checkpoints": sweep.rows_of_other_checkpoints(),
            "metrics_differing": int((both.kept != both.kept_expected).sum()),
            "wall_over_undisturbed": wall_s / undisturbed_s,
            "wall_s": wall_s,
            "undisturbed_s": undisturbed_s,
            **{f"{kind}s_killed": sweep.killed[kind] for kind in KINDS},
            "pauses": sweep.killed[PAUSE],
            "relaunches": sweep.launches - 1,
            "failures_recorded": sweep.failures_recorded,
        }


@contextmanager
def _launched(arguments: list[str], log: IO[str]) -> Iterator[subprocess.Popen[str]]:
    """Start a driver, and leave none behind."""
    driver = processes.start(*arguments, output=log)
    try:
        yield driver
    finally:
        driver.kill()
        driver.wait()


def _pause(driver: subprocess.Popen[str]) -> None:
    """Stop a driver, and let it go on later."""
    driver.send_signal(signal.SIGSTOP)
    threading.Timer(PAUSED_S, driver.send_signal, [signal.SIGCONT]).start()


def _schedule(kills: int, seed: int, stages: int, *, pauses: int = 0) -> list[Kill]:
    """Spread kills over the beginnings of stages and rows, at random; the last ones are left for the kills to hit."""
    chance = random.Random(seed)
    times = sorted(chance.choices(range(1, round(0.9 * stages)), k=kills))
    found = [Kill(*kill) for kill in zip(times, chance.choices([*KINDS], [*KINDS.values()], k=kills), strict=True)]
    found += [Kill(round((number + 0.5) / pauses * 0.8 * stages), PAUSE) for number in range(pauses)]
    return sorted(found)


if __name__ == "__main__":
    main()
