"""How both studies train under attack: what enters their keys, what rows say was seen, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from robustprune.attacks import FastAtSettings
from robustprune.core.errors import InputError
from robustprune.studies.classification.study import ClassificationStudy
from robustprune.studies.detection.study import DetectionStudy
from robustprune.studies.pruning.seen import PREFIX, SEEN_COLUMNS, network_state, seen_columns
from robustprune.training.overfitting import Look, Seen, Watch
from tests.robustprune.studies.classification import tiny_study as classifiers
from tests.robustprune.studies.detection import small_study as detectors

FAST_AT = {"name": "fast-at", "epsilon": 0.03}
PGD = {"name": "pgd", "epsilon": 0.03, "step_size": 0.01, "steps": 2, "random_start": True}
TWO = {"epochs": 2, "learning_rate": 0.05, "batch_size": 16, "schedule": "one-cycle"}


def adversarial(**changes: Any) -> dict[str, Any]:
    return classifiers.cell(**{"training": "adversarial", "initializer": "magnitude", **changes})


def inputs(study: ClassificationStudy | DetectionStudy, cell: dict[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return what determines each stage of a cell."""
    stages = {name: study.stage(name, cell) for name in study.stages}
    return {name: stage.settings for name, stage in stages.items() if stage is not None and stage.settings is not None}


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


EVERYTHING = {"pretrain", "score", "evaluate_row"}


@pytest.mark.parametrize(
    ("given", "stages"),
    [
        ({"objective": "attacked"}, set()),
        ({"objective": "trades"}, EVERYTHING),
        ({"objective": {"name": "trades", "beta": 1.0}}, EVERYTHING),
        ({"grad_align": None}, set()),
        ({"grad_align": {}}, EVERYTHING),
        ({"free": None}, set()),
        ({"free": {}}, EVERYTHING),
        ({"overfitting": None}, set()),
        ({"overfitting": {"drop": 0.1}}, set()),
        ({"overfitting": {"always": True}}, {"pretrain", "evaluate_row"}),
    ],
)
def test_what_enters_the_keys_of_classifiers_under_several_steps(given: dict[str, Any], stages: set[str]) -> None:
    usual = classifiers.study(adversary=PGD)
    cell = adversarial(initializer="hydra")
    found = inputs(classifiers.study(adversary=PGD, **given), cell)
    assert changed(inputs(usual, cell), found) == stages
    standard = classifiers.cell(initializer="hydra")
    assert not changed(inputs(usual, standard), inputs(classifiers.study(adversary=PGD, **given), standard))


@pytest.mark.parametrize(
    ("given", "stages"),
    [
        ({"overfitting": {}}, set()),
        ({"overfitting": None}, {"pretrain", "evaluate_row"}),
        ({"overfitting": {"drop": 0.1}}, {"pretrain", "evaluate_row"}),
        ({"overfitting": {"always": True}}, set()),
    ],
)
def test_under_a_single_step_the_watch_does(given: dict[str, Any], stages: set[str]) -> None:
    cell = adversarial(initializer="hydra")
    usual = inputs(classifiers.study(adversary=FAST_AT), cell)
    assert changed(usual, inputs(classifiers.study(adversary=FAST_AT, **given), cell)) == stages


@pytest.mark.parametrize(
    ("given", "stages"),
    [
        ({"adversary": FAST_AT}, EVERYTHING),
        ({"objective": "attacked"}, EVERYTHING),
        ({"objective": "clean-and-attacked"}, set()),
        ({"grad_align": {"weight": 0.1}}, EVERYTHING),
        ({"overfitting": {"drop": 0.1}}, set()),
    ],
)
def test_what_enters_the_keys_of_detectors(given: dict[str, Any], stages: set[str]) -> None:
    cell = detectors.cell(initializer="hydra")
    usual = inputs(detectors.study(), cell)
    assert changed(usual, inputs(detectors.study(**given), cell)) == stages
    same = detectors.study().settings.attack.model_dump()
    assert not changed(usual, inputs(detectors.study(adversary=same), cell))


@pytest.mark.parametrize("name", ["attacked", "clean-and-attacked", "trades"])
def test_every_objective_trains_scores_and_retrains_classifiers(name: str) -> None:
    own = classifiers.study(adversary=PGD, objective=name, grad_align={"weight": 0.1})
    checkpoint = own.pretrain(adversarial())
    assert not [array for array in checkpoint if array.startswith(PREFIX)]
    row = classifiers.row_of(own, adversarial(initializer="hydra"), classifiers.published(checkpoint))
    assert row["best_epoch"] == 1
    assert [row[column] for column in SEEN_COLUMNS] == [None] * len(SEEN_COLUMNS)


def test_rows_say_what_was_seen_of_both_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    own = classifiers.study(adversary=FAST_AT, pretrain=TWO)
    checkpoint = classifiers.published(own.pretrain(adversarial()))
    row = classifiers.row_of(own, adversarial(), checkpoint)
    assert row["overfitting_epoch"] is None
    for column in ("fgsm_minus_pgd", "fgsm_minus_pgd_after", "gradient_cosine", "gradient_cosine_after"):
        assert -1 <= row[column] <= 1
    assert row["overfitting_epoch_after"] is None
    monkeypatch.setattr(Watch, "_look", lambda self, epoch, *_: Look((0.9, 0.1)[epoch - 1], 0.8, 0.25))
    checkpoint = classifiers.published(own.pretrain(adversarial()))
    row = classifiers.row_of(own, adversarial(), checkpoint)
    assert (row["overfitting_epoch"], row["fgsm_minus_pgd"], row["gradient_cosine"]) == (2, 0.8, 0.25)
    assert row["overfitting_epoch_after"] is None
    assert all(
        torch.equal(
            torch.tensor(array),
            own.started(own.task(adversarial()), adversarial(), checkpoint).state_dict()[name].cpu(),
        )
        for name, array in network_state(checkpoint).items()
    )


def test_retraining_ends_when_it_overfits(monkeypatch: pytest.MonkeyPatch) -> None:
    own = classifiers.study(adversary=FAST_AT, retrain={**TWO, "epochs": 3})
    checkpoint = classifiers.published(own.pretrain(adversarial()))
    monkeypatch.setattr(Watch, "_look", lambda self, epoch, *_: Look((0.9, 0.1)[epoch - 1], 0.8, float("nan")))
    row = classifiers.row_of(own, adversarial(), checkpoint)
    assert row["overfitting_epoch_after"] == 2
    assert row["gradient_cosine_after"] is None
    assert row["best_epoch"] == 1


def test_detectors_are_trained_under_an_attack_of_their_own_and_watched() -> None:
    own = detectors.study(adversary=FAST_AT, objective="attacked", grad_align={})
    cell = detectors.cell(initializer="magnitude")
    checkpoint = detectors.published(own.pretrain(cell, detectors.published(own.base(cell))))
    assert 0 < float(1 - checkpoint["seen.fgsm_minus_pgd"]) < 1.5
    scores = detectors.published(own.score(cell, checkpoint))
    row = own.evaluate_row(cell, checkpoint, scores)
    assert row["overfitting_epoch"] is None
    assert row["fgsm_minus_pgd"] == float(checkpoint["seen.fgsm_minus_pgd"])
    assert -1 <= row["gradient_cosine_after"] <= 1


def test_columns_of_what_was_seen() -> None:
    state = {"weight": np.zeros(2)}
    assert set(seen_columns(state, None).values()) == {None}
    assert seen_columns(None, Seen(0, 0.25, 0.5)) == {
        **dict.fromkeys(("overfitting_epoch", "fgsm_minus_pgd", "gradient_cosine", "overfitting_epoch_after")),
        "fgsm_minus_pgd_after": 0.25,
        "gradient_cosine_after": 0.5,
    }


def test_what_does_not_fit_is_refused_before_anything_runs() -> None:
    with pytest.raises(InputError, match=r"^objective: found 'trades', which compares the logits of classifiers"):
        detectors.study(objective="trades").check([detectors.cell()])
    with pytest.raises(InputError, match=r"^compute.compile: found true with grad_align"):
        detectors.study(grad_align={}, compute={"compile": True}).check([detectors.cell()])
    still = classifiers.study(objective="trades", adversary={"random_start": False})
    with pytest.raises(InputError, match=r"^adversary.random_start: found false, expected true under objective"):
        still.check([adversarial()])
    assert still.check([classifiers.cell()]) is not None  # nothing is attacked there


def test_the_work_of_a_training_tells_what_it_is_under() -> None:
    def operations(**given: Any) -> float:
        study = classifiers.study(adversary=FAST_AT, **given)
        return sum(part.operations for part in study.workloads("pretrain", adversarial()))

    plain, trades, aligned = operations(), operations(objective="trades"), operations(grad_align={})
    # Statistics and three passes of training beside an attack step; a clean answer and a clean image more; or the term.
    assert plain < trades
    assert plain < aligned
    assert aligned - plain > trades - plain
    facts = classifiers.study(adversary=FAST_AT, objective="trades", grad_align={}).facts([adversarial()])
    assert facts["adversarial training"] == (
        "fast-at, epsilon 0.03, alpha 1.25; objective trades, beta 6; GradAlign, weight 0.1808"
    )
    assert classifiers.study(adversary=FAST_AT).training_attack == FastAtSettings(epsilon=0.03)
