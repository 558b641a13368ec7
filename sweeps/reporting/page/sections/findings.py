"""What a page leads with: the findings of the tests in sentences, and below them what they are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import pandas as pd

from sweeps.reporting.findings import UNCHECKED_MEANS, Findings, findings, how_tested
from sweeps.reporting.page.section import folded
from sweeps.statistics.roles import Roles

MOST = 8
"""Sentences of a kind that are seen at once."""


def findings_html(tests: Mapping[str, pd.DataFrame], *, caveats: str, roles: Roles) -> str:
    """Return the findings on metrics, the first in full and the others folded.

    Args:
        tests: what `contrasts` found, by the label of the metric; none of them is empty.
        caveats: HTML on what was left out of them.
        roles: of the key columns.
    """
    if not tests:
        return f"<p>No factor has two levels to compare.</p>{caveats}"
    (label, main), *others = tests.items()
    parts = [_sentences(findings(main, label=label, roles=roles))]
    for other, found in others:
        said = findings(found, label=other, roles=roles)
        seen = len(said.differ) + len(said.unchecked)
        what = f"{seen} difference{'s' * (seen != 1)}" if seen else "no difference shown"
        parts.append(folded(f"The same tests of {other}: {what}", _sentences(said)))
    made = how_tested(main, label=label, roles=roles)
    return f'{"".join(parts)}<p class="quiet">{escape(made)}</p>{caveats}'


def setting_html(facts: Mapping[str, str], axes: Mapping[str, str], remarks: Sequence[str]) -> str:
    """Return what was done: facts of the study by label, the levels of each axis, and remarks on both."""
    said = "".join(f"<p>{escape(sentence)}</p>" for sentence in remarks)
    every = [*facts.items(), *((f"swept: {axis}", levels) for axis, levels in axes.items())]
    lines = "".join(f"<div><dt>{escape(label)}</dt><dd>{escape(fact)}</dd></div>" for label, fact in every)
    return f'<dl class="facts">{lines}</dl>{said}'


def _sentences(found: Findings) -> str:
    parts = []
    if found.differ:
        parts.append(f"<h3>What differs</h3>{_list(found.differ)}")
    if found.unchecked:
        parts.append(f'<h3>What may differ</h3><p class="quiet">{escape(UNCHECKED_MEANS)}.</p>')
        parts.append(_list(found.unchecked))
    if not (found.differ or found.unchecked):
        tested = found.not_shown or found.at_floor
        parts.append(f"<p>{'No test shows a difference.' if tested else 'Nothing could be tested.'}</p>")
    if found.not_shown:
        parts.append(f"<h3>Tested, and no difference shown</h3>{_list(found.not_shown)}")
    less = [*found.at_floor, *found.untested]
    if less:
        parts.append(folded(f"At the floor, or not tested ({len(less)})", _list(less, most=len(less))))
    return "".join(parts)


def _list(sentences: Sequence[str], *, most: int = MOST) -> str:
    items = [f"<li>{escape(sentence)}</li>" for sentence in sentences]
    shown = f"<ul>{''.join(items[:most])}</ul>"
    return shown + (folded(f"{len(items) - most} more", f"<ul>{''.join(items[most:])}</ul>") if items[most:] else "")
