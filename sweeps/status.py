"""Where a sweep stands, in words: what is planned, what is done, what failed and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from heapq import nlargest
from statistics import fmean
from typing import Any, get_args

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sweeps.keys import ORDER, cell_digest
from sweeps.plan import Plan, State
from sweeps.spec import Spec
from sweeps.storage import Store
from sweeps.storage.leases import runs_at_work
from sweeps.sweep import find_sweep

MOST_TRIALS = 60
MOST_CAUSES = 20
"""Lines of a list, at most: of a larger one, a screen shows the beginning and how much more there is."""

SAMPLE = 20
"""Checkpoints of a stage, and ten times as many rows, that are read at most to estimate how long others take."""


def show_plan(spec: Spec, store: Store, plan: Plan, console: Console) -> None:
    """Print what a run would compute, and why."""
    place = store.describe(spec.name)
    console.print(f"{spec.name}: {len(plan.trials)} trials, {plan.rows} rows, in {escape(place)}", soft_wrap=True)
    states = plan.states()
    view = Table("trial", "rows", *get_args(State), "shared checkpoints")
    for trial in plan.trials[:MOST_TRIALS]:
        count = Counter(states[row.key] for row in trial.rows)
        view.add_row(
            escape(trial.label),
            str(len(trial.rows)),
            *(str(count[state]) for state in get_args(State)),
            ", ".join(f"{stage.name}{' ✓' if stage.key in plan.checkpoints else ''}" for stage in trial.shared),
        )
    console.print(view)
    if len(plan.trials) > MOST_TRIALS:
        console.print(f"… and {len(plan.trials) - MOST_TRIALS} more trials")
    to_train = Counter(plan.checkpoints_to_train().values())
    wanted = {stage.key: stage.name for trial in plan.trials for stage in trial.shared}
    present = sorted(wanted.keys() & plan.checkpoints)
    for name in ORDER:
        there = [key for key in present if wanted[key] == name]
        if to_train[name] or there:
            console.print(f"{name} checkpoints: {len(there)} present, {to_train[name]} to compute")
    total = Counter(states.values())
    said = [f"{total[state]} {state}" for state in ("finished", "missing")]
    said += [f"{total['failed']} failed before (--retry-failed computes them too)"] if total["failed"] else []
    said += [f"{total['changed']} changed ({plan.changes})"] if total["changed"] else []
    console.print(escape(f"rows: {', '.join(said)}"), soft_wrap=True)
    if plan.failed:
        _show_causes((each for each in store.failures(spec.name) if each["row_key"] in plan.failed), console)
    console.print(_estimate(spec, store, plan, to_train, present))
    if plan.changed:
        console.print(f"[bold]`sweeps run` will refuse:[/bold] {escape(plan.conflict(place))}", soft_wrap=True)


def show(location: str, console: Console) -> int:
    """Print progress and failures of a sweep, running or not; return 0 if it is complete, else 1."""
    store, name, spec = find_sweep(location)
    cells = {cell_digest(cell) for cell in spec.study.baselines(spec.cells) + spec.cells}
    published = {key.split("-")[0]: at for key, at in store.published_at(name).items()}
    done = published.keys() & cells
    failures = {failure["row_key"].split("-")[0]: failure for failure in store.failures(name)}
    failed = failures.keys() & cells - done
    left = len(cells) - len(done) - len(failed)
    console.print(
        f"{spec.name}: {len(done)} of {len(cells)} rows finished, {len(failed)} failed, {left} to come", soft_wrap=True
    )
    for run in runs_at_work(store.files, name):
        console.print(f"at work: process {run.pid} on {escape(run.host)}")
    _show_causes((failure for cell, failure in failures.items() if cell in failed), console)
    pace = _pace(published[cell] for cell in done)
    if pace is not None and left:
        console.print(f"at the pace of the last rows, {60 * pace:.1f} a minute: {left / pace / 60:.0f} minutes left")
    return 0 if len(done) == len(cells) else 1


def show_failures(location: str, console: Console) -> None:
    """Print each failure of a sweep with its traceback."""
    store, name, spec = find_sweep(location)
    failures = list(store.failures(name))
    if not failures:
        console.print(f"{spec.name}: no failures")
    for failure in failures:
        cell = ", ".join(f"{axis} {value}" for axis, value in failure["cell"].items())
        console.print(f"[bold]{escape(cell)}[/bold] in {failure['stage']} on {escape(failure['host'])}")
        console.print(failure["traceback"], markup=False, soft_wrap=True)


def _show_causes(failures: Iterable[Mapping[str, Any]], console: Console) -> None:
    causes = Counter(f"{failure['stage']}: {failure['cause']}" for failure in failures)
    for cause, count in causes.most_common(MOST_CAUSES):
        console.print(f"  {count} × {escape(cause)}", soft_wrap=True)
    if len(causes) > MOST_CAUSES:
        console.print(f"  … and {len(causes) - MOST_CAUSES} more causes; `sweeps failures` lists them all")


def _pace(published_at: Iterable[int]) -> float | None:
    """Return rows per second over the last 20 rows, published at these nanoseconds."""
    last = nlargest(20, published_at)
    return 1e9 * (len(last) - 1) / (last[0] - last[-1]) if last and last[0] > last[-1] else None


def _estimate(spec: Spec, store: Store, plan: Plan, to_train: Counter[str], present: Sequence[str]) -> str:
    """Return the work ahead in hours of one worker, from durations measured in this storage, this grid's first."""
    ahead = {name: to_train[name] for name in ORDER if to_train[name]} | {"rows": plan.missing}
    keys = [*present, *sorted(plan.checkpoints.difference(present))]
    seconds = {name: _stage_seconds(store, [key for key in keys if key.startswith(f"{name}-")]) for name in to_train}
    seconds["rows"] = _row_seconds(store, spec) if plan.missing else None
    unknown = [name for name, count in ahead.items() if count and seconds[name] is None]
    if unknown:
        return f"time: nothing measured yet for {', '.join(unknown)} in this storage"
    hours = sum(count * (seconds[name] or 0) for name, count in ahead.items()) / 3600
    return f"time: about {hours:.2f} GPU-hours (hours of one worker), by what was measured here"


def _stage_seconds(store: Store, keys: Sequence[str]) -> float | None:
    """Return what a stage took on average, by the first of its published results."""
    metas = (store.checkpoint_meta(key) for key in keys[:SAMPLE])
    seconds = [meta["seconds"] for meta in metas if meta is not None]
    return fmean(seconds) if seconds else None


def _row_seconds(store: Store, spec: Spec) -> float | None:
    """Return what a row takes of a GPU on average, by rows that were read before and a sample of the others."""
    rows = store.read_rows(spec.name, most_unread=10 * SAMPLE)
    if rows is None:
        return None
    times = zip(rows["started_at"].to_pylist(), rows["finished_at"].to_pylist(), strict=True)
    seconds = fmean(
        (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()
        for started, finished in times
    )
    return seconds / spec.engine.resources.workers_per_gpu
