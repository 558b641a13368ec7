"""Run a sweep from its spec to its report: check, plan, compute, sum up."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace

from rich.console import Console

from sweeps.errors import SpecError
from sweeps.planning import kept_rows
from sweeps.planning import plan as planning
from sweeps.planning.kept_rows import carried
from sweeps.planning.plan import Plan
from sweeps.spec import Spec, answers, recorded
from sweeps.storage import Store, row_files
from sweeps.storage.backends import notices
from sweeps.storage.leases import Leases


def prepare(
    spec: Spec, store: Store, console: Console, *, retry_failed: bool = False, recompute: Collection[str] = ()
) -> Plan:
    """Check all that can be wrong before anything is trained, say what is odd, and return what is to compute.

    Raises:
        SpecError: the spec names data or files that are missing or wrong.
        StorageError: the storage cannot be read.
    """
    with said_by(spec.name):
        for remark in answers.sentences(spec.study, spec.cells):
            console.print(remark, markup=False, soft_wrap=True)
        plan = planning.make(spec, store, retry_failed=retry_failed, recompute=recompute)
        answers.check_replication(spec.study, spec.cells)
        for remark in row_files.remarks(spec.name, spec.study, store, plan.finished):
            console.print(remark, markup=False, soft_wrap=True)
        for remark in (*plan.kept.sentences(), *plan.code.sentences()):
            console.print(remark, markup=False, soft_wrap=True)
        return plan


def run(
    spec: Spec,
    store: Store,
    console: Console,
    *,
    address: str | None = None,
    cpus: int | None = None,
    gpus: int | None = None,
    retry_failed: bool = False,
    recompute: Collection[str] = (),
    max_concurrent: int | None = None,
) -> Plan:
    """Compute what is missing of a sweep and return what is there afterwards.

    Args:
        address: of a Ray cluster to join; by default the Ray that this process is connected to, or else a private one.
        cpus: of this machine for a private Ray; by default those that this process may use.
        gpus: of this machine for a private Ray; by default those that this process sees.
        retry_failed: also compute rows that failed before.
        recompute: labels of code, of which results of other code than today's are computed again.
        max_concurrent: upper limit of trials at a time.

    Raises:
        StoppedError: the sweep was stopped half way.
        SweepError: before anything was computed; see `prepare`, `Plan.check_unchanged` and `engine.cluster.connected`.
    """
    spec = carried(spec, store)
    plan = prepare(spec, store, console, retry_failed=retry_failed, recompute=recompute)
    plan.check_unchanged(store.describe(spec.name))
    store.files.check_writable()
    if not plan.todo:
        _note(spec, store, plan)
        return plan
    # Ray takes seconds to import; what only reads the storage does without.
    from sweeps.engine import cluster

    cluster.settle_home()
    from sweeps.engine import driver
    from sweeps.engine.job import job_of
    from sweeps.engine.progress.live import Live

    if gpus is not None:
        cluster.check_gpus(gpus)
    console.print(
        f"{spec.name}: {len(plan.finished)} of {plan.rows} rows are finished; "
        f"computing {plan.missing} in {len(plan.todo)} trials"
    )
    for remark in cluster.remarks(address):
        console.print(remark, markup=False, soft_wrap=True)
    job, tried = job_of(spec, store, recompute=recompute), set[str]()
    with Leases(store.files, spec.name) as leases, cluster.connected(address, num_cpus=cpus, num_gpus=gpus):
        # Only now: who is refused a cluster has begun no sweep.
        _note(spec, store, plan)
        while plan.todo:
            keys = {str(row.key) for trial in plan.todo for row in trial.rows}
            store.forget_failures(spec.name, keys & plan.failed)
            with Live(plan, console) as live, notices.listen(live.say):
                driver.execute(
                    job,
                    plan,
                    leases,
                    live,
                    resources=spec.engine.resources,
                    max_concurrent=max_concurrent,
                    stop_after_failures=spec.engine.stop_after_failures,
                )
            if not plan.waiting:
                break
            # What rules say now that these rows are finished.
            tried |= keys
            plan = planning.make(spec, store, retry_failed=retry_failed, recompute=recompute).without(tried)
            if plan.todo:
                console.print(f"{spec.name}: {len(plan.skipped)} rows are left out by now, {plan.missing} come next")
    return planning.make(spec, store)


def _note(spec: Spec, store: Store, plan: Plan) -> None:
    """Write down what is asked for, by which readers and cleaning know the sweep."""
    # Before the spec that they were computed for is replaced, which says what the fields were that are axes now.
    kept_rows.publish(spec, store, plan.kept, plan.cells_of(plan.failed))
    store.write_spec(spec.name, spec.to_yaml())
    store.note_checkpoints(spec.name, {stage.key for trial in plan.trials for stage in trial.shared})
    with said_by(spec.name):
        recorded.write(replace(spec, merged=plan.merged), store)


@contextmanager
def said_by(source: str) -> Iterator[None]:
    """Turn a study's ValueError, which is a sentence for the user, into a SpecError that says where it came from."""
    try:
        yield
    except ValueError as error:
        raise SpecError(f"{source}: {error}") from error
