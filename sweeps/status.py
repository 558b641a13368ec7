"""Where a sweep stands, in words: what is planned, what is done, what failed and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sweeps.keys import ORDER, cell_digest
from sweeps.plan import Plan
from sweeps.spec import Spec
from sweeps.storage import Store
from sweeps.sweep import Sweep, open_sweep


def show_plan(spec: Spec, store: Store, plan: Plan, console: Console) -> None:
    """Print what a run would compute."""
    place = escape(store.describe(spec.name))
    console.print(f"{spec.name}: {len(plan.trials)} trials, {plan.rows} rows, in {place}", soft_wrap=True)
    todo = {trial.number: len(trial.rows) for trial in plan.todo}
    view = Table("trial", "rows", "finished", "failed", "to compute", "shared checkpoints")
    for trial in plan.trials:
        keys = [str(row.key) for row in trial.rows]
        view.add_row(
            escape(trial.label),
            str(len(keys)),
            str(sum(key in plan.finished for key in keys)),
            str(sum(key in plan.failed for key in keys)),
            str(todo.get(trial.number, 0)),
            ", ".join(f"{stage.name}{' ✓' if stage.key in plan.checkpoints else ''}" for stage in trial.shared),
        )
    console.print(view)
    to_train = Counter(plan.checkpoints_to_train().values())
    wanted = {stage.key: stage.name for trial in plan.trials for stage in trial.shared}
    present = Counter(name for key, name in wanted.items() if key in plan.checkpoints)
    for name in ORDER:
        if to_train[name] or present[name]:
            console.print(f"{name} checkpoints: {present[name]} present, {to_train[name]} to compute")
    why = f"; {len(plan.failed)} failed before (--retry-failed computes them too)" if plan.failed else ""
    console.print(f"rows: {len(plan.finished)} finished, {plan.missing} to compute{why}")
    if plan.failed:
        _show_causes([each for each in store.failures(spec.name) if each["row_key"] in plan.failed], console)
    console.print(_estimate(spec, store, plan))


def show(location: str, console: Console) -> int:
    """Print progress and failures of a sweep, running or not; return 0 if it is complete, else 1."""
    sweep = open_sweep(location)
    cells = {cell_digest(cell) for cell in sweep.spec.study.baselines(sweep.spec.cells) + sweep.spec.cells}
    done = {key.split("-")[0] for key in sweep.store.row_keys(sweep.spec.name)} & cells
    failed = {failure["row_key"].split("-")[0] for failure in sweep.failures} & cells - done
    console.print(
        f"{sweep.spec.name}: {len(done)} of {len(cells)} rows finished, {len(failed)} failed, "
        f"{len(cells) - len(done) - len(failed)} to come"
    )
    _show_causes([each for each in sweep.failures if each["row_key"].split("-")[0] in failed], console)
    pace = _pace(sweep)
    if pace is not None and len(done) + len(failed) < len(cells):
        left = (len(cells) - len(done) - len(failed)) / pace
        console.print(f"at the pace of the last rows, {60 * pace:.1f} a minute: {left / 60:.0f} minutes left")
    return 0 if len(done) == len(cells) else 1


def show_failures(location: str, console: Console) -> None:
    """Print each failure of a sweep with its traceback."""
    sweep = open_sweep(location)
    if not sweep.failures:
        console.print(f"{sweep.spec.name}: no failures")
    for failure in sweep.failures:
        cell = ", ".join(f"{name} {value}" for name, value in failure["cell"].items())
        console.print(f"[bold]{escape(cell)}[/bold] in {failure['stage']} on {escape(failure['host'])}")
        console.print(failure["traceback"], markup=False, soft_wrap=True)


def _show_causes(failures: Sequence[Mapping[str, Any]], console: Console) -> None:
    causes = Counter(f"{failure['stage']}: {failure['cause']}" for failure in failures)
    for cause, count in causes.most_common():
        console.print(f"  {count} × {escape(cause)}", soft_wrap=True)


def _pace(sweep: Sweep) -> float | None:
    """Return rows per second over the last 20 rows."""
    frame = pd.concat([sweep.baseline, sweep.rows])
    if len(frame) < 2:
        return None
    finished = pd.to_datetime(frame["finished_at"]).sort_values().tail(20)
    seconds = (finished.iloc[-1] - finished.iloc[0]).total_seconds()
    return (len(finished) - 1) / seconds if seconds > 0 else None


def _estimate(spec: Spec, store: Store, plan: Plan) -> str:
    """Return the work ahead in hours of one worker, from durations measured in this storage."""
    seconds: dict[str, list[float]] = {}
    for key in plan.checkpoints:
        meta = store.checkpoint_meta(key) or {}
        if "stage" in meta:
            seconds.setdefault(meta["stage"], []).append(meta["seconds"])
    to_train = Counter(plan.checkpoints_to_train().values())
    rows = store.read_rows(spec.name)
    per_row = None
    if rows is not None:
        frame = rows.to_pandas()
        own = [name for name, kind in spec.study.columns.items() if name.endswith("_s") and kind is float]
        per_row = float(frame[own].sum(axis=1).mean())
    unknown = [name for name in to_train if name not in seconds] + (
        ["rows"] if plan.missing and per_row is None else []
    )
    total = sum(count * sum(seconds[name]) / len(seconds[name]) for name, count in to_train.items() if name in seconds)
    total += plan.missing * (per_row or 0)
    if unknown:
        return f"time: nothing measured yet for {', '.join(unknown)} in this storage"
    return f"time: about {total / 3600:.2f} hours of one worker, by what was measured here"
