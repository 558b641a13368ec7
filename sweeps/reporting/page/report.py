"""The page of a sweep: figures on disk and one self-contained HTML file that opens offline.

This module puts parts together; each is computed in a module of its own, and how they look is in `templates`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from types import MappingProxyType
from typing import Any

import pandas as pd

from sweeps.reporting.page.html_tables import filters, sortable_table
from sweeps.reporting.page.section import Section, folded, links_html, section_html
from sweeps.reporting.page.sections.choosing import chooser_html
from sweeps.reporting.page.sections.cost import cost, cost_html
from sweeps.reporting.page.sections.courses import course_html
from sweeps.reporting.page.sections.curves import curves_html
from sweeps.reporting.page.sections.findings import findings_html, setting_html
from sweeps.reporting.page.sections.gallery import gallery_html
from sweeps.reporting.page.sections.pareto_front import front_html
from sweeps.reporting.page.sections.progress import progress_html, progress_of
from sweeps.reporting.page.sections.provenance import provenance_html
from sweeps.reporting.page.sections.responses import draws_html, field_html, is_moved, numeric_fields
from sweeps.reporting.page.sections.significance import significance_html
from sweeps.results.doubts import caveats, trusted
from sweeps.results.origins import Origins
from sweeps.statistics.analysis import contrasts
from sweeps.statistics.roles import Roles
from sweeps.statistics.samples import Design
from sweeps.study import Course, Doubts, Gallery, TradeOff

_NOTHING = "<p>No model has finished.</p>"


def write_report(
    folder: Path,
    *,
    title: str,
    rows: pd.DataFrame,
    baseline: pd.DataFrame,
    failures: pd.DataFrame,
    cells: Sequence[Mapping[str, Any]],
    baselines: Sequence[Mapping[str, Any]],
    spec_text: str,
    metrics: Mapping[str, str],
    doubts: Doubts = MappingProxyType({}),
    description: str = "",
    earlier: Mapping[str, str] = MappingProxyType({}),
    beside: Mapping[str, str] = MappingProxyType({}),
    trade_off: TradeOff | None = None,
    design: Design = "paired",
    facts: Mapping[str, str] = MappingProxyType({}),
    notes: Sequence[str] = (),
    courses: Sequence[Course] = (),
    galleries: Sequence[Gallery] = (),
    no_galleries: str = "",
    costs: pd.DataFrame | None = None,
    remarks: Sequence[str] = (),
    rows_at_a_time: int = 1,
    sections: Sequence[Section] = (),
    compared: tuple[pd.DataFrame, pd.DataFrame] | None = None,
    swept: Sequence[Mapping[str, Any]] | None = None,
    apart: pd.DataFrame | None = None,
    roles: Roles,
) -> list[Path]:
    """Write `report.html` and its figures, each as `.png` and `.svg`, into the folder.

    Args:
        folder: made if it does not exist.
        title: the sweep's name.
        rows: one row per pruned model; may be empty.
        baseline: rows that the others are compared with; may be empty.
        failures: one row per failure: the axes, `stage`, `cause` and what else is known; text of several lines is
            folded.
        cells: of the grid, finished or not.
        baselines: the cells of what they are compared with.
        spec_text: the resolved spec.
        metrics: columns to draw and their labels with units; the first is the primary one, which is tested.
        doubts: as `Study.doubts`; figures and tests leave out what is in doubt and say so, the table of rows has it.
        description: what the sweep is for.
        earlier: as `Study.earlier`.
        beside: as `Study.beside`.
        trade_off: two of the metrics to draw against each other.
        design: of the tests.
        facts: what was done, as `Study.facts`.
        notes: sentences on what a reader should know of it.
        courses: curves of what rows tell of themselves.
        galleries: pictures beside the figures.
        no_galleries: a sentence on why there are none, if there should be.
        remarks: sentences on where the rows come from.
        costs: what `cost` returned of the rows, if that is to be told.
        rows_at_a_time: as for `cost`.
        sections: further ones, which come after the tests.
        compared: the rows and those of the baseline as figures and tests take them, where these are others.
        swept: the cells of the grid with values for all axes, where some of `cells` are without.
        apart: the rows with a line for each cell that they stand for, draws apart, where these are others.
        roles: of the key columns; curves run along the fraction pruned, in [0, 1].

    Returns:
        The files written, `report.html` last.

    Raises:
        ValueError: a key or metric column is missing or unfit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    every = pd.concat([part for part in (baseline, rows) if len(part)] or [rows])
    said = {
        metric: "".join(map(_quiet, caveats(rows, metric, doubts, roles=roles, baseline=baseline)))
        for metric in metrics
    }
    models = trusted(rows, doubts)
    apart = models if apart is None else trusted(apart, doubts)
    rows, baseline = (trusted(part, doubts) for part in compared or (rows, baseline))
    progress = progress_of([*baselines, *cells], rows=every, failures=failures, roles=roles)
    written: list[Path] = []
    shown: list[Section] = []

    def add(name: str, heading: str, content: str, *, on_paper: bool = True, folded: str = "") -> None:
        shown.append(Section(name, heading, content, on_paper, folded))

    primary = next(iter(metrics), "")
    pairs = {one: other for one, other in beside.items() if other in metrics and _has(rows, other)}
    # The main one, and all that are read side by side.
    read = dict.fromkeys([primary, *(name for name in metrics if name in pairs or name in pairs.values())])
    tested = [*read] if len(rows) else []
    found = {name: contrasts(rows, metric=name, design=design, roles=roles) for name in tested}
    found = {name: tests for name, tests in found.items() if len(tests)}
    labelled_tests = {metrics[name]: tests for name, tests in found.items()}
    told = "".join(said[name] for name in tested)
    add("findings", "Findings", findings_html(labelled_tests, caveats=told, roles=roles) if len(rows) else _NOTHING)
    add("setting", "Setting", setting_html(facts, _swept(swept or cells, roles), notes))

    curves, further = [], []
    before = {one: other for one, other in earlier.items() if other in metrics and _has(rows, other)}
    for metric, label in metrics.items() if len(rows) else ():
        if metric in (*pairs.values(), *earlier.values()) and metric != primary:
            continue
        other = (pairs[metric], metrics[pairs[metric]]) if metric in pairs else None
        said_before = {
            name: (before[name], metrics[before[name]]) for name in (metric, pairs.get(metric)) if name in before
        }
        html, files = curves_html(
            folder, rows, baseline, metric=metric, label=label, earlier=said_before, beside=other, roles=roles
        )
        html += said[metric] + (said[other[0]] if other else "")
        written += files
        heading = f"{label}, beside {other[1]}" if other else label
        if metric == primary:
            curves.append(f"<h3>{escape(heading)}</h3>{html}")
        else:
            further.append(folded(heading, html))
    if len(apart) and (roles.fields or roles.sampled):
        further.append(chooser_html(apart, metrics=metrics, roles=roles))
    add("results", "Results", "".join([*curves, *further]) or _NOTHING)
    parts: list[str] = []
    for field in numeric_fields(rows, roles) if len(rows) else ():
        moved = [metric for metric in metrics if is_moved(rows, metric=metric, field=field, roles=roles)]
        for place, metric in enumerate(moved):
            label = metrics[metric]
            html, files = field_html(folder, rows, metric=metric, label=label, field=field, design=design, roles=roles)
            heading, html = f"{label} against {field}", html + said[metric]
            parts.append(folded(heading, html, open_class="" if place else "fixed"))
            written += files
    if parts:
        add("settings", "What settings do", "".join(parts))
    if roles.sampled and len(models):
        html, files = draws_html(folder, models, metric=primary, label=metrics[primary], roles=roles)
        add("draws", "Draws", html + said[primary])
        written += files
    if trade_off is not None and len(rows):
        against, metric = trade_off.against, trade_off.metric
        labels = (metrics[against], metrics[metric])
        html, files = front_html(folder, rows, baseline, against=against, metric=metric, labels=labels, roles=roles)
        explained = f"<p>{escape(trade_off.explanation)}</p>"
        add("trade-off", trade_off.title, explained + html + said[against] + said[metric])
        written += files
    if courses:
        ways = [course_html(folder, course) for course in courses]
        add("courses", "Along the way", "".join(html for html, _ in ways))
        written += [file for _, files in ways for file in files]
    if galleries or no_galleries:
        drawn = (gallery_html(gallery, key=f"gallery-{place}") for place, gallery in enumerate(galleries))
        add("pictures", "Pictures", "".join(drawn) or f"<p>None: {escape(no_galleries)}.</p>")
    tables = "".join(significance_html(tests, label=label, roles=roles) for label, tests in labelled_tests.items())
    if tables:
        add("tests", "Tests", tables + told, folded="Every test")
    shown += sections
    add("progress", "Progress and failures", progress_html(progress, failures, roles=roles))
    if costs is None:
        costs = cost(every, roles=roles, origins=Origins(), rows_at_a_time=rows_at_a_time)
    add("cost", "Cost", cost_html(costs, rows=len(every), rows_at_a_time=rows_at_a_time))
    add("provenance", "Provenance", _said(remarks) + (provenance_html(every) if len(every) else _NOTHING))
    spec_html = f'<pre tabindex="0" aria-label="The resolved spec">{escape(spec_text)}</pre>'
    add("spec", "Spec", spec_html, folded="Every setting")
    table = _all_rows(every, roles) if len(every) else _NOTHING
    add("rows", "All rows", table, on_paper=False, folded="Every row")

    page = folder / "report.html"
    about = f"<p>{escape(description)}</p>" if description else ""
    lead = f"{about}<p>{escape(progress.sentence)}</p>"
    page.write_text(page_html(title, lead, shown), "utf-8")
    return [*written, page]


def page_html(title: str, lead: str, sections: Sequence[Section]) -> str:
    """Return a page of sections, with links to them below the title and `lead`, which is HTML."""
    templates = resources.files("sweeps.reporting.page").joinpath("templates")
    names = ("report.html", "report.css", "report.js", "choosing.js")
    html, style, *scripts = (templates.joinpath(name).read_text("utf-8") for name in names)
    script = "".join(scripts)
    return Template(html).substitute(
        title=escape(title),
        lead=lead,
        links=links_html(sections),
        sections="".join(map(section_html, sections)),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
    )


def _said(sentences: Sequence[str]) -> str:
    return "".join(f"<p><strong>{escape(sentence)}</strong></p>" for sentence in sentences)


def _quiet(sentence: str) -> str:
    return f'<p class="quiet">{escape(sentence)}.</p>' if sentence else ""


def _hash(source: str) -> str:
    """Return what a content security policy admits this very source by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


def _has(rows: pd.DataFrame, metric: str) -> bool:
    return metric in rows and bool(rows[metric].notna().any())


def _swept(cells: Sequence[Mapping[str, Any]], roles: Roles) -> dict[str, str]:
    """Return the levels of each axis in words, in the order of the grid."""
    said = {}
    for axis in roles.axes:
        levels = dict.fromkeys(cell[axis] for cell in cells)
        said[axis] = ", ".join(map(_level, levels))
    return said


def _level(value: Any) -> str:
    if value is None:
        return "null"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _all_rows(rows: pd.DataFrame, roles: Roles) -> str:
    controls = filters(rows, key="all-rows", columns=roles.axes)
    return controls + sortable_table(rows, caption="Every column of every row, baselines first", key="all-rows")
