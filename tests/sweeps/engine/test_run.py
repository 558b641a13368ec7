"""Whole sweeps of the toy study on a real Ray, each a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import ray

from sweeps import load_results
from sweeps.storage import Store
from tests.support import processes, toy_study
from tests.support.toy_run import ToyRun

pytestmark = pytest.mark.slow


def test_every_row_once_and_shared_work_once(toy_here: ToyRun) -> None:
    output = toy_here.run_here()
    assert len(toy_here.outcomes()) == toy_study.ROWS
    per_row_scores = 2 * 2 * 2  # the slow method, at two doses above zero
    assert toy_here.stages() == {
        "base": 1,
        "pretrain": toy_study.PRETRAININGS,
        "score": toy_study.SHARED_SCORES + per_row_scores,
        "evaluate_row": toy_study.ROWS,
    }
    assert f"rows {toy_study.ROWS}/{toy_study.ROWS}" in output
    doses = pd.read_parquet(toy_here.storage / "toy" / "doses_seen").groupby("row_key", observed=True)["dose"].sum()
    rows = load_results(str(toy_here.storage / "toy")).set_index("row_key")
    assert doses.to_dict() == rows["dose"].to_dict()
    assert (toy_here.storage / "toy" / "report" / "report.html").exists()

    assert ray.is_initialized(), "a Ray that was there before was left"
    again = toy_here.run_here()
    assert toy_here.stages()["evaluate_row"] == toy_study.ROWS, "a finished row was computed again"
    assert "Traceback" not in output + again


def test_killed_driver_resumes_to_the_same_rows(toy: ToyRun, undisturbed: pd.DataFrame) -> None:
    driver = toy.started("seconds=0.2", until=lambda: toy.rows_there() >= 5)
    processes.kill_with_its_ray(driver)
    finished = toy.snapshot()
    assert 5 <= toy.rows_there() < toy_study.ROWS
    toy.run()
    assert finished.items() <= toy.snapshot().items(), "something finished was written again"
    pd.testing.assert_frame_equal(toy.outcomes(), undisturbed, check_exact=True)
    assert toy.stages()["base"] == 1


def test_killed_worker_is_replaced(toy_here: ToyRun, undisturbed: pd.DataFrame) -> None:
    output = toy_here.run_here("kill_in=evaluate_row flat quick 1")
    assert "1 × a worker's process died: killed (SIGKILL) or left by os._exit, without a word" in output
    assert re.search(r"trial flat quick 1: a worker's .*without a word; process \d+ on node .*, log /.*\.err\n", output)
    assert (toy_here.diary / "killed once").exists()
    pd.testing.assert_frame_equal(toy_here.outcomes(), undisturbed, check_exact=True)
    attempts = load_results(str(toy_here.storage / "toy"))["attempt"]
    assert attempts.max() == 2


def test_failed_row_is_kept_apart_with_its_cause(toy_here: ToyRun, undisturbed: pd.DataFrame) -> None:
    output = toy_here.run_here("raise_in=evaluate_row round slow 0 0.5", status=1)
    assert "1 rows failed" in output
    assert len(toy_here.outcomes()) == toy_study.ROWS - 1
    sweep = str(toy_here.storage / "toy")
    assert "1 × evaluate_row: ArithmeticError" in processes.run("status", sweep, status=1)
    listed = processes.run("failures", sweep)
    assert "Traceback" in listed
    assert "  shape round; method slow; seed 0; dose 0.5\n" in listed
    assert ", after 1 attempt\n" in listed

    before = toy_here.stages()
    toy_here.run_here(status=1)
    assert toy_here.stages() == before, "a failed row is only computed again when asked to"
    toy_here.run_here(retry_failed=True)
    pd.testing.assert_frame_equal(toy_here.outcomes(), undisturbed, check_exact=True)
    assert not list((toy_here.storage / "toy" / "failures").glob("*.json"))


def test_nothing_is_left_running(toy: ToyRun) -> None:
    driver = toy.started(until=lambda: toy.rows_there() >= 1)
    members = processes.descendants(driver.pid)
    driver.communicate(timeout=processes.PATIENCE_S)
    processes.wait_until(lambda: not any(map(processes.alive, members)), "Ray to end with its driver")


def test_the_console_script_runs_a_study_of_the_current_folder_and_a_spec_from_standard_input(tmp_path: Path) -> None:
    script = tmp_path / "bin" / "sweeps"
    script.parent.mkdir()
    script.write_text("import sys\nfrom sweeps.cli import main\nsys.exit(main())\n")
    here = tmp_path / "here"
    here.mkdir()
    (here / "my_module.py").write_text("from tests.support.toy_study import ToyStudy\nclass Mine(ToyStudy): pass\n")
    text = toy_study.SPEC.replace("tests.toy_study:ToyStudy", "my_module:Mine").replace("seed: [0, 1]", "seed: [0]")
    ran = subprocess.run(
        [sys.executable, str(script), "run", "-", "--set=grid.shape=[flat]", "--set=grid.method=[quick]"],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(processes.ROOT)},
        input=text,
        capture_output=True,
        text=True,
        timeout=processes.PATIENCE_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(load_results(str(here / "runs" / "toy"))) == 1 + 3


def test_an_interrupt_leaves_nothing_running_on_a_ray_that_stays(toy_here: ToyRun) -> None:
    workers: list[int] = []
    running = toy_here.diary.with_name("diary running")

    def interrupt() -> None:
        processes.wait_until(lambda: running.is_dir() and any(running.iterdir()), "the run to begin")
        workers.extend(int(entry.name) for entry in running.iterdir())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    # As a notebook does, this keeps the traceback, and so all that Tune has made.
    with pytest.raises(KeyboardInterrupt) as caught:
        toy_here.run_here("seconds=60")
    processes.wait_until(lambda: not any(map(processes.alive, workers)), "the trials to end")
    assert caught.traceback
    assert ray.is_initialized()
    assert toy_here.claims() == []


def test_a_sweep_on_s3_is_killed_and_finished_like_any_other(
    s3: Callable[..., str], tmp_path: Path, undisturbed: pd.DataFrame
) -> None:
    toy = ToyRun(tmp_path, storage=s3())
    store = Store(toy.location)
    driver = toy.started("seconds=0.2", until=lambda: len(store.row_keys("toy")) >= 5)
    processes.kill_with_its_ray(driver)
    finished = store.published_at("toy")
    assert len(finished) < toy_study.ROWS
    output = toy.run()
    assert "Traceback" not in output
    assert finished.items() <= store.published_at("toy").items(), "a finished row was written again"
    pd.testing.assert_frame_equal(toy.outcomes(), undisturbed, check_exact=True)
    assert toy.stages()["base"] == 1
