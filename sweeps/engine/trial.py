"""One trial: it holds a worker's place, sees to its checkpoint, and fans its rows out from it.

The trial's own process only orchestrates. What it starts runs inside its placement group, so a trial that has begun can
always finish; the checkpoint is put into the object store once and its rows read it there without copying.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import ray
from ray import tune
from ray.exceptions import RayError, RayTaskError

from sweeps.engine import nodes, tasks
from sweeps.engine.fan_out import ATTEMPTS, FanOut, Try, was_lost
from sweeps.engine.job import Job
from sweeps.engine.progress.saved import Saved
from sweeps.engine.scheduling.deaths import Death, examined, failure_by
from sweeps.engine.scheduling.idle_help import help_of, signal
from sweeps.engine.scheduling.queue import Start
from sweeps.engine.scheduling.whereabouts import here
from sweeps.engine.shelf import shelf_of
from sweeps.engine.worker import Place, Seat
from sweeps.errors import NodeError, StorageError, StudyError
from sweeps.planning.fingerprints import outdated, today
from sweeps.planning.keys import StageKey
from sweeps.planning.plan import Row
from sweeps.storage.leases import ABANDONED_AFTER_S, still_claimed
from sweeps.study import is_device_lost

PLACE_BUNDLE = 0
"""Of a trial's placement group: Tune leaves out the empty bundle of the trial's own process."""

VISIBLE_WITHIN_S = 30.0
"""How long a network file system may take to show a node what another node published."""

Report = Callable[[dict[str, Any]], None]


class StageFailedError(Exception):
    """A shared stage could not be computed: `failure` is what is kept of it."""

    def __init__(self, stage: StageKey, failure: Mapping[str, Any]) -> None:
        """Say which stage."""
        super().__init__(stage.key)
        self.stage, self.failure = stage, failure


class LostError(Exception):
    """A published result is gone or damaged, and it is not this trial that computes it again."""


class TakenOverError(Exception):
    """The driver was silent for so long that another run may have taken this trial over."""


_places: dict[Any, Place] = {}
"""The place of this process, by its placement group: Tune starts the next trial in the process and the place of one
that ended, and the workers there stay, with their imports, their data and their device."""


def run_trial(config: dict[str, Any]) -> None:
    """Run one trial of a sweep; the function that Tune calls."""
    group = ray.util.get_current_placement_group()
    assert group is not None
    place = _places.setdefault(group.id, Place(group, PLACE_BUNDLE, config["share"]))
    start = Start(*(config[name] for name in Start._fields))
    trial = TrialRun(config["job"], start, place, tune.report, config["left_out"])
    try:
        trial.run()
    except NodeError as error:
        trial.report_unfit(error)
    except TakenOverError:
        tune.report({"taken_over": True})
    except StorageError as error:
        # No fault of the trial, and every other one will meet it.
        tune.report({"storage": str(error)})
    except StudyError as error:
        tune.report({"study": str(error)})


class TrialRun:
    """The work of one trial, told to `report` step by step."""

    def __init__(self, job: Job, start: Start, place: Place, report: Report, left_out: Sequence[str] = ()) -> None:
        """Take what to do, and where; `left_out` are nodes that nothing is to run on."""
        self._job, self._start, self._place, self._report, self._left_out = job, start, place, report, left_out
        self._trial = start.trial
        self._process = here()
        self._node, self._host = self._process.node, self._process.host
        self._results: dict[str, ray.ObjectRef[Any]] = {}
        self._failures = dict(start.failed)
        self._saved = Saved(job.store)
        self._shelf = shelf_of(place.share.run, self._node)
        self._claim_seen = time.monotonic()

    def run(self) -> None:
        """Compute every row of the trial that can be computed; record why the others could not.

        Raises:
            StorageError: the storage failed, or this node has another one under its name.
            NodeError: this node cannot run the study.
            TakenOverError: what is left belongs to another run.
        """
        self._report({"at": self._node, "host": self._host, "process": self._process})
        self._check_shared()
        rows = self._unfinished()
        try:
            refs = self._obtain_all(rows)
        except LostError as lost:
            self._report({"lost": str(lost)})
            return
        except StageFailedError as failed:
            # It is tried on another node, where this trial goes next.
            self._report_try(self._node, self._host, failed.failure, again=failed.stage.key)
            return
        for row in rows:
            broken = [self._failures[key] for key in row.read if key in self._failures]
            if broken:
                self._record(row, broken[0])
        rows = [row for row in rows if self._failures.keys().isdisjoint(row.read)]
        metas = {stage.key: self._job.store.checkpoint_meta(stage.key) or {} for stage in self._trial.shared}

        def submit(one: Try, seat: Seat) -> ray.ObjectRef[Any]:
            self._check_claim()
            keys = [key for key in refs if key in one.row.read]
            known = {stage.key: metas[stage.key] for stage in one.row.stages if stage.shared}
            if one.deaths:
                self._no_shelf(refs)
            results = [refs[key] for key in keys]
            ref: ray.ObjectRef[Any] = seat.begin().compute_row.remote(
                self._job, one.row, known, one.attempt, one.alone, keys, *results
            )
            return ref

        fan_out = FanOut(
            rows,
            submit,
            self._place,
            idle=signal(self._place.share.signal, self._place.share.messages),
            saved=lambda row: self._saved.since_last(self._job.sweep, rows=[row]),
            died=self._report_death,
            avoid=[*self._left_out, *self._start.unfit, *filter(None, [self._start.avoid])],
            name=help_of(self._place.share.signal, self._trial.number),
        )
        for row, outcome in fan_out.outcomes():
            self._settle(row, outcome)

    def _settle(self, row: Row, outcome: tasks.Outcome | BaseException) -> None:
        """Tell what became of a row."""
        key = str(row.key)
        if isinstance(outcome, (StorageError, StudyError)):
            raise outcome
        if isinstance(outcome, NodeError):
            # The others go on: helpers may be on nodes that can.
            self.report_unfit(outcome)
            return
        if isinstance(outcome, BaseException):
            outcome = tasks.Outcome(tasks.failure_of("row", outcome), 0.0, node=self._node, host=self._host)
        if outcome.failure is None:
            told = {"row": key, "failure": None, "seconds": outcome.seconds}
            self._report({**told, "node": outcome.node, "host": outcome.host, "went_wrong": False})
        elif self._may_try_elsewhere(key, outcome.node or self._node):
            self._report_try(outcome.node or self._node, outcome.host, outcome.failure, again=key)
        else:
            if key not in self._start.second:
                self._report_try(outcome.node or self._node, outcome.host, outcome.failure)
            # Where it failed on two nodes, that is no fault of the second.
            self._record(row, outcome.failure)

    def _may_try_elsewhere(self, key: str, node: str) -> bool:
        """Say whether a row or stage that failed on a node is to be tried on another one."""
        return key not in self._start.second and nodes.others_can_hold(self._place.share.resources, {node})

    def _report_try(self, node: str, host: str, failure: Mapping[str, Any], *, again: str | None = None) -> None:
        told = {"node": node, "host": host, "went_wrong": True, "cause": failure["cause"]}
        self._report({**told, "again": again} if again is not None else told)

    def _report_death(self, death: Death) -> None:
        self._report({"died": death.why, "told": str(death)})

    def report_unfit(self, error: NodeError) -> None:
        """Tell that a node cannot run the study, and whether there is another that might."""
        node, host = error.node or self._node, error.host or self._host
        elsewhere = nodes.others_can_hold(self._place.share.resources, {*self._left_out, *self._start.unfit, node})
        self._report({"unfit": error.said, "node": node, "host": host, "went_wrong": True, "elsewhere": elsewhere})

    def _check_claim(self) -> None:
        """See, now and then, that this trial still belongs to this run: its driver may have been stopped for long.

        Raises:
            TakenOverError: it does not.
        """
        if time.monotonic() - self._claim_seen >= ABANDONED_AFTER_S:
            self._claim_seen = time.monotonic()
            if not still_claimed(self._job.store.files, self._start.claim, self._place.share.lease):
                raise TakenOverError

    def _obtain_all(self, rows: Sequence[Row]) -> dict[str, ray.ObjectRef[Any]]:
        """Return the shared results that rows read; what could not be had is in `_failures` then.

        Raises:
            LostError: a result that another trial published is not there.
            StageFailedError: a stage failed that can be tried on another node.
        """
        read = {key for row in rows for key in row.read}
        refs = {}
        for stage in self._trial.shared:
            if stage.key in read:
                try:
                    refs[stage.key] = self._obtain(stage)
                except StageFailedError as failed:
                    if failed.stage.key not in self._failures and self._may_try_elsewhere(failed.stage.key, self._node):
                        raise
                    self._note_failed(failed)
                    self._failures.setdefault(stage.key, failed.failure)
        return refs

    def _note_failed(self, failed: StageFailedError) -> None:
        """Let the siblings know, once."""
        if failed.stage.key not in self._failures:
            self._failures[failed.stage.key] = failed.failure
            self._report({"stage_failed": failed.stage.key, "record": json.dumps(failed.failure)})

    def _check_shared(self) -> None:
        """Make sure that this node sees what the driver wrote."""
        store, sweep = self._job.store, self._job.sweep
        if not _eventually(lambda: store.has_sweep(sweep)):
            raise StorageError(
                f"storage {store.location!r}: node {self._host} does not see the sweep that the driver wrote "
                "there, expected a path that all nodes share, or a URI"
            )

    def _unfinished(self) -> list[Row]:
        """Return the rows to compute; those an earlier start of this trial or another run finished are just told."""
        published, failed = tasks.settled(self._job, self._trial.rows)
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
        if stage.key in self._failures:
            raise StageFailedError(stage, self._failures[stage.key])
        if stage.key in self._results:
            return self._results[stage.key]
        stored = None if self._outdated(stage) else self._published(stage.key)
        if stored is None and stage.key not in self._start.computes:
            stored = self._wait_to_see(stage)
        if stored is None:
            stored = self._kept(stage.key, self._compute(stage))
        elif stage.key in self._start.computes:
            self._report({"published": stage.key, "stage": stage.name, "seconds": None})
        self._results[stage.key] = stored
        return stored

    def _published(self, key: str) -> ray.ObjectRef[Any] | None:
        """Return a published result: from the shelf of this node, which loads it once for all trials here."""
        if self._shelf is not None:
            try:
                found = ray.get(self._shelf.take.remote(key))
            except RayTaskError as error:
                if isinstance(error.cause, StorageError):
                    raise error.cause from error
                raise
            except RayError:
                self._shelf = None
            else:
                return found[0] if found else None
        stored = self._job.store.load_checkpoint(key)
        return None if stored is None else ray.put(stored)

    def _loaded_again(self, stage: StageKey, results: Sequence[Any]) -> Sequence[Any]:
        """Return what a stage reads, loaded for this trial alone; a shelf may have gone with what it had."""
        refs = {key: ref for key, ref in zip(stage.reads, results, strict=True) if key is not None}
        self._no_shelf(refs)
        self._results |= refs
        return [refs[key] if key is not None else None for key in stage.reads]

    def _no_shelf(self, refs: dict[str, ray.ObjectRef[Any]]) -> None:
        """Load results for this trial alone: what a shelf had is gone with its process."""
        if self._shelf is not None:
            self._shelf = None
            for key in refs:
                if (stored := self._published(key)) is not None:
                    refs[key] = stored

    def _kept(self, key: str, computed: ray.ObjectRef[Any]) -> ray.ObjectRef[Any]:
        """Hand the shelf a result that was computed here; return where it lies then."""
        if self._shelf is not None:
            try:
                (kept,) = ray.get(self._shelf.keep.remote(key, computed))
            except RayError:
                self._shelf = None
            else:
                return cast("ray.ObjectRef[Any]", kept)
        return computed

    def _outdated(self, stage: StageKey) -> bool:
        """Say whether a result is there, and this trial is to make it again with today's code."""
        if not self._job.recompute or stage.key not in self._start.computes:
            return False
        cell = self._trial.cell_of(stage)
        stages = next(row.stages for row in self._trial.rows if stage in row.stages)
        code = (self._job.store.checkpoint_meta(stage.key) or {}).get("code")
        return outdated(code, today(self._job.study, cell, stages)[stage.key], self._job.recompute)

    def _compute(self, stage: StageKey) -> ray.ObjectRef[Any]:
        shared = {each.key: each for each in self._trial.shared}
        results = [self._obtain(shared[key]) if key is not None else None for key in stage.reads]
        self._report({"begun": stage.name, "key": stage.key})
        start = time.perf_counter()
        ref = self._try(stage, results)
        told = {"published": stage.key, "stage": stage.name, "seconds": time.perf_counter() - start}
        self._report({**told, "node": self._node, "host": self._host, "went_wrong": False})
        return ref

    def _try(self, stage: StageKey, results: Sequence[Any]) -> ray.ObjectRef[Any]:
        """Compute a stage, again where its worker dies, or in a process of its own where the device is at fault.

        Raises:
            StageFailedError: it failed by itself, or its workers died too often with no progress in between.
        """
        deaths: list[Death] = []
        attempts, afresh, alone = 0, False, False
        cell = self._trial.cell_of(stage)
        while True:
            seat = self._place.take(alone=alone)
            assert seat is not None, "a place is free while its trial computes a stage"
            attempts += 1
            declared = {"reads": stage.reads, "fields": stage.fields, "axes": stage.axes}
            compute = seat.begin().compute_stage
            ref: ray.ObjectRef[Any] = compute.remote(self._job, stage.name, stage.key, cell, *results, **declared)
            try:
                ray.get(ref)
            except RayError as error:
                if was_lost(error):
                    deaths.append(examined(error, seat.process))
                    self._place.give_back(seat, used_up=True)
                    self._report_death(deaths[-1])
                    if self._saved.since_last(self._job.sweep, stages=[stage]):
                        del deaths[:-1]
                    if len(deaths) >= ATTEMPTS:
                        raise StageFailedError(stage, failure_by(stage.name, error, deaths)) from error
                    time.sleep(len(deaths) - 1)
                    results = self._loaded_again(stage, results)
                    continue
                cause: Exception = error.cause  # type: ignore[attr-defined]
                broken = is_device_lost(cause)
                self._place.give_back(seat, used_up=broken)
                if isinstance(cause, (StorageError, StudyError, NodeError)):
                    raise cause from error
                if isinstance(cause, MemoryError) and not alone:
                    alone = True
                elif broken and not afresh:
                    afresh = True
                else:
                    failure = tasks.failure_of(stage.name, cause) | {"traceback": str(error), "attempts": attempts}
                    raise StageFailedError(stage, failure) from cause
            else:
                self._place.give_back(seat)
                return ref

    def _wait_to_see(self, stage: StageKey) -> ray.ObjectRef[Any]:
        """Return a result that another trial published, once this node sees it.

        Raises:
            LostError: it is there but damaged, or does not come into sight.
        """
        _eventually(lambda: self._job.store.has_checkpoint(stage.key))
        stored = self._published(stage.key)
        if stored is None:
            raise LostError(stage.key)
        return stored

    def _record(self, row: Row, failure: Mapping[str, Any]) -> None:
        tasks.record_failure(self._job, row, failure)
        self._report({"row": str(row.key), "failure": failure["cause"], "seconds": None})


def _eventually(seen: Callable[[], bool]) -> bool:
    """Give a network file system time to show something; return whether it did."""
    deadline = time.monotonic() + VISIBLE_WITHIN_S
    while not seen():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.5)
    return True
