"""The page of a sweep: figures on disk and one self-contained HTML file that opens offline.

What the page says is computed in `statistics` and `summary.py`; how it looks is `templates/report.html`.
"""

import base64
import math
import numbers
from collections.abc import Mapping, Sequence
from datetime import timedelta
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import pandas as pd

from sweeps.reporting.figures import metric_against_ratio, save
from sweeps.reporting.gallery import gallery_html
from sweeps.reporting.summary import MISSING, STAR_MEANS, families, format_p, labelled, mean_table, notes, starred
from sweeps.statistics.analysis import ALPHA, contrasts
from sweeps.statistics.roles import DEFAULT_ROLES, Roles
from sweeps.study import Gallery

# Wide tables scroll in place, by keyboard too.
_SCROLL = '<div class="scroll" tabindex="0" role="region" aria-label="{}">'


def write_report(
    folder: Path,
    *,
    title: str,
    rows: pd.DataFrame,
    baseline: pd.DataFrame,
    failures: pd.DataFrame,
    spec_text: str,
    metrics: Mapping[str, str],
    galleries: Sequence[Gallery] = (),
    no_galleries: str = "",
    roles: Roles = DEFAULT_ROLES,
) -> list[Path]:
    """Write `report.html` and, per metric, `METRIC_against_ALONG.png` and `.svg` into the folder.

    Args:
        folder: made if it does not exist.
        title: the sweep's name.
        rows: one row per pruned model; may be empty.
        baseline: rows of the unpruned, unprotected model; may be empty.
        failures: one row per failure, whatever its columns; text of several lines is folded.
        spec_text: the resolved spec.
        metrics: columns to draw and their labels with units; the first is the primary one, which is tested
            in the paired design.
        galleries: pictures beside the figures.
        no_galleries: a sentence on why there are none, if there should be.
        roles: of the key columns; curves run along the fraction of weights pruned, in [0, 1].

    Returns:
        The files written, `report.html` last.

    Raises:
        ValueError: a key or metric column is missing or unfit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    results, tests = ["<p>No model has finished.</p>"], ["<p>No model has finished.</p>"]
    if len(rows):
        results = []
        for metric, label in metrics.items():
            figure = metric_against_ratio(rows, baseline, metric=metric, label=label, roles=roles)
            png, svg = save(figure, folder, f"{metric}_against_{roles.along}")
            written += [png, svg]
            results.append(_figure(svg.read_bytes(), label))
            results.append(_means(mean_table(rows, baseline, metric=metric, roles=roles), label, roles.along))
        primary = next(iter(metrics))
        tests = _tests(contrasts(rows, metric=primary, design="paired", roles=roles), metrics[primary], roles)
    template = resources.files("sweeps.reporting").joinpath("templates/report.html").read_text("utf-8")
    page = folder / "report.html"
    page.write_text(
        Template(template).substitute(
            title=escape(title),
            lead=escape(_lead(rows, failures, roles)),
            results="".join(results),
            tests="".join(tests),
            pictures=_pictures(galleries, no_galleries),
            pictures_link='<a href="#pictures">Pictures</a>' if galleries or no_galleries else "",
            failures=_table(failures) if len(failures) else "<p>None.</p>",
            cost=_cost(rows),
            spec=escape(spec_text),
            rows=_table(rows),
        ),
        "utf-8",
    )
    return [*written, page]


def _lead(rows: pd.DataFrame, failures: pd.DataFrame, roles: Roles) -> str:
    grid = ""
    if len(rows):
        configurations = labelled(rows, roles.factors)["configuration"].nunique()
        replicate, along = roles.replicate, roles.along
        grid = f" of {_count(configurations, 'configuration')}, {_count(rows[replicate].nunique(), replicate)}"
        grid += f" and {_count(rows[along].nunique(), along)}"
    return f"{_count(len(rows), 'pruned model')}{grid}; {_count(len(failures), 'failure')}."


def _count(number: int, of_what: str) -> str:
    return f"{number} {of_what}" + ("" if number == 1 else "s")


def _figure(svg: bytes, label: str) -> str:
    alternative = (
        f"{label} against the weights pruned, one curve per configuration with standard deviations, "
        "every model a dot, the baseline dashed. The table below holds the same numbers."
    )
    source = "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    return f'<h3>{escape(label)}</h3><figure><img src="{source}" alt="{escape(alternative)}"></figure>'


def _means(table: pd.DataFrame, label: str, along: str) -> str:
    lines = [
        f'<tr><th scope="row">{escape(str(name))}</th>{"".join(map(_mean_cell, cells))}</tr>'
        for name, cells in zip(table.index, table.to_numpy().tolist(), strict=True)
    ]
    return (
        f'{_SCROLL.format(escape(label))}<table class="lines">'
        f"<caption>{escape(label)}: mean ± standard deviation</caption>"
        f"{_ratio_head(along, list(table.columns))}<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _mean_cell(text: str) -> str:
    """The text of a cell of `mean_table`, its spread and its count each on a line below the mean."""
    mean, *below = text.replace(" ± ", "|± ").replace(" (", "|(").split("|")
    spans = "".join(f' <span class="spread">{escape(line)}</span>' for line in below)
    return f'<td class="number">{escape(mean)}{spans}</td>'


def _ratio_head(first: str, ratios: Sequence[Any], *, second: str = "") -> str:
    heads = "".join(f'<th scope="col" class="number">{at:g}</th>' for at in ratios)
    return f'<thead><tr><th scope="col">{escape(first)} →</th>{second}{heads}</tr></thead>'


def _tests(tests: pd.DataFrame, label: str, roles: Roles) -> list[str]:
    """One table per factor, three lines per contrast, and below them every number of every test."""
    if tests.empty:
        return ["<p>No factor has two levels to compare.</p>"]
    parts = [
        f"<p>{escape(label)}: {escape(tests['test'].iloc[0])} at each {escape(roles.along)}, "
        f"blocked by {escape(roles.replicate)}. {escape(STAR_MEANS)}; in brackets its 95% interval.</p>"
    ]
    for factor, pairs in families(tests, roles=roles):
        ratios = sorted({at for _, lines in pairs for at in lines.index})
        head = _ratio_head(roles.along, ratios, second="<td></td>")
        bodies = "".join(_contrast(name, lines.reindex(ratios)) for name, lines in pairs)
        said = "".join(f"<li>{escape(note)}</li>" for note in notes(pairs))
        parts.append(f"<h3>{escape(factor)}</h3>{_SCROLL.format('Tests of ' + escape(factor))}")
        parts.append(f"<table>{head}{bodies}</table></div>")
        parts.append(f'<ul class="quiet">{said}</ul>' if said else "")
    parts.append(f'<details class="screen"><summary>Every number</summary>{_table(tests)}</details>')
    return parts


def _contrast(name: str, lines: pd.DataFrame) -> str:
    p = "".join(f'<td class="number">{format_p(value)}</td>' for value in lines["p_value"])
    holm = "".join(
        f'<td class="number{" significant" if value < ALPHA else ""}">{starred(value)}</td>'
        for value in lines["p_holm"]
    )
    effects = zip(lines["effect_size"], lines["effect_low"], lines["effect_high"], strict=True)
    g = "".join(f'<td class="number">{_effect(*effect)}</td>' for effect in effects)
    return (
        f'<tbody><tr><th scope="rowgroup" rowspan="3">{escape(name)}</th><th scope="row">p</th>{p}</tr>'
        f'<tr><th scope="row">Holm</th>{holm}</tr><tr><th scope="row">g</th>{g}</tr></tbody>'
    )


def _effect(g: float, low: float, high: float) -> str:
    if math.isnan(g):
        return MISSING
    ends = (f"{end:.1f}" if abs(end) < 10 else f"{end:.0f}" for end in (low, high))
    return f'{g:+.1f} <span class="spread">[{", ".join(ends)}]</span>'


def _pictures(galleries: Sequence[Gallery], why_none: str) -> str:
    if not galleries and not why_none:
        return ""
    content = "".join(map(gallery_html, galleries)) if galleries else f"<p>None: {escape(why_none)}.</p>"
    return f'<section id="pictures"><h2>Pictures</h2>{content}</section>'


def _cost(rows: pd.DataFrame) -> str:
    seconds = [column for column in rows.columns if str(column).endswith("_s")]
    if not seconds:
        return "<p>No durations are recorded.</p>"
    totals = rows[seconds].sum()
    lines = "".join(
        f'<tr><th scope="row">{escape(str(stage).removesuffix("_s"))}</th>'
        f'<td class="number">{timedelta(seconds=round(total))}</td></tr>'
        for stage, total in totals.items()
    )
    head = '<tr><th scope="col">stage</th><th scope="col" class="number">h:mm:ss</th></tr>'
    return (
        f'<table class="lines"><thead>{head}</thead><tbody>{lines}</tbody></table>'
        '<p class="quiet">Summed over the rows. A stage that several rows share counts in each of them: '
        "this is the cost had nothing been shared.</p>"
    )


def _table(frame: pd.DataFrame) -> str:
    """A sortable table of anything; `data-value` holds the full value, the text may be rounded."""
    heads = "".join(
        f'<th scope="col"><button type="button">{escape(str(column))}</button></th>' for column in frame.columns
    )
    lines = (f"<tr>{''.join(map(_cell, cells))}</tr>\n" for cells in frame.itertuples(index=False, name=None))
    table = f"<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f'{_SCROLL.format("Sortable table")}<table class="sortable lines">{table}</table></div>'


def _cell(value: Any) -> str:
    if pd.isna(value) or value == "":
        return f"<td>{MISSING}</td>"
    text = escape(str(value))
    if isinstance(value, numbers.Integral):
        return f'<td class="number" data-value="{text}">{text}</td>'
    if isinstance(value, numbers.Real):
        return f'<td class="number" data-value="{text}">{value:.4g}</td>'
    if "\n" in text.strip():
        first, last = text.strip().splitlines()[0], text.strip().splitlines()[-1]
        summary = last if first.startswith("Traceback") else first
        folded = f"<details><summary>{summary}</summary><pre>{text}</pre></details>"
        return f'<td data-value="{summary}">{folded}</td>'
    return f'<td data-value="{text}">{text}</td>'
