"""The work of each stage follows from the settings that determine it."""

from typing import Any

import pytest

from robustprune.detection.darknet import Detector
from robustprune.inference.cost import size
from robustprune.initializers import INITIALIZERS
from robustprune.studies.detection.settings import DetectionSettings
from robustprune.studies.detection.work import stage_work

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


def passes(**changes: Any) -> dict[str, list[float]]:
    """Return the parts of each stage in forward passes of one image."""
    work = stage_work(DetectionSettings.model_validate({**SPEC, **changes}))
    forward = 2 * size(Detector.from_cfg("yolov3-nano", classes=6), image_size=96).macs
    return {stage: [part.operations / forward for part in parts] for stage, parts in work.items()}


def test_passes_by_hand() -> None:
    measuring = 8 * (2 + 5 * 2) + 2 * 4
    assert passes() == {
        "base": [2 * 16 * 3],
        "pretrain": [2 * 16 * (5 * 2 + 6)],
        "hydra": [16 * (5 * 2 + 6)],
        "deeplift": [16 * 5],
        "evaluate_row": [16 * (5 * 2 + 6), measuring],
        "baseline": [measuring],
    }


def test_given_weights_take_nothing() -> None:
    detector = {**SPEC["detector"], "weights": "never read"}
    assert passes(base=None, detector=detector) == {**passes(), "base": [0]}


def test_an_initializer_need_not_tell_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {**passes(), "hydra": []}
    monkeypatch.setitem(INITIALIZERS, "hydra", INITIALIZERS["hydra"]._replace(work=None))
    assert passes() == expected
