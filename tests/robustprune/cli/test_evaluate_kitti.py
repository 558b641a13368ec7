"""`python -m robustprune evaluate --kitti`: KITTI's three levels of one detector, or of detections in KITTI's files."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from robustprune.cli.main import main
from robustprune.core import progress
from robustprune.detection import networks
from robustprune.detection.data.kitti.streets import generate
from robustprune.detection.kept_models import model_files
from tests.support.kitti_files import CAR, DONT_CARE, PEDESTRIAN, VAN, write_kitti

Command = Callable[..., tuple[int, str]]

LARGE = CAR.replace(" 25.00 1.57", " 60.00 1.57")
"""A car of 55 pixels, which is easy."""

CELL = {"structure": "structured", "initializer": "magnitude", "colour": "rgb", "seed": 0, "ratio": 0.5}


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.setattr(progress, "PATIENCE", 3600.0)

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["robustprune", "evaluate", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = capsys.readouterr()
        return exit_.value.code or 0, out or err  # type: ignore[return-value]

    return run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    images = {f"{number:06d}": [LARGE, VAN, DONT_CARE] for number in range(10)}
    return write_kitti(tmp_path / "kitti", images | {"000010": [PEDESTRIAN], "000011": []}, size=(124, 80))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a kept CenterNet of three classes."""
    torch.manual_seed(0)
    detector = networks.build("centernet-small", classes=3, image_size=(32, 96))
    classes = ["pedestrian", "car", "bicycle"]
    files = model_files(detector, cell=CELL, image_size=(32, 96), classes=classes, network="centernet-small")
    path = tmp_path / "model.safetensors"
    path.write_bytes(files[".safetensors"])
    return path


def results(root: Path, **lines: str) -> Path:
    """Write a folder of result files, of these lines by the numbers of their pictures."""
    folder = root.parent / "results"
    folder.mkdir()
    for stem, text in lines.items():
        (folder / f"{int(stem[1:]):06d}.txt").write_text(text)
    return folder


def test_a_detector_without_a_mistake_reaches_the_ceiling(root: Path, command: Command) -> None:
    folder = results(root, **{f"n{number}": f"{LARGE} 0.{number}1\nVan{LARGE[3:]} 0.5\n" for number in range(10)})
    status, out = command("--results", folder, "--kitti", root, "--format", "json")
    assert status == 0
    figures: dict[str, Any] = json.loads(out)
    assert figures["ap_easy"] == figures["ap_easy_ceiling"] == pytest.approx(9 / 40)
    assert figures["ap"] == pytest.approx(1)
    assert (figures["images"], figures["detections"]) == (12, 10)
    assert figures["per_level"][0] == {
        "level": "easy",
        "category": "Car",
        "objects": 10,
        "ap": pytest.approx(9 / 40),
        "ceiling": pytest.approx(9 / 40),
    }
    both = json.loads(
        command("--results", folder, "--kitti", root, "--kitti-classes", "Pedestrian,Car", "--format", "json")[1]
    )
    assert [(line["level"], line["category"]) for line in both["per_level"]] == [
        *[("easy", "Car"), ("moderate", "Car"), ("hard", "Car"), ("hard", "Pedestrian")],
    ]
    assert both["ap_hard"] == pytest.approx(9 / 80), "the mean over classes"


def test_a_kept_model_is_measured_on_the_classes_that_it_knows(root: Path, model: Path, command: Command) -> None:
    (root / "val.txt").write_text("000001\n000003\n000010\n")
    attack = ("--attack", "pgd", "--steps", 1, "--threads", 1)
    status, out = command("--model", model, "--kitti", root, "--split", "val.txt", *attack, "--format", "json")
    assert status == 0
    figures = json.loads(out)
    assert figures["images"] == 3
    for level in ("easy", "moderate", "hard"):
        assert 0 <= figures[f"ap_{level}_adv"] <= figures[f"ap_{level}_ceiling"]
    assert {line["category"] for line in figures["per_level"]} == {"Car", "Pedestrian"}
    status, out = command("--model", model, "--kitti", root, "--split", "val.txt", "--threads", 1)
    assert status == 0
    assert "level" in out
    assert "ap_easy_adv" not in out


def test_streets_are_measured_in_pixels_of_kittis(tmp_path: Path, command: Command) -> None:
    root = generate(tmp_path / "streets", train_images=4, val_images=4)
    folder = tmp_path / "found"
    folder.mkdir()
    for label in (root / "training" / "label_2").iterdir():
        (folder / label.name).write_text("".join(f"{line} 0.9\n" for line in label.read_text().splitlines()))
    figures = json.loads(command("--results", folder, "--kitti", root, "--format", "json")[1])
    assert figures["ap_easy"] == figures["ap_easy_ceiling"] > 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--coco", "elsewhere"], "--coco: found elsewhere beside --kitti, expected one data set"),
        (["--kitti-classes", "Car,Truck"], "'Truck' is no such class, expected some of Car, Pedestrian, Cyclist"),
        (["--split", "none.txt"], "none.txt: No such file or directory, expected the names of pictures, one a line"),
    ],
)
def test_mistakes_are_one_sentence(root: Path, command: Command, more: list[str], message: str) -> None:
    status, said = command("--results", results(root, n1=f"{LARGE} 1"), "--kitti", root, *more)
    assert (status, message in said) == (2, True), said


def test_what_is_wrong_with_results_is_told(root: Path, command: Command) -> None:
    folder = results(root, n1=f"{LARGE}\n", n77=f"{LARGE} 1")
    status, said = command("--results", folder, "--kitti", root)
    assert status == 2
    assert f"{folder}/000001.txt: line 1: found 15 fields, expected 16, type to score" in said
    (folder / "000001.txt").unlink()
    status, said = command("--results", folder, "--kitti", root)
    assert status == 2
    assert (
        f"{folder}: found no file of the 12 pictures of {root}, expected detections, one file for each picture" in said
    )


def test_a_detector_of_other_things_is_told(root: Path, command: Command, tmp_path: Path) -> None:
    detector = networks.build("centernet-small", classes=1, image_size=64)
    files = model_files(detector, cell=CELL, image_size=64, classes=["cat"], network="centernet-small")
    (tmp_path / "cat.safetensors").write_bytes(files[".safetensors"])
    status, said = command("--model", tmp_path / "cat.safetensors", "--kitti", root)
    assert status == 2
    assert "--kitti: found none of Car, Pedestrian, Cyclist among the detector's 1 classes, expected one" in said
