"""The classification study: what its stages declare, and that they compute the same bits wherever they run."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from robustprune.classification import study as study_module
from robustprune.classification.importances import IMPORTANCES
from robustprune.classification.study import ClassificationStudy
from robustprune.errors import InputError
from robustprune.progress import NOWHERE, Progress
from tests.robustprune.keeper import killed_after

TRAINING = {"epochs": 1, "learning_rate": 0.05, "batch_size": 16, "schedule": "one-cycle"}
SPEC: dict[str, Any] = {
    "dataset": {"name": "emblems", "train_images": 36, "test_images": 12, "image_size": 16},
    "pretrain": TRAINING,
    "adversary": {"steps": 1, "random_start": True},
    "retrain": TRAINING,
    "importances": {"hydra": {"images": 12}, "deeplift": {"images": 6}},
    "evaluation": {
        "attack": {"name": "fgsm"},
        "distances": [{"name": "ddn", "steps": 4}, {"name": "fmn", "norm": "linf", "steps": 5}],
        "images": 8,
        "timing_repeats": 2,
        "timing_warm_up": 1,
    },
}
ROW = ("model", "training", "importance", "scope", "seed", "sparsity")

Arrays = Mapping[str, np.ndarray[Any, Any]]


def study(**changes: Any) -> ClassificationStudy:
    return ClassificationStudy(ClassificationStudy.Settings.model_validate({**SPEC, **changes}))


def cell(**changes: Any) -> dict[str, Any]:
    return {
        "model": "resnet8",
        "training": "standard",
        "importance": "l1",
        "scope": "layer",
        "seed": 0,
        "sparsity": 0.5,
        **changes,
    }


def published(arrays: Arrays) -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays as workers get them: read-only."""
    copies = {name: array.copy() for name, array in arrays.items()}
    for array in copies.values():
        array.flags.writeable = False
    return copies


def untimed(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must not depend on the machine's mood."""
    kept = {
        name: value
        for name, value in row.items()
        if not name.startswith("inference_ms") and not name.endswith("_s") and name != "speedup"
    }
    table = kept.pop("perturbations")
    return {**kept, **{f"perturbations.{name}": column.tolist() for name, column in table.items()}}


def equal(first: Arrays, second: Arrays) -> bool:
    assert list(first) == list(second)
    return all(np.array_equal(first[name], second[name]) for name in first)


# What the stages declare


def axes(stage: str, *, of: ClassificationStudy | None = None, **changes: Any) -> tuple[str, ...] | None:
    declared = (of or study()).stage(stage, cell(**changes))
    return declared and declared.axes


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """A file of weights that fits."""
    path = tmp_path / "given.safetensors"
    state = study()._build("resnet8").network.state_dict()
    safetensors.numpy.save_file({name: np.asarray((tensor + 1).numpy()) for name, tensor in state.items()}, path)
    return str(path)


def test_pretraining_serves_a_model_a_training_and_a_seed_and_there_is_no_base() -> None:
    assert axes("base") is None
    assert axes("pretrain") == ("model", "training", "seed")


def test_weights_that_are_given_serve_every_seed(weights: str) -> None:
    given = study(weights={"resnet8": {"standard": weights}})
    assert axes("pretrain", of=given) == ("model", "training")
    assert axes("pretrain", of=given, training="adversarial") == ("model", "training", "seed")
    assert axes("pretrain", of=study(weights={"resnet8": {"initial": weights}})) == ("model", "training", "seed")


def test_weights_are_known_by_their_content(weights: str, tmp_path: Path) -> None:
    def stage(path: str) -> Any:
        return study(weights={"resnet8": {"standard": path}}).stage("pretrain", cell())

    copy = tmp_path / "elsewhere.safetensors"
    copy.write_bytes(Path(weights).read_bytes())
    before = stage(weights)
    assert stage(str(copy)) == before
    copy.write_bytes(b"else")
    assert stage(str(copy)) != before


def test_a_row_depends_on_its_whole_cell() -> None:
    assert axes("evaluate_row") == ROW


@pytest.mark.parametrize(
    ("importance", "expected"),
    [
        ("l1", None),
        ("random", None),
        ("magnitude", ("model", "training", "importance", "seed")),
        ("deeplift", ("model", "training", "importance", "seed")),
        ("hydra", ("model", "training", "importance", "seed", "scope", "sparsity")),
    ],
)
def test_scores_are_shared_as_widely_as_they_hold(importance: str, expected: tuple[str, ...] | None) -> None:
    assert axes("score", importance=importance) == expected
    assert axes("score", importance=importance, sparsity=0.0) is None


def test_standard_trainings_do_not_depend_on_the_adversary() -> None:
    stronger = study(adversary={"steps": 2, "random_start": True})
    for stage in ("pretrain", "evaluate_row"):
        assert stronger.stage(stage, cell()) == study().stage(stage, cell())
        robust = cell(training="adversarial")
        assert stronger.stage(stage, robust) != study().stage(stage, robust)


def test_how_a_robust_classifier_is_retrained_is_part_of_its_row() -> None:
    plain = study(retrain={**TRAINING, "under_attack": False})
    robust = cell(training="adversarial")
    assert plain.stage("evaluate_row", robust) != study().stage("evaluate_row", robust)
    assert plain.stage("evaluate_row", cell()) == study().stage("evaluate_row", cell())


def test_baselines_are_the_models_before_they_are_pruned() -> None:
    cells = [
        cell(training=training, seed=seed, sparsity=at, importance=importance)
        for training in ("standard", "adversarial")
        for seed in (0, 1)
        for at in (0.5, 0.9)
        for importance in ("l1", "random")
    ]
    own = study()
    baselines = own.baselines(cells)
    kinds = [(each["training"], each["seed"]) for each in baselines]
    assert kinds == [("standard", 0), ("standard", 1), ("adversarial", 0), ("adversarial", 1)]
    for baseline in baselines:
        assert own.is_baseline(baseline)
        assert own.stage("score", baseline) is None
        assert own.stage("pretrain", baseline) == own.stage("pretrain", cell(training=baseline["training"]))
    assert not any(own.is_baseline(each) for each in cells)
    longer = study(retrain={**TRAINING, "epochs": 2})
    assert longer.stage("evaluate_row", baselines[0]) == own.stage("evaluate_row", baselines[0])


# What is said before anything runs


def test_a_sound_study_passes_the_check(weights: str) -> None:
    assert study(weights={"resnet8": {"adversarial": weights}}).check([cell(), cell(training="adversarial")]) == []


@pytest.mark.parametrize(
    ("changes", "of", "message"),
    [
        ({}, {"model": "resnet21"}, "^model resnet21 has 21 layers, expected 6n \\+ 2"),
        ({}, {"model": "resnt20"}, "^unknown model 'resnt20': .* did you mean 'resnet20'"),
        ({}, {"model": "vgg19"}, "vgg19 cannot take images of 16 pixels .dataset.image_size., expected at least 32"),
        ({"dataset": {"name": "folders", "root": "nowhere"}}, {}, "nowhere"),
        ({"dataset": {"name": "cifar10", "root": "nowhere"}}, {}, "nowhere"),
        ({"weights": {"resnet8": {"standard": "nowhere.npz"}}}, {}, "nowhere.npz"),
        ({"weights": {"resnet20": {"standard": "x"}}}, {}, "^weights.resnet20: found files for a model that the grid"),
    ],
)
def test_the_check_names_what_is_wrong(changes: dict[str, Any], of: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        study(**changes).check([cell(**of)])


def test_the_check_names_the_tensor_that_does_not_fit(tmp_path: Path) -> None:
    state = study()._build("resnet8").network.state_dict()
    arrays = {name: tensor.numpy() for name, tensor in state.items()} | {
        "linear.weight": np.zeros((10, 64), np.float32)
    }
    np.savez(tmp_path / "other.npz", **arrays)
    given = study(weights={"resnet8": {"standard": str(tmp_path / "other.npz")}})
    with pytest.raises(InputError, match=r"linear\.weight.*\(10, 64\).*\(6, 64\)"):
        given.check([cell()])


def test_each_stage_tells_its_own_work(weights: str) -> None:
    own = study()
    (baseline,) = own.baselines([cell()])
    row, robust, half = (
        sum(part.operations for part in own.workloads("evaluate_row", each))
        for each in (cell(sparsity=0.0), cell(sparsity=0.0, training="adversarial"), cell(sparsity=0.5))
    )
    assert robust > row > half > row / 4
    assert own.workloads("evaluate_row", baseline) == own.workloads("evaluate_row", cell(sparsity=0.0))[1:]
    assert [part.description for part in own.workloads("pretrain", cell(training="adversarial"))] == [
        "resnet8: adversarial training: 1 epoch of 36 images, under attack"
    ]
    given = study(weights={"resnet8": {"standard": weights}})
    assert [part.operations for part in given.workloads("pretrain", cell())] == [0]
    for importance, method in IMPORTANCES.items():
        if method.work is not None:
            assert own.workloads("score", cell(importance=importance))


# What the stages compute


@pytest.fixture(scope="module")
def checkpoint() -> Arrays:
    """Return a checkpoint that was trained, if not for long."""
    return published(study().pretrain(cell(), None))


@pytest.mark.parametrize("importance", IMPORTANCES)
@pytest.mark.parametrize("sparsity", [0.0, 0.5])
def test_a_row_has_the_declared_columns_and_leaves_its_inputs_alone(
    checkpoint: Arrays, importance: str, sparsity: float
) -> None:
    own = cell(importance=importance, sparsity=sparsity)
    scores = published(study().score(own, checkpoint)) if study().stage("score", own) else None
    before = published(checkpoint)
    row = study().evaluate_row(own, checkpoint, scores)
    assert equal(checkpoint, before)
    assert row.keys() == {*ClassificationStudy.columns, "perturbations"}
    assert row["perturbations"].keys() == ClassificationStudy.tables["perturbations"].keys()
    for name, kind in ClassificationStudy.columns.items():
        assert type(row[name]) is kind or row[name] is None, name
    assert row["channels_kept"] == round((1 - sparsity) * row["channels_total"])
    assert (row["params_kept"] < row["params_total"]) == (row["macs"] < row["macs_dense"]) == (sparsity > 0)
    assert row["best_epoch"] == 1
    assert set(ClassificationStudy.metrics) <= ClassificationStudy.columns.keys()
    assert {ClassificationStudy.trade_off.against, ClassificationStudy.trade_off.metric} <= set(study().metrics)


def test_the_table_holds_what_the_medians_are_of(checkpoint: Arrays) -> None:
    generous = {**SPEC["evaluation"], "distances": [{"name": "ddn", "steps": 60}], "images": None}
    row = study(evaluation=generous).evaluate_row(cell(sparsity=0.0), checkpoint, None)
    table = row["perturbations"]
    assert row["attack_success"] == 1
    assert len(table["l2"]) == row["images_attacked"] == round(row["accuracy_clean"] * 12)
    distances = [*table["l2"], *[0.0] * (12 - len(table["l2"]))]
    assert row["median_l2"] == pytest.approx(np.median(distances))
    assert set(table["attack"]) <= {"ddn"}
    assert (row["attack_forwards"], row["attack_backwards"]) == (60, 60)


@pytest.mark.parametrize("sparsity", [0.99, 1.0])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_pruned_down_to_the_last_channels_is_a_row_that_says_so(
    checkpoint: Arrays, sparsity: float, scope: str
) -> None:
    row = study().evaluate_row(cell(sparsity=sparsity, scope=scope), checkpoint, None)
    assert row["fewest_channels"] == 1
    assert row["layers_at_floor"] > 0
    assert row["channels_kept"] >= row["layers_at_floor"]


def test_a_classifier_that_knows_nothing_is_a_row(checkpoint: Arrays) -> None:
    # All logits are equal and no gradient is left to attack by.
    dead = published({name: np.zeros_like(array) if "linear" in name else array for name, array in checkpoint.items()})
    still = {**TRAINING, "epochs": 0}
    row = study(retrain=still).evaluate_row(cell(sparsity=0.0), dead, None)
    assert row["accuracy_clean"] == row["accuracy_adv"] == pytest.approx(1 / 6)
    assert row["attack_success"] == 0
    assert row["median_l2"] == 0  # for most images are misclassified as they are
    assert len(row["perturbations"]["l2"]) == 0


def test_a_baseline_is_measured_as_it_is(monkeypatch: pytest.MonkeyPatch, checkpoint: Arrays) -> None:
    def train(*_: object, **__: object) -> int:
        raise AssertionError("a baseline is not trained")

    monkeypatch.setattr(study_module, "train", train)
    (baseline,) = study().baselines([cell()])
    row = study().evaluate_row(baseline, checkpoint, None)
    assert row.keys() == {*ClassificationStudy.columns, "perturbations"}
    assert (row["params_kept"], row["macs"]) == (row["params_total"], row["macs_dense"])
    assert row["channels_kept"] == row["channels_total"]
    assert row["best_epoch"] == 0


def test_fresh_studies_give_the_same_bits() -> None:
    own = cell(importance="random", training="adversarial", seed=3)
    checkpoints, rows = [], []
    for noise in (1, 2):
        # A study for each stage, as if each ran in a process of its own, whatever ran there before.
        torch.manual_seed(noise)
        checkpoints.append(published(study().pretrain(own, None)))
        rows.append(untimed(study().evaluate_row(own, checkpoints[-1], None)))
    assert equal(*checkpoints)
    assert rows[0] == rows[1]
    assert not equal(checkpoints[0], study().pretrain({**own, "seed": 4}, None))
    assert not equal(checkpoints[0], study().pretrain({**own, "training": "standard"}, None))


def test_given_weights_are_taken_as_they_are(weights: str) -> None:
    given = study(weights={"resnet8": {"standard": weights}})
    state = safetensors.numpy.load_file(weights)
    for seed in (0, 1):
        taken = given.pretrain(cell(seed=seed), None)
        for name, array in state.items():
            assert np.array_equal(taken[f"network.{name}"], array), name


def test_initial_weights_are_where_training_starts(weights: str) -> None:
    still = study(weights={"resnet8": {"initial": weights}}, pretrain={**TRAINING, "epochs": 0})
    assert equal(still.pretrain(cell(), None), study(weights={"resnet8": {"standard": weights}}).pretrain(cell(), None))


THREE = {**TRAINING, "epochs": 3}


def run_stage(name: str, checkpoint: Arrays, progress: Progress) -> dict[str, Any]:
    """Return the result of a stage of three epochs, in a study of its own."""
    hydra = {"hydra": {"images": 12, "epochs": 3}}
    own = study(pretrain=THREE, retrain=THREE, importances=hydra)
    robust = cell(training="adversarial", importance="hydra" if name == "score" else "random")
    if name == "pretrain":
        return dict(own.pretrain(robust, None, progress))
    if name == "score":
        return dict(own.score(robust, checkpoint, progress))
    return untimed(own.evaluate_row(robust, checkpoint, None, progress))


@pytest.mark.parametrize("name", ["pretrain", "score", "evaluate_row"])
def test_a_killed_stage_goes_on_and_ends_the_same(checkpoint: Arrays, name: str) -> None:
    undisturbed = run_stage(name, checkpoint, NOWHERE)
    resumed = killed_after(2, partial(run_stage, name, checkpoint), epochs=3)
    assert undisturbed.keys() == resumed.keys()
    for key, value in undisturbed.items():
        assert np.array_equal(value, resumed[key]), key


@pytest.mark.parametrize("name", ["pretrain", "score", "evaluate_row"])
def test_a_stage_that_runs_out_of_device_memory_says_so(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Arrays, name: str
) -> None:
    def placed(*_: object) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(ClassificationStudy, "_placed", placed)
    with pytest.raises(MemoryError, match=f"^{name} ran out of memory on the device$"):
        run_stage(name, checkpoint, NOWHERE)


def test_no_image_that_chooses_the_epoch_is_trained_on() -> None:
    images, held_out = study()._training_images()
    whole = study().settings.dataset.load("train")
    assert (len(images), len(held_out)) == (32, 4)
    pixels = [each.numpy().tobytes() for part in (images, held_out) for each in part.pixels]
    assert sorted(pixels) == sorted(each.numpy().tobytes() for each in whole.pixels)
