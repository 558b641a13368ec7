"""What determines the result of each stage: a setting that is left out would let a stale result stand for a new one,
and one too many would compute again what is there."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from robustprune.core.errors import InputError
from robustprune.detection.darknet import Detector, save_weights
from robustprune.detection.darknet import cfg as darknet_cfg
from robustprune.studies.detection.settings import (
    DetectionSettings,
    DetectionsSettings,
    DetectorSettings,
    stage_inputs,
)

BASE, PRETRAIN, HYDRA, DEEPLIFT, MAGNITUDE, TAYLOR, SNIP, RANDOM, ADMM, SLR, INTRAIN, ROW, BASELINE = STAGES = (
    "base",
    "pretrain",
    "hydra",
    "deeplift",
    "magnitude",
    "taylor",
    "snip",
    "random",
    "admm",
    "slr",
    "intrain",
    "evaluate_row",
    "baseline",
)
SEEING = {HYDRA, DEEPLIFT, TAYLOR, SNIP, ADMM, SLR, INTRAIN}
"""Initializers whose scores depend on images, and on what is trained with them."""
TRAINING = {"epochs": 1, "learning_rate": 0.01}
SPEC: dict[str, Any] = {
    "dataset": {"name": "shapes"},
    "detector": {"config": "yolov3-nano", "image_size": 64},
    "base": TRAINING,
    "pretrain": TRAINING,
    "finetune": TRAINING,
}


def inputs(**changes: Any) -> dict[str, Any]:
    """Return the stages' inputs, a change being `section__field=value` or `field=value`."""
    spec = json.loads(json.dumps(SPEC))
    for path, value in changes.items():
        *sections, field = path.split("__")
        place = spec
        for section in sections:
            place = place.setdefault(section, {})
        place[field] = value
    return stage_inputs(DetectionSettings.model_validate(spec))


def changed(first: dict[str, Any], second: dict[str, Any]) -> set[str]:
    assert first.keys() == second.keys() == set(STAGES)
    return {stage for stage in STAGES if first[stage] != second[stage]}


@pytest.mark.parametrize(
    ("path", "value", "stages"),
    [
        ("dataset__seed", 1, {BASE, PRETRAIN, *SEEING, ROW, BASELINE}),
        ("dataset__train_images", 8, {BASE, PRETRAIN, *SEEING, ROW}),
        ("dataset__val_images", 8, {ROW, BASELINE}),
        ("dataset__root", "elsewhere", {}),
        ("detections", {"keep": False, "images": [3], "confidence": 0.1}, {}),
        ("detector__image_size", 96, STAGES),
        ("detector__image_size", [64, 96], STAGES),
        ("detector__image_size", [64, 64], {}),
        ("detector__image_size", "64x64", {}),
        ("detector__image_size", "96x64", STAGES),
        ("detector__config", "yolov3-tiny", STAGES),
        ("attack__epsilon", 0.1, {PRETRAIN, *SEEING, ROW, BASELINE}),
        ("attack__steps", 7, {PRETRAIN, *SEEING, ROW, BASELINE}),
        ("attack__random_start", True, {PRETRAIN, *SEEING, ROW, BASELINE}),
        ("attack", {"random_start": True, "restarts": 2}, {PRETRAIN, *SEEING, ROW, BASELINE}),
        ("attack__name", "fgsm", {PRETRAIN, *SEEING, ROW, BASELINE}),
        ("base__seed", 1, {BASE}),
        ("base__epochs", 2, {BASE}),
        ("pretrain__learning_rate", 0.02, {PRETRAIN}),
        ("finetune__flip", False, {ROW}),
        ("initializers__hydra__epochs", 2, {HYDRA}),
        ("initializers__deeplift__reference", "zeros", {DEEPLIFT}),
        ("initializers__deeplift__normalise", "filter", {DEEPLIFT}),
        ("renewal__images", 64, {ROW}),
        ("seed_draws", ["training"], {PRETRAIN, *SEEING, MAGNITUDE, RANDOM, ROW}),
        ("initializers__taylor__images", 8, {TAYLOR}),
        ("initializers__snip__images", 8, {SNIP}),
        ("scope", "global", {HYDRA, ADMM, SLR, INTRAIN, ROW}),
        ("scope", "layer", {}),
        ("evaluation__confidence", 0.1, {ROW, BASELINE}),
        ("evaluation__max_detections", 300, {ROW, BASELINE}),
        ("keep_models", True, {}),
        ("prune_heads", True, {*SEEING, MAGNITUDE, RANDOM, ROW}),
        ("threads", 2, STAGES),
        ("loader", {"workers": 1, "cache_gib": 0}, {}),
        ("compute__channels_last", False, STAGES),
        ("compute__channels_last", True, {}),
        ("compute__precision", "bfloat16", {BASE, PRETRAIN, *SEEING, ROW}),
        ("compute__compile", True, {BASE, PRETRAIN, *SEEING, ROW}),
        ("augmentation", {"colour": 0.4}, {BASE, PRETRAIN, *SEEING, ROW}),
        ("augmentation", None, {}),
    ],
)
def test_a_setting_changes_the_stages_it_determines(path: str, value: Any, stages: set[str]) -> None:
    assert changed(inputs(), inputs(**{path: value})) == set(stages)


def test_settings_that_came_later_leave_the_inputs_of_earlier_results_as_they_were() -> None:
    earlier = {"name": "pgd", "epsilon": 0.05, "step_size": 0.02, "steps": 5}
    assert inputs()["baseline"]["attack"] == earlier
    assert inputs(attack__restarts=1, attack__random_start=False)["baseline"]["attack"] == earlier
    one, two = (inputs(attack={"random_start": True, "restarts": restarts}) for restarts in (1, 2))
    assert one["baseline"]["attack"] != two["baseline"]["attack"]
    assert "max_detections" not in inputs(evaluation__max_detections=100)["baseline"]["evaluation"]
    assert inputs(attack={"name": "fgsm"}) != inputs(attack={"name": "fgsm", "random_start": False})


def test_a_backbone_is_what_its_file_holds(tmp_path: Path) -> None:
    detector = {"config": "centernet-resnet18", "image_size": 64}
    for name, content in (("a.pth", b"1"), ("copy.pth", b"1"), ("other.pth", b"2")):
        (tmp_path / name).write_bytes(content)
    own = {path.name: inputs(detector={**detector, "backbone": str(path)}) for path in tmp_path.iterdir()}
    assert changed(own["a.pth"], inputs(detector=detector)) == set(STAGES)
    assert changed(own["a.pth"], own["copy.pth"]) == set()
    assert changed(own["a.pth"], own["other.pth"]) == set(STAGES)


def test_inputs_are_json_and_the_same_each_time() -> None:
    text = json.dumps(inputs(), allow_nan=False, sort_keys=True)
    assert json.dumps(inputs(), allow_nan=False, sort_keys=True) == text


def test_a_cfg_is_what_it_says(tmp_path: Path) -> None:
    nano = Path(darknet_cfg.__file__).parent / "configs" / "yolov3-nano.cfg"
    (tmp_path / "copy.cfg").write_text("# a comment of mine\n" + nano.read_text())
    (tmp_path / "other.cfg").write_text(nano.read_text().replace("filters=96", "filters=48", 1))
    assert not changed(inputs(), inputs(detector__config=str(tmp_path / "copy.cfg")))
    assert changed(inputs(), inputs(detector__config=str(tmp_path / "other.cfg"))) == set(STAGES)


@pytest.mark.parametrize(("activation", "version"), [("linear", None), ("leaky", 2)])
def test_what_deeplift_explained_wrongly_is_scored_anew(tmp_path: Path, activation: str, version: int | None) -> None:
    text = (Path(darknet_cfg.__file__).parent / "configs" / "yolov3-nano.cfg").read_text()
    bare = text.replace("batch_normalize=1", "batch_normalize=0", 1)
    bare = bare.replace("activation=leaky", f"activation={activation}", 1)
    (tmp_path / "bare.cfg").write_text(bare)
    found = inputs(detector__config=str(tmp_path / "bare.cfg"))
    assert found["deeplift"]["scores"].get("version") == version
    assert not any("version" in scores for scores in (found["hydra"]["scores"], inputs()["deeplift"]["scores"]))


def test_given_weights_stand_in_for_the_base_training(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("first.weights", "copy.weights", "second.weights")]
    for path in (paths[0], paths[2]):
        save_weights(Detector.from_cfg("yolov3-nano"), path)
    paths[1].write_bytes(paths[0].read_bytes())
    first, copy, second = (inputs(detector__weights=str(path)) for path in paths)
    assert not changed(first, copy)
    assert changed(first, second) == set(STAGES)
    assert not changed(first, inputs(detector__weights=str(paths[0]), base__epochs=9))


@pytest.mark.parametrize(("keep", "kept"), [(None, [5000]), (True, [5000, 5001]), (False, [])])
def test_detections_are_kept_of_small_test_sets_or_as_asked_for(keep: bool | None, kept: list[int]) -> None:
    settings = DetectionsSettings(keep=keep)
    assert [images for images in (5000, 5001) if settings.kept_of(images)] == kept


def test_a_detector_starts_from_weights_or_from_a_training(tmp_path: Path) -> None:
    save_weights(Detector.from_cfg("yolov3-nano"), tmp_path / "given.weights")
    weights = str(tmp_path / "given.weights")
    with pytest.raises(
        ValidationError, match=r"found nothing, expected detector\.weights .* or a training from scratch"
    ):
        inputs(base=None)
    assert not changed(inputs(detector__weights=weights), inputs(detector__weights=weights, base=None))


def test_missing_weights_are_named() -> None:
    with pytest.raises(InputError, match=r"detector\.weights: nowhere\.weights cannot be read"):
        inputs(detector__weights="nowhere.weights")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("attack__name", "ddn"),
        ("attack__epsilon", 0),
        ("attack__epsilom", 0.1),
        ("base__epochs", "1"),
        ("initializers__l1", {}),
        ("detector__loss", "yolo"),
        ("evaluation__nms_iou", 1.5),
        ("detections__images", ["1"]),
        ("thread", 1),
    ],
)
def test_wrong_settings_are_named(path: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=path.split("__")[-1]):
        inputs(**{path: value})


@pytest.mark.parametrize("size", [16, 64.5, True, "x", "96x", "96x64x3", [64], [64, 64, 64], [16, 64], {"a": 1}])
def test_what_is_no_size_is_one_sentence(size: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        inputs(detector__image_size=size)
    (error,) = caught.value.errors()
    assert error["loc"] == ("detector", "image_size")
    assert "expected a side of at least 32 pixels, or two, [width, height]" in error["msg"]


def test_a_size_may_be_written_as_on_the_command_line() -> None:
    given: list[Any] = ["96x64", [96, 64], "64", 64]
    sizes = [DetectorSettings(config="x", image_size=size).size for size in given]
    assert sizes == [(64, 96), (64, 96), 64, 64]
