"""Sweeps compared: whether they can be, and the page on it in the first one's report."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

import pandas as pd
from rich.console import Console

from sweeps.errors import SweepError
from sweeps.reporting.page.file_names import file_stem
from sweeps.reporting.page.report import page_html
from sweeps.reporting.page.section import Section
from sweeps.reporting.page.sections.comparison import SWEEP, comparison_html, costs_html, origins_html, settings_html
from sweeps.reporting.reports import costs_of, publish
from sweeps.results.doubts import left_out, mixed
from sweeps.results.sweep import Sweep, open_sweep
from sweeps.spec.differences import differences
from sweeps.storage.files import Files
from sweeps.storage.rows import split_location

_SAID_ELSEWHERE = ("name", "description")
"""Fields of a spec of which nobody needs to be told that they differ."""


def write_comparison(
    locations: Sequence[str],
    console: Console,
    *,
    study: str | None = None,
    output: str | None = None,
    all_rows: bool = False,
) -> None:
    """Write a page that compares the first sweep with the others into its report; print where it is.

    Args:
        locations: of the sweeps.
        console: to print on.
        study, output, all_rows: see `reports.write_report`.

    Raises:
        SweepError: there is no such sweep, or they cannot be compared.
    """
    target = None if output is None else Files(output)
    sweeps = _opened(locations, study, all_rows=all_rows)
    first, *others = sweeps
    stem = _stem(sweeps[first], [sweeps[name] for name in others])
    rows = {name: sweep.trusted.rows for name, sweep in sweeps.items()}
    metrics, roles = sweeps[first].metrics, sweeps[first].roles
    with tempfile.TemporaryDirectory(prefix="sweeps-report-") as scratch:
        folder = Path(scratch)
        results, files = [], []
        for metric, label in metrics.items():
            html, drawn = comparison_html(folder, rows, stem=stem, metric=metric, label=label, roles=roles)
            results.append(html + _caveats(sweeps, metric))
            files += drawn
        sections = [
            Section("settings", "What differs", _settings(sweeps) + origins_html(rows)),
            Section("results", "Results", "".join(results)),
            Section("cost", "Cost", costs_html({name: costs_of(sweep) for name, sweep in sweeps.items()})),
        ]
        page = folder / f"{stem}.html"
        title = f"{first} beside {', '.join(others)}"
        page.write_text(page_html(title, _lead(sweeps), sections), encoding="utf-8")
        publish(sweeps[first], [*files, page], console, target)


def _opened(locations: Sequence[str], study: str | None, *, all_rows: bool) -> dict[str, Sweep]:
    """Return the sweeps by name, or by location where they share a name; the first comes first.

    Raises:
        SweepError: one is not there, or there twice, or they have nothing to compare.
    """
    places = [_place(location) for location in locations]
    for index, location in enumerate(locations):
        if places[index] in places[:index]:
            raise SweepError(f"{location}: found the same sweep twice, expected different ones to compare")
    opened = [open_sweep(location, study, all_rows=all_rows) for location in locations]
    first = opened[0]
    keys = [axis for axis in first.roles.axes if axis != first.roles.replicate]
    for other in opened[1:]:
        studies = first.spec.engine.study, other.spec.engine.study
        if studies[0] != studies[1]:
            raise SweepError(
                f"{other.location}: found the study {studies[1]!r}, expected {studies[0]!r} as in {first.location}"
            )
        if first.rows[keys].merge(other.rows[keys]).empty:
            raise SweepError(
                f"{other.location}: found no finished rows of the same {', '.join(keys)} as in {first.location}, "
                "expected some to compare"
            )
    names = Counter(sweep.spec.name for sweep in opened)
    return {sweep.spec.name if names[sweep.spec.name] == 1 else sweep.location: sweep for sweep in opened}


def _stem(first: Sweep, others: Sequence[Sweep]) -> str:
    """Return the page's name: that of the other sweeps, and for those of another storage, which one."""
    places = [_place(sweep.location) for sweep in others]
    here, _ = split_location(_place(first.location))
    elsewhere = [place for place in places if split_location(place)[0] != here]
    return file_stem(f"compared-with-{'-and-'.join(sweep.spec.name for sweep in others)}", told_by=elsewhere)


def _place(location: str) -> str:
    return location.rstrip("/") if "://" in location else os.path.realpath(location)


def _settings(sweeps: dict[str, Sweep]) -> str:
    differ = differences([sweep.spec.to_yaml() for sweep in sweeps.values()])
    return settings_html({field: differ[field] for field in differ if field not in _SAID_ELSEWHERE}, list(sweeps))


def _caveats(sweeps: dict[str, Sweep], metric: str) -> str:
    """Say how many values are in doubt, sweep by sweep, and what differs where they were measured."""
    first = next(iter(sweeps.values()))
    out = {name: left_out(sweep.rows, metric, sweep.spec.study.doubts) for name, sweep in sweeps.items()}
    together = pd.concat([sweep.rows.assign(**{SWEEP: name}) for name, sweep in sweeps.items()])
    roles = replace(first.roles, axes=(SWEEP, *first.roles.axes))
    said = [f"{name}: {each}" for name, each in out.items() if each]
    said += filter(None, [mixed(together, metric, first.spec.study.doubts, roles=roles)])
    return "".join(f'<p class="quiet">{escape(each)}.</p>' for each in said)


def _lead(sweeps: dict[str, Sweep]) -> str:
    """Say how much there is to compare, and how much of that was computed from the very same inputs."""
    (first, one), *others = sweeps.items()
    said = [f"{first}: {len(one.rows)} models, {one.location}."]
    for name, other in others:
        both = one.rows.merge(other.rows, on=list(one.roles.axes), suffixes=("", "_other"))
        same = int((both["row_key"] == both["row_key_other"]).sum())
        said.append(f"{name}: {len(other.rows)} models, {other.location}; {len(both)} cells are in both sweeps")
        said[-1] += f", {same} of them computed from the same inputs." if same else "."
    said += [f"{sweep.outside}." for sweep in sweeps.values() if sweep.outside]
    return "".join(f"<p>{escape(sentence)}</p>" for sentence in said)
