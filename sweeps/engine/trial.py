"""One trial: it holds a worker's place, sees to its checkpoint, and fans its rows out from it.

The trial's own process only orchestrates. What it starts runs inside its placement group, so a trial that has begun can
always finish; the checkpoint is put into the object store once and its rows read it there without copying.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayError, RayTaskError

from sweeps.engine import tasks
from sweeps.engine.job import Job
from sweeps.keys import StageKey
from sweeps.plan import Row, Trial
from sweeps.study import StageName

ATTEMPTS = 3
"""How often a stage or row is tried when its worker process dies. Errors it raises itself are not tried again."""

Report = Callable[[dict[str, Any]], None]


class StageFailedError(Exception):
    """A shared stage could not be computed; `__cause__` is why."""

    def __init__(self, stage: StageKey) -> None:
        """Say which stage."""
        super().__init__(stage.key)
        self.stage = stage


def run_trial(config: dict[str, Any]) -> None:
    """Run one trial of a sweep; the function that Tune calls."""
    TrialRun(config["job"], config["trial"], config["task_options"], tune.report).run()


class TrialRun:
    """The work of one trial, told to `report` step by step."""

    def __init__(self, job: Job, trial: Trial, task_options: dict[str, Any], report: Report) -> None:
        """Take what to do, and the resources of each child task."""
        # A trial that is started again, its process or node having died, leaves alone what it finished before.
        published = job.store.row_keys(job.sweep)
        trial = replace(trial, rows=tuple(row for row in trial.rows if str(row.key) not in published))
        self._job, self._trial, self._report = job, trial, report
        # Retrying is ours: the attempt is recorded, and Ray's retries would multiply with it.
        options = {"max_retries": 0, **task_options}
        self._compute_stage = ray.remote(**options)(tasks.compute_stage)
        self._compute_row = ray.remote(**options)(tasks.compute_row)
        self._results: dict[str, ray.ObjectRef[Any]] = {}

    def run(self) -> None:
        """Compute every row of the trial that can be computed; record why the others could not."""
        try:
            refs = {stage.name: self._obtain(stage) for stage in self._trial.shared if stage.key in self._needed()}
        except StageFailedError as failed:
            error = failed.__cause__ or failed
            for row in self._trial.rows:
                tasks.record_failure(self._job, row, stage=failed.stage.name, error=error)
                self._report({"row": str(row.key), "failure": tasks.cause(error), "seconds": 0.0})
            return
        costs = {stage.name: self._seconds(stage) for stage in self._trial.shared}
        self._fan_out(refs, costs)

    def _needed(self) -> set[str]:
        """The results that rows read themselves: the checkpoint and shared scores, not what came before them."""
        stages = [stage for row in self._trial.rows for stage in (row.checkpoint, row.scores) if stage]
        return {stage.key for stage in stages if stage.shared}

    def _obtain(self, stage: StageKey) -> ray.ObjectRef[Any]:
        """Return a shared result: from the storage if it is published and sound, else computed from those before."""
        if stage.key in self._results:
            return self._results[stage.key]
        stored = self._job.store.load_checkpoint(stage.key)
        if stored is not None:
            self._results[stage.key] = ray.put(stored)
            return self._results[stage.key]
        shared = self._trial.shared
        before = shared[: shared.index(stage)]
        after = self._obtain(before[-1]) if before else None
        self._report({"begun": stage.name})
        start = time.perf_counter()
        for attempt in range(1, ATTEMPTS + 1):
            ref = self._compute_stage.remote(self._job, stage.name, stage.key, self._trial.cell, after)
            try:
                ray.get(ref)
                break
            except RayTaskError as error:
                raise StageFailedError(stage) from error.cause
            except RayError as error:
                if attempt == ATTEMPTS:
                    raise StageFailedError(stage) from error
        self._results[stage.key] = ref
        self._report({"published": stage.key, "stage": stage.name, "seconds": time.perf_counter() - start})
        return ref

    def _fan_out(self, refs: Mapping[StageName, ray.ObjectRef[Any]], costs: Mapping[StageName, float | None]) -> None:
        """Start all rows at once; each is published by the worker that finishes it."""
        running: dict[ray.ObjectRef[Any], tuple[Row, int]] = {}

        def start(row: Row, attempt: int) -> None:
            scores = refs.get("score") if row.scores is not None else None
            ref = self._compute_row.remote(self._job, row, refs[row.checkpoint.name], scores, costs, attempt)
            running[ref] = (row, attempt)

        for row in self._trial.rows:
            start(row, 1)
        while running:
            (ref,), _ = ray.wait(list(running), num_returns=1)
            row, attempt = running.pop(ref)
            try:
                outcome = ray.get(ref)
            except RayError as error:
                if attempt < ATTEMPTS:
                    start(row, attempt + 1)
                    continue
                tasks.record_failure(self._job, row, stage="evaluate_row", error=error)
                outcome = tasks.Outcome(tasks.cause(error), 0.0)
            self._report({"row": str(row.key), "failure": outcome.failure, "seconds": outcome.seconds})

    def _seconds(self, stage: StageKey) -> float | None:
        """Return what a published result once took, whoever computed it."""
        return (self._job.store.checkpoint_meta(stage.key) or {}).get("seconds")
