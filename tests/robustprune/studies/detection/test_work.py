"""The work of each stage follows from the settings that determine it."""

import dataclasses
from typing import Any

import pytest
import torch

from robustprune.detection.darknet import Detector
from robustprune.inference.cost import size
from robustprune.methods import INITIALIZERS
from robustprune.studies.detection import work
from robustprune.studies.detection.settings import DetectionSettings
from robustprune.studies.detection.work import scale, scoring_work, stage_work

TRAINING = {"epochs": 2, "learning_rate": 0.01}
SPEC: dict[str, Any] = {
    "dataset": {"name": "shapes", "train_images": 16, "val_images": 8},
    "detector": {"config": "yolov3-nano", "image_size": 96},
    "attack": {"steps": 5},
    "base": TRAINING,
    "pretrain": TRAINING,
    "finetune": {**TRAINING, "epochs": 1},
    "evaluation": {"timing_repeats": 3, "timing_warm_up": 1},
}


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the images of `SPEC` in one place for all tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def passes(*, left: float = 1.0, **changes: Any) -> dict[str, list[float]]:
    """Return the parts of each stage in forward passes of one image, where a share of filters is left."""
    settings = DetectionSettings.model_validate({**SPEC, **changes})
    of = scale(settings)
    told = stage_work(settings, of, left=left**2) | {
        name: scoring_work(settings, of, name, left=left) for name in INITIALIZERS
    }
    forward = 2 * size(Detector.from_cfg("yolov3-nano", classes=6), torch.zeros(1, 3, 96, 96)).macs
    return {stage: [part.operations / forward for part in parts] for stage, parts in told.items()}


def test_passes_by_hand() -> None:
    measuring = 8 * (1 + 5 * 2 + 1 + 20 * 2 + 1) + 3 * 4
    adversarial = 5 * 2 + 1 + 6  # the attack, the statistics it sees, and clean and attacked images
    assert passes() == {
        "base": [2 * 16 * 3],
        "pretrain": [2 * 16 * adversarial],
        "hydra": [16 * adversarial],
        "deeplift": [16 * 3 + 1],  # the reference but once
        "magnitude": [0],
        "taylor": [16 * (5 * 2 + 6)],  # of a network in eval mode
        "snip": [16 * (5 * 2 + 6)],  # likewise
        "random": [0],
        "admm": [10 * 16 * adversarial],
        "slr": [10 * 16 * adversarial],
        "intrain": [30 * 16 * adversarial],
        "evaluate_row": [16 * adversarial, 16 * (1 + 5 * 2 + 2), 8 * (1 + 5 * 2 + 1), measuring],
        "baseline": [measuring],
    }


def test_what_masked_filters_make_idle_takes_nothing() -> None:
    half = passes(left=0.5)
    # A gate that is closed has a gradient: all filters are computed from those that are left, there and back.
    assert half["hydra"] == [16 * ((5 * 2 + 1) / 4 + 2 * 2 / 2)]
    attack, statistics, before, measuring = passes()["evaluate_row"]
    assert half["evaluate_row"] == [attack / 4, statistics / 4, before / 4, (measuring - 3 * 4) / 4 + 3 * 4]
    assert half["deeplift"] == passes()["deeplift"]


def test_the_margin_attack_can_be_left_out() -> None:
    assert passes(evaluation={**SPEC["evaluation"], "margin": None})["baseline"] == [8 * (1 + 5 * 2 + 1) + 3 * 4]


def test_given_weights_take_nothing() -> None:
    detector = {**SPEC["detector"], "weights": "never read"}
    assert passes(base=None, detector=detector) == {**passes(), "base": [0]}


def test_an_initializer_need_not_tell_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {**passes(), "hydra": []}
    entries = {**INITIALIZERS, "hydra": dataclasses.replace(INITIALIZERS["hydra"], work=None)}
    monkeypatch.setattr(work, "INITIALIZERS", entries)
    assert passes() == expected
