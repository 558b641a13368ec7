"""The detection study: what its stages declare, and what is checked before any of them runs."""

from pathlib import Path
from typing import Any

import pytest

from robustprune.core.errors import InputError
from robustprune.methods import INITIALIZERS
from robustprune.studies.detection.study import DetectionStudy
from tests.robustprune.studies.detection.small_study import SPEC, TRAINING, TRIAL, cell, study

# What the stages declare


def axes(stage: str, *, of: DetectionStudy | None = None, **changes: Any) -> tuple[str, ...] | None:
    declared = (of or study()).stage(stage, cell(**changes))
    return declared and declared.axes


def test_the_base_serves_its_colour_and_pretraining_its_colour_and_seed() -> None:
    assert axes("base") == ("colour",)
    # Weights that are given are the same in every colour.
    assert axes("base", of=study(base=None, detector={**SPEC["detector"], "weights": __file__})) == ()
    assert axes("pretrain") == ("colour", "seed")
    assert axes("pretrain", of=study(share_pretraining=False)) == TRIAL


@pytest.mark.parametrize("share", [True, False])
def test_a_row_depends_on_its_whole_cell(share: bool) -> None:
    assert axes("evaluate_row", of=study(share_pretraining=share)) == (*TRIAL, "ratio")


def test_hydra_scores_for_one_ratio_and_deeplift_for_all_structures_and_ratios() -> None:
    assert axes("score", initializer="hydra") == (*TRIAL, "ratio")
    assert axes("score", initializer="deeplift") == ("initializer", "colour", "seed")


@pytest.mark.parametrize("initializer", ["magnitude", "random"])
def test_magnitude_and_random_score_for_one_structure_and_taylor_for_all(initializer: str) -> None:
    assert axes("score", initializer=initializer) == TRIAL
    assert axes("score", initializer="taylor") == ("initializer", "colour", "seed")


def test_what_masks_of_coupled_filters_changed_has_a_new_version() -> None:
    def version(stage: str, **changes: Any) -> int | None:
        declared = study().stage(stage, cell(**changes))
        return declared and declared.version

    assert [version("score", structure=name) for name in ("unstructured", "structured")] == [1, 3]
    assert version("score", structure="structured", initializer="deeplift") == 1
    assert version("base", structure="structured") == 1
    assert version("pretrain", structure="structured") == version("pretrain") == 2
    assert version("evaluate_row") == version("evaluate_row", **study().baselines([cell()])[0]) == 3


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_nothing_is_scored_where_nothing_is_pruned(initializer: str) -> None:
    # What trains from scratch does so at each ratio, and needs no other training before.
    from_scratch = INITIALIZERS[initializer].from_scratch
    assert (axes("score", initializer=initializer, ratio=0.0) is None) != from_scratch
    assert (axes("pretrain", initializer=initializer, ratio=0.0) is None) == from_scratch


def test_each_score_has_the_settings_of_its_initializer() -> None:
    hydra, deeplift = (study().stage("score", cell(initializer=name)) for name in ("hydra", "deeplift"))
    assert hydra is not None
    assert hydra.settings is not None
    assert deeplift is not None
    assert deeplift.settings is not None
    assert hydra.settings["scores"]["images"] == 8
    assert deeplift.settings["scores"]["images"] == 4


def test_baselines_are_one_per_colour_neither_trained_nor_scored() -> None:
    own = study(base={**TRAINING, "seed": 5})
    cells = [cell(seed=seed, colour=colour) for seed in (0, 1) for colour in ("rgb", "greyscale")]
    baselines = own.baselines(cells)
    assert [(b["colour"], b["seed"], b["ratio"]) for b in baselines] == [("rgb", 5, 0), ("greyscale", 5, 0)]
    assert all(b["structure"] == b["initializer"] == "none" for b in baselines)
    for baseline in baselines:
        assert own.is_baseline(baseline)
        assert own.stage("pretrain", baseline) is None
        assert own.stage("score", baseline) is None
        assert own.stage("base", baseline) == own.stage("base", cell())
    assert not any(own.is_baseline(ordinary) for ordinary in cells)


# What is said before anything runs


def test_a_sound_study_passes_the_check() -> None:
    study().check([cell()])


def test_the_check_opens_every_picture(tmp_path: Path) -> None:
    own = study(dataset={**SPEC["dataset"], "root": str(tmp_path / "shapes")})
    own.check([cell()])
    path = tmp_path / "shapes" / "val" / "val_000005.png"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"val_000005\.png: .*, expected an image file"):
        own.check([cell()])


def test_the_check_tells_of_images_with_more_objects_than_count() -> None:
    (remark,) = study(evaluation={"max_detections": 1}).check([cell()])
    assert "images hold more objects than the 1 detections of an image that count" in remark


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        ("dataset", {"name": "coco", "root": "nowhere"}, "nowhere/annotations/instances_train2017.json"),
        ("detector", {"config": "yolov3-nani", "image_size": 64}, "yolov3-nani"),
        ("detector", {**SPEC["detector"], "image_size": 72}, "image_size is 72, expected a multiple of 16"),
        ("detector", {**SPEC["detector"], "weights": "x"}, "^base: found a training, but detector.weights too"),
        ("detections", {"images": [99]}, "detections.images: found 99, expected ids of the 8 images"),
    ],
)
def test_the_check_names_what_is_wrong(section: str, value: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        study(**{section: value}).check([cell()])


def test_the_check_names_missing_weights() -> None:
    with pytest.raises(InputError, match="nowhere.weights"):
        study(base=None, detector={**SPEC["detector"], "weights": "nowhere.weights"}).check([cell()])


def test_a_structure_that_takes_channels_out_is_refused() -> None:
    study().check([cell(structure="structured")])
    with pytest.raises(InputError, match="^grid.structure: found 'channels', .*, expected 'structured' here"):
        study().check([cell(structure="channels")])


def test_each_stage_tells_its_own_work() -> None:
    own = study()
    (baseline,) = own.baselines([cell()])
    said = {
        name: [part.description.partition(":")[0] for part in own.workloads(name, each)]
        for name, each in [("base", cell()), ("pretrain", cell()), ("score", cell()), ("evaluate_row", cell())]
    }
    assert said == {
        "base": ["training"],
        "pretrain": ["adversarial training"],
        "score": ["hydra's scores"],
        "evaluate_row": ["fine-tuning", "renewing statistics", "measuring before fine-tuning", "measuring"],
    }
    assert own.workloads("score", cell(initializer="deeplift")) != own.workloads("score", cell())
    assert own.workloads("evaluate_row", baseline) == own.workloads("evaluate_row", cell())[-1:]


# What the stages compute
