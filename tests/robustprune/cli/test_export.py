"""`python -m robustprune export`: what it writes is there whole and right, or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from robustprune.cli.main import main
from robustprune.detection.darknet import Detector
from robustprune.detection.exported import Exporter
from robustprune.detection.kept_models import model_files
from tests.robustprune.detection.pruned import prune, randomised


class Ended(NamedTuple):
    status: int
    out: str
    err: str


class Command:
    """Exports from a folder of its own, in this process."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        self.folder = folder

    def __call__(self, *arguments: object) -> Ended:
        self.monkeypatch.chdir(self.folder)
        self.monkeypatch.setattr(sys, "argv", ["robustprune", "export", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        return Ended(exit_.value.code or 0, *self.capsys.readouterr())  # type: ignore[arg-type]

    @property
    def files(self) -> set[str]:
        return set(os.listdir(self.folder))


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(tmp_path, monkeypatch, capsys)


def kept(folder: Path, structure: str, ratio: float) -> Path:
    detector = randomised(Detector.from_cfg("yolov3-nano"))
    prune(detector, structure, ratio)
    cell = {"structure": structure, "initializer": "hydra", "colour": "rgb", "seed": 0, "ratio": ratio}
    files = model_files(detector, cell=cell, image_size=64, classes=[f"class {number}" for number in range(6)])
    path = folder / f"{structure}.safetensors"
    path.write_bytes(files[".safetensors"])
    return path


@pytest.fixture(scope="module")
def structured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kept(tmp_path_factory.mktemp("models"), "structured", 0.9)


@pytest.fixture(scope="module")
def unstructured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kept(tmp_path_factory.mktemp("models"), "unstructured", 0.98)


def test_both_formats_are_written_checked_and_told(command: Command, structured: Path) -> None:
    ended = command(structured, "--onnx", "a 0.onnx", "--darknet", "b'; echo.cfg")
    assert (ended.status, ended.err) == (0, "")
    assert command.files == {"a 0.onnx", "b'; echo.cfg", "b'; echo.weights"}
    first, pair, onnx = ended.out.splitlines()
    assert first.startswith(f"186,310 parameters in {structured}, ")
    assert first.endswith(" in the smaller detector")
    assert pair.startswith("b'; echo.cfg, b'; echo.weights: its boxes differ by at most ")
    assert onnx.startswith("a 0.onnx: its boxes differ by at most ")


def test_images_may_have_another_size(command: Command, structured: Path) -> None:
    assert command(structured, "--darknet", "small.cfg", "--image-size", 32).status == 0
    assert Detector.from_cfg(command.folder / "small.cfg").image_size == (32, 32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "expected --onnx FILE.onnx, --darknet NAME.cfg, or both"),
        (["--darknet", "small.weights"], "--darknet: found small.weights, expected a name that ends in .cfg"),
        (
            ["--darknet", "small.cfg", "--image-size", 40],
            "the image size is 40, expected a multiple of the detector's ",
        ),
        (
            ["--darknet", "taken.cfg"],
            "taken.weights: found a file of that name, expected a new one; nothing was written",
        ),
        (
            ["--darknet", "nowhere/small.cfg"],
            "nowhere/small.cfg, nowhere/small.weights: cannot be written (No such file",
        ),
    ],
)
def test_mistakes_are_said_in_one_sentence(
    command: Command, structured: Path, options: list[object], message: str
) -> None:
    (command.folder / "taken.weights").write_text("mine")
    ended = command(structured, *options)
    assert ended.status == 2
    assert ended.err.startswith(f"Error: {message}")
    assert ended.err.count("\n") == 1
    assert command.files == {"taken.weights"}
    assert (command.folder / "taken.weights").read_text() == "mine"


def test_what_cannot_be_written_leaves_nothing(command: Command, unstructured: Path) -> None:
    ended = command(unstructured, "--onnx", "small.onnx", "--darknet", "small.cfg")
    assert ended.status == 2
    assert ended.err.startswith("Error: Darknet has no layer for what is left of this detector: a sum of layers ")
    assert command.files == set()


@pytest.mark.parametrize("wrong", [lambda boxes: boxes + 0.001, lambda boxes: boxes * float("nan")])
def test_a_file_with_which_other_boxes_are_found_does_not_appear(
    command: Command, structured: Path, monkeypatch: pytest.MonkeyPatch, wrong: object
) -> None:
    through_files = Exporter._by_darknet

    def other(exporter: Exporter, paths: Mapping[str, Path]) -> Tensor:
        assert callable(wrong)
        found: Tensor = wrong(through_files(exporter, paths))
        return found

    monkeypatch.setattr(Exporter, "_by_darknet", other)
    ended = command(structured, "--darknet", "small.cfg")
    assert ended.status == 1
    assert ended.err.startswith("Error: a Darknet detector found boxes that differ by ")
    assert command.files == set()


def test_a_model_that_is_none_is_named(command: Command) -> None:
    torch.save({}, command.folder / "other.pt")
    ended = command("other.pt", "--onnx", "small.onnx")
    assert ended.status == 2
    assert ended.err.startswith("Error: other.pt: expected a whole .safetensors file (")
