"""Run a sweep, plan it, or measure again what it has kept: `sweeps.run`, `sweeps.plan` and `sweeps.measure`."""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.console import Console

from sweeps import running
from sweeps.api.reading import Analysis, Status, analyze, status
from sweeps.api.shown import WIDTH, Shown
from sweeps.api.specs import Given, loaded
from sweeps.planning.estimate import estimate
from sweeps.planning.kept_rows import carried
from sweeps.planning.plan import Plan
from sweeps.planning.work import ahead
from sweeps.reporting import reports
from sweeps.reporting.terminal import plan as view
from sweeps.results.measuring import asked_of
from sweeps.results.sweep import load_results
from sweeps.spec import Spec, answers
from sweeps.storage import Store


@dataclass(frozen=True, kw_only=True, repr=False)
class Finished(Shown):
    """A sweep that has been run, in part or to its end.

    Attributes:
        location: `<storage>/<name>`, for `load_results` and every command.
        report: where its page is; None while there is no row to report.
    """

    location: str
    report: str | None
    spec: Spec
    plan: Plan

    @property
    def is_complete(self) -> bool:
        """Whether all rows of the grid are there that rules do not leave out."""
        return self.plan.is_complete

    @property
    def frame(self) -> pd.DataFrame:
        """The rows that are in the storage now, as `load_results` returns them."""
        return load_results(self.location)

    @property
    def failures(self) -> pd.DataFrame:
        """The rows that failed, with their `cause`."""
        found = self.status().frame
        return found[found["state"] == "failed"].drop(columns="state").reset_index(drop=True)

    def status(self) -> Status:
        """Look where the sweep stands now."""
        return status(self.location)

    def analyze(self, **asked: Any) -> Analysis:
        """Test its rows; see `sweeps.analyze`."""
        return analyze(self.location, **asked)

    def show(self, console: Console) -> None:
        """Print means, tests and what is missing, as `sweeps run` does in the end."""
        rows = f"{len(self.plan.finished)} of {self.plan.rows} rows are finished"
        console.print(f"{self.spec.name}: {rows}, in {self.location}", markup=False, soft_wrap=True)
        reports.show_results(self.location, console)
        reports.show_left(self.location, self.plan, console)


@dataclass(frozen=True, kw_only=True, repr=False)
class Planned(Shown):
    """What a run would compute, and why.

    Attributes:
        remarks: what the study and the storage say of it, before anything is trained.
        hours: about how long it lasts, of one GPU, or of one worker where there are none; None where nobody knows.
        basis: what that is known by, or why it is not.
    """

    spec: Spec
    store: Store
    plan: Plan
    remarks: tuple[str, ...]
    hours: float | None
    basis: str
    teraflops: float | None = None

    @property
    def frame(self) -> pd.DataFrame:
        """A line per row: its axes, its `state` (finished, missing, failed, changed or skipped), and its `row_key`."""
        states = self.plan.states()
        columns = [*(axis.name for axis in self.spec.study.axes), "state", "row_key"]
        lines = [
            row.cell | {"state": states[row.key], "row_key": str(row.key)}
            for trial in self.plan.trials
            for row in trial.rows
        ]
        return pd.DataFrame(lines, columns=columns)

    @property
    def shared(self) -> pd.DataFrame:
        """A line per result that trials share: its `stage`, its `key`, and whether it is `present`."""
        stages = {stage.key: stage.name for trial in self.plan.trials for stage in trial.shared}
        lines = [(name, key, key in self.plan.checkpoints) for key, name in stages.items()]
        return pd.DataFrame(lines, columns=["stage", "key", "present"])

    @property
    def data(self) -> dict[str, pd.DataFrame]:
        """What the study tells of its data, by title."""
        described = answers.data_tables(self.spec.study, self.spec.cells)
        return {title: pd.DataFrame(lines, columns=[*heads]) for title, heads, lines in described}

    def show(self, console: Console) -> None:
        """Print what `sweeps plan` prints."""
        for remark in self.remarks:
            console.print(remark, markup=False, soft_wrap=True)
        view.show_plan(self.spec, self.store, self.plan, console, teraflops=self.teraflops)


def run(
    spec: Given,
    *,
    storage: str | os.PathLike[str] = "runs",
    set: Mapping[str, Any] | None = None,
    address: str | None = None,
    cpus: int | None = None,
    gpus: int | None = None,
    retry_failed: bool = False,
    recompute: Collection[str] = (),
    max_concurrent: int | None = None,
    quiet: bool = False,
) -> Finished:
    """Compute what is missing of a sweep, and write its report. Run again, it resumes.

    It works in a script without a guard of `__main__` and in a notebook: nothing is started by importing the script
    again. Ctrl-C, or the notebook's stop, raises KeyboardInterrupt; finished rows stay.

    Args:
        spec: a bundled spec's name, a YAML file, or a mapping that holds what such a file would.
        storage: a path, or a URI such as `s3://bucket/runs`.
        set: values to lay over the spec, by the path of their field: `{"finetune.epochs": 2}`.
        address: of a Ray cluster to join, or `auto`; by default the Ray that this process is connected to, or else a
            private one on this machine.
        cpus: of this machine for a private Ray; by default those that this process may use.
        gpus: of this machine for a private Ray; by default those that this process sees.
        retry_failed: also compute rows that failed before.
        recompute: labels of code; results of other code than today's under one of them are computed again.
        max_concurrent: at most so many trials at a time.
        quiet: print nothing.

    Raises:
        StoppedError: the sweep was stopped half way.
        SweepError: the spec, its data, the storage or the cluster is wrong; before anything is trained.
    """
    return _finished(
        loaded(spec, set),
        Store(os.fspath(storage)),
        _console(quiet),
        address=address,
        cpus=cpus,
        gpus=gpus,
        retry_failed=retry_failed,
        recompute=recompute,
        max_concurrent=max_concurrent,
    )


def measure(
    sweep: str | os.PathLike[str],
    *under: str | Mapping[str, Any],
    where: str | None = None,
    name: str | None = None,
    address: str | None = None,
    cpus: int | None = None,
    gpus: int | None = None,
    retry_failed: bool = False,
    max_concurrent: int | None = None,
    quiet: bool = False,
) -> Finished:
    """Measure what rows of a sweep have kept, under further attacks say, as rows of a sweep beside it; nothing is
    trained, and what is there is not measured again. `load_results(sweep, measured=True)` are the rows.

    Args:
        sweep: `<storage>/<name>`.
        under: what to measure under, each a name or a mapping of settings that may have a `label`; none: what was
            asked for before.
        where: a condition on rows of the sweep, as pandas' `query` has it; by default all that have kept files.
        name: of the sweep that holds the measurements.
        address: as for `run`, like the rest.
        cpus: of this machine for a private Ray.
        gpus: of this machine for a private Ray.
        retry_failed: also measure what failed before.
        max_concurrent: at most so many trials at a time.
        quiet: print nothing.

    Raises:
        StoppedError: it was stopped half way.
        SweepError: there is no such sweep, it has kept nothing, or what is asked for is wrong; before anything is
            measured.
    """
    console, asked = _console(quiet), asked_of(os.fspath(sweep), under, where=where, name=name)
    for remark in asked.remarks:
        console.print(remark, markup=False, soft_wrap=True)
    return _finished(
        asked.spec,
        asked.store,
        console,
        address=address,
        cpus=cpus,
        gpus=gpus,
        retry_failed=retry_failed,
        max_concurrent=max_concurrent,
    )


def plan(
    spec: Given,
    *,
    storage: str | os.PathLike[str] = "runs",
    set: Mapping[str, Any] | None = None,
    retry_failed: bool = False,
    recompute: Collection[str] = (),
    teraflops: float | None = None,
) -> Planned:
    """Say what `run` would compute, why, and what it costs, without computing it.

    Args:
        spec: as for `run`, like the rest.
        storage: a path, or a URI.
        set: values to lay over the spec.
        retry_failed: also plan rows that failed before.
        recompute: labels of code.
        teraflops: estimate by arithmetic, for a GPU that sustains so many 10¹² operations a second.

    Raises:
        SweepError: the spec, its data or the storage is wrong.
    """
    store = Store(os.fspath(storage))
    loaded_spec, said = carried(loaded(spec, set), store), io.StringIO()
    remarks = Console(file=said, width=WIDTH, highlight=False, emoji=False)
    planned = running.prepare(loaded_spec, store, remarks, retry_failed=retry_failed, recompute=recompute)
    with running.said_by(loaded_spec.name):
        work = ahead(loaded_spec.study, planned)
        found = estimate(loaded_spec, store, planned, work, teraflops=teraflops)
    return Planned(
        spec=loaded_spec,
        store=store,
        plan=planned,
        remarks=tuple(said.getvalue().splitlines()),
        hours=None if isinstance(found, str) else found.hours,
        basis=found if isinstance(found, str) else found.basis,
        teraflops=teraflops,
    )


def _finished(spec: Spec, store: Store, console: Console, **options: Any) -> Finished:
    """Run a sweep, and report what is there."""
    after = running.run(spec, store, console, **options)
    location, page = store.describe(spec.name), None
    if after.finished:
        reports.write_report(location, console)
        page = store.describe(f"{spec.name}/report/report.html")
    return Finished(location=location, report=page, spec=spec, plan=after)


def _console(quiet: bool) -> Console:
    return Console(file=io.StringIO() if quiet else None, highlight=False, emoji=False)
