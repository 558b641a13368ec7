"""A stored spec is data: whoever reads a sweep runs no code that the storage names."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from sweeps.planning import plan
from sweeps.results.sweep import find_sweep, open_sweep
from sweeps.running import run
from sweeps.spec import recorded
from sweeps.spec.recorded import RecordedStudy
from sweeps.storage import Store
from tests.support import toy_rows, toy_study
from tests.support.command_line import Sweeps

READERS = (["status"], ["results"], ["failures"], ["analyze", "--metric", "outcome"], ["report"])

EVIL = """
from pathlib import Path
from tests.support.toy_study import ToyStudy
Path({trace!r}).touch()
class Study(ToyStudy):
    pass
"""


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file that appears when the module `evil`, which is there to import, is imported."""
    found = tmp_path / "imported"
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "evil.py").write_text(EVIL.format(trace=str(found)))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    monkeypatch.delitem(sys.modules, "evil", raising=False)
    return found


def publish(store: Store, *, described: bool) -> str:
    """Publish a toy sweep, one of whose rows failed, and let its spec name the module `evil`."""
    loaded = toy_rows.load()
    every = toy_rows.all_rows(plan.make(loaded, store))
    toy_rows.publish(store, loaded, every[1:])
    toy_rows.fail(store, loaded, every[:1])
    if described:
        recorded.write(loaded, store)
    store.write_spec("toy", loaded.to_yaml().replace("tests.toy_study:ToyStudy", "evil:Study"))
    return store.describe("toy")


@pytest.mark.parametrize("command", READERS, ids=lambda command: command[0])
def test_what_a_stored_spec_names_is_not_imported(
    store: Store, trace: Path, sweeps: Sweeps, command: list[str]
) -> None:
    sweep = publish(store, described=True)
    ran = sweeps(command[0], sweep, *command[1:])
    assert (ran.status, ran.errors) == (1 if command[0] == "status" else 0, "")
    assert not trace.exists()
    assert "evil" not in sys.modules
    if command[0] == "status":
        assert f"toy: {toy_study.ROWS - 1} of {toy_study.ROWS} rows finished, 1 failed, 0 to come" in ran.output
    if command[0] == "report":
        said = "no pictures: evil:Study is of no installed package, and is imported where --study evil:Study says so"
        assert said in ran.output
        page = Path(sweep, "report", "report.html").read_text()
        assert "is of no installed package" in page
        assert "what varies with seed: pretrain, score, evaluate_row" in page


@pytest.mark.parametrize("command", [each for each in READERS if each[0] != "report"], ids=lambda command: command[0])
def test_nor_that_of_a_sweep_of_before_whose_rows_say_enough(
    store: Store, trace: Path, sweeps: Sweeps, command: list[str]
) -> None:
    sweep = publish(store, described=False)
    ran = sweeps(command[0], sweep, *command[1:])
    assert (ran.status, ran.errors) == (1 if command[0] == "status" else 0, "")
    assert not trace.exists()
    if command[0] == "status":
        assert f"toy: {toy_study.ROWS - 1} rows finished, 1 failed" in ran.output
        assert "study: found 'evil:Study' in a storage, which is of no installed package" in ran.output


def test_a_report_of_one_of_before_asks_for_the_study(store: Store, trace: Path, sweeps: Sweeps) -> None:
    ran = sweeps("report", publish(store, described=False))
    assert ran.status == 2
    assert "found 'evil:Study' in a storage, which is of no installed package" in ran.errors
    assert not trace.exists()


@pytest.mark.parametrize("described", [True, False])
def test_a_report_has_pictures_of_the_study_that_its_user_names(
    store: Store, trace: Path, sweeps: Sweeps, described: bool
) -> None:
    sweep = publish(store, described=described)
    ran = sweeps("report", sweep, "--study", "evil:Study")
    assert ran.status == 0
    assert trace.exists()
    assert "imported where" not in ran.output


def test_to_run_beside_such_a_spec_imports_nothing_of_it_either(store: Store, trace: Path, sweeps: Sweeps) -> None:
    publish(store, described=True)
    Path("toy.yaml").write_text(toy_study.SPEC.replace("  seed: [0, 1]", "  seed: [0, 1]") + "offset: 1.0\n")
    ran = sweeps("plan", "toy.yaml", "--storage", store.location)
    assert ran.status == 0
    assert "`sweeps run` will refuse" in ran.output
    assert not trace.exists()


def test_a_run_keeps_what_its_study_declares_and_reads_it_back(
    store: Store, console: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toy_study.ToyStudy, "facts", lambda *_: {"toys": "of 2 shapes"})
    monkeypatch.setattr(toy_study.ToyStudy, "paired", property(lambda _: False))
    monkeypatch.setattr(toy_study.ToyStudy, "beside", {"outcome": "outcome"})
    monkeypatch.setattr(toy_study.ToyStudy, "baseline_name", "no toy")
    loaded = toy_rows.load("name=kept", "grid.seed=[0]")
    toy_rows.publish(store, loaded)
    run(loaded, store, console)  # type: ignore[arg-type]
    _, _, found = find_sweep(store.describe("kept"))
    assert isinstance(found.study, RecordedStudy)
    assert found.cells == loaded.cells
    assert found.to_yaml() == loaded.to_yaml()
    assert found.study.baselines(found.cells) == loaded.study.baselines(loaded.cells)
    assert found.study.facts(found.cells) == loaded.study.facts(loaded.cells) == {"toys": "of 2 shapes"}
    assert found.study.paired is False
    assert (found.study.beside, found.study.baseline_name) == ({"outcome": "outcome"}, "no toy")
    for name in ("axes", "columns"):
        ours, theirs = getattr(found.study, name), getattr(loaded.study, name)
        assert (
            [*ours] == [*theirs] if name == "columns" else [each[:2] for each in ours] == [each[:2] for each in theirs]
        )
    # The process has imported the study anyway, and pictures need it.
    assert not isinstance(open_sweep(store.describe("kept")).spec.study, RecordedStudy)


@pytest.mark.parametrize("damaged", [b"{", b"[]", b'{"axes": {"a": "complex"}}', json.dumps({"axes": {}}).encode()])
def test_a_description_that_is_none_is_passed_over(store: Store, sweeps: Sweeps, damaged: bytes) -> None:
    loaded = toy_rows.load()
    toy_rows.publish(store, loaded)
    store.files.publish("toy/study.json", damaged, replace=True)
    ran = sweeps("status", store.describe("toy"))
    assert (ran.status, ran.errors) == (0, "")
    assert f"{toy_study.ROWS} of {toy_study.ROWS} rows finished" in ran.output
