"""What a plan has to compute, in kinds of like work, with the operations that each takes by the study's arithmetic.

How long that lasts is told in `estimate`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sweeps.planning.plan import Plan, Row
from sweeps.spec import answers
from sweeps.study import Cell, Study, Workload


class Kind(NamedTuple):
    """Like parts of a stage that are to be computed.

    Attributes:
        result: The stage with whose result they are published: the study's last, where each is for one row alone.
        stage: Whose parts they are.
        description: What the study calls them; no text where it does not tell its work.
        times: How often.
        operations: In all; None where they are not known.
    """

    result: str
    stage: str
    description: str
    times: int
    operations: float | None


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be computed: its kinds, the number of results by stage, and how many more there were unshared."""

    kinds: Sequence[Kind]
    results: dict[str, int]
    spared: dict[str, int]

    @property
    def known(self) -> float:
        """Operations in all, of the kinds that tell them."""
        return sum(kind.operations or 0.0 for kind in self.kinds)

    @property
    def saved(self) -> float:
        """Operations that sharing spares, as far as known."""
        return sum(
            count * (self.operations(result) or 0) / self.results[result] for result, count in self.spared.items()
        )

    def operations(self, result: str) -> float | None:
        """Return what all results of a stage take; None where a part of it is not known."""
        each = [kind.operations for kind in self.kinds if kind.result == result]
        return None if None in each else sum(filter(None, each))


def ahead(study: Study, plan: Plan) -> Work:
    """Return what a run of `plan` computes."""
    cells = {stage.key: row.at for trial in plan.todo for row in trial.rows for stage in row.stages}
    to_train = plan.checkpoints_to_train()
    *before, last = study.stages
    todo: list[tuple[str, str, Cell]] = [(name, name, cells[key]) for key, name in to_train.items()]
    todo += [(last, name, row.at) for trial in plan.todo for row in trial.rows for name in computed_with(row, study)]
    alone = Counter(name for trial in plan.todo for name in trial.missing(plan.checkpoints).values())
    trained = Counter(to_train.values())
    parts: defaultdict[tuple[str, str, str], list[float | None]] = defaultdict(list)
    for result, name, cell in todo:
        described: Sequence[tuple[str, float | None]] = workloads(study, name, cell)
        for description, operations in described or [("", None)]:
            parts[result, name, description].append(operations)
    kinds = [
        Kind(*kind, len(each), None if None in each else sum(filter(None, each), 0.0)) for kind, each in parts.items()
    ]
    return Work(
        kinds=sorted(kinds, key=lambda kind: (study.stages.index(kind.stage), -(kind.operations or 0.0))),
        results={name: trained[name] for name in before if trained[name]}
        | ({last: plan.missing} if plan.missing else {}),
        spared={name: alone[name] - trained[name] for name in before if alone[name] > trained[name]},
    )


def computed_with(row: Row, study: Study) -> list[str]:
    """Return the stages that are computed where the row is: those whose results nobody shares, and the last."""
    return [*(stage.name for stage in row.own), study.stages[-1]]


def workloads(study: Study, name: str, cell: Cell) -> Sequence[Workload]:
    """Return the parts of a stage's work, as the study describes them.

    Raises:
        SpecError: it answers something else.
    """
    with answers.asking(study, "workloads"):
        found = study.workloads(name, cell)
    return answers.listed(study, "workloads", found, Workload, "a list of Workload")


def operations(study: Study, names: Sequence[str], cell: Cell) -> float | None:
    """Return what these stages of a cell take together; None where one of them is not known."""
    parts = [workloads(study, name, cell) for name in names]
    return sum(part.operations for workloads in parts for part in workloads) if all(parts) else None
