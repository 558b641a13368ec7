"""Run what a plan says is missing, on a Ray that is already connected."""

from __future__ import annotations

import tempfile
from typing import Any

import ray
from ray import tune

from sweeps.engine import cluster
from sweeps.engine.job import Job
from sweeps.engine.live import Live
from sweeps.engine.searcher import SiblingSearcher
from sweeps.engine.trial import run_trial
from sweeps.errors import ClusterError
from sweeps.plan import Plan

TRIAL_RESTARTS = 2
"""How often Tune starts a trial again whose own process or node died; its finished rows are not computed again."""


def execute(job: Job, plan: Plan, *, cpus: int, max_concurrent: int | None, live: Live) -> None:
    """Compute the rows of `plan.todo`; returns when each is published or has its failure recorded.

    Args:
        cpus: of one trial's worker, beside its GPU where the cluster has any.
        max_concurrent: upper limit of trials at a time; as many as fit by default.

    Raises:
        ClusterError: no node can hold a single trial.
    """
    resources: dict[str, float] = {"CPU": cpus, **({"GPU": 1} if cluster.has_gpus() else {})}
    if cluster.slots(resources) < 1:
        raise ClusterError(
            f"resources.cpus: a trial holds {resources}, but the whole cluster has {dict(ray.cluster_resources())}"
        )
    # The first bundle is the trial's own process, which only orchestrates; the second holds what computes.
    placement = tune.PlacementGroupFactory([{}, resources], strategy="STRICT_PACK")
    task_options = {"num_cpus": cpus}
    if "GPU" in resources:
        # By default a process that used a GPU ends with its task: one start and one CUDA context per row.
        task_options |= {"num_gpus": 1, "max_calls": 0}
    config: dict[str, Any] = {"job": job, "task_options": task_options}
    with tempfile.TemporaryDirectory(prefix="sweeps-") as scratch:
        tuner = tune.Tuner(
            tune.with_resources(run_trial, placement),
            tune_config=tune.TuneConfig(
                search_alg=SiblingSearcher(plan.todo, plan.checkpoints, config),
                num_samples=len(plan.todo),
                max_concurrent_trials=max_concurrent,
                # A trial starts in the process of one that ended: no interpreter start, no imports.
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=job.sweep,
                # Tune's own state; nothing rests on it, since what is finished is what is in the storage.
                storage_path=scratch,
                callbacks=[live],
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=TRIAL_RESTARTS),
            ),
        )
        tuner.fit()
