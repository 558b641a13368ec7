"""What studies tell of themselves to readers who have the results alone."""

from __future__ import annotations

from robustprune.attacks import PgdSettings
from robustprune.studies.detection.inputs import arranged
from robustprune.studies.in_words import MOST_CLASSES, attack, class_table, classes
from tests.robustprune.studies.classification import tiny_study
from tests.robustprune.studies.detection import small_study
from tests.robustprune.studies.detection.small_study import SPEC


def test_detectors_are_told_of_with_their_data_and_their_attack() -> None:
    study = small_study.study()
    train, val = study.settings.dataset.splits()
    facts = study.facts([small_study.cell()])
    assert facts["images"].startswith(f"{len(train)} to train on, {len(val)} others to measure on, ")
    assert facts["classes"] == f"{len(val.category_names)}: {', '.join(val.category_names)}"
    assert facts["detector"].startswith(str(SPEC["detector"]["config"]))
    assert facts["attack"].startswith(f"pgd, epsilon {study.settings.attack.epsilon:g}")
    assert "adversarial training" in facts["epochs"]


def test_classifiers_are_told_of_with_their_data_and_their_attacks() -> None:
    study = tiny_study.study()
    facts = study.facts([tiny_study.cell()])
    images = [len(study.settings.dataset.load(split)) for split in ("train", "test")]
    assert facts["images"].startswith(f"{images[0]:,} to train on, {images[1]:,} others to measure on, ")
    assert "trained here" in facts["classifiers"]
    assert facts["attack"].startswith(study.settings.evaluation.attack.name)


def test_an_attack_is_told_by_what_is_set_of_it() -> None:
    assert attack(PgdSettings(epsilon=8 / 255, step_size=0.01, steps=7, random_start=True)) == (
        "pgd, epsilon 0.03137, step size 0.01, steps 7, random start, restarts 1"
    )


def test_of_many_classes_the_first_are_named() -> None:
    assert classes([f"c{index}" for index in range(23)]).endswith("c19 and 3 more")


def test_seeds_of_trials_that_share_no_checkpoint_are_no_blocks() -> None:
    assert small_study.study().paired
    assert not small_study.study(share_pretraining=False).paired


def test_what_is_read_beside_a_metric_is_a_metric_too() -> None:
    for study in (small_study.study(), tiny_study.study()):
        assert {*study.beside, *study.beside.values()} <= {*study.metrics}


def test_the_data_of_detectors_is_counted() -> None:
    study = small_study.study()
    splits, classes = study.data([small_study.cell()])
    found = arranged(study.settings).splits
    assert splits.title == f"data: {found[0].source} and {found[1].source}"
    boxes = [len(split.objects.images) for split in found]
    assert [line[:5] for line in splits.lines] == [
        ["to train on", 16, 0, "64x64", boxes[0]],
        ["to measure on", 8, 0, "64x64", boxes[1]],
    ]
    low, median, high = (int(side) for side in str(splits.lines[0][-1]).split(", "))
    assert 8 < low < median < high < 40
    assert classes.title == "classes: 6, boxes of each"
    assert {line[0] for line in classes.lines} == {*found[0].category_names}
    assert [sum(int(line[column]) for line in classes.lines) for column in (1, 2)] == boxes


def test_the_data_of_classifiers_is_counted() -> None:
    study = tiny_study.study()
    splits, classes = study.data([tiny_study.cell()])
    assert [*splits.lines] == [["to train on", 36, "16x16", "16x16"], ["to measure on", 12, "16x16", "16x16"]]
    assert [*classes.lines] == [[name, 6, 2] for name in study.settings.dataset.classes]


def test_of_many_classes_the_commonest_are_counted_and_the_others_together() -> None:
    names = [f"c{index}" for index in range(MOST_CLASSES + 2)]
    found = class_table(names, {"boxes": [*range(len(names))], "images": [1] * len(names)}, of="boxes")
    assert found.lines[0] == ["c13", 13, 1]
    assert [*found.lines[-2:]] == [["c2", 2, 1], ["2 others", 1, 2]]
    assert len(class_table(names[:-1], {"boxes": [1] * 13}, of="boxes").lines) == 13
