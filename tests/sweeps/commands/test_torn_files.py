"""A small file that is torn, or of another version, is named and stepped over: no command stops at it, and what is
said of all else stays the same.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sweeps.planning import plan
from sweeps.spec import recorded
from sweeps.storage import Store
from sweeps.storage.backends.disk import Disk
from sweeps.storage.leases import ABANDONED_AFTER_S, FOLDER, Leases
from tests.support import toy_rows, toy_study
from tests.support.command_line import Ran, Sweeps

Damage = Callable[[Path], None]


def fill(data: bytes) -> Damage:
    def damage(file: Path) -> None:
        file.write_bytes(data)

    return damage


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def spoil(file: Path) -> None:
    file.write_bytes(b"\xff\xfe" + file.read_bytes())


def forget(file: Path) -> None:
    """Leave the keys, and let every value be of another type."""
    file.write_text(json.dumps({key: [[]] for key in json.loads(file.read_text())}))


def become_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


TORN: dict[str, Damage] = {
    "empty": fill(b""),
    "truncated": truncate,
    "a list": fill(b"[1]"),
    "null": fill(b"null"),
    "no keys": fill(b"{}"),
    "other types": forget,
    "bad bytes": spoil,
    "deep": fill(b"[" * 100_000),
    "a folder": become_folder,
}

FILES = {
    "heartbeat": f"{FOLDER}/runs/0123.json",
    "failure": "toy/failures/*.json",
    "checkpoint": "checkpoints/base-*/meta.json",
    "progress": "toy/progress/*/evaluate_row/meta.json",
    "references": "toy/checkpoints.json",
    "study": "toy/study.json",
}

AFFECTED = {
    "heartbeat": {"status"},
    "failure": {"status", "failures", "plan"},
    "checkpoint": {"plan"},
    "progress": set(),
    "references": {"clean"},
    "study": set(),
}
"""Of which commands the output differs where such a file is torn, sizes aside."""

NEEDLESS = {
    "failure": ("host", "traceback", "failed_at"),
    "checkpoint": ("seconds", "stage", "bytes"),
    "progress": ("seconds",),
    "study": ("remarks", "replication", "doubts", "trade_off", "pruned", "panel_axis"),
}
"""What may be missing."""

COMMANDS = {
    "status": ("status", "runs/toy"),
    "failures": ("failures", "runs/toy"),
    "results": ("results", "runs/toy", "--format", "csv"),
    "analyze": ("analyze", "runs/toy", "--format", "csv"),
    "plan": ("plan", "toy.yaml"),
    "storage": ("storage", "runs"),
    "clean": ("storage", "runs", "--clean", "--unused", "--yes"),
}


@pytest.fixture
def here(sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Leave a toy sweep with one of everything: a row failed, another has progress, and a run of it is at work."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    Path("toy.yaml").write_text(toy_study.SPEC)
    store, loaded = Store("runs"), toy_rows.load()
    planned = plan.make(loaded, store)
    rows = toy_rows.all_rows(planned)
    keys = sorted({stage.key for trial in planned.trials for stage in trial.shared})
    toy_rows.publish(store, loaded, rows[2:])
    toy_rows.fail(store, loaded, rows[:1])
    toy_rows.publish_checkpoints(store, keys)
    store.save_progress(f"toy/progress/{rows[1].key}/evaluate_row", {"epoch": np.array(1)}, seconds=1.0)
    store.note_checkpoints("toy", keys)
    recorded.write(loaded, store)
    run = {"sweep": "toy", "host": "far", "pid": 1, "machine": "another", "started": None}
    store.files.publish(f"{FOLDER}/runs/0123.json", json.dumps(run).encode())
    store.files.publish(f"{FOLDER}/claims/{keys[0]}@0123", b"")
    return store


def place(file: str) -> Path:
    return sorted(Path("runs").glob(FILES[file]))[0]


def ran(sweeps: Sweeps) -> dict[str, Ran]:
    found = {name: sweeps(*arguments) for name, arguments in COMMANDS.items()}
    assert not [name for name, each in found.items() if each.errors]
    return found


@pytest.mark.parametrize("damage", TORN)
def test_no_command_stops_at_any_of_them(damage: str, here: Store, sweeps: Sweeps, said: list[str]) -> None:
    before, places = ran(sweeps), {file: place(file) for file in FILES}
    for torn in places.values():
        TORN[damage](torn)
    after = ran(sweeps)
    assert {name: each.status for name, each in after.items()} == {name: each.status for name, each in before.items()}
    for name in ("results", "analyze"):
        assert after[name].output == before[name].output
    # A folder in place of a record is no record; any other says that the row failed, and no more.
    failed = 0 if damage == "a folder" else 1
    assert f"23 of 25 rows finished, {failed} failed, {2 - failed} to come" in after["status"].output
    assert all(torn.exists() for torn in places.values())
    named = "".join([*said, after["failures"].output])
    for file in ("references", "study") if damage == "a folder" else ("heartbeat", "checkpoint", "references", "study"):
        assert f"{places[file]}: " in named
    if failed and damage not in ("no keys", "other types"):
        assert f"{places['failure']}: found" in after["failures"].output


def test_each_affects_its_own_subject_alone(here: Store, sweeps: Sweeps, said: list[str]) -> None:
    before = ran(sweeps)
    for file, affected in AFFECTED.items():
        torn, whole = place(file), place(file).read_bytes()
        truncate(torn)
        after = ran(sweeps)
        for name in COMMANDS.keys() - affected - {"storage"}:
            assert after[name] == before[name], (file, name)
        assert {sentence.partition(": ")[0] for sentence in said} <= {str(torn)}
        torn.write_bytes(whole)
        said.clear()


def test_more_fields_than_this_version_knows_and_fewer_are_fine(here: Store, sweeps: Sweeps, said: list[str]) -> None:
    before = ran(sweeps)
    for file in FILES:
        path = place(file)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"of_later": [1]}))
    for file, fields in NEEDLESS.items():
        path = place(file)
        kept = {name: value for name, value in json.loads(path.read_text()).items() if name not in fields}
        assert len(kept) == len(json.loads(path.read_text())) - len(fields)
        path.write_text(json.dumps(kept))
    after = ran(sweeps)
    for name in COMMANDS.keys() - {"failures", "storage"}:
        assert after[name] == before[name], name
    assert "an unknown host" in after["failures"].output
    assert said == []


@pytest.mark.parametrize("file", ["heartbeat", "checkpoint", "references", "study", "failure"])
def test_one_that_may_not_be_read(
    file: str, here: Store, sweeps: Sweeps, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, torn, read = ran(sweeps), place(file), Disk.read

    def refuse(disk: Disk, name: str) -> bytes:
        if name == str(torn.relative_to("runs")):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return read(disk, name)

    monkeypatch.setattr(Disk, "read", refuse)
    after = ran(sweeps)
    assert {name: each.status for name, each in after.items()} == {name: each.status for name, each in before.items()}
    assert f"{torn}: cannot be read (Permission denied)" in "".join([*said, after["failures"].output])


def test_beside_one_of_a_run_others_claim(here: Store, said: list[str]) -> None:
    (claimed,) = (path.name.partition("@")[0] for path in Path("runs").glob(f"{FOLDER}/claims/*"))
    spoil(place("heartbeat"))
    now = time.monotonic()
    with Leases(here.files, "toy", clock=lambda: now) as leases:
        assert leases.claim({"another"})
        assert not leases.claim({claimed})
        assert [run.host for run in leases.taken().values()] == ["an unknown host"]
        now += ABANDONED_AFTER_S
        assert leases.claim({claimed})
    assert len(said) == 1


@pytest.mark.parametrize("damage", TORN)
def test_progress_that_is_torn_is_begun_anew(damage: str, here: Store) -> None:
    torn = place("progress")
    where = str(torn.parent.relative_to("runs"))
    assert here.load_progress(where)[1] == 1.0
    TORN[damage](torn)
    assert here.load_progress(where) == (None, 0.0)
    if damage != "a folder":
        here.save_progress(where, {"epoch": np.array(2)}, seconds=2.0)
        assert here.load_progress(where)[1] == 2.0


BAD_SPECS = {
    "bad bytes": b"name: toy\ndescription: \xff\n",
    "empty": b"",
    "a list": b"- 1\n",
    "truncated": b"name: toy\ngrid: {",
    "no date": b"name: 2026-99-99\n",
}


@pytest.mark.parametrize("damage", BAD_SPECS)
def test_a_spec_that_is_none_is_named_and_its_rows_are_read(damage: str, here: Store, sweeps: Sweeps) -> None:
    before = ran(sweeps)
    here.files.publish("toy/spec.yaml", BAD_SPECS[damage], replace=True)
    after = {name: sweeps(*arguments) for name, arguments in COMMANDS.items()}
    assert after["plan"] == before["plan"]
    told = before["failures"].output.replace("1 row of 1 trial", "1 row")  # which axes make a trial, the spec says
    assert (after["failures"].status, after["failures"].output) == (0, told)
    assert after["results"].output == before["results"].output
    assert after["analyze"].output == before["analyze"].output
    assert after["status"].status == 1
    assert "23 rows finished, 1 failed" in after["status"].output
    for said in (after["status"].output, after["results"].errors, sweeps("report", "runs/toy").errors):
        assert "runs/toy/spec.yaml" in said
        assert "Traceback" not in said
    assert sweeps("report", "runs/toy").status == 2


def test_a_spec_of_another_version_is_read(here: Store, sweeps: Sweeps) -> None:
    before = ran(sweeps)
    text = here.read_spec("toy") or ""
    assert "  cpus: 1\n" in text
    here.write_spec("toy", text.replace("  cpus: 1\n", "  memory: 12\n") + "of_later: [1]\n")
    after = ran(sweeps)
    for name in COMMANDS.keys() - {"storage"}:
        assert after[name] == before[name], name
    assert sweeps("report", "runs/toy").status == 0


def test_nor_does_a_study_that_is_installed_refuse_a_report_of_it(
    here: Store, sweeps: Sweeps, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = SimpleNamespace(registered=lambda: {"tests.toy_study:ToyStudy"})
    monkeypatch.setattr("sweeps.results.sweep.studies", known)
    monkeypatch.setattr("sweeps.reporting.reports.studies", known)
    here.write_spec("toy", (here.read_spec("toy") or "") + "of_later: [1]\n")
    ran = sweeps("report", "runs/toy")
    assert ran.status == 0
    assert "the sweep is of another version of tests.toy_study:ToyStudy than the one that is installed" in ran.output
    assert len(said) == 1
    assert "runs/toy/spec.yaml: of_later: unknown key" in said[0]
