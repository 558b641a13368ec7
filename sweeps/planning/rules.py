"""Rules of a spec that leave rows out once others are there: ratios past a floor, draws that others have beaten.

A rule looks at nothing but finished rows. Which rows are left out is therefore the same on one worker and on a hundred,
after a crash, and whenever somebody asks again; nothing has to be kept of it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeps.spec import Spec
from sweeps.spec.axes.sampling.halving import Halving
from sweeps.spec.axes.skipping import COMPARISONS, Skip
from sweeps.study import Cell

Values = Mapping[Hashable, Mapping[str, Any]]
"""What finished rows hold of the columns that rules look at, by whatever tells rows apart."""

_HOLDS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What rules say of the rows that are not there.

    Attributes:
        skipped: rows that are left out, each with the rule in words.
        waiting: rows of which it is not known yet, since others have to be finished first.
    """

    skipped: Mapping[Hashable, str] = field(default_factory=dict)
    waiting: frozenset[Hashable] = frozenset()


def columns(spec: Spec) -> list[str]:
    """Return the columns that the rules of a spec look at, each once; none where it has no rules."""
    rules = [spec.engine.skip.column] if spec.engine.skip is not None else []
    halving = _halving(spec)
    return [*dict.fromkeys(rules + ([halving.metric] if halving is not None else []))]


def judge(
    spec: Spec, cells: Mapping[Hashable, Cell], finished: Values, failed: Collection[Hashable] = frozenset()
) -> Verdict:
    """Say which rows are left out, and which have to wait for others.

    Args:
        spec: whose rules they are.
        cells: of the rows of the grid and its baselines, by what tells rows apart. Rules leave baselines alone.
        finished: rows that are there.
        failed: rows that failed, and are not to be tried again: no others wait for them.
    """
    if not columns(spec):
        return Verdict()
    mine = {key: cell for key, cell in cells.items() if not spec.study.is_baseline(cell)}
    skipped: dict[Hashable, str] = {}
    waiting: set[Hashable] = set()
    if spec.engine.skip is not None:
        found = _past_the_floor(spec.engine.skip, mine, finished, failed)
        skipped, waiting = dict(found.skipped), {*found.waiting}
    halving = _halving(spec)
    if halving is not None:
        gone = {*failed, *skipped}
        found = _beaten(halving, spec, mine, finished, gone)
        skipped = {**found.skipped, **skipped}
        waiting = {*waiting, *found.waiting} - skipped.keys()
    return Verdict(skipped=skipped, waiting=frozenset(waiting))


def _halving(spec: Spec) -> Halving | None:
    return None if spec.engine.sample is None else spec.engine.sample.halving


def _past_the_floor(
    rule: Skip, cells: Mapping[Hashable, Cell], finished: Values, failed: Collection[Hashable]
) -> Verdict:
    """Of rows that differ along one axis alone, leave out those past the first that the rule holds of."""
    groups: dict[tuple[Any, ...], list[tuple[float, Hashable]]] = {}
    for key, cell in cells.items():
        if cell[rule.along] is not None:
            others = tuple(value for name, value in cell.items() if name != rule.along)
            groups.setdefault(others, []).append((float(cell[rule.along]), key))
    skipped: dict[Hashable, str] = {}
    waiting: set[Hashable] = set()
    for group in groups.values():
        reached, open_before = False, False
        for _, key in sorted(group, key=lambda each: each[0]):
            if key in finished:
                reached = reached or holds(rule, finished[key].get(rule.column))
            elif reached:
                skipped[key] = str(rule)
            elif key not in failed:
                if open_before:
                    waiting.add(key)
                open_before = True
    return Verdict(skipped=skipped, waiting=frozenset(waiting))


def holds(rule: Skip, value: Any) -> bool:
    """Say whether a rule holds of a row's value; of one that is not known it does not."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return _HOLDS[rule.comparison](float(value), rule.limit)


def _beaten(
    rule: Halving, spec: Spec, cells: Mapping[Hashable, Cell], finished: Values, gone: Collection[Hashable]
) -> Verdict:
    """Give each further replicate to the best of the draws that had the one before."""
    fields = [axis.name for axis in spec.study.axes if axis.sampled]
    replicate = spec.study.replicate_axis
    rungs = list(dict.fromkeys(cell[replicate] for cell in spec.cells))
    rows: dict[tuple[Any, ...], dict[Any, list[Hashable]]] = {}
    for key, cell in cells.items():
        draw = tuple(cell[name] for name in fields)
        if None not in draw:  # such a row is of several draws
            rows.setdefault(draw, {}).setdefault(cell[replicate], []).append(key)
    left = list(rows)
    skipped: dict[Hashable, str] = {}
    waiting: set[Hashable] = set()
    for place, _ in enumerate(rungs[:-1]):
        so_far, rest = rungs[: place + 1], rungs[place + 1 :]
        of_draw = {draw: [key for rung in so_far for key in rows[draw].get(rung, [])] for draw in left}
        if any(key not in finished and key not in gone for keys in of_draw.values() for key in keys):
            waiting |= {key for draw in left for rung in rest for key in rows[draw].get(rung, [])} - finished.keys()
            break
        values = {draw: [finished[key] for key in keys if key in finished] for draw, keys in of_draw.items()}
        scores = {draw: _score(row.get(rule.metric) for row in there) for draw, there in values.items()}
        best = sorted(left, key=lambda draw: -scores[draw])  # stable: the earlier draw goes first
        kept = best[: max(1, math.ceil(rule.keep * len(best)))]
        for draw in best[len(kept) :]:
            lost = [key for rung in rest for key in rows[draw].get(rung, []) if key not in finished]
            skipped |= dict.fromkeys(lost, f"{rule}, after {replicate} {so_far[-1]}")
        left = [draw for draw in left if draw in set(kept)]
    return Verdict(skipped=skipped, waiting=frozenset(waiting))


def _score(values: Iterable[Any]) -> float:
    known = [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
    return sum(known) / len(known) if known else -math.inf


assert {*_HOLDS} == {*COMPARISONS}
