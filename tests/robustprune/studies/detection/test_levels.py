"""A study on data with KITTI's levels: rows have their precision, and it is drawn and tested; others have none.

How precision is taken is tested in `measure`.
"""

from typing import Any

import pytest

from robustprune.detection.data.kitti.levels import LEVELS
from robustprune.detection.measure.kitti_ap import LEVEL_COLUMNS, LEVEL_PRECISIONS, ceiling
from robustprune.studies.detection.columns import DECLARED_OF_LEVELS, LEVEL_METRICS
from robustprune.studies.detection.settings import stage_inputs
from robustprune.studies.detection.study import DetectionStudy
from tests.robustprune.studies.detection.small_study import SPEC, cell, study

STREETS = {"name": "streets", "train_images": 4, "val_images": 4, "classes": ["Car", "Pedestrian"]}
OBLONG = {"config": "yolov3-nano", "image_size": [192, 64]}


def on_streets(**changes: Any) -> DetectionStudy:
    return study(dataset=STREETS, detector=OBLONG, base={**SPEC["base"], "epochs": 0}, **changes)


def test_a_row_has_the_precision_of_each_level_beside_its_ceiling() -> None:
    streets = on_streets(evaluation={**SPEC["evaluation"], "kitti": {"interpolation": 11}})
    own = cell(structure="none", initializer="none", ratio=0)
    row = streets.evaluate_row(own, streets.base(own), None)
    table = row["levels"]
    assert table["level"].tolist() == 2 * [level.name for _ in ("Car", "Pedestrian") for level in LEVELS]
    assert table["category"].tolist() == 2 * (3 * ["Car"] + 3 * ["Pedestrian"])
    assert table["ceiling"].tolist() == pytest.approx([ceiling(count, 11) for count in table["objects"].tolist()])
    for level in LEVELS:
        lines = (table["level"] == level.name) & ~table["attacked"]
        assert row[f"ap_{level.name}_ceiling"] == pytest.approx(table["ceiling"][lines].mean())
        for what in ("clean", "adv"):
            assert 0 <= row[f"ap_{level.name}_{what}"] <= row[f"ap_{level.name}_ceiling"]
    assert 0 <= row["map_clean"] <= 1, "COCO's, of the same detections"


def test_hard_pruned_detectors_have_it_too() -> None:
    streets = on_streets(finetune={**SPEC["finetune"], "epochs": 0}, renewal=None)
    own = cell(initializer="magnitude", ratio=0.5)
    checkpoint = streets.base(own)
    row = streets.evaluate_row(own, checkpoint, streets.score(own, checkpoint))
    for column in DECLARED_OF_LEVELS["earlier"]:
        assert row[f"{column}_hard"] == row[column], "nothing was trained after pruning"
    assert streets.earlier["ap_hard_adv"] == "ap_hard_adv_hard"


def test_the_data_are_told_by_level(capsys: pytest.CaptureFixture[str]) -> None:
    streets = on_streets()
    few = [sentence for sentence in streets.check([cell()]) if "KITTI's AP is at most" in sentence]
    assert len(few) == 2
    assert "(val): of Car " in few[0]
    assert "(columns ap_*_ceiling)" in few[1]
    (*_, levels) = streets.data([cell()])
    assert levels.heads == ["", "easy", "moderate", "hard"]
    assert [line[0] for line in levels.lines] == [
        f"{split}, {name}" for split in ("to train on", "to measure on") for name in ("Car", "Pedestrian")
    ]
    assert "Car: easy " in streets.facts([cell()])["levels"]
    assert "AP at most" in streets.facts([cell()])["levels"]
    assert "levels" not in study().facts([cell()])


def test_levels_are_drawn_and_tested_where_there_are_some() -> None:
    plain, streets = study(), on_streets()
    assert not {*plain.metrics} & {*LEVEL_COLUMNS}
    assert dict(streets.metrics) == {**plain.metrics, **LEVEL_METRICS}
    assert streets.beside["ap_moderate_adv"] == "ap_moderate_clean"
    assert {*streets.beside} - {*plain.beside} == {f"ap_{level.name}_adv" for level in LEVELS}
    assert DetectionStudy.metrics == plain.metrics
    assert {*LEVEL_PRECISIONS} < {*LEVEL_METRICS} < {*DetectionStudy.columns}
    assert {*LEVEL_COLUMNS} < {*DetectionStudy.columns}


def test_how_precision_is_taken_is_part_of_keys_where_it_is_not_as_kitti_does() -> None:
    usual = stage_inputs(on_streets().settings)["evaluate_row"]["evaluation"]
    assert "kitti" not in usual
    other = on_streets(evaluation={**SPEC["evaluation"], "kitti": {"iou": {"car": 0.5}}}).settings
    assert stage_inputs(other)["evaluate_row"]["evaluation"]["kitti"]["iou"]["car"] == 0.5
