"""What a finished run leaves with its user: the table, the tests, the figures, and where everything is."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from rich.console import Console
from rich.markup import escape

from sweeps.errors import StorageError, SweepError
from sweeps.planning.plan import Plan, make
from sweeps.reporting.page import report
from sweeps.reporting.page.section import Section
from sweeps.reporting.page.sections.against import BesideError, against_section, unmatched
from sweeps.reporting.page.sections.cost import cost
from sweeps.reporting.summary import contrast_views, mean_table, mean_view
from sweeps.results.doubts import caveats
from sweeps.results.literature import load_published
from sweeps.results.origins import origins_of, with_seconds
from sweeps.results.roles import in_panels, run_along
from sweeps.results.rows.compared import stood_for
from sweeps.results.sweep import Sweep, open_sweep
from sweeps.spec import Spec, answers, studies
from sweeps.spec.recorded import RecordedStudy, read_declared
from sweeps.statistics.analysis import contrasts
from sweeps.statistics.samples import Design
from sweeps.storage import Store
from sweeps.storage.files import Files
from sweeps.storage.rows import stage_columns
from sweeps.study import Course, Gallery, Lines

_KEYS = ["row_key", "files_key"]


def show(spec: Spec, store: Store, plan: Plan, console: Console) -> None:
    """Print the mean table, the tests and the places of the report; say what is missing and how to get it."""
    location = store.describe(spec.name)
    if show_results(location, console):
        write_report(location, console)
    for folder in ("results", *spec.study.files):
        console.print(store.describe(f"{spec.name}/{folder}"), soft_wrap=True, markup=False)
    show_left(location, plan, console)


def show_results(location: str, console: Console) -> bool:
    """Print means and tests of a sweep's main metric; return whether there is any row of its grid."""
    opened = open_sweep(location)
    sweep = opened.trusted
    study = sweep.spec.study
    if not len(sweep.rows):
        return False
    metric, label = next(iter(study.metrics.items()))
    means = mean_table(sweep.rows, sweep.baseline, metric=metric, roles=sweep.roles)
    console.print(mean_view(means, title=label, along=study.row_axis))
    _say_caveats(opened, metric, console)
    tests = contrasts(sweep.rows, metric=metric, design=_design(sweep), roles=sweep.roles)
    for view in contrast_views(tests, roles=sweep.roles):
        console.print(view)
    return True


def show_left(location: str, plan: Plan, console: Console) -> None:
    """Print how many rows failed and are missing, if any, and what to do about it."""
    if plan.failed:
        console.print(
            f"[bold]{len(plan.failed)} rows failed[/bold]; `sweeps failures {escape(location)}` tells why, "
            "`--retry-failed` computes them again",
            soft_wrap=True,
        )
    for rule, count in Counter(plan.skipped.values()).items():
        console.print(f"{count} rows were left out ({rule})", soft_wrap=True, markup=False)
    missing = plan.missing + len(plan.waiting)
    if missing:
        console.print(
            f"[bold]{missing} rows are missing[/bold]; the same command computes them",
            soft_wrap=True,
        )


def exit_status(plan: Plan) -> int:
    """Return 0 where all rows of a plan are there, else 1."""
    return 0 if plan.is_complete else 1


def write_report(
    location: str,
    console: Console,
    *,
    against: str | None = None,
    named: Mapping[str, str] | None = None,
    study: str | None = None,
    output: str | None = None,
    along: str | None = None,
    by: str | None = None,
    all_rows: bool = False,
) -> None:
    """Write figures and page into `<sweep>/report`; print where they are, and what is not in them.

    Args:
        location: `<storage>/<name>`.
        console: to print on.
        against: published values to put beside the sweep's, see `results.literature`.
        named: columns of that file that have another name, by metric.
        study: to import for its pictures, where no installed package registers the one that the stored spec names.
        output: a folder to write into instead.
        along: the axis along which curves run, if not the study's row axis.
        by: the axis of which every level has a panel in figures, if not the study's.
        all_rows: also use rows outside the present grid.

    Raises:
        SweepError: there is no such sweep, it cannot be written there, or the published values cannot be put beside it.
    """
    target = None if output is None else Files(output)
    sweep = open_sweep(location, study, all_rows=all_rows)
    declared, engine, compared = sweep.spec.study, sweep.spec.engine, sweep.compared
    roles = in_panels(location, run_along(location, compared.rows, sweep.roles, along), by)
    with tempfile.TemporaryDirectory(prefix="sweeps-report-") as scratch:
        folder = Path(scratch)
        sections, drawn = _published(folder, sweep, against, named or {}, console) if against else ([], [])
        told = _rows_and_lines(sweep)
        galleries, why_none = _galleries(sweep, *told)
        if why_none:
            console.print(f"no pictures: {why_none}", soft_wrap=True, markup=False)
        files = report.write_report(
            folder,
            title=sweep.spec.name,
            rows=sweep.rows,
            baseline=sweep.baseline,
            # A baseline is a level beside curves along the row axis; along another it has a value at each place.
            compared=(compared.rows, compared.baseline if roles.along == declared.row_axis else compared.baseline[:0]),
            swept=sweep.spec.cells,
            apart=stood_for(sweep.rows, sweep.spec),
            failures=pd.DataFrame(_flat(sweep)),
            cells=sweep.cells,
            baselines=sweep.spec.baselines,
            spec_text=sweep.spec.to_yaml(),
            metrics=declared.metrics,
            doubts=declared.doubts,
            description=engine.description,
            earlier=declared.earlier,
            beside=declared.beside,
            trade_off=declared.trade_off,
            design=_design(sweep),
            facts=_facts(sweep),
            notes=_of_settings(sweep.spec),
            courses=_courses(sweep, *told),
            galleries=galleries,
            no_galleries=why_none,
            costs=costs_of(sweep),
            remarks=[*filter(None, [sweep.outside]), *_code_sentences(sweep)],
            rows_at_a_time=engine.resources.workers_per_gpu,
            sections=sections,
            roles=roles,
        )
        # A figure of the page's own axis may be that of a field, too.
        publish(sweep, [*dict.fromkeys([*drawn, *files])], console, target)
    for sentence in (*filter(None, [sweep.outside]), *_code_sentences(sweep)):
        console.print(sentence, soft_wrap=True, markup=False)


def publish(sweep: Sweep, files: Sequence[Path], console: Console, elsewhere: Files | None) -> None:
    """Copy files into `<sweep>/report`, or elsewhere; print where they are.

    Raises:
        StorageError: that cannot be written.
    """
    target, folder = (sweep.store.files, f"{sweep.spec.name}/report/") if elsewhere is None else (elsewhere, "")
    for file in files:
        name = f"{folder}{file.name}"
        try:
            target.publish(name, file.read_bytes(), replace=True)
        except StorageError as error:
            hint = "; `sweeps report --output DIR` writes the report elsewhere" if elsewhere is None else ""
            raise StorageError(f"{error}{hint}") from error
        console.print(target.describe(name), soft_wrap=True, markup=False)


def _published(
    folder: Path, sweep: Sweep, against: str, named: Mapping[str, str], console: Console
) -> tuple[Sequence[Section], Sequence[Path]]:
    """Return the section on published values, and the files of its figures in `folder`; print what is not in it."""
    study = sweep.spec.study
    measured = [name for name, kind in {**study.columns, **stage_columns(study)}.items() if kind in (int, float)]
    known = [*study.metrics, *(name for name in measured if name not in study.metrics)]
    published = load_published(against, roles=sweep.roles, known=known, named=named)
    try:
        section, files = against_section(
            folder,
            name=sweep.spec.name,
            rows=sweep.trusted.rows,
            baseline=sweep.trusted.baseline,
            published=published,
            metrics=study.metrics,
            roles=sweep.roles,
        )
    except BesideError as error:
        raise SweepError(f"{against}: {error}") from error
    for metric in published.metrics:
        _say_caveats(sweep, metric, console)
    not_ours = unmatched(sweep.compared.rows, sweep.compared.baseline, published, roles=sweep.roles)
    if not_ours:
        said = f"{against}: {not_ours} of {len(published.values)} lines are of no configuration of {sweep.spec.name}"
        console.print(said, soft_wrap=True, markup=False)
    return [section], files


def _say_caveats(sweep: Sweep, metric: str, console: Console) -> None:
    doubts = sweep.spec.study.doubts
    for said in caveats(sweep.rows, metric, doubts, roles=sweep.roles, baseline=sweep.baseline):
        console.print(said, soft_wrap=True, markup=False)


_Rows = list[dict[str, Any]]
_LinesOf = Callable[[str, str], Lines | None]


def _galleries(sweep: Sweep, rows: _Rows, lines: _LinesOf) -> tuple[Sequence[Gallery], str]:
    """Return the study's pictures, and why there are none where they cannot be made."""
    if isinstance(sweep.spec.study, RecordedStudy):
        name = sweep.spec.engine.study
        if name in studies.registered():
            return (), f"the sweep is of another version of {name} than the one that is installed"
        return (), f"{name} is of no installed package, and is imported where --study {name} says so"
    try:
        with answers.asking(sweep.spec.study, "galleries"):
            return sweep.spec.study.galleries(rows, lines), ""
    except (ValueError, SweepError) as error:
        return (), str(error)


def _courses(sweep: Sweep, rows: _Rows, lines: _LinesOf) -> Sequence[Course]:
    """Return the study's curves of what its rows tell of themselves; none where it is not imported."""
    with answers.asking(sweep.spec.study, "courses"):
        return sweep.spec.study.courses(rows, lines)


def _rows_and_lines(sweep: Sweep) -> tuple[_Rows, _LinesOf]:
    """Return a sweep's rows, and what returns the lines of one of its tables that were kept of one of them."""
    rows = pa.Table.from_pandas(pd.concat([sweep.baseline, sweep.rows]), preserve_index=False)
    # Rows of before say nothing: their tables are named by the row.
    names = {row["row_key"]: row["files_key"] or row["row_key"] for row in rows.select(_KEYS).to_pylist()}

    def lines(table: str, row_key: str) -> Lines | None:
        found = sweep.store.read_table(sweep.spec.name, table, names[row_key])
        return None if found is None else {column: found[column].to_numpy() for column in found.column_names}

    return rows.to_pylist(), lines


def costs_of(sweep: Sweep) -> pd.DataFrame:
    """Return what each stage of a sweep took of each sort of device; see `cost`."""
    origins = origins_of(sweep.spec)
    every = pd.concat([sweep.baseline, sweep.rows])
    at_a_time = sweep.spec.engine.resources.workers_per_gpu
    return cost(with_seconds(every, origins, sweep.store), roles=sweep.roles, origins=origins, rows_at_a_time=at_a_time)


def _design(sweep: Sweep) -> Design:
    return "paired" if sweep.spec.study.paired else "independent"


def _facts(sweep: Sweep) -> Mapping[str, str]:
    """Return what was told at the last run, or what the study tells now, where its data is here."""
    kept = read_declared(sweep.store, sweep.spec.name)
    if kept is not None and kept.facts:
        return kept.facts
    try:
        return sweep.spec.study.facts(sweep.spec.cells)
    except ValueError:
        return {}


def _of_settings(spec: Spec) -> list[str]:
    """Return what there is to say of a study's settings; nothing where files that they name are not here."""
    try:
        return [*filter(None, [spec.study.replication(spec.cells)]), *spec.study.remarks(spec.cells)]
    except ValueError:
        return []


def _code_sentences(sweep: Sweep) -> list[str]:
    """Return what there is to say of rows that other code than today's made; nothing where keys are not known here."""
    try:
        return list(make(sweep.spec, sweep.store).code.sentences())
    except ValueError:
        return []


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
