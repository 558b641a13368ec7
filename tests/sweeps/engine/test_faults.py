"""What goes wrong while a sweep runs: each fault is survived, or ends the run with a clear word and nothing lost."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from sweeps import load_results
from tests.support import processes, toy_study
from tests.support.toy_run import ToyRun

pytestmark = pytest.mark.slow

ONE_TRIAL = ("grid.shape=[round]", "grid.method=[quick]", "grid.seed=[0]")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system with room for the toy sweep's shared checkpoints and a few rows."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a small disk can only be mounted by root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_stops_the_sweep_and_the_same_command_goes_on_when_there_is_room(
    small_disk: Path, tmp_path: Path, undisturbed: pd.DataFrame
) -> None:
    toy = ToyRun(tmp_path / "toy", storage=small_disk / "runs")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(120_000))
    output = toy.run("seconds=0.1", status=1)
    assert "cannot be written (No space left on device)" in output
    assert "the same command resumes" in output
    assert "Traceback" not in output
    assert toy.rows_there() < toy_study.ROWS
    assert not list(small_disk.rglob("*.tmp")), "half of a file was left behind"
    finished = toy.snapshot()
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    toy.run()
    assert finished.items() <= toy.snapshot().items()
    pd.testing.assert_frame_equal(toy.outcomes(), undisturbed, check_exact=True)


def test_damaged_checkpoints_are_computed_again_once(toy_here: ToyRun, undisturbed: pd.DataFrame) -> None:
    toy_here.run_here("grid.dose=[0]")
    (base,) = (toy_here.storage / "checkpoints").glob("base-*/*.safetensors")
    first, second = (toy_here.storage / "checkpoints").glob("pretrain-*/*.safetensors")
    content = base.read_bytes()
    base.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    first.write_bytes(first.read_bytes()[:-1])
    second.unlink()
    output = toy_here.run_here()
    assert (toy_here.stages()["base"], toy_here.stages()["pretrain"]) == (2, 2 * toy_study.PRETRAININGS)
    assert "Traceback" not in output
    pd.testing.assert_frame_equal(toy_here.outcomes(), undisturbed, check_exact=True)


def test_small_files_that_are_torn_and_files_of_others_hold_up_no_run(
    toy_here: ToyRun, undisturbed: pd.DataFrame
) -> None:
    toy_here.run_here(*ONE_TRIAL, "grid.dose=[0]")
    sweep, shared = toy_here.storage / "toy", toy_here.storage / "checkpoints"
    (sweep / "spec.yaml").write_bytes(b"name: \xff")
    (sweep / "study.json").write_bytes(b"{")
    (sweep / "checkpoints.json").write_bytes(b"null")
    for content, meta in zip((b"", b"[]", b'{"file": 1}'), sorted(shared.glob("*/meta.json")), strict=False):
        meta.write_bytes(content)
        (meta.parent / "progress").mkdir()
        (meta.parent / "progress" / "meta.json").write_bytes(content)
    dead = toy_here.storage / ".leases" / "runs" / "0123.json"
    dead.write_bytes(b'{"sweep": []}')
    (sweep / "results" / "notes.txt").write_text("mine")
    pd.DataFrame({"seed": ["x"]}).to_parquet(sweep / "results" / "mine.parquet")
    output = toy_here.run_here(*ONE_TRIAL)
    assert "Traceback" not in output
    found = toy_here.outcomes()
    assert len(found) == 4
    expected = undisturbed.merge(found.drop(columns="outcome"))
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert (sweep / "results" / "notes.txt").exists()
    assert (sweep / "results" / "mine.parquet").exists()


def test_leftovers_of_a_killed_writer_change_nothing(toy_here: ToyRun, undisturbed: pd.DataFrame) -> None:
    toy_here.run_here("grid.seed=[0]")
    for folder in [toy_here.storage / "toy" / "results", *(toy_here.storage / "checkpoints").iterdir()]:
        (folder / ".something.parquet.0123.tmp").write_bytes(b"PAR1 half")
    toy_here.run_here()
    pd.testing.assert_frame_equal(toy_here.outcomes(), undisturbed, check_exact=True)
    assert len(pd.read_parquet(toy_here.storage / "toy" / "results")) == toy_study.ROWS


def test_nan_fails_its_row_with_its_cause_and_the_others_go_on(toy_here: ToyRun) -> None:
    output = toy_here.run_here("nan_in=evaluate_row round slow 0 0.5", status=1)
    assert "outcome: found nan" in output
    assert len(toy_here.outcomes()) == toy_study.ROWS - 1
    assert toy_here.outcomes()["outcome"].notna().all()


def test_a_study_at_fault_stops_the_sweep_with_one_sentence_and_fails_no_row(toy_here: ToyRun) -> None:
    toy_here.spec.write_text(toy_study.SPEC.replace("ToyStudy", "FaultyStudy"))
    output = toy_here.run_here(status=1)
    assert output.count("stage 'evaluate_row' returned a column 'surprise', which is not declared") == 1
    assert "the same command goes on" in output
    assert "Traceback" not in output
    assert not (toy_here.storage / "toy" / "failures").exists()


def test_a_pretraining_that_fails_by_itself_is_computed_once_and_fails_all_who_need_it(toy_here: ToyRun) -> None:
    output = toy_here.run_here("raise_in=pretrain", "grid.seed=[0]", status=1)
    assert toy_here.stages()["pretrain"] == 1
    assert toy_here.stages()["evaluate_row"] == 1, "the baseline, which needs no pretraining"
    failures = [json.loads(file.read_text()) for file in (toy_here.storage / "toy" / "failures").glob("*.json")]
    assert len(failures) == 12
    assert {(each["stage"], each["cause"]) for each in failures} == {("pretrain", failures[0]["cause"])}
    assert all("_entry" in each["traceback"] for each in failures), "the traceback is of the stage itself"
    assert output.count("failed: ArithmeticError") == 1, "a cause is said once"


def test_scores_that_fail_by_themselves_fail_only_the_rows_that_read_them(toy_here: ToyRun) -> None:
    toy_here.run_here("raise_in=score", "grid.seed=[0]", "grid.method=[quick]", status=1)
    assert sorted(toy_here.outcomes()["dose"]) == [0, 0, 0]


def test_a_device_that_is_lost_takes_its_process_with_it_and_no_row(
    toy_here: ToyRun, undisturbed: pd.DataFrame
) -> None:
    toy_here.run_here("device_lost_in=evaluate_row round quick 0 0.5")
    pd.testing.assert_frame_equal(toy_here.outcomes(), undisturbed, check_exact=True)
    assert toy_here.stages()["evaluate_row"] == toy_study.ROWS + 1


def test_a_pretraining_that_gets_on_survives_any_number_of_deaths(toy_here: ToyRun) -> None:
    toy_here.run_here(*ONE_TRIAL, "epochs=8", "kill_in=pretrain epoch", "kill_each=true")
    assert len(toy_here.outcomes()) == 4
    assert toy_here.stages()["pretrain"] == 8 + 8


def test_a_trial_that_gets_on_survives_any_number_of_deaths(toy: ToyRun) -> None:
    """Its node goes away in every epoch, as spot machines do."""

    def begun(toy: ToyRun, epoch: int) -> bool:
        return any(toy.diary.glob(f"pretrain epoch {epoch} *"))

    driver = toy.start(*ONE_TRIAL, "epochs=7", "seconds=0.3")
    for epoch in range(2, 8):
        processes.wait_until(functools.partial(begun, toy, epoch), "the next epoch")
        for pid in processes.descendants(driver.pid):
            if processes.command(pid).startswith("ray::ImplicitFunc"):
                os.kill(pid, signal.SIGKILL)
    output, _ = driver.communicate(timeout=processes.PATIENCE_S)
    assert driver.returncode == 0, output
    assert len(toy.outcomes()) == 4


def test_a_sweep_stops_after_as_many_failures_as_its_spec_allows(toy_here: ToyRun) -> None:
    output = toy_here.run_here("raise_in=evaluate_row", "seconds=0.2", "stop_after_failures=3", status=1)
    assert "stop_after_failures: 3 rows failed and the sweep was stopped" in output
    assert "Traceback" not in output
    failures = len(list((toy_here.storage / "toy" / "failures").glob("*.json")))
    assert 3 <= failures < toy_study.ROWS
    assert toy_here.claims() == []


def test_a_killed_pretraining_goes_on_from_its_last_epoch(toy_here: ToyRun) -> None:
    """Its worker is killed in epoch 3; what comes out is what six epochs give without a kill."""
    toy_here.run_here("epochs=6", "seconds=0.2", "kill_in=pretrain epoch 3")
    entries = sorted(entry.name for entry in toy_here.diary.iterdir() if entry.name.startswith("pretrain"))
    epochs = [" ".join(name.split()[1:3]) for name in entries]
    assert epochs.count("epoch 3") == 3, "both seeds, and one of them twice"
    # On a busy machine the state of the epoch before may not have been worth its saving.
    assert epochs.count("epoch 2") in (2, 3)
    assert [epochs.count(f"epoch {number}") for number in (1, 4, 5, 6)] == [2, 2, 2, 2]
    again = ToyRun(toy_here.diary.parent / "again")
    again.run_here("epochs=6")
    pd.testing.assert_frame_equal(toy_here.outcomes(), again.outcomes(), check_exact=True)
    assert not list(toy_here.storage.rglob("progress/*")), "the state of a finished stage was left behind"


def test_a_driver_killed_while_it_pretrains_resumes_from_the_last_epoch(toy: ToyRun) -> None:
    driver = toy.started("epochs=20", "seconds=0.2", until=lambda: toy.stages()["pretrain"] >= 8)
    processes.kill_with_its_ray(driver)
    before = toy.stages()["pretrain"]
    toy.run("epochs=20")
    lost = before + toy.stages()["pretrain"] - before - 20 * toy_study.PRETRAININGS
    # The epochs that were cut off, and on a busy machine some whose state was not worth its saving.
    assert 0 <= lost <= toy_study.PRETRAININGS + before // 2, "what was saved was repeated"


@pytest.mark.parametrize(
    ("how", "send"),
    [
        pytest.param(signal.SIGINT, os.killpg, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, os.kill, id="a batch system"),
        pytest.param(signal.SIGHUP, os.killpg, id="a terminal that goes away"),
    ],
)
def test_an_interrupted_run_says_how_to_resume(
    toy: ToyRun, how: signal.Signals, send: Callable[[int, int], None]
) -> None:
    driver = toy.started("seconds=0.3", until=lambda: toy.rows_there() >= 2)
    members = processes.descendants(driver.pid)
    send(driver.pid, how)
    output, _ = driver.communicate(timeout=processes.PATIENCE_S)
    assert driver.returncode == 128 + how, output
    assert "the same command resumes" in output
    assert "Traceback" not in output
    assert toy.claims() == []
    processes.wait_until(lambda: not any(map(processes.alive, members)), "Ray to end with its driver")


def test_a_trial_whose_process_is_killed_is_started_again(toy: ToyRun, undisturbed: pd.DataFrame) -> None:
    driver = toy.started("seconds=0.3", until=lambda: toy.rows_there() >= 2)
    for pid in processes.descendants(driver.pid):
        if processes.command(pid).startswith("ray::ImplicitFunc"):
            os.kill(pid, signal.SIGKILL)
    finished = toy.snapshot()
    output, _ = driver.communicate(timeout=processes.PATIENCE_S)
    assert driver.returncode == 0, output
    assert "a trial's process died" in output
    assert "Traceback" not in output
    assert finished.items() <= toy.snapshot().items()
    pd.testing.assert_frame_equal(toy.outcomes(), undisturbed, check_exact=True)
    assert load_results(str(toy.storage / "toy"))["attempt"].max() == 1


def test_a_study_that_the_nodes_cannot_import_stops_the_sweep_and_no_row_is_to_blame(
    toy_here: ToyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there where the sweep is launched, and nowhere else."""
    module = types.ModuleType("only_here")
    module.OnlyHere = type("OnlyHere", (toy_study.ToyStudy,), {"__module__": "only_here"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "only_here", module)
    toy_here.spec.write_text(toy_here.spec.read_text().replace("tests.toy_study:ToyStudy", "only_here:OnlyHere"))
    printed = toy_here.run_here(*ONE_TRIAL, status=1)
    assert "cannot run the study" in printed
    assert "only_here" in printed
    assert "nothing is recorded" in printed
    assert not (toy_here.storage / "toy" / "failures").exists()
    assert toy_here.claims() == []


def test_a_trial_whose_process_always_dies_is_given_up_and_no_row_is_to_blame(toy: ToyRun) -> None:
    driver = toy.start("seconds=0.5", *ONE_TRIAL)
    while driver.poll() is None:
        for pid in processes.descendants(driver.pid):
            if processes.command(pid).startswith("ray::ImplicitFunc"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
    output, _ = driver.communicate()
    assert driver.returncode == 1, output
    assert "nothing is recorded against" in output
    assert "Traceback" not in output
    assert not (toy.storage / "toy" / "failures").exists()
    toy.run(*ONE_TRIAL)
