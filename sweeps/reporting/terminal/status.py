"""Where a sweep stands, in words: what is done, what failed and why. What is planned is told in `planning`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from heapq import nlargest
from itertools import pairwise

from rich.console import Console
from rich.markup import escape

from sweeps.errors import SpecError
from sweeps.planning.durations import in_words, without_pauses
from sweeps.planning.underway import in_short, recorded, summed_up
from sweeps.reporting.terminal.failures import show_causes
from sweeps.results.failures import failures_of
from sweeps.results.standing import Standing, standing
from sweeps.results.sweep import find_store, open_rows
from sweeps.storage import Store
from sweeps.storage.leases import AtWork, runs_at_work

MOST_STAGES = 20
"""Stages at work, told one by one; the others are summed up."""


def show(location: str, console: Console) -> int:
    """Print progress and failures of a sweep, running or not; return 0 if it is complete, else 1."""
    try:
        now = standing(location)
    except SpecError as error:
        return _show_before(location, console, why=str(error).splitlines()[0])
    show_standing(now, console)
    return 0 if now.is_complete else 1


def show_standing(now: Standing, console: Console) -> None:
    """Print progress and failures of a sweep."""
    done, failed, left = now.finished, now.failed, now.left
    console.print(
        f"{now.name}: {len(done)} of {len(now.cells)} rows finished, {len(failed)} failed, {left} to come",
        soft_wrap=True,
    )
    for rule, count in Counter(now.skipped.values()).items():
        console.print(f"{count} rows are left out ({rule})", markup=False, soft_wrap=True)
    if now.outside:
        console.print(now.outside, markup=False, soft_wrap=True)
    for at_work in runs_at_work(now.store.files, now.name):
        show_at_work(at_work, console)
    show_causes((failure for cell, failure in now.failures.items() if cell in failed), console)
    pace = _pace((now.published[cell] for cell in done), now.store, now.name) if left else None
    if pace is not None:
        told = f"{60 * pace:.1f} a minute" if 60 * pace >= 0.1 else f"{3600 * pace:.1f} an hour"
        console.print(f"at the pace of the last rows, {told}: {in_words(left / pace)} left")


def _show_before(location: str, console: Console, *, why: str) -> int:
    """Print what there is of a sweep of whose spec nothing is known; return 1: nothing tells whether it is complete."""
    sweep = open_rows(location)
    store, name = find_store(location)
    failures = list(failures_of(store, name))
    rows = len(sweep.rows) + len(sweep.baseline)
    console.print(f"{name}: {rows} rows finished, {len(failures)} failed", soft_wrap=True)
    for said in filter(None, [sweep.outside, sweep.remark or why]):
        console.print(said, markup=False, soft_wrap=True)
    show_causes(failures, console)
    return 1


def show_at_work(at_work: AtWork, console: Console) -> None:
    """Print who is at a sweep, and how far its stages are; of a run that is silent for long, for how long."""
    run = at_work.run
    who = f"at work: process {run.pid} on {escape(run.host)}"
    if at_work.is_silent:
        console.print(f"{who}, not heard of for {in_words(at_work.silent_s)}: it may have been killed", soft_wrap=True)
        return
    console.print(who, soft_wrap=True)
    said = at_work.news.get("stages")
    known = [stage for stage in map(recorded, said if isinstance(said, list) else []) if stage is not None]
    stages = [stage._replace(age_s=stage.age_s + at_work.silent_s) for stage in known]
    for stage in stages[:MOST_STAGES]:
        console.print(f"  {stage.name}, {stage.stage}: {in_short(stage)}", markup=False, soft_wrap=True)
    if len(stages) > MOST_STAGES:
        console.print(f"  … and {summed_up(stages[MOST_STAGES:])}", markup=False, soft_wrap=True)


def _pace(published_at: Iterable[int], store: Store, name: str) -> float | None:
    """Return rows per second over the last 20 rows, published at these nanoseconds, pauses apart."""
    times = [at / 1e9 for at in sorted(nlargest(20, published_at))]
    between = [after - before for before, after in pairwise(times)]
    steady = without_pauses(between)
    rows, seconds = len(steady), sum(steady)
    if rows < len(between):
        # What a shared stage took of that time is work, no pause.
        metas = store.checkpoint_metas(sorted(store.noted_checkpoints(name) or ()))
        known = [meta for meta in metas if meta is not None and "started_at" in meta]
        stages = [(datetime.fromisoformat(meta["started_at"]).timestamp(), meta["seconds"]) for meta in known]
        for before, after in pairwise(times):
            work = [took for began, took in stages if before <= began <= after]
            if work and after - before > steady[-1]:
                rows, seconds = rows + 1, seconds + min(max(work), after - before)
    return rows / seconds if seconds else None
