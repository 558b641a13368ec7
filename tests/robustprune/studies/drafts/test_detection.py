"""A draft fits its data set: splits, images, the size of the network's input, epochs; and it can be computed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from robustprune.core.errors import InputError
from robustprune.core.progress import NOWHERE
from robustprune.detection.darknet import Detector
from robustprune.detection.data.shapes import generate
from robustprune.studies.detection.study import DetectionStudy
from robustprune.studies.drafts import detection
from robustprune.studies.drafts.detection import CPU, GPU, coco_draft

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "has_gpu", lambda: False)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes splits of so many images, each with a box, and returns the root."""

    def written(images: dict[str, int], *, side: int = 64, box: int = 20) -> Path:
        for split, count in images.items():
            folder = tmp_path / split
            folder.mkdir()
            for number in range(count):
                picture = Image.new("RGB", (side, side))
                ImageDraw.Draw(picture).rectangle((5, 5, 5 + box, 5 + box), fill="red")
                picture.save(folder / f"{split}{number}.png")
            content = {
                "images": [
                    {"id": number, "file_name": f"{split}{number}.png", "width": side, "height": side}
                    for number in range(count)
                ],
                "annotations": [
                    {"id": number, "image_id": number, "category_id": 1, "bbox": [5, 5, box, box]}
                    for number in range(count)
                ],
                "categories": [{"id": 1, "name": "kite"}],
            }
            (folder / "_annotations.coco.json").write_text(json.dumps(content))
        return tmp_path

    return written


def draft(root: Path, **given: Any) -> tuple[dict[str, Any], dict[str, str]]:
    settings, notes, _ = coco_draft(str(root), given, None)
    DetectionStudy.Settings.model_validate({name: value for name, value in settings.items() if name != "grid"})
    return dict(settings), dict(notes)


@pytest.mark.parametrize(
    ("images", "chosen"),
    [
        ({"train": 4, "valid": 2, "test": 2}, {"train": "train", "val": "valid"}),
        ({"test": 2, "train2017": 4}, {"train": "train2017", "val": "test"}),
        ({"train": 4, "holdout": 2}, {"train": "train", "val": "holdout"}),
        ({"default": 10}, {"train": "default", "val": None, "train_images": 8}),
        ({"train": 2}, {"train": "train", "val": None, "train_images": 1}),
    ],
)
def test_splits_are_told_by_their_names(images: dict[str, int], chosen: dict[str, Any], write: Write) -> None:
    root = write(images)
    settings, notes = draft(root)
    assert settings["dataset"] == {"name": "coco", "root": str(root), **chosen}
    assert notes["dataset.train"].startswith(f"{chosen.get('train_images') or images[chosen['train']]} images with ")
    if chosen["val"] is None:
        assert "is the only split: these are drawn from it, and never trained on" in notes["dataset.val"]
    assert ("Not used: test." in notes["dataset.val"]) == ("valid" in images)


def test_what_the_user_chose_stands(write: Write) -> None:
    root = write({"a": 4, "b": 3})
    with pytest.raises(InputError, match="found the splits a, b, expected one whose name has `train` in it, or --set"):
        draft(root)
    settings, notes = draft(
        root,
        dataset={"train": "b", "val": "a", "train_images": 2},
        detector={"config": "yolov3-tiny", "image_size": 96},
    )
    assert settings["dataset"] == {"name": "coco", "root": str(root), "train": "b", "val": "a", "train_images": 2}
    assert settings["detector"] == {"config": "yolov3-tiny", "image_size": 96}
    assert "detector.image_size" not in notes
    own = {"annotations": {"train": "a/_annotations.coco.json"}, "images": {"train": "a"}, "train_images": 2}
    assert draft(root, dataset=own)[0]["dataset"]["val"] is None


def test_given_weights_need_no_base_and_have_a_size_of_their_own(write: Write) -> None:
    root = write({"train": 4, "val": 2})
    whole, _ = draft(root, detector={"weights": "x.weights"})
    assert "base" not in whole
    assert whole["detector"] == {"config": "yolov3-nano", "weights": "x.weights"}
    backbone, _ = draft(root, detector={"weights": "x.conv.3", "weights_cutoff": 3})
    assert backbone["base"]["epochs"] > 0


def test_of_many_images_some_are_drawn(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write({"train": 9, "val": 7})
    monkeypatch.setattr(detection, "CPU", CPU._replace(images=6, measured=5))
    settings, notes = draft(root)
    assert (settings["dataset"]["train_images"], settings["dataset"]["val_images"]) == (6, 5)
    assert notes["dataset.train_images"] == "Of 9: enough for a first curve without a GPU."
    monkeypatch.setattr(detection, "has_gpu", lambda: True)
    assert "train_images" not in draft(root)[0]["dataset"]


@pytest.mark.parametrize(
    ("side", "box", "on_cpu", "on_gpu"),
    [(64, 20, 64, 64), (640, 200, 64, 64), (640, 30, 96, 96), (40, 20, 64, 64), (800, 8, 192, 352)],
)
def test_images_are_as_large_as_the_anchors_want(
    side: int, box: int, on_cpu: int, on_gpu: int, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write({"train": 2, "val": 2}, side=side, box=box)
    assert draft(root)[0]["detector"]["image_size"] == on_cpu <= CPU.side
    monkeypatch.setattr(detection, "has_gpu", lambda: True)
    assert draft(root)[0]["detector"]["image_size"] == on_gpu <= GPU.side


def test_anchors_that_do_not_suit_the_boxes_are_replaced_in_a_copy(write: Write, tmp_path: Path) -> None:
    root = write({"train": 2, "val": 2}, side=640, box=10)
    settings, notes, files = coco_draft(str(root), {}, str(tmp_path / "own"))
    assert settings["detector"] == {"config": str(tmp_path / "own.cfg"), "image_size": 192}
    assert (
        "0% differ so much from all of them that they cannot be learned, and 100% from its own"
        in notes["detector.config"]
    )
    (tmp_path / "own.cfg").write_text(files[".cfg"], encoding="utf-8")
    heads = Detector.from_cfg(str(tmp_path / "own.cfg"), classes=1).heads
    assert {tuple(anchor) for head in heads for anchor in head.anchors.tolist()} == {(3.0, 3.0)}
    for kept in ({"config": "yolov3-nano"}, {"weights": "x.weights"}):
        assert not coco_draft(str(root), {"detector": kept}, str(tmp_path / "own")).files


def test_epochs_follow_from_the_number_of_images(write: Write) -> None:
    found = []
    for count in (3, 40):
        root = write({f"train{count}": count})
        own = {"annotations": {"train": f"train{count}/_annotations.coco.json"}, "images": {"train": f"train{count}"}}
        settings, notes = draft(root, dataset={**own, "train_images": count - 1})
        found.append((settings["pretrain"]["epochs"], settings["pretrain"]["batch_size"]))
        assert settings["finetune"]["epochs"] >= settings["pretrain"]["epochs"] / 4
    assert found == [(40, 2), (24, 9)]
    assert notes["pretrain.epochs"] == (
        "About 120 steps, of which 39 images in batches of 9 make 5 an epoch; never under 3 epochs or over 40."
    )


@pytest.mark.parametrize(
    ("images", "given", "message"),
    [
        ({}, {}, "instances_train.json: No such file or directory, expected a COCO annotation file"),
        ({"train": 1}, {}, "dataset.val is null, but no images of "),
        ({"train": 2, "val": 1}, {"dataset": {"trai": 1}}, "dataset.trai: unknown key, expected one of name, root, "),
        (
            {"train": 2, "val": 1},
            {"dataset": {"seed": "x"}},
            "dataset.seed: found 'x'; input should be a valid integer",
        ),
        ({"train": 2, "val": 1}, {"detector": {"config": "yolo"}}, "'yolo' is no readable .cfg file"),
    ],
)
def test_what_cannot_be_drafted_is_one_sentence(
    images: dict[str, int], given: dict[str, Any], message: str, write: Write
) -> None:
    with pytest.raises(InputError) as caught:
        draft(write(images), **given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_split_without_boxes_is_refused(write: Write) -> None:
    root = write({"train": 2, "val": 1})
    for split in ("train", "val"):
        file = root / split / "_annotations.coco.json"
        content = json.loads(file.read_text())
        file.write_text(json.dumps({**content, "annotations": []}))
    with pytest.raises(InputError, match="found no box in 2 images, expected some"):
        draft(root)


@pytest.mark.slow
def test_a_draft_makes_a_row(tmp_path: Path) -> None:
    root = generate(tmp_path / "shapes", train_images=8, val_images=4)
    drafted, _, files = coco_draft(str(root), {}, str(tmp_path / "own"))
    assert not files
    settings = dict(drafted)
    grid = settings.pop("grid")
    once: Sequence[str] = ("base", "pretrain", "finetune")
    settings |= {name: {**settings[name], "epochs": 1} for name in once}
    study = DetectionStudy(DetectionStudy.Settings.model_validate(settings))
    cell = {axis: values[-1] for axis, values in grid.items()}
    assert not [remark for remark in study.check([cell]) if "expected" in remark]
    checkpoint = study.pretrain(cell, study.base(cell, NOWHERE), NOWHERE)
    row = study.evaluate_row(cell, checkpoint, study.score(cell, checkpoint, NOWHERE), NOWHERE)
    assert 0 <= row["map_adv"] <= row["map50_adv"] <= 1
    assert row["weights_pruned"] == pytest.approx(cell["ratio"], abs=0.01)
