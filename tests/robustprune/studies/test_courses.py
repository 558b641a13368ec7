"""What a report is told of trainings with multipliers: how often conditions held, what hard-pruned networks reach."""

from typing import Any

import numpy as np
import pytest

from robustprune.methods import method_tables
from robustprune.studies.pruning.courses import ACCURACIES, TABLE, multiplier_courses
from sweeps.study import Curve, Lines

AXES = ("structure", "initializer", "seed", "ratio")


def row(initializer: str, *, ratio: float = 0.75, seed: int = 0) -> dict[str, Any]:
    key = f"{initializer} {ratio} {seed}"
    return {"structure": "unstructured", "initializer": initializer, "seed": seed, "ratio": ratio, "row_key": key}


def lines(*, accuracies: bool = True, epochs: tuple[int, ...] = (1, 2, 3, 4)) -> dict[str, Lines]:
    """Return what is kept of a row, of which three in four updates met both conditions."""
    at = np.array(epochs, np.int32)
    kept: dict[str, Any] = {column: np.zeros(len(at), kind) for column, kind in method_tables()[TABLE].items()}
    kept |= {"epoch": at, "c1": at != 2, "c2": at != 2, "loss_hard": 1 / at}
    return {TABLE: kept, **({ACCURACIES: {"epoch": at, "accuracy": 1 - 1 / at}} if accuracies else {})}


def courses(kept: dict[str, dict[str, Lines]], *others: dict[str, Any]) -> Any:
    rows = [row(*key.split()[:1], ratio=float(key.split()[1]), seed=int(key.split()[2])) for key in kept]
    found = [*rows, *others]
    return multiplier_courses(found, lambda table, key: kept[key].get(table), axes=AXES, replicate="seed")


def test_conditions_are_told_as_the_share_of_updates_so_far_and_rows_of_other_methods_are_not_asked() -> None:
    conditions, reached = courses({"slr 0.75 0": lines(), "slr 0.75 1": lines()}, row("magnitude"), row("none"))
    assert [curve.values for curve in conditions.curves] == [pytest.approx([1, 1 / 2, 2 / 3, 3 / 4])] * 2
    assert {curve[:3] for curve in map(hashable, conditions.curves)} == {("", "slr", (1, 2, 3, 4))}
    assert reached.title == "Hard-pruned accuracy"
    assert reached.curves[0].values == pytest.approx([0, 1 / 2, 2 / 3, 3 / 4])


def hashable(curve: Curve) -> tuple[Any, ...]:
    return curve.panel, curve.name, tuple(curve.at), tuple(curve.values)


def test_panels_are_told_by_the_axes_that_differ_but_methods_and_seeds() -> None:
    conditions, _ = courses({"slr 0.75 0": lines(), "admm 0.75 1": lines(), "admm 0.9 0": lines()})
    told = [(curve.panel, curve.name) for curve in conditions.curves]
    assert told == [("ratio 0.75", "slr"), ("ratio 0.75", "admm"), ("ratio 0.9", "admm")]


def test_of_a_task_without_accuracies_the_loss_is_told() -> None:
    _, reached = courses({"slr 0.75 0": lines(accuracies=False)})
    assert reached.title == "Hard-pruned loss"
    assert reached.curves[0].values == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])


@pytest.mark.parametrize("kept", [{}, {"slr 0.75 0": {}}, {"slr 0.75 0": lines(epochs=())}])
def test_where_nothing_was_kept_nothing_is_told(kept: dict[str, dict[str, Lines]]) -> None:
    assert courses(kept, row("magnitude")) == []
