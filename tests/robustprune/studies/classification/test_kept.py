"""What a classification study keeps: the very classifier of the row, which measures as the row does."""

from __future__ import annotations

from typing import Any

import pytest

from robustprune.attacks import ATTACKS
from robustprune.classification.measure.evaluation import ACCURACIES
from robustprune.inference.model_files import ENDINGS
from robustprune.studies.classification.study import ClassificationStudy
from tests.robustprune.studies.classification.tiny_study import TRAINING, Arrays, cell, published, row_of, study

ATTACK = {"name": "pgd", "epsilon": 0.01, "step_size": 0.005, "steps": 2, "random_start": True}
EVALUATION = {"attack": ATTACK, "distances": [{"name": "ddn", "steps": 2}], "images": 2, "blind_queries": 20}
DATA = {"name": "emblems", "train_images": 120, "test_images": 60, "image_size": 16}


@pytest.fixture(scope="module")
def own() -> ClassificationStudy:
    """Return a study of classifiers that are right now and then, and fooled now and then."""
    evaluation = {**EVALUATION, "timing_repeats": 1, "timing_warm_up": 0}
    return study(keep_models=True, evaluation=evaluation, dataset=DATA, pretrain={**TRAINING, "epochs": 4})


@pytest.fixture(scope="module")
def checkpoint(own: ClassificationStudy) -> Arrays:
    return published(own.pretrain(cell()))


def asked(**settings: Any) -> Any:
    return ATTACKS[settings["name"]].settings.model_validate(settings)


def test_nothing_is_kept_unless_asked_for(own: ClassificationStudy) -> None:
    assert study().files == {}
    assert own.files == {"models": ENDINGS}


@pytest.mark.parametrize("structure", ["channels", "unstructured"])
def test_a_kept_model_measures_as_its_row_does(own: ClassificationStudy, checkpoint: Arrays, structure: str) -> None:
    of = cell(structure=structure, seed=1)
    row = row_of(own, of, checkpoint)
    measured = own.measure_kept(of, {"models": row["models"]}, asked(**ATTACK))
    assert measured.keys() == own.measurement.columns.keys()
    # The row also compares with the least distances, which measurements have none of.
    figures = ACCURACIES.keys() - {"attacks_disagree", "accuracy_adv_doubtful"}
    assert {name: measured[name] for name in figures} == {name: row[name] for name in figures}
    assert 0 < measured["accuracy_adv"] < 1
    assert (measured["attack_name"], measured["attack_epsilon"], measured["attack_steps"]) == ("pgd", 0.01, 2)
    further = own.measure_kept(of, {"models": row["models"]}, asked(name="fgsm", epsilon=0.9, step_size=0.9))
    assert further["accuracy_adv"] < measured["accuracy_adv"]
    assert further["accuracy_clean"] == measured["accuracy_clean"]
    assert further["attack_steps"] is None


def test_a_measurement_depends_on_its_attack_and_not_on_trainings(own: ClassificationStudy) -> None:
    inputs = own.measuring(asked(**ATTACK))
    assert inputs["evaluation"]["attack"]["steps"] == 2
    assert own.measuring(asked(**ATTACK | {"steps": 3})) != inputs
    evaluation = own.settings.evaluation.model_dump()
    other = study(keep_models=True, evaluation=evaluation, dataset=DATA, retrain={"epochs": 9})
    assert other.measuring(asked(**ATTACK)) == inputs
    assert own.measured_under == asked(**ATTACK).model_dump(mode="json")
