"""`sweeps export-models`: what rows have kept, many at once, under names to read, or nothing and one sentence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from sweeps import spec
from sweeps.planning import plan
from sweeps.storage import Store
from sweeps.study import Files
from tests.support import toy_rows
from tests.support.command_line import Sweeps, assert_refused
from tests.support.toy_study import ROWS, SPEC, ToyStudy


class LoudStudy(ToyStudy):
    """Its souvenirs can be had in capitals, but for those of the dose 1."""

    formats: ClassVar = {"capitals": (".loud", ".echo"), "onnx": (".onnx",)}

    def export(self, files: Mapping[str, Files], form: str) -> Files:
        text = files["souvenirs"][".txt"]
        if b"dose 1.0" in text:
            raise ValueError("found a dose too large, expected less")
        return {ending: text.upper() for ending in self.formats[form]}


LOUD = SPEC.replace("tests.toy_study:ToyStudy", f"{__name__}:LoudStudy") + "souvenirs: true\n"


def published(store: Store, text: str = LOUD, *, without: int = 0) -> str:
    """Return a sweep whose rows have souvenirs, but for so many of them, the last ones."""
    loaded = spec.parse(text, "toy.yaml")
    rows = toy_rows.all_rows(plan.make(loaded, store))
    for number, row in enumerate(rows):
        key = f"{row.key}-0123"
        toy_rows.publish(store, loaded, [row], files_key=key)
        if loaded.study.files and number < len(rows) - without:
            said = ", ".join(f"{axis} {value}" for axis, value in row.cell.items())
            for ending, data in ((".txt", said.encode()), (".bin", b"\0" * 2000)):
                store.publish_file(loaded.name, "souvenirs", key, ending, data)
    return f"{store.location}/{loaded.name}"


def test_files_are_copied_under_the_names_of_their_cells(store: Store, sweeps: Sweeps) -> None:
    ran = sweeps("export-models", published(store), "--where", "dose == 0.5 and seed == 1", "--output", "to 0/here")
    assert (ran.status, ran.errors) == (0, "")
    stems = [f"{shape}-{method}-1-0.5" for shape in ("flat", "round") for method in ("quick", "slow")]
    assert sorted(os.listdir("to 0/here")) == sorted(f"{stem}{ending}" for stem in stems for ending in (".bin", ".txt"))
    assert Path("to 0/here/flat-slow-1-0.5.txt").read_text() == "shape flat, method slow, seed 1, dose 0.5"
    first = ran.output.splitlines()[0]
    assert first == "1 of 4: to 0/here/flat-quick-1-0.5.txt (0 kB), to 0/here/flat-quick-1-0.5.bin (2 kB)"
    assert len(ran.output.splitlines()) == 4


def test_they_are_converted_by_the_study(store: Store, sweeps: Sweeps) -> None:
    sweep = published(store)
    ran = sweeps("export-models", sweep, "--where", "dose == 0", "--onnx", "--to", "capitals", "--output", "here")
    assert ran.status == 0
    # Four trials of two seeds each, and the baseline.
    assert {Path(name).suffix for name in os.listdir("here")} == {".onnx", ".loud", ".echo"}
    assert len(os.listdir("here")) == 9 * 3
    assert Path("here/flat-slow-1-0.0.onnx").read_text() == "SHAPE FLAT, METHOD SLOW, SEED 1, DOSE 0.0"


def test_what_cannot_be_exported_is_told_and_holds_up_no_other(store: Store, sweeps: Sweeps) -> None:
    ran = sweeps("export-models", published(store, without=1), "--to", "onnx", "--output", "here")
    assert ran.status == 1
    assert len(os.listdir("here")) == ROWS - 8
    assert ran.errors.startswith(f"Error: 8 of {ROWS} were not exported: ")
    assert "found a dose too large, expected less (7: shape flat, method quick, seed 0, dose 1.0 …)" in ran.errors
    assert "found no files of it in the sweep; a row that was finished without them gets none (1: " in ran.errors
    assert ran.errors.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--where", "dos == 0.5"], "--where 'dos == 0.5': name 'dos' is not defined, expected a condition on columns"),
        (["--where", "dose =="], "--where 'dose ==': invalid syntax"),
        (["--where", "dose + 1"], "--where 'dose + 1': "),
        (["--where", "outcome > 10"], "--where 'outcome > 10': found none of 25 rows for which that holds"),
        (["--to", "pt"], "found the format 'pt', expected one of its study: capitals, onnx"),
    ],
)
def test_mistakes_are_said_in_one_sentence(store: Store, sweeps: Sweeps, options: list[str], words: str) -> None:
    assert_refused(sweeps("export-models", published(store), *options, "--output", "here"), words)
    assert not Path("here").exists()


def test_what_is_there_is_left_alone(store: Store, sweeps: Sweeps) -> None:
    Path("here").mkdir()
    Path("here/flat-slow-1-1.0.txt").write_text("mine")
    ran = sweeps("export-models", published(store), "--output", "here")
    assert_refused(ran, "here/flat-slow-1-1.0.txt: found a file of that name, expected a new one; nothing was written")
    assert os.listdir("here") == ["flat-slow-1-1.0.txt"]


def test_a_sweep_that_keeps_nothing_is_told(store: Store, sweeps: Sweeps) -> None:
    sweep = published(store, LOUD.replace("souvenirs: true", "souvenirs: false"))
    assert_refused(sweeps("export-models", sweep, "--output", "here"), "found rows that leave no files, expected")
    assert_refused(sweeps("export-models", "runs/nowhere", "--output", "here"), "found no spec.yaml there")
    Path("taken").write_text("")
    sweep = published(Store("other"))
    assert_refused(
        sweeps("export-models", sweep, "--output", "taken"), "--output taken: File exists, expected a folder"
    )
