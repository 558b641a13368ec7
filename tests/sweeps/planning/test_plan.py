"""A plan is the difference between a grid and what the storage holds of it."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from sweeps.errors import SpecError, StorageError
from sweeps.planning import plan
from sweeps.planning.keys import StageKey
from sweeps.planning.plan import Row
from sweeps.storage import Store
from sweeps.study import Cell, Stage
from tests.support import toy_rows, toy_study
from tests.support.command_line import Sweeps, assert_refused
from tests.support.toy_study import ToyStudy


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def scores(row: Row) -> StageKey | None:
    """Return the stage that scores what a row is made from, if it has one."""
    return next((stage for stage in row.stages if stage.name == "score"), None)


def shared(row: Row) -> bool | None:
    found = scores(row)
    return found and found.shared


def checkpoints(rows: Iterable[Row]) -> set[str]:
    """Return the stages whose results rows read first."""
    return {row.checkpoint.name for row in rows if row.checkpoint is not None}


def test_an_empty_storage_lacks_everything(store: Store) -> None:
    found = plan.make(toy_rows.load(), store)
    assert len(found.trials) == 1 + 8
    assert found.rows == found.missing == toy_study.ROWS
    assert (found.finished, found.failed) == (set(), set())
    to_train = Counter(found.checkpoints_to_train().values())
    assert to_train == {
        "base": 1,
        "pretrain": toy_study.PRETRAININGS,
        "score": toy_study.SHARED_SCORES,
    }


def test_a_trial_holds_the_rows_that_differ_in_the_row_axis_alone(store: Store) -> None:
    baseline, *trials = plan.make(toy_rows.load(), store).trials
    assert [row.cell["shape"] for row in baseline.rows] == ["none"]
    assert [trial.number for trial in [baseline, *trials]] == list(range(9))
    for trial in trials:
        assert [row.cell["dose"] for row in trial.rows] == [0, 0.5, 1]
        assert len({tuple(row.cell.items())[:-1] for row in trial.rows}) == 1
        assert trial.label == " ".join(str(value) for value in list(trial.cell.values())[:-1])


def test_a_row_reads_its_checkpoint_and_its_scores(store: Store) -> None:
    baseline, slow, _, quick, *_ = plan.make(toy_rows.load(), store).trials
    assert [stage.name for stage in baseline.shared] == ["base"]
    assert checkpoints(baseline.rows) == {"base"}
    assert [stage.name for stage in slow.shared] == ["base", "pretrain"]
    assert [stage.name for stage in quick.shared] == ["base", "pretrain", "score"]
    unscored, *scored = quick.rows
    assert scores(unscored) is None
    assert checkpoints(quick.rows) == {"pretrain"}
    assert [shared(row) for row in scored] == [True, True]
    assert [shared(row) for row in slow.rows[1:]] == [False, False]


def test_finished_rows_are_not_computed_again(store: Store) -> None:
    loaded = toy_rows.load()
    rows = toy_rows.all_rows(plan.make(loaded, store))
    toy_rows.publish(store, loaded, rows[:5])
    found = plan.make(loaded, store)
    assert found.finished == {str(row.key) for row in rows[:5]}
    assert found.missing == len(rows) - 5
    assert len(found.todo) == 7
    assert [row.key for trial in found.todo for row in trial.rows] == [row.key for row in rows[5:]]
    toy_rows.publish(store, loaded, rows[5:])
    assert plan.make(loaded, store).todo == []


def test_failed_rows_are_computed_again_only_on_demand(store: Store) -> None:
    loaded = toy_rows.load()
    rows = toy_rows.all_rows(plan.make(loaded, store))
    toy_rows.fail(store, loaded, rows[:3])
    found = plan.make(loaded, store)
    assert found.failed == {str(row.key) for row in rows[:3]}
    assert found.missing == len(rows) - 3
    again = plan.make(loaded, store, retry_failed=True)
    assert again.failed == found.failed
    assert again.missing == len(rows)


def test_a_row_that_failed_and_then_succeeded_is_finished(store: Store) -> None:
    loaded = toy_rows.load()
    first, *_ = toy_rows.all_rows(plan.make(loaded, store))
    toy_rows.fail(store, loaded, [first])
    toy_rows.publish(store, loaded, [first])
    found = plan.make(loaded, store, retry_failed=True)
    assert (found.finished, found.failed) == ({str(first.key)}, set())
    assert str(first.key) not in {str(row.key) for trial in found.todo for row in trial.rows}


def test_extending_the_grid_keeps_what_is_finished(store: Store) -> None:
    toy_rows.publish(store, toy_rows.load())
    found = plan.make(toy_rows.load("grid.seed=[0, 1, 2]", "resources.cpus=2", "description=larger"), store)
    assert len(found.finished) == toy_study.ROWS
    assert found.missing == 4 * 3
    assert {row.cell["seed"] for trial in found.todo for row in trial.rows} == {2}


def test_shrinking_the_grid_leaves_the_other_rows_alone(store: Store) -> None:
    toy_rows.publish(store, toy_rows.load())
    found = plan.make(toy_rows.load("grid.seed=[1]"), store)
    assert found.todo == []
    assert len(found.finished) == 1 + 4 * 3


def test_rows_from_other_settings_are_refused_with_what_changed(store: Store) -> None:
    toy_rows.publish(store, toy_rows.load("offset=0.5"))
    found = plan.make(toy_rows.load("offset=1", "resources.cpus=2", "stop_after_failures=3", "grid.seed=[0]"), store)
    assert found.changes == "offset was 0.5, is 1.0"
    assert found.finished == set()
    assert len(found.changed) == 1 + 4 * 3
    with pytest.raises(StorageError) as caught:
        found.check_unchanged(store.describe("toy"))
    assert str(caught.value) == found.conflict(store.describe("toy"))
    assert str(caught.value) == (
        f"{store.describe('toy')} holds 13 rows of this grid computed from other inputs (offset was 0.5, is 1.0); "
        "give this sweep another name (--set name=...) or remove that folder (shared checkpoints stay)"
    )


def test_a_setting_younger_than_the_rows_is_no_change_at_its_default(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = toy_rows.load("offset=0.5")
    toy_rows.publish(store, loaded)
    older = loaded.to_yaml().replace("seconds: 0.0\n", "")
    monkeypatch.setattr(Store, "read_spec", lambda self, name: older)
    assert plan.make(toy_rows.load("offset=1"), store).changes == "offset was 0.5, is 1.0"
    changed = plan.make(toy_rows.load("offset=1", "seconds=0.25"), store)
    assert changed.changes == "offset was 0.5, is 1.0, seconds was 0.0, is 0.25"


def test_a_setting_that_is_no_more_is_a_change(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = toy_rows.load("offset=0.5")
    toy_rows.publish(store, loaded)
    monkeypatch.setattr(Store, "read_spec", lambda self, name: loaded.to_yaml() + "speed: 3\n")
    assert plan.make(toy_rows.load("offset=1"), store).changes == "offset was 0.5, is 1.0, speed was 3, is None"


def test_a_row_is_finished_changed_failed_or_missing(store: Store) -> None:
    loaded, other = toy_rows.load(), toy_rows.load("offset=1")
    rows, others = (toy_rows.all_rows(plan.make(each, store)) for each in (loaded, other))
    toy_rows.publish(store, loaded, rows[:2])
    toy_rows.publish(store, other, others[1:4])
    toy_rows.fail(store, loaded, rows[:6])
    states = plan.make(loaded, store).states()
    assert [states[row.key] for row in rows] == 2 * ["finished"] + 2 * ["changed"] + 2 * ["failed"] + 19 * ["missing"]


def test_what_no_setting_tells_is_said_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = toy_rows.load()
    toy_rows.publish(store, loaded)
    stage = ToyStudy.stage

    def newer(study: ToyStudy, name: str, cell: Cell) -> Stage | None:
        declared = stage(study, name, cell)
        return declared and declared._replace(version=2 if name == "score" else 1)

    monkeypatch.setattr(ToyStudy, "stage", newer)
    found = plan.make(loaded, store)
    assert found.changes == "the data or a stage version changed"
    unscored = [row for row in toy_rows.all_rows(found) if scores(row) is None]
    assert found.finished == {str(row.key) for row in unscored}
    assert len(found.changed) == toy_study.ROWS - len(unscored)


def test_without_changes_nothing_is_refused(store: Store) -> None:
    toy_rows.publish(store, toy_rows.load())
    found = plan.make(toy_rows.load("description=other"), store)
    found.check_unchanged(store.describe("toy"))
    assert (found.changed, found.changes, found.conflict("toy")) == (set(), "", "")


def test_another_name_takes_other_settings_in_the_same_storage(store: Store) -> None:
    toy_rows.publish(store, toy_rows.load())
    assert plan.make(toy_rows.load("offset=1", "name=other"), store).missing == toy_study.ROWS


def test_published_checkpoints_are_not_trained(store: Store) -> None:
    loaded = toy_rows.load()
    to_train = plan.make(loaded, store).checkpoints_to_train()
    pretrained = [key for key, name in to_train.items() if name == "pretrain"]
    toy_rows.publish_checkpoints(store, pretrained[:1])
    left = plan.make(loaded, store).checkpoints_to_train()
    assert set(to_train) - set(left) == {pretrained[0]}


def test_what_only_led_to_a_published_checkpoint_is_not_needed_any_more(store: Store) -> None:
    loaded = toy_rows.load()
    to_train = plan.make(loaded, store).checkpoints_to_train()
    toy_rows.publish_checkpoints(store, [key for key, name in to_train.items() if name == "pretrain"])
    baseline, *_ = toy_rows.all_rows(plan.make(loaded, store))
    toy_rows.publish(store, loaded, [baseline])
    assert Counter(plan.make(loaded, store).checkpoints_to_train().values()) == {"score": toy_study.SHARED_SCORES}


def test_no_checkpoint_is_trained_for_rows_that_are_finished(store: Store) -> None:
    loaded = toy_rows.load()
    rows = toy_rows.all_rows(plan.make(loaded, store))
    toy_rows.publish(store, loaded, [row for row in rows if row.cell["seed"] == 0 or scores(row) is not None])
    left = Counter(plan.make(loaded, store).checkpoints_to_train().values())
    assert left == {"base": 1, "pretrain": 1}


def test_a_plan_is_made_without_a_search_for_garbage(sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 10^5 rows it takes a second, and finds next to nothing."""
    searching: list[bool] = []

    def load(name: str, changes: object) -> None:
        searching.append(gc.isenabled())
        raise SpecError("seen")

    monkeypatch.setattr("sweeps.spec.load", load)
    assert_refused(sweeps("plan", "demo", "--storage", "runs"), "seen")
    assert searching == [False]
    assert gc.isenabled()
