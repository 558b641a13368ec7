"""Run what a plan says is missing, on a Ray that is already connected."""

from __future__ import annotations

import tempfile

import ray
from ray import tune

from sweeps.engine import cluster, tasks
from sweeps.engine.idle_help import IdleHelp
from sweeps.engine.job import Job
from sweeps.engine.live import Live
from sweeps.engine.queue import DEATHS, Queue
from sweeps.engine.searcher import QueueSearcher, Search
from sweeps.engine.stopping import Stopping
from sweeps.engine.trial import Share, run_trial
from sweeps.errors import ClusterError, StoppedError
from sweeps.planning.plan import Plan, Trial
from sweeps.spec import Resources
from sweeps.storage.leases import Leases


class TrialDiedError(Exception):
    """A trial's process died too often: its node went away, or it does not survive its own work."""


def execute(
    job: Job,
    plan: Plan,
    leases: Leases,
    live: Live,
    *,
    resources: Resources,
    may_grow: bool = False,
    max_concurrent: int | None = None,
    stop_after_failures: int | None = None,
) -> None:
    """Compute the rows of `plan.todo`; returns when each is published or has its failure recorded.

    Args:
        job: the sweep, as workers know it.
        plan: what is missing.
        leases: of this run.
        live: the view to keep up to date.
        resources: what a trial holds.
        may_grow: wait for nodes that hold it, where the cluster has none now.
        max_concurrent: upper limit of trials at a time; as many as fit by default.
        stop_after_failures: failed rows at which to stop; never by default.

    Raises:
        ClusterError: no node can hold a single trial.
        StoppedError: the storage failed, the study breaks what it declares, or too many rows failed.
    """
    held = _held(resources, may_grow=may_grow)
    queue = Queue(job.sweep, plan.todo, plan.checkpoints, leases)
    live.watch(queue, room_is_missing=cluster.slots(held) < 1)
    stopping = Stopping(after_failures=stop_after_failures)
    # Who limits the trials at a time wants to leave room for others: nobody helps when workers fall idle.
    idle_help = None if max_concurrent is not None else IdleHelp(queue)
    width = resources.workers_per_gpu if "GPU" in held else 1
    share = Share(held, width, idle_help.signal_name if idle_help is not None else None)

    def give_up(trial: Trial) -> None:
        error = TrialDiedError(f"the trial's process died {DEATHS} times in a row with nothing finished in between")
        settled = job.store.row_keys(job.sweep) | job.store.failure_keys(job.sweep)
        for row in trial.rows:
            if str(row.key) not in settled:
                tasks.record_failure(job, row, stage="trial", error=error)
                live.tell_row(trial.number, str(row.key), tasks.cause(error))

    searcher = QueueSearcher(queue, {"job": job, "share": share}, give_up)
    with tempfile.TemporaryDirectory(prefix="sweeps-") as scratch:
        tuner = tune.Tuner(
            # The first bundle is the trial's own process, which only orchestrates; the second holds what computes.
            tune.with_resources(run_trial, tune.PlacementGroupFactory([{}, held], strategy="STRICT_PACK")),
            tune_config=tune.TuneConfig(
                # Tune limits the trials of a plain searcher alone; there, its idle places are not wanted anyway.
                search_alg=Search(searcher) if max_concurrent is None else searcher,
                num_samples=-1,
                max_concurrent_trials=max_concurrent,
                # A trial starts in the process of one that ended: no interpreter start, no imports.
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="sweep",
                # Tune's own state; nothing rests on it, since what is finished is what is in the storage.
                storage_path=scratch,
                callbacks=[live, *([idle_help] if idle_help is not None else [])],
                stop=stopping,
                verbose=0,
                # The queue decides what is started again.
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        )
        try:
            tuner.fit()
        finally:
            if idle_help is not None:
                idle_help.close()
    if stopping.storage_failure is not None:
        raise StoppedError(
            f"{stopping.storage_failure}; the sweep was stopped, finished rows are published, "
            "and once the storage can be written the same command resumes"
        )
    if stopping.study_fault is not None:
        raise StoppedError(
            f"{stopping.study_fault}; the sweep was stopped, finished rows are published, "
            "and once the study is mended the same command goes on"
        )
    if stopping.too_many_failures:
        raise StoppedError(
            f"stop_after_failures: {stop_after_failures} rows failed and the sweep was stopped; "
            "`sweeps failures` tells why, and the same command goes on with the rows that are missing"
        )


def _held(resources: Resources, *, may_grow: bool) -> dict[str, float]:
    """Return what a trial holds on this cluster."""
    gpus = int(cluster.has_gpus()) if resources.gpus is None else resources.gpus
    held: dict[str, float] = {"CPU": resources.cpus, **({"GPU": gpus} if gpus else {})}
    if cluster.slots(held) < 1 and not may_grow:
        raise ClusterError(
            f"resources: a trial holds {held}, but the whole cluster has {dict(ray.cluster_resources())}; "
            "where it grows on demand, say resources.gpus, and the sweep waits for it"
        )
    return held
