"""What a run would compute, and why, and what that costs: what `sweeps plan` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sweeps.planning.estimate import Estimate, estimate
from sweeps.planning.keys import RowKey
from sweeps.planning.plan import Plan, State
from sweeps.planning.sharing import costs
from sweeps.planning.work import Work, ahead
from sweeps.reporting.terminal.failures import show_causes
from sweeps.results.failures import failures_of
from sweeps.spec import Spec, answers
from sweeps.storage import Store
from sweeps.study import DataTable

MOST_TRIALS = 60
"""Lines of the table of trials, at most."""

MOST_TIMED = 20_000
"""Rows to come at most of which it is told what each field costs that is an axis."""

_SKIPPED: tuple[State] = ("skipped",)

FLEETS = (1, 8, 64)
"""Numbers of GPUs, or of workers on CPUs, to divide a long run by."""


def show_plan(spec: Spec, store: Store, plan: Plan, console: Console, *, teraflops: float | None = None) -> None:
    """Print what a run would compute, and why; `teraflops` as for `estimate`."""
    place = store.describe(spec.name)
    console.print(f"{spec.name}: {len(plan.trials)} trials, {plan.rows} rows, in {escape(place)}", soft_wrap=True)
    replication = spec.study.replication(spec.cells)
    if replication:
        console.print(escape(replication), soft_wrap=True)
    for described in answers.data_tables(spec.study, spec.cells):
        _show_data(described, console)
    states = plan.states()
    _show_trials(plan, states, console)
    work = ahead(spec.study, plan)
    _show_checkpoints(spec.study.stages, plan, work, console)
    _show_rows(plan, states, console)
    if plan.failed:
        show_causes((each for each in failures_of(store, spec.name) if each["row_key"] in plan.failed), console)
    _show_work(work, console)
    found = estimate(spec, store, plan, work, teraflops=teraflops) if work.results else None
    if found is not None:
        _show_time(found, console)
    for cost in costs(spec, plan):
        said = cost.sentence(spec.study.stages[-1])
        if isinstance(found, Estimate) and plan.missing <= MOST_TIMED:
            fewer = estimate(spec, store, cost.fewer, ahead(spec.study, cost.fewer), teraflops=teraflops)
            if isinstance(fewer, Estimate):
                said += f"; {_duration(found.hours - fewer.hours, _unit(found))} more"
        console.print(escape(said), soft_wrap=True)
    if plan.changed:
        console.print(f"[bold]`sweeps run` will refuse:[/bold] {escape(plan.conflict(place))}", soft_wrap=True)


def _show_data(described: DataTable, console: Console) -> None:
    view = Table(*map(escape, described.heads), box=None, padding=(0, 2, 0, 0))
    for column in view.columns[1:]:
        column.justify = "right"
    for name, *entries in described.lines:
        shown = (f"{each:,}" if isinstance(each, int) else str(each) for each in entries)
        view.add_row(escape(str(name)), *map(escape, shown))
    console.print(escape(described.title), soft_wrap=True)
    console.print(view)


def _show_trials(plan: Plan, states: Mapping[RowKey, State], console: Console) -> None:
    shown: list[State] = ["finished", "missing", "failed", "changed", *_SKIPPED[: bool(plan.skipped)]]
    view = Table("trial", "rows", *shown, "shared checkpoints")
    for trial in plan.trials[:MOST_TRIALS]:
        count = Counter(states[row.key] for row in trial.rows)
        view.add_row(
            escape(trial.label),
            str(len(trial.rows)),
            *(str(count[state]) for state in shown),
            ", ".join(f"{stage.name}{' ✓' if stage.key in plan.checkpoints else ''}" for stage in trial.shared),
        )
    console.print(view)
    if len(plan.trials) > MOST_TRIALS:
        console.print(f"… and {len(plan.trials) - MOST_TRIALS} more trials")


def _show_checkpoints(stages: Sequence[str], plan: Plan, work: Work, console: Console) -> None:
    wanted = {stage.key: stage.name for trial in plan.trials for stage in trial.shared}
    present = Counter(name for key, name in wanted.items() if key in plan.checkpoints)
    for name in stages:
        if name not in wanted.values():
            continue
        to_compute, spared = work.results.get(name, 0), work.spared.get(name, 0)
        if to_compute or present[name]:
            alone = f", not {to_compute + spared}, since trials share them" if spared else ""
            console.print(f"{name} checkpoints: {present[name]} present, {to_compute} to compute{alone}")


def _show_rows(plan: Plan, states: Mapping[RowKey, State], console: Console) -> None:
    total = Counter(states.values())
    said = [f"{total[state]} {state}" for state in ("finished", "missing")]
    said += [f"{total['failed']} failed before (--retry-failed computes them too)"] if total["failed"] else []
    said += [f"{total['skipped']} left out by a rule"] if total["skipped"] else []
    said += [f"{len(plan.waiting)} of the missing wait for others, and may be left out"] if plan.waiting else []
    said += [f"{total['changed']} changed ({plan.changes})"] if total["changed"] else []
    console.print(escape(f"rows: {', '.join(said)}"), soft_wrap=True)


def _show_work(work: Work, console: Console) -> None:
    """Print the operations that each kind of work takes, and what sharing saves; nothing where none are known."""
    total = work.known
    if not total:
        return
    view = Table("stage", "operations to come, by arithmetic", box=None, padding=(0, 2, 0, 0))
    for heading in ("times", "each", "in all", "share"):
        view.add_column(heading, justify="right")
    for kind in work.kinds:
        if kind.operations is None:
            view.add_row(kind.stage, "not known", f"{kind.times:,}", "–", "–", "–")
        else:
            each, share = kind.operations / kind.times, kind.operations / total
            figures = (_scientific(each), _scientific(kind.operations), f"{share:.1%}")
            view.add_row(kind.stage, escape(kind.description), f"{kind.times:,}", *figures)
    view.add_row("", "", "", "", _scientific(total), "100.0%")
    console.print(view)
    if work.saved:
        share = work.saved / (total + work.saved)
        console.print(
            f"sharing checkpoints saves another {_scientific(work.saved)}, {share:.0%} of what there would be"
        )


def _scientific(operations: float) -> str:
    return f"{operations:.1e}".replace("e+", "e") if operations else "0"


def _show_time(found: Estimate | str, console: Console) -> None:
    if isinstance(found, str):
        console.print(f"time: {found}")
        return
    told = f"{_duration(found.hours, _unit(found))} {'of one worker' if found.on_cpu else '(of one worker)'}"
    console.print(f"time: about {told}, {found.basis}", soft_wrap=True)
    if found.hours > 24:
        days = ", ".join(f"{found.hours / 24 / workers:,.1f}" for workers in FLEETS)
        computing = "workers" if found.on_cpu else "GPUs"
        console.print(f"days on {', '.join(map(str, FLEETS))} {computing}, if none is ever idle: {days}")


def _unit(found: Estimate) -> str:
    return "" if found.on_cpu else "GPU-"


def _duration(hours: float, of: str) -> str:
    """Return how long that is; `of` is put before the unit, such as `GPU-`."""
    if hours < 0.1:
        return f"{3600 * hours:.0f} {of}seconds"
    return f"{hours:,.2f} {of}hours" if hours < 100 else f"{hours:,.0f} {of}hours"
