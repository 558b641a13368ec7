"""A study whose stages take milliseconds, keep a diary of what ran, and misbehave on request.

Its axes are not those of detection, so that an engine which knows about boxes cannot pass. Specs name it as
`tests.toy_study:ToyStudy`.
"""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import ray
from pydantic import BaseModel, ConfigDict

from sweeps.study import Axis, Cell, Checkpoint, Gallery, Lines, Picture, Progress, Stage, Study, Workload

SPEC = """\
name: toy
study: tests.toy_study:ToyStudy
grid:
  shape: [round, flat]
  method: [slow, quick]
  seed: [0, 1]
  dose: [0, 0.5, 1]
"""
"""8 trials of 3 rows and one baseline row: 25 rows from 1 base, 2 pretrainings and 2 shared scores."""

ROWS, PRETRAININGS, SHARED_SCORES = 25, 2, 2


_device_is_lost = False


class ToySettings(BaseModel):
    """`offset` changes results; everything else changes only what happens on the way to them, or is said of it.

    `seconds` is what a stage takes, pretraining that long per epoch; `raise_in`, `kill_in`, `nan_in` and `crowded_in`
    are beginnings of diary entries, at which a stage raises, kills its process (once), returns NaN, or lacks memory
    where more than `room` stages run at that moment. `kill_each` kills at each such entry once, so that a stage of many
    epochs loses many processes; in the process that comes to `device_lost_in` first every stage fails from then on, as
    after an error of CUDA; and on the node `bad_node` every stage fails, and rows elsewhere wait until three have. At
    `meet_in` a stage waits until two processes have come to such an entry. Both wait a minute at most: what a test says
    of helpers and nodes does not depend on how fast a process starts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    offset: float = 0.0
    seconds: float = 0.0
    epochs: int = 1
    diary: str | None = None
    raise_in: str | None = None
    kill_in: str | None = None
    kill_each: bool = False
    device_lost_in: str | None = None
    bad_node: str | None = None
    nan_in: str | None = None
    crowded_in: str | None = None
    room: int = 1
    meet_in: str | None = None
    operations: float | None = None
    missing_data: bool = False
    odd_data: bool = False
    keep: bool = True
    souvenirs: bool = False


def doses_seen(dose: float) -> Lines:
    """Return what the table of a row holds: a dose in two halves."""
    halves = np.array([True, False])
    return {"dose": halves * dose, "half": halves, "step": np.array([1, 2]), "taste": np.array(["sweet", "bitter"])}


class ToyStudy(Study):
    """base → pretrain (per seed) → score (`quick`: per seed and method; `slow`: per row) → row."""

    Settings: ClassVar = ToySettings
    axes: ClassVar = (
        Axis("shape", str, choices=("round", "flat")),
        Axis("method", str, choices=("slow", "quick")),
        Axis("seed", int),
        Axis("dose", float, bounds=(0.0, 1.0)),
    )
    stages: ClassVar = ("base", "pretrain", "score", "evaluate_row")
    row_axis: ClassVar = "dose"
    pruned: ClassVar = "weights"
    replicate_axis: ClassVar = "seed"
    panel_axis: ClassVar = None
    columns: ClassVar = {"outcome": float, "effort_s": float, "machine": str}
    tables: ClassVar = {"doses_seen": {"dose": float, "half": bool, "step": np.int16, "taste": str}}
    metrics: ClassVar = {"outcome": "outcome"}
    trade_off: ClassVar = None

    def __init__(self, settings: ToySettings) -> None:
        self.settings = settings

    @property
    def files(self) -> dict[str, tuple[str, ...]]:
        return {"souvenirs": (".txt", ".bin")} if self.settings.souvenirs else {}

    def check(self, cells: Sequence[Cell]) -> list[str]:
        if self.settings.missing_data:
            raise ValueError("toy.json: found nothing, expected the data")
        return ["[odd] doses were rounded"] if self.settings.odd_data else []

    def baselines(self, cells: Sequence[Cell]) -> list[Cell]:
        return [{"shape": "none", "method": "none", "seed": 0, "dose": 0.0}]

    def is_baseline(self, cell: Mapping[str, Any]) -> bool:
        return bool(cell["method"] == "none")

    def stage(self, name: str, cell: Cell) -> Stage | None:
        offset = {"offset": self.settings.offset}
        if name == "base":
            return Stage((), offset)
        if name == "evaluate_row":
            reads = ("base" if self.is_baseline(cell) else "pretrain", "score")
            return Stage(tuple(axis.name for axis in self.axes), offset, reads=reads)
        if self.is_baseline(cell) or (name == "score" and cell["dose"] == 0):
            return None
        if name == "pretrain":
            return Stage(("seed",), offset)
        per_row = tuple(axis.name for axis in self.axes)
        return Stage(("seed", "method") if cell["method"] == "quick" else per_row, offset)

    def workloads(self, name: str, cell: Cell) -> list[Workload]:
        unit = self.settings.operations
        if unit is None:
            return []
        if name == "evaluate_row":
            tasting = Workload("tasting [all]", unit)
            return [tasting] if self.is_baseline(cell) else [Workload("dosing", 2 * unit), tasting]
        if name == "score":
            return [Workload(f"{cell['method']} scoring", unit * (4 if cell["method"] == "slow" else 3))]
        return [Workload("rooting", 100 * unit) if name == "pretrain" else Workload("counting", 0.0)]

    def base(self, cell: Cell, progress: Progress) -> Checkpoint:
        with self._entry("base", cell):
            return {"weights": np.arange(1000, dtype=np.float64) + self.settings.offset}

    def pretrain(self, cell: Cell, base: Checkpoint | None, progress: Progress) -> Checkpoint:
        assert base is not None
        state = progress.load() or {"weights": base["weights"], "epoch": np.array(0)}
        weights, done = state["weights"], int(state["epoch"])
        progress.report(done, self.settings.epochs)
        for epoch in range(done + 1, self.settings.epochs + 1):
            with self._entry(f"pretrain epoch {epoch}" if self.settings.epochs > 1 else "pretrain", cell):
                weights = np.sqrt(weights * (1 + float(cell["seed"])) + epoch)
            progress.save(partial(dict, weights=weights, epoch=np.array(epoch)))
            progress.report(epoch, self.settings.epochs, loss=1 / epoch)
        return {"weights": weights}

    def score(self, cell: Cell, checkpoint: Checkpoint, progress: Progress) -> Checkpoint:
        with self._entry("score", cell):
            return {"scores": np.sqrt(checkpoint["weights"])}

    def evaluate_row(
        self, cell: Cell, checkpoint: Checkpoint, scores: Checkpoint | None, progress: Progress
    ) -> dict[str, Any]:
        with self._entry("evaluate_row", cell) as name:
            assert not checkpoint["weights"].flags.writeable, "the checkpoint was copied on its way here"
            kept = checkpoint["weights"] * (1 - float(cell["dose"]))
            bonus = float(scores["scores"].mean()) if scores is not None else 0.0
            nan = self.settings.nan_in is not None and name.startswith(self.settings.nan_in)
            return {
                "outcome": float("nan") if nan else float(kept.sum()) + bonus + len(str(cell["shape"])),
                "effort_s": self.settings.seconds,
                "machine": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
                "doses_seen": doses_seen(float(cell["dose"])) if self.settings.keep else None,
                **{name: {".bin": b"\0" * 9, ".txt": str(cell["dose"]).encode()} for name in self.files},
            }

    def galleries(
        self, rows: Sequence[Mapping[str, Any]], lines: Callable[[str, str], Lines | None]
    ) -> Sequence[Gallery]:
        if not self.settings.keep:
            return []
        pictures = []
        for key in (str(row["row_key"]) for row in rows):
            kept = lines("doses_seen", key)
            if kept is not None:
                pictures.append((key, [Picture(b"<dose>", "image/gif", f"{len(kept['dose'])} doses")]))
        if not pictures:
            raise ValueError("found no [doses], expected some")
        return [Gallery("Doses", "What was swallowed.", ["all"], pictures)]

    @contextmanager
    def _entry(self, stage: str, cell: Cell) -> Iterator[str]:
        """Write the diary, then take the time and do the mischief asked for."""
        name = f"{stage} {' '.join(map(str, cell.values()))}"
        settings = self.settings
        diary = Path(settings.diary) if settings.diary else None
        if diary is not None:
            (diary / f"{name} {uuid.uuid4().hex}").touch()
            busy = diary.with_name(f"{diary.name} running") / str(os.getpid())
            busy.parent.mkdir(exist_ok=True)
            busy.touch()
        try:
            time.sleep(settings.seconds)
            if diary is not None and settings.meet_in and name.startswith(settings.meet_in):
                self._meet(diary.with_name(f"{diary.name} met"))
            if diary is not None and settings.bad_node:
                # While the baseline's row waited, whatever could fail might wait for its place.
                waits = stage == "evaluate_row" and not self.is_baseline(cell)
                self._shun(settings.bad_node, diary.with_name(f"{diary.name} of the bad node"), wait=waits)
            self._lose_device(name)
            if settings.raise_in and name.startswith(settings.raise_in):
                raise ArithmeticError(f"the outcome of {name} is not a number")
            if diary is not None and settings.kill_in and name.startswith(settings.kill_in):
                once = diary / (f"killed in {name}" if settings.kill_each else "killed once")
                if not once.exists():
                    once.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
            if diary is not None and settings.crowded_in and name.startswith(settings.crowded_in):
                running = len(list(busy.parent.iterdir()))
                if running > settings.room:
                    raise MemoryError(f"{running} stages run, and the device has room for {settings.room}")
            yield name
        finally:
            if diary is not None:
                busy.unlink()

    def _lose_device(self, name: str) -> None:
        global _device_is_lost
        if self.settings.device_lost_in and self.settings.diary and name.startswith(self.settings.device_lost_in):
            once = Path(self.settings.diary, "lost once")
            _device_is_lost = _device_is_lost or not once.exists()
            once.touch()
        if _device_is_lost:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def _shun(self, bad_node: str, failures: Path, *, wait: bool) -> None:
        failures.mkdir(exist_ok=True)
        if ray.get_runtime_context().get_node_id() == bad_node:
            (failures / uuid.uuid4().hex).touch()
            raise FileNotFoundError("found no toys here")
        if wait:
            self._wait_for(3, failures)

    def _meet(self, place: Path) -> None:
        place.mkdir(exist_ok=True)
        (place / str(os.getpid())).touch()
        self._wait_for(2, place)

    @staticmethod
    def _wait_for(files: int, folder: Path) -> None:
        deadline = time.monotonic() + 60
        while len(list(folder.iterdir())) < files and time.monotonic() < deadline:
            time.sleep(0.05)


class FaultyStudy(ToyStudy):
    """Returns a column that it does not declare."""

    def evaluate_row(self, *given: Any) -> dict[str, Any]:
        return {**super().evaluate_row(*given), "surprise": 1}
