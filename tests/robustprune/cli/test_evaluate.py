"""`python -m robustprune evaluate`: its figures, and one sentence for every mistake."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from robustprune.cli.main import main
from robustprune.core import progress
from robustprune.detection.darknet import Detector, cfg, load_weights, save_weights
from robustprune.detection.kept_models import model_files

COCO_KEYS = {
    *["ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"],
    *["ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large"],
}
KEYS = {
    *COCO_KEYS,
    *["per_class", "max_detections", "inference_ms", "inference_ms_p50", "inference_ms_p95", "params_total"],
    *["macs_dense", "engine", "images", "image_size", "colour", "fit", "fit_reason", "device", "threads"],
    "torch_version",
}
ATTACK_KEYS = {
    *(f"{name}_adv" for name in COCO_KEYS),
    *["ap_adv_low", "ap_adv_high", "ap50_adv_low", "ap50_adv_high"],
    *["zero_gradients", "attack", "epsilon", "step_size", "random_start"],
}
MARGIN_KEYS = {"ap_adv_margin", "ap50_adv_margin", "ap75_adv_margin"}


class Ended(NamedTuple):
    status: int
    out: str
    err: str


class Command:
    """Runs the command line in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> Ended:
        self.monkeypatch.setattr(sys, "argv", ["robustprune", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        return Ended(exit_.value.code or 0, *self.capsys.readouterr())  # type: ignore[arg-type]

    def figures(self, *arguments: object) -> dict[str, Any]:
        ended = self("evaluate", "--threads", 1, *arguments, "--format", "json")
        assert (ended.status, ended.err) == (0, "")
        found: dict[str, Any] = json.loads(ended.out)
        return found


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.setattr(progress, "PATIENCE", 3600.0)
    return Command(monkeypatch, capsys)


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory, shapes_root: Path) -> list[object]:
    """Return the options that name a small detector, its weights and its images."""
    torch.manual_seed(0)
    weights = tmp_path_factory.mktemp("weights") / "nano.weights"
    save_weights(Detector.from_cfg("yolov3-nano"), weights)
    data = ["--coco", shapes_root, "--split", "val"]
    return ["--config", "yolov3-nano", "--weights", weights, *data, "--names", ",".join(class_names(shapes_root))]


def test_figures_of_clean_images(command: Command, nano: list[object]) -> None:
    figures = command.figures(*nano)
    assert figures.keys() == KEYS
    assert (figures["images"], figures["image_size"], figures["threads"]) == (12, 64, 1)
    assert 0 <= figures["ap"] <= figures["ap50"] <= 1
    assert 0 < figures["inference_ms_p50"] <= figures["inference_ms_p95"]
    assert figures["engine"] == "dense"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--attack", "pgd"], {"epsilon": 0.05, "step_size": 0.02, "steps": 5, "random_start": False, "restarts": 1}),
        (["--attack", "pgd", "--restarts", 2, "--steps", 1], {"random_start": True, "restarts": 2, "steps": 1}),
        (["--attack", "fgsm", "--epsilon", "51/510"], {"epsilon": 0.1, "step_size": 0.0625, "random_start": True}),
    ],
)
def test_figures_under_attack(
    command: Command, nano: list[object], options: list[object], expected: dict[str, Any]
) -> None:
    figures = command.figures(*nano, "--images", 2, *options)
    assert figures.keys() >= KEYS | ATTACK_KEYS | MARGIN_KEYS
    assert figures["images"] == 2
    assert expected.items() <= figures.items()
    assert 0 <= figures["zero_gradients"] < 1


def test_the_margin_attack_takes_as_many_steps_as_it_is_given(command: Command, nano: list[object]) -> None:
    figures = command.figures(*nano, "--images", 2, "--attack", "pgd", "--steps", 1, "--margin-steps", 2)
    assert figures.keys() >= MARGIN_KEYS
    without = command.figures(*nano, "--images", 2, "--attack", "pgd", "--steps", 1, "--margin-steps", 0)
    assert without.keys() == figures.keys() - MARGIN_KEYS
    assert without["ap_adv"] == figures["ap_adv"]


def test_a_table_says_the_same(command: Command, nano: list[object]) -> None:
    ended = command("evaluate", *nano, "--images", 1)
    assert (ended.status, ended.err) == (0, "")
    figures, per_class = ended.out.split("\n\n")
    assert {line.split()[0] for line in figures.splitlines()} == KEYS - {"per_class"}
    assert per_class.split()[:4] == ["category_id", "category", "objects", "ap"]


def test_what_was_mended_in_the_data_is_said(
    command: Command, nano: list[object], shapes_root: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(shapes_root, tmp_path / "shapes")
    path = root / "annotations" / "instances_val.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"][2] = 640
    path.write_text(json.dumps(content))
    ended = command("evaluate", *nano, "--coco", root)
    assert ended.status == 0
    assert ended.err == f"{path}: 1 boxes that reach out of their image are cut at its edge\n"


def test_a_long_run_says_where_it_is(command: Command, nano: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    ended = command("evaluate", *nano, "--batch-size", 6)
    assert ended.err.endswith("6 of 12 images\n12 of 12 images\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config", "yolov3-nani"], "'yolov3-nani' is no readable .cfg file and no bundled one; the nearest is "),
        (["--weights", "nowhere"], "nowhere: the weights cannot be read (No such file or directory)"),
        (
            ["--config", "yolov3-tiny"],
            "nano.weights: expected 8,858,734 floats, found 187,670; they ran out in layer 8, ",
        ),
        (["--coco", "nowhere"], "nowhere/annotations/instances_val.json: No such file or directory"),
        (["--image-size", 72], "the image size is 72, expected a multiple of the detector's stride, 16"),
        (["--epsilon", 0.1], "--epsilon: expected --attack with it"),
        (["--margin-steps", 5], "--margin-steps: expected --attack with it"),
        (["--attack", "pgd", "--margin-steps", -1], "Invalid value for '--margin-steps': -1 is not in the range x>=0."),
        (["--batch-size", 0], "Invalid value for '--batch-size': 0 is not in the range x>=1."),
        (["--attack", "fgsm", "--restarts", 2], "--restarts: fgsm has no such setting"),
        (["--attack", "ddn"], "Invalid value for '--attack': 'ddn' is not one of 'pgd', 'fgsm', 'fast-at'."),
        (["--attack", "pgd", "--epsilon", 0], "Invalid value for '--epsilon': 0 is not in the range 0<x<=1."),
        (
            ["--attack", "pgd", "--epsilon", "8/0"],
            "'--epsilon': '8/0' is no number, expected one such as 0.03 or 8/255",
        ),
        (["--imags", 1], "No such option"),
        (["--model", "kept.safetensors"], "expected --config and --weights, --model alone, or --results alone"),
    ],
)
def test_mistakes_are_said_in_one_sentence(
    command: Command, nano: list[object], options: list[object], message: str
) -> None:
    ended = command("evaluate", *nano, *options)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("Error: ")
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_other_classes_are_refused(command: Command, nano: list[object], tmp_path: Path) -> None:
    twenty = Detector.from_cfg("yolov3-nano", classes=20)
    (tmp_path / "twenty.cfg").write_text(cfg.dump(twenty.sections))
    save_weights(twenty, tmp_path / "twenty.weights")
    ended = command("evaluate", *nano, "--config", tmp_path / "twenty.cfg", "--weights", tmp_path / "twenty.weights")
    assert ended.status == 2
    assert "--names: found 6 names, expected 20, one for each of the detector's classes" in ended.err
    other = [*nano[4:8], "--config", tmp_path / "twenty.cfg", "--weights", tmp_path / "twenty.weights"]
    ended = command("evaluate", *other)
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert "instances_val.json: found 6 categories, the detector has 20 classes" in ended.err


def kept_model(folder: Path, nano: list[object], classes: list[str], colour: str = "rgb") -> Path:
    """Return the file of a kept model that is the detector of `nano`."""
    detector = Detector.from_cfg("yolov3-nano")
    load_weights(detector, str(nano[3]))
    cell = {"structure": "none", "initializer": "none", "colour": colour, "seed": 0, "ratio": 0.0}
    path = folder / "kept.safetensors"
    path.write_bytes(model_files(detector, cell=cell, image_size=64, classes=classes)[".safetensors"])
    return path


def class_names(root: Path) -> list[str]:
    categories = json.loads((root / "annotations" / "instances_val.json").read_text())["categories"]
    return [category["name"] for category in sorted(categories, key=lambda category: category["id"])]


def test_a_kept_model_is_measured_as_its_darknet_files_are(
    command: Command, nano: list[object], shapes_root: Path, tmp_path: Path
) -> None:
    model = kept_model(tmp_path, nano, class_names(shapes_root), colour="greyscale")
    found = command.figures("--model", model, *nano[4:8])
    expected = command.figures(*nano, "--colour", "greyscale", "--image-size", 64)
    own = ("inference", "fit_reason")
    assert {name: found[name] for name in found if not name.startswith(own)} == {
        name: expected[name] for name in expected if not name.startswith(own)
    }


def test_a_kept_model_of_other_classes_is_refused(
    command: Command, nano: list[object], shapes_root: Path, tmp_path: Path
) -> None:
    names = class_names(shapes_root)
    ended = command("evaluate", "--model", kept_model(tmp_path, nano, ["owl", *names[1:]]), *nano[4:8])
    assert ended.status == 2
    assert f"found the category {names[0]!r}, expected one of the detector's classes (owl, " in ended.err


def test_without_names_it_is_said_that_classes_are_paired_by_position(command: Command, nano: list[object]) -> None:
    ended = command("evaluate", *nano[:8], "--images", 1)
    assert ended.status == 0
    assert ended.err.count("\n") == 1
    assert "the detector's classes are paired with the categories by position" in ended.err


def test_classes_are_matched_by_name(command: Command, nano: list[object], shapes_root: Path, tmp_path: Path) -> None:
    """The same detector, on the same images whose categories come in another order."""
    root = shutil.copytree(shapes_root, tmp_path / "shapes")
    path = root / "annotations" / "instances_val.json"
    content = json.loads(path.read_text())
    for record in (*content["categories"], *content["annotations"]):
        key = "id" if "name" in record else "category_id"
        record[key] = 100 - record[key]
    path.write_text(json.dumps(content))
    (tmp_path / "obj.names").write_text("\n".join(class_names(shapes_root)) + "\n")
    expected = command.figures(*nano)
    found = command.figures(*nano, "--coco", root, "--names", tmp_path / "obj.names")
    assert expected["ap50"] > 0
    assert (found["ap"], found["ap50"]) == (expected["ap"], expected["ap50"])
    assert command.figures(*nano, "--coco", root, "--names", ",".join(class_names(root)))["ap50"] != expected["ap50"]


@pytest.mark.parametrize(
    ("options", "fit", "reason"),
    [
        ([], "letterbox", "the .cfg has no option of AlexeyAB's engine, and the original Darknet letterboxes"),
        (["--fit", "stretch"], "stretch", "--fit says so"),
    ],
)
def test_how_pictures_meet_the_network_is_said(
    command: Command, nano: list[object], options: list[object], fit: str, reason: str
) -> None:
    figures = command.figures(*nano, "--images", 1, *options)
    assert (figures["fit"], figures["fit_reason"]) == (fit, reason)


def test_a_detector_that_answers_with_nan_is_refused(command: Command, nano: list[object], tmp_path: Path) -> None:
    broken = Detector.from_cfg("yolov3-nano")
    torch.nn.init.constant_(broken.get_buffer("layers.0.batch_norm.running_var"), -1)
    save_weights(broken, tmp_path / "broken.weights")
    ended = command("evaluate", *nano, "--weights", tmp_path / "broken.weights")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("Error: the detector answers with NaN, expected numbers")


@pytest.mark.parametrize(
    ("options", "size"), [([], "96x64"), (["--image-size", 96], 96), (["--image-size", "64x128"], "64x128")]
)
def test_an_oblong_network_is_measured_and_attacked(
    command: Command, nano: list[object], tmp_path: Path, options: list[object], size: object
) -> None:
    text = cfg.dump(Detector.from_cfg("yolov3-nano").sections).replace("width=64", "width=96")
    (tmp_path / "oblong.cfg").write_text(text)
    oblong = [*nano, "--config", tmp_path / "oblong.cfg", "--images", 2, "--attack", "pgd", "--steps", 1]
    assert command.figures(*oblong, "--margin-steps", 1, *options)["image_size"] == size


def test_a_network_of_one_channel_sees_grey_pictures(command: Command, nano: list[object], tmp_path: Path) -> None:
    text = cfg.dump(Detector.from_cfg("yolov3-nano").sections).replace("channels=3", "channels=1")
    (tmp_path / "grey.cfg").write_text(text)
    save_weights(Detector.from_cfg(tmp_path / "grey.cfg"), tmp_path / "grey.weights")
    grey = [*nano, "--config", tmp_path / "grey.cfg", "--weights", tmp_path / "grey.weights", "--images", 2]
    assert command.figures(*grey, "--attack", "pgd", "--steps", 1, "--margin-steps", 1)["colour"] == "greyscale"
    (tmp_path / "four.cfg").write_text(text.replace("channels=1", "channels=4"))
    save_weights(Detector.from_cfg(tmp_path / "four.cfg"), tmp_path / "four.weights")
    ended = command("evaluate", *nano, "--config", tmp_path / "four.cfg", "--weights", tmp_path / "four.weights")
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert "the network's `channels` is 4, expected 3, colour, or 1, grey" in ended.err


@pytest.mark.slow
@pytest.mark.parametrize(
    # OpenCV's DNN module on the same images, scores above 0.005, NMS at 0.45.
    ("fit", "ap"),
    [(["--fit", "letterbox"], 0.1345), ([], 0.1563)],
)
def test_a_published_detector_is_as_good_as_in_another_engine(
    command: Command, coco_root: Path, fit: list[object], ap: float
) -> None:
    files = coco_root.parent / "darknet" / "yolo-fastest-1.1"
    data = ["--coco", coco_root, "--names", files.parent / "coco.names"]
    figures = command.figures("--config", f"{files}.cfg", "--weights", f"{files}.weights", *data, *fit)
    assert figures["ap"] == pytest.approx(ap, abs=0.010)
    assert figures["images"] == 80
