"""Results of other code than today's: how many there are, of what, and which are to be computed again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from sweeps.errors import SpecError
from sweeps.planning.fingerprints import Code, changed, outdated, row_today, today
from sweeps.planning.trials import Trial
from sweeps.storage import Store
from sweeps.study import Study

FEW = 200
"""Rows that are read at most to say whose code changed, besides those that were read before."""


class CodeChanges(NamedTuple):
    """What is there and was made by other code than today's.

    Attributes:
        rows: keys of rows, by the label of the code that changed.
        checkpoints: keys of shared results, by the same.
        rows_again: keys of rows to compute again.
        checkpoints_again: keys of shared results to compute again.
        labels_again: why.
    """

    rows: Mapping[str, set[str]] = MappingProxyType({})
    checkpoints: Mapping[str, set[str]] = MappingProxyType({})
    rows_again: frozenset[str] = frozenset()
    checkpoints_again: frozenset[str] = frozenset()
    labels_again: frozenset[str] = frozenset()

    def sentences(self) -> Iterator[str]:
        """Yield a sentence per label, with the ways on."""
        labels = sorted(self.rows.keys() | self.checkpoints.keys())
        for label in labels:
            counts = ((len(self.rows.get(label, ())), "row"), (len(self.checkpoints.get(label, ())), "checkpoint"))
            parts = [f"{count} {what}{'' if count == 1 else 's'}" for count, what in counts if count]
            one = sum(count for count, _ in counts) == 1
            said = f"{' and '.join(parts)} {'was' if one else 'were'} made by another version of {label}"
            if label in self.labels_again:
                yield f"{said} and {'is' if one else 'are'} computed again"
            else:
                yield (
                    f"{said}; --recompute {label} computes {'it' if one else 'them'} again, and so does raising the "
                    "`version` of what changed"
                )


def compare(
    study: Study,
    trials: Sequence[Trial],
    store: Store,
    sweep: str,
    *,
    rows: Collection[str],
    checkpoints: Collection[str],
    again: Collection[str] = (),
) -> CodeChanges:
    """Compare the code that made results with today's.

    Args:
        rows: keys of the grid's rows that are published.
        checkpoints: keys of shared results that are published.
        again: labels whose results are to be computed again, where their code is not known to be today's.

    Raises:
        SpecError: there is no such label.
    """
    labels = frozenset(again)
    now_of_stage: dict[str, Code] = {}
    now_of_row: dict[str, Code] = {}
    for trial in trials:
        for row in trial.rows:
            if not now_of_stage.keys() >= {stage.key for stage in row.stages if stage.shared}:
                now_of_stage |= today(study, row.at, row.stages)
            if labels or str(row.key) in rows:
                now_of_row[str(row.key)] = row_today(study, row)
    _check_known(labels, [*now_of_row.values(), *now_of_stage.values()])
    # Those that a report has read are known; of others, a few tell what there is to say.
    codes = store.row_codes(sweep, most_unread=None if labels else FEW) if rows else {}
    there = sorted(key for key in now_of_stage if key in checkpoints)
    metas = dict(zip(there, store.checkpoint_metas(there), strict=True))
    stale_rows: defaultdict[str, set[str]] = defaultdict(set)
    stale_checkpoints: defaultdict[str, set[str]] = defaultdict(set)
    rows_again, checkpoints_again = set(), set()
    for key in there:
        recorded = (metas[key] or {}).get("code")
        if labels and outdated(recorded, now_of_stage[key], labels):
            checkpoints_again.add(key)
        for label in changed(recorded, now_of_stage[key]):
            stale_checkpoints[label].add(key)
    for key in rows:
        if labels and outdated(codes.get(key), now_of_row[key], labels):
            rows_again.add(key)
        for label in changed(codes.get(key), now_of_row[key]):
            stale_rows[label].add(key)
    return CodeChanges(
        dict(stale_rows), dict(stale_checkpoints), frozenset(rows_again), frozenset(checkpoints_again), labels
    )


def _check_known(labels: Collection[str], codes: Sequence[Code]) -> None:
    known = sorted({label for code in codes for label in code})
    for label in labels:
        if label not in known:
            raise SpecError(f"--recompute: found {label!r}, expected one of {', '.join(known)}")
