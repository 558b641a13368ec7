"""`python -m robustprune kitti`: what a model found, in KITTI's files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from robustprune.cli.main import main
from robustprune.detection.data.kitti.labels import FIELDS

Command = Callable[..., tuple[int, str]]

LINES = [
    {"files_key": "one", "image_id": 12, "attacked": False, "x": 10.0, "score": 0.25},
    {"files_key": "one", "image_id": 12, "attacked": False, "x": 20.0, "score": 0.5},
    {"files_key": "one", "image_id": 12, "attacked": True, "x": 30.0, "score": 0.75},
    {"files_key": "two", "image_id": 3, "attacked": False, "x": 40.0, "score": 1.0},
]
BOX = {"y": 5.5, "width": 20.0, "height": 15.0, "category_id": 1, "category": "Car"}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Return the detections of two models."""
    (tmp_path / "detections").mkdir()
    for key in ("one", "two"):
        lines = [{**line, **BOX} for line in LINES if line["files_key"] == key]
        pq.write_table(pa.Table.from_pylist(lines), tmp_path / "detections" / f"{key}.parquet")
    return tmp_path / "detections"


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: object) -> tuple[int, str]:
        output = ["--output", str(tmp_path / "results")]
        monkeypatch.setattr(sys, "argv", ["robustprune", "kitti", *map(str, arguments), *output])
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = capsys.readouterr()
        return exit_.value.code or 0, out + err  # type: ignore[return-value]

    return run


def written(folder: Path) -> dict[str, list[list[str]]]:
    return {
        path.name: [line.split() for line in path.read_text().splitlines()]
        for path in sorted((folder.parent / "results").iterdir())
    }


def test_a_model_s_detections_are_a_file_for_each_picture(kept: Path, command: Command, tmp_path: Path) -> None:
    ids = tmp_path / "val.txt"
    ids.write_text("000003\n000012\n")
    status, said = command(kept, "--key", "one", "--ids", ids)
    assert (status, said) == (0, f"{tmp_path / 'results'}: 2 detections in 2 files\n")
    files = written(kept)
    assert files["000003.txt"] == []
    first, second = files["000012.txt"]
    assert len(first) == len(FIELDS) + 1
    assert " ".join(first) == "Car -1 -1 -10 20.00 5.50 40.00 20.50 -1 -1 -1 -1000 -1000 -1000 -10 0.5"
    assert (second[4], second[-1]) == ("10.00", "0.25"), "the surest is first"


def test_those_under_attack_are_asked_for(kept: Path, command: Command) -> None:
    assert command(kept / "one.parquet", "--attacked")[0] == 0
    assert [line[-1] for line in written(kept)["000012.txt"]] == ["0.75"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "found detections of 2 models, expected --key with the `files_key` of a row"),
        (["--key", "three"], "--key: found 'three', expected the `files_key` of one of the 2 models in "),
        (["--key", "one", "--ids", "words.txt"], "words.txt: found 'cat', expected names such as 000012, one a line"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    kept: Path, command: Command, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(kept.parent)
    Path("words.txt").write_text("000001 cat")
    status, said = command(kept, *arguments)
    assert status == 2
    assert message in said
    assert said.count("\n") == 1
    assert not (kept.parent / "results").exists()


def test_what_is_there_is_left_alone(kept: Path, command: Command, tmp_path: Path) -> None:
    status, said = command(tmp_path / "nothing.parquet")
    assert status == 2
    assert "expected the detections that a sweep keeps" in said
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "thesis.tex").write_text("precious")
    status, said = command(kept, "--key", "one")
    assert status == 2
    assert "found files there, expected a folder to create" in said
