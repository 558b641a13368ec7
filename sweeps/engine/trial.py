"""One trial: it holds a worker's place, sees to its checkpoint, and fans its rows out from it.

The trial's own process only orchestrates. What it starts runs inside its placement group, so a trial that has begun can
always finish; the checkpoint is put into the object store once and its rows read it there without copying.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import ray
from ray import tune
from ray.exceptions import RayError, RayTaskError
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from sweeps.engine import tasks
from sweeps.engine.fan_out import ATTEMPTS, FanOut, Try
from sweeps.engine.idle_help import signal
from sweeps.engine.job import Job
from sweeps.errors import StorageError, StudyError
from sweeps.planning.fingerprints import outdated, today
from sweeps.planning.keys import StageKey
from sweeps.planning.plan import Row, Trial

VISIBLE_WITHIN_S = 30.0
"""How long a network file system may take to show a node what another node published."""

Report = Callable[[dict[str, Any]], None]


class Share(NamedTuple):
    """What a trial holds: `resources` of a place, in which `width` rows run at a time; who tells of idle workers."""

    resources: Mapping[str, float]
    width: int = 1
    signal: str | None = None

    def options(self, width: int) -> dict[str, Any]:
        """Return Ray's options for one of `width` tasks that share a place."""
        # Retrying is ours: the attempt is recorded, and Ray's retries would multiply with it.
        options: dict[str, Any] = {"max_retries": 0, "num_cpus": self.resources["CPU"] / width}
        if "GPU" in self.resources:
            # By default a process that used a GPU ends with its task: one start and one CUDA context per row.
            options |= {"num_gpus": self.resources["GPU"] / width, "max_calls": 0}
        return options


class StageFailedError(Exception):
    """A shared stage could not be computed; `__cause__` is why."""

    def __init__(self, stage: StageKey) -> None:
        """Say which stage."""
        super().__init__(stage.key)
        self.stage = stage


class LostError(Exception):
    """A published result is gone or damaged, and it is not this trial that computes it again."""


def run_trial(config: dict[str, Any]) -> None:
    """Run one trial of a sweep; the function that Tune calls."""
    try:
        TrialRun(config["job"], config["trial"], config["computes"], config["share"], tune.report).run()
    except StorageError as error:
        # No fault of the trial, and every other one will meet it.
        tune.report({"storage": str(error)})
    except StudyError as error:
        tune.report({"study": str(error)})


class TrialRun:
    """The work of one trial, told to `report` step by step."""

    def __init__(self, job: Job, trial: Trial, computes: frozenset[str], share: Share, report: Report) -> None:
        """Take what to do; `computes` are the keys of shared results that this trial computes."""
        self._job, self._trial, self._computes, self._share, self._report = job, trial, computes, share, report
        self._compute_stage = ray.remote(**share.options(1))(tasks.compute_stage)
        self._compute_row = ray.remote(**share.options(share.width))(tasks.compute_row)
        self._results: dict[str, ray.ObjectRef[Any]] = {}

    def run(self) -> None:
        """Compute every row of the trial that can be computed; record why the others could not.

        Raises:
            StorageError: the storage failed, or this node has another one under its name.
        """
        self._check_shared()
        rows = self._unfinished()
        try:
            read = {key for row in rows for key in row.read}
            refs = {stage.key: self._obtain(stage) for stage in self._trial.shared if stage.key in read}
        except LostError as lost:
            self._report({"lost": str(lost)})
            return
        except StageFailedError as failed:
            for row in rows:
                self._failed(row, failed.stage.name, failed.__cause__ or failed)
            return
        metas = {stage.key: self._job.store.checkpoint_meta(stage.key) or {} for stage in self._trial.shared}
        # A row that shares its device and lacks room there has it alone next, in a process that starts empty.
        compute_alone = ray.remote(**self._share.options(1) | {"max_calls": 1})(tasks.compute_row)

        def submit(one: Try, group: PlacementGroup | None) -> ray.ObjectRef[Any]:
            compute = compute_alone if one.alone else self._compute_row
            if group is not None:
                compute = compute.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group))
            keys = [key for key in refs if key in one.row.read]
            known = {stage.key: metas[stage.key] for stage in one.row.stages if stage.shared}
            results = [refs[key] for key in keys]
            ref: ray.ObjectRef[Any] = compute.remote(self._job, one.row, known, one.attempt, one.alone, keys, *results)
            return ref

        fan_out = FanOut(
            rows,
            submit,
            width=self._share.width,
            resources=self._share.resources,
            idle=signal(self._share.signal),
        )
        for row, outcome in fan_out.outcomes():
            if isinstance(outcome, (StorageError, StudyError)):
                raise outcome
            if isinstance(outcome, BaseException):
                self._failed(row, self._job.study.stages[-1], outcome)
            else:
                self._report({"row": str(row.key), "failure": outcome.failure, "seconds": outcome.seconds})

    def _check_shared(self) -> None:
        """Make sure that this node sees what the driver wrote."""
        store, sweep = self._job.store, self._job.sweep
        if not _eventually(lambda: store.read_spec(sweep) is not None):
            raise StorageError(
                f"storage {store.location!r}: node {socket.gethostname()} does not see the sweep that the driver wrote "
                "there, expected a path that all nodes share, or a URI"
            )

    def _unfinished(self) -> list[Row]:
        """Return the rows to compute; those an earlier start of this trial or another run finished are just told."""
        published = self._job.store.row_keys(self._job.sweep)
        if self._job.recompute:
            published -= {str(row.key) for row in self._trial.rows if tasks.row_outdated(self._job, row)}
        failed = self._job.store.failure_keys(self._job.sweep) - published
        unfinished = []
        for row in self._trial.rows:
            key = str(row.key)
            if key in published:
                self._report({"row": key, "failure": None, "seconds": None})
            elif key in failed:
                self._report({"row": key, "failure": "failed before, see `sweeps failures`", "seconds": None})
            else:
                unfinished.append(row)
        return unfinished

    def _obtain(self, stage: StageKey) -> ray.ObjectRef[Any]:
        """Return a shared result: from the storage if it is published and sound, else computed from those before."""
        if stage.key in self._results:
            return self._results[stage.key]
        stored = None if self._outdated(stage) else self._job.store.load_checkpoint(stage.key)
        if stored is None and stage.key not in self._computes:
            stored = self._wait_to_see(stage)
        if stored is not None:
            self._results[stage.key] = ray.put(stored)
            if stage.key in self._computes:
                self._report({"published": stage.key, "stage": stage.name, "seconds": None})
            return self._results[stage.key]
        self._results[stage.key] = self._compute(stage)
        return self._results[stage.key]

    def _outdated(self, stage: StageKey) -> bool:
        """Say whether a result is there, and this trial is to make it again with today's code."""
        if not self._job.recompute or stage.key not in self._computes:
            return False
        cell = self._trial.cell_of(stage)
        stages = next(row.stages for row in self._trial.rows if stage in row.stages)
        code = (self._job.store.checkpoint_meta(stage.key) or {}).get("code")
        return outdated(code, today(self._job.study, cell, stages)[stage.key], self._job.recompute)

    def _compute(self, stage: StageKey) -> ray.ObjectRef[Any]:
        shared = {each.key: each for each in self._trial.shared}
        results = [self._obtain(shared[key]) if key is not None else None for key in stage.reads]
        self._report({"begun": stage.name})
        start = time.perf_counter()
        for attempt in range(1, ATTEMPTS + 1):
            cell = self._trial.cell_of(stage)
            declared: dict[str, Any] = {"reads": stage.reads, "fields": stage.fields, "axes": stage.axes}
            ref = self._compute_stage.remote(self._job, stage.name, stage.key, cell, *results, **declared)
            try:
                ray.get(ref)
                break
            except RayTaskError as error:
                if isinstance(error.cause, (StorageError, StudyError)):
                    raise error.cause from error
                raise StageFailedError(stage) from error.cause
            except RayError as error:
                if attempt == ATTEMPTS:
                    raise StageFailedError(stage) from error
                time.sleep(attempt - 1)
        self._report({"published": stage.key, "stage": stage.name, "seconds": time.perf_counter() - start})
        return ref

    def _wait_to_see(self, stage: StageKey) -> Any:
        """Return a result that another trial published, once this node sees it.

        Raises:
            LostError: it is there but damaged, or does not come into sight.
        """
        _eventually(lambda: self._job.store.checkpoint_meta(stage.key) is not None)
        stored = self._job.store.load_checkpoint(stage.key)
        if stored is None:
            raise LostError(stage.key)
        return stored

    def _failed(self, row: Row, stage: str, error: BaseException) -> None:
        tasks.record_failure(self._job, row, stage=stage, error=error)
        self._report({"row": str(row.key), "failure": tasks.cause(error), "seconds": None})


def _eventually(seen: Callable[[], bool]) -> bool:
    """Give a network file system time to show something; return whether it did."""
    deadline = time.monotonic() + VISIBLE_WITHIN_S
    while not seen():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.5)
    return True
