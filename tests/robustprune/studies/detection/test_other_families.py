"""A study of CenterNets: what a spec has to say, what it does not, and a row from checkpoint to kept model."""

from __future__ import annotations

from typing import Any

import pytest

from robustprune.core.errors import InputError
from robustprune.studies.detection.settings import DetectorSettings, stage_inputs
from robustprune.studies.detection.study import DetectionStudy
from tests.robustprune.studies.detection.small_study import SPEC, cell, study

CENTERNET = {"config": "centernet-small"}


def key(**detector: Any) -> Any:
    settings = DetectionStudy.Settings.model_validate({**SPEC, "detector": detector})
    return stage_inputs(settings)["base"]["detector"]


def test_a_loss_that_is_not_said_is_the_familys() -> None:
    assert DetectorSettings(config="yolov3-nano").loss == "ciou"
    assert DetectorSettings(config="centernet-small").loss == "focal"
    assert key(config="yolov3-nano", image_size=64) == key(config="yolov3-nano", image_size=64, loss="ciou")
    assert key(config="centernet-small") == key(config="centernet-small", loss="focal")
    assert key(config="centernet-small") != key(config="centernet-small", loss="focal-exact-radius")


@pytest.mark.parametrize(
    ("detector", "said"),
    [
        (
            {**CENTERNET, "loss": "ciou"},
            "detector.loss: found 'ciou', which is for detectors with anchors",
        ),
        ({**CENTERNET, "image_size": 72}, "detector.image_size is 72, expected a multiple of 16"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(detector: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        study(detector=detector).check([cell()])


@pytest.mark.slow
def test_a_row_is_computed_kept_and_measured_again() -> None:
    own = study(detector=CENTERNET, keep_models=True)
    trial = cell(structure="structured", initializer="deeplift", ratio=0.5)
    own.check([trial])
    assert own.facts([trial])["detector"] == "centernet-small, trained from scratch, loss focal"
    assert own.workloads("base", trial)[0].operations > 0
    checkpoint = own.pretrain(trial, own.base(trial))
    row = own.evaluate_row(trial, checkpoint, own.score(trial, checkpoint))
    assert row["params_compact"] == row["params_kept"] < 0.3 * row["params_total"]
    again = own.measure_kept(trial, {"models": row["models"]}, own.settings.attack)
    assert {name: again[name] for name in ("map_clean", "map_adv", "map_adv_margin")} == {
        name: row[name] for name in ("map_clean", "map_adv", "map_adv_margin")
    }
