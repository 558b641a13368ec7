"""Where a sweep stands, in words: what is done, what failed and why. What is planned is told in `planning`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from heapq import nlargest
from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.markup import escape

from sweeps.errors import SpecError
from sweeps.planning.durations import in_words, without_pauses
from sweeps.results.failures import failures_of
from sweeps.results.standing import Standing, standing
from sweeps.results.sweep import find_store, open_rows
from sweeps.storage import Store
from sweeps.storage.leases import runs_at_work

MOST_CAUSES = 20
"""Lines of a list of causes, at most."""


def show(location: str, console: Console) -> int:
    """Print progress and failures of a sweep, running or not; return 0 if it is complete, else 1."""
    try:
        now = standing(location)
    except SpecError as error:
        return _show_before(location, console, why=str(error).splitlines()[0])
    show_standing(now, console)
    return 0 if len(now.finished) == len(now.cells) else 1


def show_standing(now: Standing, console: Console) -> None:
    """Print progress and failures of a sweep."""
    done, failed, left = now.finished, now.failed, now.left
    console.print(
        f"{now.name}: {len(done)} of {len(now.cells)} rows finished, {len(failed)} failed, {left} to come",
        soft_wrap=True,
    )
    if now.outside:
        console.print(now.outside, markup=False, soft_wrap=True)
    for run in runs_at_work(now.store.files, now.name):
        console.print(f"at work: process {run.pid} on {escape(run.host)}")
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


def show_failures(location: str, console: Console) -> None:
    """Print each failure of a sweep with its traceback."""
    store, name = find_store(location)
    failures = list(failures_of(store, name))
    if not failures:
        console.print(f"{name}: no failures")
    for failure in failures:
        cell = ", ".join(f"{axis} {value}" for axis, value in failure["cell"].items()) or failure["row_key"]
        console.print(f"[bold]{escape(cell)}[/bold] in {escape(failure['stage'])} on {escape(failure['host'])}")
        console.print(failure["traceback"], markup=False, soft_wrap=True)


def show_causes(failures: Iterable[Mapping[str, Any]], console: Console) -> None:
    """Print the causes of failures, the most frequent first."""
    causes = Counter(f"{failure['stage']}: {failure['cause']}" for failure in failures)
    for cause, count in causes.most_common(MOST_CAUSES):
        console.print(f"  {count} × {escape(cause)}", soft_wrap=True)
    if len(causes) > MOST_CAUSES:
        console.print(f"  … and {len(causes) - MOST_CAUSES} more causes; `sweeps failures` lists them all")


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
