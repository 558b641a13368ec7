"""What `plan` says agrees with what the storage holds and what the study tells of its work."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sweeps import running
from sweeps.planning import plan
from sweeps.reporting.terminal import plan as view
from sweeps.storage import Store
from sweeps.study import DataTable
from tests.support import toy_rows, toy_study
from tests.support.toy_study import ToyStudy
from tests.sweeps.conftest import text

LOADED = toy_rows.load()


def grid_rows(store: Store) -> list[plan.Row]:
    return toy_rows.all_rows(plan.make(LOADED, store))


def test_a_plan_counts_rows_checkpoints_and_causes(store: Store, console: Console) -> None:
    rows = grid_rows(store)
    to_train = plan.make(LOADED, store).checkpoints_to_train()
    toy_rows.publish(store, LOADED, rows[:5])
    toy_rows.fail(store, LOADED, rows[5:8], "ValueError: [red]no[/red]")
    toy_rows.publish_checkpoints(store, [key for key, name in to_train.items() if name == "pretrain"][:1])
    view.show_plan(LOADED, store, plan.make(LOADED, store), console)
    shown = text(console)
    assert f"toy: 9 trials, {toy_study.ROWS} rows, in {store.describe('toy')}\n" in shown
    assert "rows: 5 finished, 17 missing, 3 failed before (--retry-failed computes them too)" in shown
    assert "3 × evaluate_row: ValueError: [red]no[/red]" in shown
    assert "pretrain checkpoints: 1 present, 1 to compute" in shown
    assert "score checkpoints: 0 present, 2 to compute" in shown


def test_a_plan_says_what_replicates_vary(store: Store, console: Console) -> None:
    said = "what varies with seed: pretrain, score, evaluate_row; computed once for all of them: base"
    view.show_plan(LOADED, store, plan.make(LOADED, store), console)
    assert f"{said}\n" in text(console)
    assert LOADED.study.replication([cell for cell in LOADED.cells if cell["seed"] == 0]) is None


def test_a_plan_says_what_a_reader_of_its_results_should_know(
    store: Store, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToyStudy, "remarks", lambda study, cells: [f"[short] of {len(cells)} cells"])
    running.prepare(LOADED, store, console)
    assert f"[short] of {len(LOADED.cells)} cells\n" in text(console)


def test_a_plan_tells_per_trial_where_its_rows_stand(store: Store, console: Console) -> None:
    rows = grid_rows(store)
    other = toy_rows.load("offset=0.5")
    toy_rows.publish(store, LOADED, rows[:2])
    toy_rows.fail(store, LOADED, rows[2:3])
    toy_rows.publish(store, other, toy_rows.all_rows(plan.make(other, store))[4:7])
    view.show_plan(LOADED, store, plan.make(LOADED, store), console)
    lines = [line.strip("│ ") for line in text(console).splitlines()]
    table = [[cell.strip() for cell in line.split("│")] for line in lines]
    assert ["none none 0", "1", "1", "0", "0", "0", "base"] in table
    assert ["round slow 0", "3", "1", "1", "1", "0", "base, pretrain"] in table
    assert ["round slow 1", "3", "0", "0", "0", "3", "base, pretrain"] in table
    changes = "offset was 0.5, is 0.0"
    assert (
        f"rows: 2 finished, 19 missing, 1 failed before (--retry-failed computes them too), 3 changed ({changes})"
        in lines
    )
    refusal = plan.make(LOADED, store).conflict(store.describe("toy"))
    assert f"`sweeps run` will refuse: {refusal}" in lines


def test_a_large_plan_stays_readable(store: Store, console: Console) -> None:
    large = toy_rows.load(f"grid.seed={list(range(500))}")
    view.show_plan(large, store, plan.make(large, store), console)
    assert text(console).count("\n") < 80
    assert f"… and {2001 - view.MOST_TRIALS} more trials" in text(console)


def told(store: Store, *changes: str, width: int = 120, teraflops: float | None = None) -> str:
    """Return what is said of a sweep whose study tells its work."""
    loaded = toy_rows.load("operations=1e15", *changes)
    console = Console(file=io.StringIO(), width=width, emoji=False)
    view.show_plan(loaded, store, plan.make(loaded, store), console, teraflops=teraflops)
    return text(console)


def test_a_plan_tells_what_is_shared(store: Store) -> None:
    shown = told(store)
    assert "pretrain checkpoints: 0 present, 2 to compute, not 8, since trials share them\n" in shown
    assert "sharing checkpoints saves another 6.1e17, 66% of what there would be\n" in shown


@pytest.mark.parametrize("width", [100, 120])
def test_a_plan_tells_the_work_of_each_kind(store: Store, width: int) -> None:
    lines = [line.split() for line in told(store, width=width).splitlines()]
    assert ["base", "counting", "1", "0", "0", "0.0%"] in lines
    assert ["pretrain", "rooting", "2", "1.0e17", "2.0e17", "64.3%"] in lines
    assert ["score", "slow", "scoring", "8", "4.0e15", "3.2e16", "10.3%"] in lines
    assert ["evaluate_row", "tasting", "[all]", "25", "1.0e15", "2.5e16", "8.0%"] in lines
    assert ["3.1e17", "100.0%"] in lines


def test_a_plan_says_which_work_is_not_known(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    workloads = ToyStudy.workloads
    monkeypatch.setattr(ToyStudy, "workloads", lambda *asked: [] if asked[1] == "score" else workloads(*asked))
    lines = [line.split() for line in told(store).splitlines()]
    assert ["score", "not", "known", "8", "–", "–", "–"] in lines
    assert ["time:", "nothing", "measured", "yet", "for", "score,", "rows", "in", "this", "storage"] in lines


def test_a_plan_without_arithmetic_has_no_table_of_it(store: Store, console: Console) -> None:
    view.show_plan(LOADED, store, plan.make(LOADED, store), console)
    assert "by arithmetic" not in text(console)
    assert "sharing checkpoints" not in text(console)


@pytest.mark.parametrize(
    ("teraflops", "said"),
    [
        (1000, "time: about 311 GPU-seconds (of one worker), on GPUs that sustain 1000 teraflops\n"),
        (100, "time: about 0.86 GPU-hours (of one worker), on GPUs that sustain 100 teraflops\n"),
        (0.02, "time: about 4,319 GPU-hours (of one worker), on GPUs that sustain 0.02 teraflops\n"),
        (0.02, "days on 1, 8, 64 GPUs, if none is ever idle: 180.0, 22.5, 2.8\n"),
    ],
)
def test_a_plan_tells_how_long_it_takes(store: Store, teraflops: float, said: str) -> None:
    shown = told(store, teraflops=teraflops)
    assert said in shown
    assert ("days on" in shown) == (teraflops < 1)


def test_a_plan_for_cpus_tells_the_time_of_a_worker(store: Store) -> None:
    shown = told(store, "resources.gpus=0", teraflops=0.02)
    assert "time: about 4,319 hours of one worker, on workers that sustain 0.02 teraflops\n" in shown
    assert "days on 1, 8, 64 workers, if none is ever idle: 180.0, 22.5, 2.8\n" in shown


def test_nothing_to_compute_takes_no_time(store: Store) -> None:
    toy_rows.publish(store, toy_rows.load("operations=1e15"))
    shown = told(store)
    assert "rows: 25 finished, 0 missing\n" in shown
    assert "time:" not in shown
    assert "arithmetic" not in shown


def test_a_plan_describes_the_data(store: Store, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    table = DataTable("data: [toys]", ["", "boxes of [toys]"], [["to train on", 12345], ["[rare]", "1, 2"]])
    monkeypatch.setattr(ToyStudy, "data", lambda study, cells: [table])
    view.show_plan(LOADED, store, plan.make(LOADED, store), console)
    lines = [line.strip() for line in text(console).splitlines()]
    place = lines.index("data: [toys]")
    assert lines[place + 1 : place + 4] == [
        "boxes of [toys]",
        "to train on           12,345",
        "[rare]                  1, 2",
    ]
