"""What a finished run leaves with its user: the table, the tests, the figures, and where everything is."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape

from sweeps import report as page
from sweeps.analysis import contrasts
from sweeps.plan import Plan
from sweeps.spec import Spec
from sweeps.storage import Store
from sweeps.summary import contrast_views, mean_table, mean_view
from sweeps.sweep import Sweep, open_sweep


def show(spec: Spec, store: Store, plan: Plan, console: Console) -> None:
    """Print the mean table, the tests and the places of the report; say what is missing and how to get it."""
    location = store.describe(spec.name)
    sweep = open_sweep(location)
    if len(sweep.rows):
        metric, label = next(iter(spec.study.metrics.items()))
        means = mean_table(sweep.rows, sweep.baseline, metric=metric, **sweep.naming)
        console.print(mean_view(means, title=label, along=spec.study.row_axis))
        tests = contrasts(sweep.rows, metric=metric, **sweep.naming)
        for view in contrast_views(tests, **sweep.naming):
            console.print(view)
        for path in write_report(location):
            console.print(path, soft_wrap=True, markup=False)
    console.print(store.describe(f"{spec.name}/results"), soft_wrap=True, markup=False)
    if plan.failed:
        console.print(
            f"[bold]{len(plan.failed)} rows failed[/bold]; `sweeps failures {escape(location)}` tells why, "
            "`--retry-failed` computes them again",
            soft_wrap=True,
        )
    if plan.missing:
        console.print(
            f"[bold]{plan.missing} rows are missing[/bold]; the same `sweeps run` computes them",
            soft_wrap=True,
        )


def exit_status(plan: Plan) -> int:
    """Return 0 where all rows of a plan are there, else 1."""
    return 0 if len(plan.finished) == plan.rows else 1


def write_report(location: str) -> list[str]:
    """Write figures and page into `<sweep>/report`, and return where they are."""
    sweep = open_sweep(location)
    with tempfile.TemporaryDirectory(prefix="sweeps-report-") as folder:
        files = page.write_report(
            Path(folder),
            title=sweep.spec.name,
            rows=sweep.rows,
            baseline=sweep.baseline,
            failures=pd.DataFrame(_flat(sweep)),
            spec_text=sweep.spec.to_yaml(),
            metrics=sweep.spec.study.metrics,
            **sweep.naming,
        )
        names = [f"{sweep.spec.name}/report/{file.name}" for file in files]
        for file, name in zip(files, names, strict=True):
            sweep.store.files.publish(name, file.read_bytes(), replace=True)
    return [sweep.store.describe(name) for name in names]


def _flat(sweep: Sweep) -> list[dict[str, object]]:
    return [
        {
            **failure["cell"],
            "stage": failure["stage"],
            "cause": failure["cause"],
            "traceback": failure["traceback"],
        }
        for failure in sweep.failures
    ]
