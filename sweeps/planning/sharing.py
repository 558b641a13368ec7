"""What an axis that is a field of settings costs, and what its values share: by the keys of a plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from sweeps.planning.plan import Plan
from sweeps.planning.trials import Row
from sweeps.spec import Spec
from sweeps.spec.axes.varied import VariedStudy


class AxisCost(NamedTuple):
    """What a field adds to a sweep by being an axis.

    Attributes:
        path: of the field.
        values: how many it has.
        shared: stages before the last whose results all values have in common.
        results: of the other stages that share their results between rows, and of the last: how many there are, and how
            many there were with the first value alone.
        alike: rows on which it has no influence, each computed once.
        fewer: the plan with the first value alone.
    """

    path: str
    values: int
    shared: Sequence[str]
    results: dict[str, tuple[int, int]]
    alike: int
    fewer: Plan

    def sentence(self, last: str) -> str:
        """Say it in words; `last` is the study's last stage."""
        counts = [
            f"{count} {'rows' if name == last else name}, not {one}" for name, (count, one) in self.results.items()
        ]
        said = [f"{self.path}: {self.values} values"]
        said += [f"sharing {', '.join(self.shared)}"] if self.shared else []
        said += [f"taking {'; '.join(counts)}"] if counts else []
        said += [f"it does not matter to {self.alike} rows, each of which is computed once"] if self.alike else []
        return "; ".join(said)


def costs(spec: Spec, plan: Plan) -> Iterator[AxisCost]:
    """Yield what each field adds that is an axis with several values."""
    study = spec.study
    if not isinstance(study, VariedStudy):
        return
    *before, last = study.stages
    rows = [row for trial in plan.trials for row in trial.rows]
    every = _shared(rows)
    for field in study.fields:
        path = field.path
        values = list(dict.fromkeys(cell[path] for cell in spec.cells))
        if len(values) < 2:
            continue
        one = [row for row in rows if _has(row, path, values[0])]
        shared = _shared(one)
        counts = {name: (len(keys), len(shared.get(name, ()))) for name, keys in every.items()}
        common = [name for name in before if name in counts and counts[name][0] == counts[name][1]]
        results = {name: counts[name] for name in before if name in counts and name not in common}
        todo = (replace(each, rows=tuple(row for row in each.rows if _has(row, path, values[0]))) for each in plan.todo)
        yield AxisCost(
            path,
            len(values),
            common,
            {**results, last: (len(rows), len(one))},
            sum(path in row.alike for row in rows),
            replace(plan, todo=[trial for trial in todo if trial.rows]),
        )


def _has(row: Row, path: str, value: object) -> bool:
    """Say whether a row is one of a value, or of any."""
    return row.at[path] == value or path in row.alike


def _shared(rows: Sequence[Row]) -> dict[str, set[str]]:
    keys: dict[str, set[str]] = {}
    for row in rows:
        for stage in row.stages:
            if stage.shared:
                keys.setdefault(stage.name, set()).add(stage.key)
    return keys
