"""How long the work ahead lasts: by what was measured in this storage, and by arithmetic where nothing was."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from statistics import fmean
from typing import NamedTuple

from sweeps.planning.durations import without_pauses
from sweeps.planning.plan import Plan
from sweeps.planning.work import Work, computed_with, operations
from sweeps.spec import Spec, answers
from sweeps.storage import Store

ASSUMED_TERAFLOPS = 20.0
"""What a GPU sustains in training where nobody knows better; the help of `sweeps plan --teraflops` has a scale."""

SAMPLE = 20
"""Checkpoints of a stage, and ten times as many rows, that are read at most to estimate how long others take."""


class Estimate(NamedTuple):
    """Hours of one GPU (of one worker, where there are none), and where they come from, in words.

    `on_cpu` says that there are none.
    """

    hours: float
    basis: str
    on_cpu: bool = False


class Measured(NamedTuple):
    """What a result took on average, and its operations where they are known."""

    seconds: float
    operations: float | None


def estimate(spec: Spec, store: Store, plan: Plan, work: Work, *, teraflops: float | None = None) -> Estimate | str:
    """Return how long `work` lasts, or a few words on why that cannot be told.

    Args:
        teraflops: what one GPU sustains, in 10¹² operations a second, to go by arithmetic wherever that is possible.
            By default, what was measured in this storage counts first, and then arithmetic at the rate of that; where
            nothing was, at what the CPU of this machine sustains, unless GPUs are meant.
    """
    last = spec.study.stages[-1]
    measured = _measured(spec, store, plan, work)
    gpus = spec.engine.resources.gpus
    known = teraflops is not None or any(each.operations for each in measured.values())
    unmeasured = [] if known else [name for name in work.results if name not in measured and work.operations(name)]
    pace = answers.cpu_pace(spec.study, gpus) if unmeasured else None
    rate, at_rate = _rate(measured.values(), teraflops, gpus=gpus, cpu_pace=pace)
    seconds = 0.0
    by_measure: list[str] = []
    by_rate: list[str] = []
    unknown: list[str] = []
    for result, count in work.results.items():
        needed = work.operations(result)
        if needed is not None and (teraflops is not None or result not in measured):
            seconds += needed / rate
            by_rate.append(result)
        elif result in measured:
            seconds += count * measured[result].seconds
            by_measure.append(result)
        else:
            unknown.append(result)
    if unknown:
        return f"nothing measured yet for {_listed(unknown, last)} in this storage"
    bases = [(names, how) for names, how in ((by_measure, "by what was measured here"), (by_rate, at_rate)) if names]
    on_cpu = gpus == 0 or pace is not None
    if len(bases) == 1:
        return Estimate(seconds / 3600, bases[0][1], on_cpu)
    return Estimate(seconds / 3600, "; ".join(f"{_listed(names, last)} {how}" for names, how in bases), on_cpu)


def _listed(results: Sequence[str], last: str) -> str:
    return ", ".join("rows" if name == last else name for name in results)


def _rate(
    measured: Iterable[Measured], teraflops: float | None, *, gpus: int | None, cpu_pace: float | None
) -> tuple[float, str]:
    """Return operations per second of one GPU, or of one worker on the CPU, and in words where that comes from."""
    if teraflops is not None:
        return teraflops * 1e12, f"on {'workers' if gpus == 0 else 'GPUs'} that sustain {teraflops:g} teraflops"
    known = [(each.operations, each.seconds) for each in measured if each.operations]
    if known:
        rate = sum(needed for needed, _ in known) / sum(seconds for _, seconds in known)
        return rate, f"by arithmetic, at the {rate / 1e12:.3g} teraflops of what was measured here"
    if cpu_pace is not None:
        why = "" if gpus == 0 else ", which has no GPU; `--set resources.gpus=1` plans for machines that have"
        return cpu_pace, f"by arithmetic, calibrated at {cpu_pace / 1e12:.2g} teraflops on this machine's CPU{why}"
    held, high = (" (resources.gpus is 1)", "") if gpus else ("", "a CPU or ")
    return (
        ASSUMED_TERAFLOPS * 1e12,
        f"if a GPU{held} sustains {ASSUMED_TERAFLOPS:g} teraflops: an assumption (--teraflops), "
        f"far too high for {high}a small network",
    )


def _measured(spec: Spec, store: Store, plan: Plan, work: Work) -> dict[str, Measured]:
    """Return what this grid's results took, and those of other grids where no arithmetic tells how they compare."""
    own = {
        stage.key: (stage.name, row.at)
        for trial in plan.trials
        for row in trial.rows
        for stage in row.stages
        if stage.key in plan.checkpoints
    }
    measured: dict[str, Measured] = {}
    *before, last = spec.study.stages
    for name in before:
        keys = [key for key in sorted(own) if own[key][0] == name][:SAMPLE]
        seconds = _stage_seconds(store, keys)
        if seconds is not None:
            needed = [operations(spec.study, [name], own[key][1]) for key in keys]
            measured[name] = Measured(seconds, _mean(needed))
        elif work.operations(name) is None:
            others = [key for key in sorted(plan.checkpoints) if key.startswith(f"{name}-")][:SAMPLE]
            seconds = _stage_seconds(store, others)
            if seconds is not None:
                measured[name] = Measured(seconds, None)
    seconds = _row_seconds(store, spec)
    if seconds is not None:
        rows = (row for trial in plan.trials for row in trial.rows if str(row.key) in plan.finished)
        needed = [operations(spec.study, computed_with(row, spec.study), row.at) for row in islice(rows, 10 * SAMPLE)]
        measured[last] = Measured(seconds, _mean(needed))
    return measured


def _mean(operations: Sequence[float | None]) -> float | None:
    known = [each for each in operations if each is not None]
    return fmean(known) if known and len(known) == len(operations) else None


def _stage_seconds(store: Store, keys: Sequence[str]) -> float | None:
    """Return what a stage took on average, by its published results of these keys."""
    metas = (store.checkpoint_meta(key) for key in keys)
    seconds = [meta["seconds"] for meta in metas if meta is not None and "seconds" in meta]
    return fmean(without_pauses(seconds)) if seconds else None


def _row_seconds(store: Store, spec: Spec) -> float | None:
    """Return what a row takes of a GPU on average, by rows that were read before and a sample of the others."""
    rows = store.read_rows(spec.name, most_unread=10 * SAMPLE)
    if rows is None or not {"started_at", "finished_at"} <= {*rows.column_names}:
        return None
    times = zip(rows["started_at"].to_pylist(), rows["finished_at"].to_pylist(), strict=True)
    seconds = [
        (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()
        for started, finished in times
    ]
    return fmean(without_pauses(seconds)) / spec.engine.resources.workers_per_gpu
