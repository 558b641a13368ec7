"""Run what a plan says is missing, on a Ray that is already connected."""

from __future__ import annotations

import tempfile
import time
from typing import Any

from ray import tune
from ray.tune.stopper import CombinedStopper

from sweeps.engine import cluster, nodes
from sweeps.engine.job import Job
from sweeps.engine.messages import Switchboard
from sweeps.engine.progress.listening import Listener
from sweeps.engine.progress.live import Live
from sweeps.engine.progress.saved import Saved
from sweeps.engine.scheduling.beginnings import Beginnings
from sweeps.engine.scheduling.deaths import each_of_a_trial_alone
from sweeps.engine.scheduling.health import Health
from sweeps.engine.scheduling.idle_help import IdleHelp
from sweeps.engine.scheduling.placement_groups import TrialGroups, removed_when_interrupted
from sweeps.engine.scheduling.queue import DEATHS, Queue
from sweeps.engine.scheduling.searcher import QueueSearcher, Search
from sweeps.engine.scheduling.stopping import Stopping
from sweeps.engine.scheduling.stranded import Stranded, avoided_by
from sweeps.engine.shelf import Shelves
from sweeps.engine.trial import run_trial
from sweeps.engine.worker import Share
from sweeps.errors import StoppedError
from sweeps.planning.plan import Plan, Trial
from sweeps.spec import Resources
from sweeps.storage.leases import Leases

WAIT_FOR_OTHERS_S = 0.5
"""Seconds between looks whether another run has finished what all trials wait for."""

CAUSES = 3
"""Of deaths, told at the end."""

A_LITTLE = 0.001
"""What a trial takes of the resource by which Ray marks the nodes of a kind of accelerator."""


def execute(
    job: Job,
    plan: Plan,
    leases: Leases,
    live: Live,
    *,
    resources: Resources,
    max_concurrent: int | None = None,
    stop_after_failures: int | None = None,
) -> None:
    """Compute the rows of `plan.todo`; returns when each is published or has its failure recorded.

    A trial whose process dies again and again is given up, and nothing is recorded against its rows: it only
    orchestrates them, so that whatever ends it is the fault of none.

    Args:
        job: the sweep, as workers know it.
        plan: what is missing.
        leases: of this run.
        live: the view to keep up to date.
        resources: what a trial holds.
        max_concurrent: upper limit of trials at a time; as many as fit by default.
        stop_after_failures: failed rows at which to stop; never by default.

    Raises:
        ClusterError: no node can hold a single trial.
        StoppedError: the storage failed, the study breaks what it declares, the nodes cannot run it, too many rows
            failed, or trials were given up.
    """
    held = _held(resources)
    # Where the spec does not say what a trial holds, that is what the nodes there are have.
    no_room = cluster.check_fits(held, may_wait=resources.gpus is not None)
    cluster.let_pend(len(plan.todo))
    queue = Queue(job.sweep, plan.todo, plan.checkpoints, leases, limit=max_concurrent)
    health, saved = Health(), Saved(job.store)
    beginnings = Beginnings(health)
    switchboard = Switchboard()
    live.watch(queue, health, no_room=no_room, listener=Listener(switchboard.actor))
    leases.news = live.news
    stopping = Stopping(queue, health, beginnings, leases.check, after_failures=stop_after_failures)
    width = resources.workers_per_gpu if "GPU" in held else 1
    given_up: dict[str, str] = {}

    def give_up(trial: Trial, why: str) -> None:
        given_up[trial.label] = why

    def has_saved(trial: Trial) -> bool:
        with stopping.storage_may_fail():
            return saved.since_last(job.sweep, rows=trial.rows, stages=trial.shared)
        return False

    def fit() -> bool:
        """Let Tune run trials until all have ended, or those that are left wait for another run.

        Return whether some are left that no node can hold but those that they keep away from.
        """
        # Who limits the trials at a time wants to leave room for others: nobody helps when workers fall idle.
        idle_help = None if max_concurrent is not None else IdleHelp(queue, switchboard)
        shelves = Shelves(job.storage)
        signal = idle_help.signal_name if idle_help is not None else None
        share = Share(held, width, signal, shelves.run, leases.id, switchboard.name)
        searcher = QueueSearcher(
            queue,
            {"job": job, "share": share},
            give_up,
            health=health,
            saved=has_saved,
            stop=stopping.stop_all,
        )
        stranded = Stranded(held)
        with tempfile.TemporaryDirectory(prefix="sweeps-") as scratch:
            tuner = tune.Tuner(
                tune.with_resources(run_trial, _places),
                # The queue limits the trials, where they are limited: Tune would keep places that nobody uses.
                # A trial starts in the process of one that ended: no interpreter start, no imports.
                tune_config=tune.TuneConfig(search_alg=Search(searcher), num_samples=-1, reuse_actors=True),
                run_config=tune.RunConfig(
                    name="sweep",
                    # Tune's own state; nothing rests on it, since what is finished is what is in the storage.
                    storage_path=scratch,
                    callbacks=[beginnings, stranded, live, shelves, *([idle_help] if idle_help is not None else [])],
                    stop=CombinedStopper(stopping, stranded),
                    verbose=0,
                    # The queue decides what is started again.
                    failure_config=tune.FailureConfig(max_failures=0),
                ),
            )
            try:
                with removed_when_interrupted(), each_of_a_trial_alone():
                    tuner.fit()
            finally:
                shelves.close()
                if idle_help is not None:
                    idle_help.close()
        return stranded.found

    try:
        while not queue.over and not stopping.stop_all():
            stranded = fit()
            if not stopping.stop_all():
                # Tune may end a trial and tell nobody, where a process cannot be had for the next one.
                for trial in queue.take_back(died=not stranded):
                    give_up(trial, f"its process died {DEATHS} times in a row with nothing finished in between")
            # What waits holds no place: the other run may need it to finish.
            while queue.waits_for_others_only and not stopping.stop_all():
                live.tick()
                time.sleep(WAIT_FOR_OTHERS_S)
    finally:
        queue.close()
        switchboard.close()
    if stopping.lost:
        raise StoppedError(f"{stopping.lost}; the sweep was stopped here, and the same command joins in again")
    if stopping.storage_failure is not None:
        raise StoppedError(
            f"{stopping.storage_failure}; the sweep was stopped, finished rows are published, "
            "and once the storage can be written the same command resumes"
        )
    if stopping.cluster_fault:
        raise StoppedError(
            f"{stopping.cluster_fault}; the sweep was stopped, nothing is recorded against its rows, "
            "and once the nodes are mended the same command goes on"
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
    if given_up:
        (label, why), *others = given_up.items()
        more = f" (and {len(others)} other trials)" if others else ""
        died = "; ".join(live.deaths[:CAUSES])
        raise StoppedError(
            f"trial {label}{more}: {why}{f'; deaths: {died}' if died else ''}; nothing is recorded against its rows "
            "that are missing, and the same command tries again"
        )


def _places(config: dict[str, Any]) -> TrialGroups:
    """Return what a trial asks Ray for: its own process, which only orchestrates, and a place where things happen.

    It is kept from nodes that are left out, and from one where something of it failed, while there is another.
    """
    held = dict(config["share"].resources)
    avoided = avoided_by(config)
    options: dict[str, Any] = {}
    if avoided and nodes.others_can_hold(held, avoided):
        options["bundle_label_selector"] = [nodes.all_but(avoided)]
    return TrialGroups([{}, held], strategy="STRICT_PACK", **options)


def _held(resources: Resources) -> dict[str, float]:
    """Return what a trial holds on this cluster."""
    gpus = int(cluster.has_gpus()) if resources.gpus is None else resources.gpus
    held: dict[str, float] = {"CPU": resources.cpus, **({"GPU": gpus} if gpus else {})}
    if resources.accelerator is not None:
        held[f"accelerator_type:{resources.accelerator}"] = A_LITTLE
    return held
