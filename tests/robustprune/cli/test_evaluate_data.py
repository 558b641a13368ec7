"""`python -m robustprune evaluate`: data sets as people bring them, and detections in place of a detector."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from robustprune.detection.darknet import Detector, save_weights
from tests.robustprune.cli.test_evaluate import COCO_KEYS, Command, class_names
from tests.robustprune.staging.fake_store import URI, FakeStore


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory, shapes_root: Path) -> list[object]:
    """Return the options that name a small detector, its weights and its classes."""
    torch.manual_seed(0)
    weights = tmp_path_factory.mktemp("weights") / "nano.weights"
    save_weights(Detector.from_cfg("yolov3-nano"), weights)
    return ["--config", "yolov3-nano", "--weights", weights, "--names", ",".join(class_names(shapes_root))]


def write_truth(shapes_root: Path, path: Path, *, moved: float = 0.0) -> Path:
    """Write the ground truth of `val` as detections."""
    content = json.loads((shapes_root / "annotations" / "instances_val.json").read_text())
    found: list[dict[str, Any]] = [
        {
            "image_id": record["image_id"],
            "category_id": record["category_id"],
            "bbox": [record["bbox"][0] + moved * record["bbox"][2], *record["bbox"][1:]],
            "score": 0.5,
        }
        for record in content["annotations"]
    ]
    path.write_text(json.dumps(found))
    return path


def test_given_detections_are_measured_without_a_network_or_pictures(
    command: Command, shapes_root: Path, tmp_path: Path
) -> None:
    (tmp_path / "annotations").mkdir()
    shutil.copy(shapes_root / "annotations" / "instances_val.json", tmp_path / "annotations")
    results = write_truth(shapes_root, tmp_path / "found.json")
    figures = command.figures("--coco", tmp_path, "--split", "val", "--results", results)
    assert figures.keys() == {*COCO_KEYS, "images", "max_detections", "detections", "per_class"}
    assert (figures["ap"], figures["ar_100"], figures["images"]) == (1, 1, 12)
    assert [record["ap"] for record in figures["per_class"]] == [1] * 6
    assert sum(record["objects"] for record in figures["per_class"]) == figures["detections"]
    some = command.figures("--coco", tmp_path, "--split", "val", "--detections", results, "--images", 5)
    assert (some["ap"], some["images"]) == (pytest.approx(1), 5)
    # A quarter of their width aside, boxes have an IoU of 0.6.
    moved = write_truth(shapes_root, tmp_path / "moved.json", moved=0.25)
    figures = command.figures("--annotations", tmp_path / "annotations" / "instances_val.json", "--results", moved)
    assert (figures["ap50"], figures["ap75"]) == (1, 0)


def test_what_a_detector_finds_can_be_saved_and_measured_again(
    command: Command, nano: list[object], shapes_root: Path, tmp_path: Path
) -> None:
    data = ["--coco", shapes_root, "--split", "val", "--images", 4]
    attack = ["--attack", "fgsm", "--margin-steps", 0]
    figures = command.figures(*nano, *data, *attack, "--save-results", tmp_path / "found.json")
    for name, suffix in (("found.json", ""), ("found.json.attacked.json", "_adv")):
        again = command.figures(*data, "--results", tmp_path / name)
        for key in COCO_KEYS:
            assert again[key] == pytest.approx(figures[f"{key}{suffix}"], abs=1e-6)
        assert again["detections"] > 0


def test_fewer_detections_count_where_that_is_asked_for(
    command: Command, nano: list[object], shapes_root: Path, tmp_path: Path
) -> None:
    options = [*nano, "--coco", shapes_root, "--split", "val", "--max-detections", 1]
    ended = command("evaluate", *options, "--save-results", tmp_path / "found.json", "--format", "json")
    assert ended.status == 0
    assert "images hold more objects than the 1 detections of an image that count" in ended.err
    assert "--max-detections N lets more count" in ended.err
    images = [record["image_id"] for record in json.loads((tmp_path / "found.json").read_text())]
    assert len(images) == len(set(images)) > 0


def test_files_are_taken_from_where_they_are_named(
    command: Command, nano: list[object], shapes_root: Path, tmp_path: Path
) -> None:
    shutil.copy(shapes_root / "annotations" / "instances_val.json", tmp_path / "mine.json")
    shutil.copytree(shapes_root / "val", tmp_path / "photos")
    plain = command.figures(*nano, "--coco", shapes_root, "--split", "val")
    named = command.figures(*nano, "--annotations", tmp_path / "mine.json", "--image-folder", tmp_path / "photos")
    assert named["per_class"] == plain["per_class"]
    # Of an annotation file in COCO's layout the rest is found.
    found = command.figures(*nano, "--annotations", shapes_root / "annotations/instances_val.json", "--split", "val")
    assert found["per_class"] == plain["per_class"]


def test_a_file_of_two_ids_is_two_images_where_that_is_allowed(
    command: Command, nano: list[object], shapes_root: Path, tmp_path: Path
) -> None:
    content = json.loads((shapes_root / "annotations" / "instances_val.json").read_text())
    content["images"].append({**content["images"][0], "id": 1000})
    (tmp_path / "twice.json").write_text(json.dumps(content))
    options = [*nano, "--annotations", tmp_path / "twice.json", "--image-folder", shapes_root / "val"]
    ended = command("evaluate", *options)
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert "or --repeated-files allow, takes each for an image" in ended.err
    ended = command("evaluate", *options, "--repeated-files", "allow", "--format", "json")
    assert json.loads(ended.out)["images"] == 13
    assert "1 images are files of other images too" in ended.err


def test_a_damaged_picture_is_named_before_anything_is_measured(
    command: Command, nano: list[object], shapes_root: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(shapes_root, tmp_path / "shapes")
    path = root / "val" / "val_000011.png"
    path.write_bytes(path.read_bytes()[:100])
    ended = command("evaluate", *nano, "--coco", root, "--split", "val")
    assert ended.status == 2
    assert ended.err.startswith(f"Error: {path}: ")
    assert ended.err.endswith(", expected an image file\n")


def test_a_file_that_cannot_be_written_is_named_before_anything_is_measured(
    command: Command, nano: list[object], tmp_path: Path
) -> None:
    ended = command("evaluate", *nano, "--coco", "nowhere", "--save-results", tmp_path / "none" / "x.json")
    assert ended.status == 2
    assert ended.err.startswith(f"Error: {tmp_path}/none/x.json: No such file or directory, expected a file to write")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--results", "nowhere.json"], "expected --coco or --kitti, the folder of a data set, or --annotations"),
        (["--results", "x.json", "--coco", "nowhere"], "nowhere/annotations/instances_val2017.json: No such file"),
        (
            ["--results", "x.json", "--coco", ".", "--attack", "pgd"],
            "--attack: expected no such option beside --results",
        ),
        (["--results", "x.json", "--coco", ".", "--exif", "apply"], "--exif: expected no such option beside --results"),
        (["--max-detections", "0"], "Invalid value for '--max-detections'"),
    ],
)
def test_mistakes_are_said_in_one_sentence(options: list[str], message: str, command: Command) -> None:
    ended = command("evaluate", *options)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"Error: {message}")


def test_everything_may_be_in_a_bucket(
    command: Command, shapes_root: Path, nano: list[object], bucket: FakeStore
) -> None:
    shutil.copytree(shapes_root, bucket.place / "shapes")
    bucket.put("nano.weights", Path(str(nano[3])).read_bytes())
    here = command.figures("--coco", shapes_root, "--split", "val", "--images", 2, *nano)
    nano = [*nano[:3], f"{URI}/nano.weights", *nano[4:]]
    ended = command(
        "evaluate",
        "--threads",
        1,
        "--coco",
        f"{URI}/shapes",
        "--split",
        "val",
        "--images",
        2,
        *nano,
        "--format",
        "json",
    )
    assert ended.status == 0
    there = json.loads(ended.out)
    assert {name: there[name] for name in COCO_KEYS} == {name: here[name] for name in COCO_KEYS}
    # One of weights, one of annotations and two pictures.
    assert len(bucket.read) == 4
    ended = command("evaluate", "--coco", f"{URI}/nothing", "--split", "val", *nano)
    assert ended.status == 2
    assert f"--coco: {URI}/nothing: found nothing there, expected a folder of files, or a file" in ended.err
    bucket.put("short.weights", b"short")
    ended = command("evaluate", "--coco", f"{URI}/shapes", "--split", "val", *nano[:3], f"{URI}/short.weights")
    assert ended.status == 2
    assert f"{URI}/short.weights: " in ended.err
