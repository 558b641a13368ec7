"""The classification study: its stages compute what was declared, and the same bits wherever and whenever they run."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from robustprune.classification.task import ClassificationTask
from robustprune.core.progress import NOWHERE, Progress
from robustprune.methods import INITIALIZERS
from robustprune.studies.classification.study import ClassificationStudy
from robustprune.studies.pruning import retraining
from tests.robustprune.studies.classification.tiny_study import (
    SPEC,
    TRAINING,
    Arrays,
    cell,
    published,
    row_of,
    study,
)
from tests.robustprune.training.keeper import Told, killed_after


def untimed(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not depend on the machine's mood."""
    kept = {
        name: value
        for name, value in row.items()
        if not name.startswith(("inference_ms", "speedup", "timing_")) and not name.endswith("_s")
    }
    table = kept.pop("perturbations")
    return {**kept, **{f"perturbations.{name}": column.tolist() for name, column in table.items()}}


def equal(first: Arrays, second: Arrays) -> bool:
    assert list(first) == list(second)
    return all(np.array_equal(first[name], second[name]) for name in first)


# What the stages compute


@pytest.fixture(scope="module")
def checkpoint() -> Arrays:
    """Return a checkpoint that was trained, if not for long."""
    return published(study().pretrain(cell()))


@pytest.mark.parametrize("initializer", INITIALIZERS)
@pytest.mark.parametrize("ratio", [0.0, 0.5])
def test_a_row_has_the_declared_columns_and_leaves_its_inputs_alone(
    checkpoint: Arrays, initializer: str, ratio: float
) -> None:
    own = cell(initializer=initializer, ratio=ratio)
    scores = published(study().score(own, checkpoint)) if study().stage("score", own) else None
    before = published(checkpoint)
    row = study().evaluate_row(own, checkpoint, scores)
    assert equal(checkpoint, before)
    assert row.keys() == {*ClassificationStudy.columns, *ClassificationStudy.tables}
    method = INITIALIZERS[initializer]
    at_work = ratio != 0 or method.from_scratch
    kept = {name for name in ClassificationStudy.tables if row[name] is not None}
    assert kept == {"perturbations", *(method.tables if at_work else ())}
    assert row["perturbations"].keys() == ClassificationStudy.tables["perturbations"].keys()
    for name, kind in ClassificationStudy.columns.items():
        assert type(row[name]) is kind or row[name] is None, name
    if method.prunes == "weights":
        assert row["channels_kept"] == round((1 - ratio) * row["channels_total"])
    assert (row["params_kept"] < row["params_total"]) == (row["macs"] < row["macs_dense"]) == (ratio > 0)
    assert row["best_epoch"] == 1
    assert set(ClassificationStudy.metrics) <= ClassificationStudy.columns.keys()
    assert {ClassificationStudy.trade_off.against, ClassificationStudy.trade_off.metric} <= set(study().metrics)


def test_the_table_holds_what_the_medians_are_of(checkpoint: Arrays) -> None:
    generous = {**SPEC["evaluation"], "distances": [{"name": "ddn", "steps": 60}], "images": None}
    row = study(evaluation=generous).evaluate_row(cell(ratio=0.0), checkpoint, None)
    table = row["perturbations"]
    assert row["attack_success"] == 1
    assert len(table["l2"]) == row["images_attacked"] == round(row["accuracy_clean"] * 12)
    distances = [*table["l2"], *[0.0] * (12 - len(table["l2"]))]
    assert row["median_l2"] == pytest.approx(np.median(distances))
    assert set(table["attack"]) <= {"ddn"}
    assert (row["attack_forwards"], row["attack_backwards"]) == (60, 60)


@pytest.mark.parametrize("ratio", [0.99, 1.0])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_pruned_down_to_the_last_channels_is_a_row_that_says_so(checkpoint: Arrays, ratio: float, scope: str) -> None:
    row = row_of(study(), cell(ratio=ratio, scope=scope), checkpoint)
    assert row["fewest_channels"] == 1
    assert row["layers_at_floor"] > 0
    assert row["channels_kept"] >= row["layers_at_floor"]


def test_a_classifier_that_knows_nothing_is_a_row(checkpoint: Arrays) -> None:
    # All logits are equal and no gradient is left to attack by.
    dead = published({name: np.zeros_like(array) if "linear" in name else array for name, array in checkpoint.items()})
    still = {**TRAINING, "epochs": 0}
    row = study(retrain=still).evaluate_row(cell(ratio=0.0), dead, None)
    assert row["accuracy_clean"] == row["accuracy_adv"] == pytest.approx(1 / 6)
    assert row["attack_success"] == 0
    assert row["median_l2"] == 0  # for most images are misclassified as they are
    assert len(row["perturbations"]["l2"]) == 0


def test_a_baseline_is_measured_as_it_is(monkeypatch: pytest.MonkeyPatch, checkpoint: Arrays) -> None:
    def train(*_: object, **__: object) -> int:
        raise AssertionError("a baseline is not trained")

    monkeypatch.setattr(retraining, "train", train)
    (baseline,) = study().baselines([cell()])
    row = study().evaluate_row(baseline, checkpoint, None)
    assert row.keys() == {*ClassificationStudy.columns, *ClassificationStudy.tables}
    assert [name for name in ClassificationStudy.tables if row[name] is not None] == ["perturbations"]
    assert (row["params_kept"], row["macs"]) == (row["params_total"], row["macs_dense"])
    assert row["channels_kept"] == row["channels_total"]
    assert row["best_epoch"] == 0


def test_fresh_studies_give_the_same_bits() -> None:
    own = cell(initializer="random", training="adversarial", seed=3)
    checkpoints, rows = [], []
    for noise in (1, 2):
        # A study for each stage, as if each ran in a process of its own, whatever ran there before.
        torch.manual_seed(noise)
        checkpoints.append(published(study().pretrain(own)))
        rows.append(untimed(row_of(study(), own, checkpoints[-1])))
    assert equal(*checkpoints)
    assert rows[0] == rows[1]
    assert not equal(checkpoints[0], study().pretrain({**own, "seed": 4}))
    assert not equal(checkpoints[0], study().pretrain({**own, "training": "standard"}))


def test_given_weights_are_taken_as_they_are(weights: str) -> None:
    given = study(weights={"resnet8": {"standard": weights}})
    state = safetensors.numpy.load_file(weights)
    for seed in (0, 1):
        taken = given.pretrain(cell(seed=seed))
        for name, array in state.items():
            assert np.array_equal(taken[f"network.{name}"], array), name


def test_a_file_may_have_a_normalisation_of_its_own(weights: str) -> None:
    raw = {"resnet8": {"standard": {"file": weights, "normalisation": "none"}}}
    taken = study(weights=raw).pretrain(cell())
    assert (taken["mean"] == 0).all()
    assert (taken["std"] == 1).all()
    plain = study(weights={"resnet8": {"standard": weights}})
    assert plain.pretrain(cell())["mean"][0, 0] == pytest.approx(0.4914)
    assert plain.stage("pretrain", cell()) != study(weights=raw).stage("pretrain", cell())


def test_initial_weights_are_where_training_starts(weights: str) -> None:
    still = study(weights={"resnet8": {"initial": weights}}, pretrain={**TRAINING, "epochs": 0})
    assert equal(still.pretrain(cell()), study(weights={"resnet8": {"standard": weights}}).pretrain(cell()))


THREE = {**TRAINING, "epochs": 3}


@pytest.fixture(scope="module")
def scores(checkpoint: Arrays) -> Arrays:
    """Return random scores of it."""
    return published(study().score(cell(training="adversarial", initializer="random"), checkpoint))


def run_stage(name: str, checkpoint: Arrays, scores: Arrays, progress: Progress) -> dict[str, Any]:
    """Return the result of a stage of three epochs, in a study of its own."""
    hydra = {"hydra": {"images": 12, "epochs": 3}}
    own = study(pretrain=THREE, retrain=THREE, initializers=hydra)
    robust = cell(training="adversarial", initializer="hydra" if name == "score" else "random")
    if name == "pretrain":
        return dict(own.pretrain(robust, progress))
    if name == "score":
        return dict(own.score(robust, checkpoint, progress))
    return untimed(own.evaluate_row(robust, checkpoint, scores, progress))


@pytest.mark.parametrize("name", ["pretrain", "score", "evaluate_row"])
def test_a_killed_stage_goes_on_and_ends_the_same(checkpoint: Arrays, scores: Arrays, name: str) -> None:
    undisturbed = run_stage(name, checkpoint, scores, NOWHERE)
    resumed = killed_after(2, partial(run_stage, name, checkpoint, scores), epochs=3)
    assert undisturbed.keys() == resumed.keys()
    for key, value in undisturbed.items():
        assert np.array_equal(value, resumed[key]), key
    told = Told()
    told_too = run_stage(name, checkpoint, scores, told)
    assert all(np.array_equal(value, told_too[key]) for key, value in undisturbed.items())
    assert told.units() == (["epoch", "attack"] if name == "evaluate_row" else ["epoch"])


@pytest.mark.parametrize("name", ["pretrain", "score", "evaluate_row"])
def test_a_stage_that_runs_out_of_device_memory_says_so(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Arrays, scores: Arrays, name: str
) -> None:
    def placed(*_: object) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(ClassificationTask, "placed", placed)
    with pytest.raises(MemoryError, match=f"^{name} ran out of memory on the device$"):
        run_stage(name, checkpoint, scores, NOWHERE)


def test_no_image_that_chooses_the_epoch_is_trained_on() -> None:
    task = study().task(cell())
    images, held_out = task._parts
    whole = study().settings.dataset.load("train")
    assert (task.images, len(images), len(held_out)) == (32, 32, 4)
    pixels = [each.numpy().tobytes() for part in (images, held_out) for each in part.pixels]
    assert sorted(pixels) == sorted(each.numpy().tobytes() for each in whole.pixels)
