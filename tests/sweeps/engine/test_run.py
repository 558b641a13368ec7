"""Whole sweeps of the toy study on a real Ray, each a process of its own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from sweeps import load_results
from tests import processes, toy_study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The rows of a run that nothing happened to."""
    toy = Toy(tmp_path_factory.mktemp("undisturbed"))
    toy.run()
    return toy.outcomes()


class Toy:
    """A toy sweep in a folder, with the diary of what its stages did."""

    def __init__(self, folder: Path) -> None:
        self.storage, self.diary, self.spec = folder / "runs", folder / "diary", folder / "toy.yaml"
        self.diary.mkdir()
        self.spec.write_text(toy_study.SPEC)

    def arguments(self, *changes: str) -> list[str]:
        sets = [f"--set={change}" for change in (f"diary={self.diary}", *changes)]
        return ["run", str(self.spec), "--storage", str(self.storage), *sets]

    def run(self, *changes: str, status: int = 0) -> str:
        return processes.run(*self.arguments(*changes), status=status)

    def outcomes(self) -> pd.DataFrame:
        axes = [axis.name for axis in toy_study.ToyStudy.axes]
        return load_results(str(self.storage / "toy"))[[*axes, "outcome"]]

    def stages(self) -> Counter[str]:
        return Counter(entry.name.split()[0] for entry in self.diary.iterdir())

    def rows_there(self) -> int:
        return len(list((self.storage / "toy" / "results").glob("*.parquet")))


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


def test_every_row_once_and_shared_work_once(toy: Toy) -> None:
    output = toy.run()
    assert len(toy.outcomes()) == toy_study.ROWS
    per_row_scores = 2 * 2 * 2  # the slow method, at two doses above zero
    assert toy.stages() == {
        "base": 1,
        "pretrain": toy_study.PRETRAININGS,
        "score": toy_study.SHARED_SCORES + per_row_scores,
        "evaluate_row": toy_study.ROWS,
    }
    assert f"rows {toy_study.ROWS}/{toy_study.ROWS}" in output
    assert (toy.storage / "toy" / "report" / "report.html").exists()

    again = toy.run()
    assert toy.stages()["evaluate_row"] == toy_study.ROWS, "a finished row was computed again"
    assert "Traceback" not in output + again


def test_killed_driver_resumes_to_the_same_rows(toy: Toy, undisturbed: pd.DataFrame) -> None:
    driver = processes.start(*toy.arguments("seconds=0.2"))
    processes.wait_until(lambda: toy.rows_there() >= 5, "five rows")
    processes.kill_with_its_ray(driver)
    finished = {path.name: path.stat().st_mtime_ns for path in (toy.storage / "toy" / "results").iterdir()}
    assert 5 <= len(finished) < toy_study.ROWS
    toy.run()
    after = {path.name: path.stat().st_mtime_ns for path in (toy.storage / "toy" / "results").iterdir()}
    assert finished.items() <= after.items(), "a finished row was written again"
    pd.testing.assert_frame_equal(toy.outcomes(), undisturbed, check_exact=True)
    assert toy.stages()["base"] == 1


def test_killed_worker_is_replaced(toy: Toy, undisturbed: pd.DataFrame) -> None:
    toy.run("kill_in=evaluate_row flat quick 1")
    assert (toy.diary / "killed once").exists()
    pd.testing.assert_frame_equal(toy.outcomes(), undisturbed, check_exact=True)
    attempts = load_results(str(toy.storage / "toy"))["attempt"]
    assert attempts.max() == 2


def test_failed_row_is_kept_apart_with_its_cause(toy: Toy, undisturbed: pd.DataFrame) -> None:
    output = toy.run("raise_in=evaluate_row round slow 0 0.5", status=1)
    assert "1 rows failed" in output
    assert len(toy.outcomes()) == toy_study.ROWS - 1
    sweep = str(toy.storage / "toy")
    assert "1 × evaluate_row: ArithmeticError" in processes.run("status", sweep, status=1)
    listed = processes.run("failures", sweep)
    assert "Traceback" in listed
    assert "shape round, method slow, seed 0, dose 0.5" in listed

    before = toy.stages()
    toy.run(status=1)
    assert toy.stages() == before, "a failed row is only computed again when asked to"
    processes.run(*toy.arguments(), "--retry-failed")
    pd.testing.assert_frame_equal(toy.outcomes(), undisturbed, check_exact=True)
    assert not list((toy.storage / "toy" / "failures").glob("*.json"))


def test_failed_pretraining_fails_its_rows_and_no_others(toy: Toy) -> None:
    toy.run("raise_in=pretrain round slow 1", status=1)
    failed = {failure.name for failure in (toy.storage / "toy" / "failures").glob("*.json")}
    assert len(failed) == 3, "the trial that led the pretraining fails; its siblings try for themselves"
    assert len(toy.outcomes()) == toy_study.ROWS - 3


def test_damaged_checkpoint_is_computed_again(toy: Toy, undisturbed: pd.DataFrame) -> None:
    toy.run("grid.seed=[0]")
    (base,) = (toy.storage / "checkpoints").glob("base-*/*.safetensors")
    content = bytearray(base.read_bytes())
    content[-1] ^= 1
    base.write_bytes(content)
    toy.run()
    assert toy.stages()["base"] == 2
    pd.testing.assert_frame_equal(toy.outcomes(), undisturbed, check_exact=True)


def test_interrupted_run_says_how_to_resume(toy: Toy) -> None:
    import signal

    driver = processes.start(*toy.arguments("seconds=0.3"))
    processes.wait_until(lambda: toy.rows_there() >= 2, "two rows")
    driver.send_signal(signal.SIGINT)
    output, _ = driver.communicate(timeout=processes.PATIENCE_S)
    assert driver.returncode == 130, output
    assert "the same command resumes" in output
    assert "Traceback" not in output
    toy.run()
    assert len(toy.outcomes()) == toy_study.ROWS


def test_nothing_is_left_running(toy: Toy) -> None:
    driver = processes.start(*toy.arguments())
    processes.wait_until(lambda: toy.rows_there() >= 1, "a row")
    members = processes.descendants(driver.pid)
    driver.communicate(timeout=processes.PATIENCE_S)
    processes.wait_until(lambda: not any(map(processes.alive, members)), "Ray to end with its driver")
