"""The work ahead is counted by hand, and less the more is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeps.planning import plan, work
from sweeps.planning.work import Kind
from sweeps.storage import Store
from tests.support import toy_rows

LOADED = toy_rows.load("operations=1e9")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def ahead(store: Store, *changes: str) -> work.Work:
    loaded = toy_rows.load("operations=1e9", *changes)
    return work.ahead(loaded.study, plan.make(loaded, store))


def test_every_part_is_counted_where_it_is_computed(store: Store) -> None:
    found = ahead(store)
    assert found.kinds == [
        Kind("base", "base", "counting", 1, 0),
        Kind("pretrain", "pretrain", "rooting", 2, 200e9),
        # Two trials of two doses for each of two seeds, in their rows.
        Kind("evaluate_row", "score", "slow scoring", 8, 32e9),
        Kind("score", "score", "quick scoring", 2, 6e9),
        Kind("evaluate_row", "evaluate_row", "dosing", 24, 48e9),
        Kind("evaluate_row", "evaluate_row", "tasting [all]", 25, 25e9),
    ]
    assert found.results == {"base": 1, "pretrain": 2, "score": 2, "evaluate_row": 25}
    assert found.known == 311e9
    assert [found.operations(name) for name in found.results] == [0, 200e9, 6e9, 105e9]


def test_sharing_spares_what_each_trial_would_compute_for_itself(store: Store) -> None:
    found = ahead(store)
    assert found.spared == {"base": 9 - 1, "pretrain": 8 - 2, "score": 4 - 2}
    assert found.saved == 6 * 100e9 + 2 * 3e9


def test_what_is_there_is_no_work(store: Store) -> None:
    made = plan.make(LOADED, store)
    pretrained = [key for key, name in made.checkpoints_to_train().items() if name == "pretrain"]
    toy_rows.publish_checkpoints(store, pretrained[:1])
    toy_rows.publish(store, LOADED, toy_rows.all_rows(made)[:5])
    found = ahead(store)
    assert found.results == {"base": 1, "pretrain": 1, "score": 2, "evaluate_row": 20}
    assert {kind.description: kind.times for kind in found.kinds if kind.stage == "evaluate_row"} == {
        "dosing": 20,
        "tasting [all]": 20,
    }
    toy_rows.publish(store, LOADED)
    assert ahead(store) == work.Work(kinds=[], results={}, spared={})


def test_a_result_with_a_part_that_is_not_told_is_not_known(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    told = LOADED.study.workloads

    def all_but_scores(_: object, name: str, cell: object) -> object:
        return [] if name == "score" else told(name, cell)  # type: ignore[arg-type]

    monkeypatch.setattr(type(LOADED.study), "workloads", all_but_scores)
    found = ahead(store)
    assert {kind for kind in found.kinds if kind.stage == "score"} == {
        Kind("evaluate_row", "score", "", 8, None),
        Kind("score", "score", "", 2, None),
    }
    assert (found.operations("score"), found.operations("evaluate_row")) == (None, None)
    assert found.operations("pretrain") == 200e9
    assert found.known == 273e9
    assert found.saved == 600e9
