"""Time is told by what was measured, then by arithmetic at the rate of that, then by an assumption that is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeps.errors import SpecError
from sweeps.planning import plan, work
from sweeps.planning.estimate import ASSUMED_TERAFLOPS, SAMPLE, Estimate, estimate
from sweeps.spec import Spec
from sweeps.storage import Store, compaction
from tests.support import toy_rows
from tests.support.toy_study import ToyStudy

LOADED = toy_rows.load()
TOLD = toy_rows.load("operations=1e12")
"""The operations ahead are 0 of the base, 200e12 of pretraining, 6e12 of shared scores, and 105e12 of rows."""

HERE = "by what was measured here"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def time(store: Store, loaded: Spec = LOADED, teraflops: float | None = None) -> Estimate | str:
    made = plan.make(loaded, store)
    return estimate(loaded, store, made, work.ahead(loaded.study, made), teraflops=teraflops)


def publish_first(store: Store, *names: str, seconds: float) -> None:
    """Publish the first checkpoint of each of these stages."""
    to_train = plan.make(LOADED, store).checkpoints_to_train()
    first = {name: key for key, name in reversed(to_train.items())}
    toy_rows.publish_checkpoints(store, [first[name] for name in names], seconds)


def hours(found: Estimate | str, basis: str) -> float:
    assert isinstance(found, Estimate), found
    assert found.basis == basis
    return found.hours


def test_nothing_is_made_up_where_nothing_is_known(store: Store) -> None:
    assert time(store) == "nothing measured yet for base, pretrain, score, rows in this storage"
    publish_first(store, "base", "pretrain", seconds=1.0)
    assert time(store) == time(store, teraflops=1) == "nothing measured yet for score, rows in this storage"


def test_what_was_measured_counts(store: Store) -> None:
    publish_first(store, "base", "pretrain", "score", seconds=3600)
    toy_rows.publish(store, LOADED, toy_rows.all_rows(plan.make(LOADED, store))[:7])
    # Left: a score and a pretraining of an hour, and 18 rows of 2 seconds.
    assert hours(time(store), HERE) == pytest.approx(2 + 18 * 2 / 3600)
    assert hours(time(store, toy_rows.load("resources.workers_per_gpu=2")), HERE) == pytest.approx(2 + 18 / 3600)
    # The operations change nothing about that.
    assert time(store, TOLD) == time(store)


def test_without_any_measurement_a_rate_is_assumed_and_said(store: Store) -> None:
    basis = "if a GPU sustains 20 teraflops: an assumption (--teraflops), far too high for a CPU or a small network"
    assert ASSUMED_TERAFLOPS == 20
    assert hours(time(store, TOLD), basis) == pytest.approx((200 + 6 + 105) / 20 / 3600)


def sustains(monkeypatch: pytest.MonkeyPatch, pace: Any) -> list[int | None]:
    """Let the toy study tell the pace of this machine's CPU; return what it is asked."""
    asked: list[int | None] = []

    def cpu_pace(study: ToyStudy, gpus: int | None) -> Any:
        asked.append(gpus)
        return pace

    monkeypatch.setattr(ToyStudy, "cpu_pace", cpu_pace)
    return asked


@pytest.mark.parametrize(
    ("gpus", "basis"),
    [
        (None, ", which has no GPU; `--set resources.gpus=1` plans for machines that have"),
        (0, ""),
    ],
)
def test_without_any_measurement_the_pace_of_this_cpu_counts_where_no_gpu_is_meant(
    store: Store, monkeypatch: pytest.MonkeyPatch, gpus: int | None, basis: str
) -> None:
    asked = sustains(monkeypatch, 5e10)
    found = time(store, toy_rows.load("operations=1e12", f"resources.gpus={'null' if gpus is None else gpus}"))
    basis = f"by arithmetic, calibrated at 0.05 teraflops on this machine's CPU{basis}"
    assert hours(found, basis) == pytest.approx((200 + 6 + 105) / 0.05 / 3600)
    assert isinstance(found, Estimate)
    assert found.on_cpu
    assert asked == [gpus]


def test_where_gpus_are_meant_theirs_is_assumed_and_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sustains(monkeypatch, None)
    found = time(store, toy_rows.load("operations=1e12", "resources.gpus=1"))
    basis = (
        "if a GPU (resources.gpus is 1) sustains 20 teraflops: an assumption (--teraflops), far too high for a "
        "small network"
    )
    assert hours(found, basis) == pytest.approx((200 + 6 + 105) / 20 / 3600)
    assert isinstance(found, Estimate)
    assert not found.on_cpu


def test_the_cpu_is_measured_only_where_that_is_of_use(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = sustains(monkeypatch, 5e10)
    time(store)  # no operations are known
    time(store, TOLD, teraflops=50)
    publish_first(store, "pretrain", seconds=1000)
    time(store, TOLD)
    assert asked == []


@pytest.mark.parametrize("pace", [0, -1.0, float("nan"), "fast"])
def test_a_pace_that_is_none_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch, pace: object) -> None:
    sustains(monkeypatch, pace)
    with pytest.raises(SpecError, match=r"cpu_pace.*found .*, expected operations per second"):
        time(store, TOLD)


def test_what_was_not_measured_takes_as_long_for_its_operations_as_what_was(store: Store) -> None:
    # 100e12 operations in 1000 s; left are a pretraining, and 111e12 operations of which none was measured.
    publish_first(store, "base", seconds=5)
    publish_first(store, "pretrain", seconds=1000)
    basis = f"pretrain {HERE}; score, rows by arithmetic, at the 0.1 teraflops of what was measured here"
    assert hours(time(store, TOLD), basis) == pytest.approx((1000 + 1110) / 3600)


def test_rows_tell_a_rate_too(store: Store) -> None:
    # Four rows of a trial with scores of their own: 1 + 3 + 7 + 7 operations, in 2 seconds each.
    toy_rows.publish(store, TOLD, toy_rows.all_rows(plan.make(TOLD, store))[:4])
    rate = (1 + 3 + 7 + 7) / 4 / 2
    basis = f"rows {HERE}; base, pretrain, score by arithmetic, at the {rate:.3g} teraflops of what was measured here"
    assert hours(time(store, TOLD), basis) == pytest.approx((206 / rate + 21 * 2) / 3600)


def test_a_rate_that_is_given_counts_before_what_was_measured(store: Store) -> None:
    publish_first(store, "pretrain", seconds=1e6)
    expected = (100 + 6 + 105) / 50 / 3600
    assert hours(time(store, TOLD, teraflops=50), "on GPUs that sustain 50 teraflops") == pytest.approx(expected)


def test_other_grids_count_only_where_no_arithmetic_compares_them(store: Store) -> None:
    others = [f"{name}-{number}" for name in ("base", "pretrain", "score") for number in range(100)]
    toy_rows.publish_checkpoints(store, others, seconds=100)
    publish_first(store, "base", seconds=3600)
    toy_rows.publish(store, LOADED, toy_rows.all_rows(plan.make(LOADED, store))[:-1])
    # Left: a row, and the pretraining and the scores that it needs.
    assert hours(time(store), HERE) == pytest.approx((100 + 100 + 2) / 3600)
    rate = (1 + 8 * 3 + 7 * 8 + 3 * 8 - 3) / 24 / 2
    found = time(store, TOLD)
    assert isinstance(found, Estimate)
    assert found.hours == pytest.approx((103 / rate + 2) / 3600)


def test_few_rows_are_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    toy_rows.publish(store, toy_rows.load(f"grid.seed={list(range(30))}"))
    read: list[str] = []
    parse = compaction._parse

    def watched(data: bytes, place: str) -> Any:
        read.append(place)
        return parse(data, place)

    monkeypatch.setattr(compaction, "_parse", watched)
    time(store, toy_rows.load("grid.seed=[50]"))
    # For the time, and for the code that they were made by.
    assert len(read) <= 2 * 10 * SAMPLE


def test_a_stage_and_rows_that_had_a_pause_in_them_do_not_count(store: Store) -> None:
    to_train = plan.make(LOADED, store).checkpoints_to_train()
    for number, key in enumerate(sorted(to_train)):
        toy_rows.publish_checkpoints(store, [key], 1.0 if number else 70_000.0)
    rows = toy_rows.all_rows(plan.make(LOADED, store))
    toy_rows.publish(store, LOADED, rows[:6])
    toy_rows.publish(store, LOADED, rows[6:7], finished_at="2026-01-05T00:00:00+00:00")
    assert hours(time(store), HERE) == pytest.approx(18 * 2 / 3600)
