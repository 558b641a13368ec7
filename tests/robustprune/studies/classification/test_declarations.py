"""What a classification study says before anything runs: on what its stages depend, what is wrong, what they take."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
from PIL import Image
from pydantic import ValidationError

from robustprune.core.errors import InputError
from robustprune.methods import INITIALIZERS
from robustprune.structures import STRUCTURES
from robustprune.studies.classification.checks import check_time
from robustprune.studies.classification.study import ClassificationStudy
from sweeps.results.doubts import trusted
from sweeps.spec.conformance import check_study
from tests.robustprune.staging.fake_store import URI, FakeStore
from tests.robustprune.studies.classification.tiny_study import SPEC, TRAINING, cell, study

ROW = ("model", "training", "structure", "initializer", "scope", "seed", "ratio")

# What the stages declare


def axes(stage: str, *, of: ClassificationStudy | None = None, **changes: Any) -> tuple[str, ...] | None:
    declared = (of or study()).stage(stage, cell(**changes))
    return declared and declared.axes


def test_pretraining_serves_a_model_a_training_and_a_seed_and_there_is_no_base() -> None:
    assert ClassificationStudy.stages == ("pretrain", "score", "evaluate_row")
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


def test_weights_may_be_in_a_bucket(weights: str, bucket: FakeStore) -> None:
    bucket.put("model.safetensors", Path(weights).read_bytes())
    here, there = (study(weights={"resnet8": {"adversarial": each}}) for each in (weights, f"{URI}/model.safetensors"))
    attacked = cell(training="adversarial")
    assert there.stage("pretrain", attacked) == here.stage("pretrain", attacked)
    assert f"{URI}/model.safetensors, normalised by mean" in there.check([attacked])[0]
    assert bucket.read == ["model.safetensors"]
    bucket.put("none.safetensors", b"none")
    with pytest.raises(InputError, match=rf"^weights.resnet8: {URI}/none.safetensors: "):
        study(weights={"resnet8": {"adversarial": f"{URI}/none.safetensors"}}).check([attacked])


def test_a_row_depends_on_its_whole_cell() -> None:
    assert axes("evaluate_row") == ROW


@pytest.mark.parametrize(
    ("initializer", "expected"),
    [
        ("random", ("model", "training", "structure", "initializer", "seed")),
        ("magnitude", ("model", "training", "structure", "initializer", "seed")),
        ("deeplift", ("model", "training", "initializer", "seed")),
        ("taylor", ("model", "training", "initializer", "seed")),
        ("snip", ("model", "training", "initializer", "seed")),
        ("hydra", ("model", "training", "structure", "initializer", "scope", "seed", "ratio")),
    ],
)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_scores_are_shared_as_widely_as_they_hold(structure: str, initializer: str, expected: tuple[str, ...]) -> None:
    assert axes("score", structure=structure, initializer=initializer) == expected
    assert axes("score", structure=structure, initializer=initializer, ratio=0.0) is None


def test_scores_that_serve_all_structures_are_the_same_stage() -> None:
    def stage(structure: str, initializer: str) -> Any:
        return study().stage("score", cell(structure=structure, initializer=initializer))

    for initializer in INITIALIZERS:
        if initializer != "hydra":
            assert stage("unstructured", initializer) == stage("channels", initializer)
    # Gates of channels have changed since the first version, scores of weights have not.
    versions = {structure: stage(structure, "hydra").version for structure in STRUCTURES}
    assert versions == {"unstructured": 1, "structured": 2, "channels": 2}


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
        cell(training=training, seed=seed, ratio=at, initializer=initializer)
        for training in ("standard", "adversarial")
        for seed in (0, 1)
        for at in (0.5, 0.9)
        for initializer in ("magnitude", "random")
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
    own = study(weights={"resnet8": {"adversarial": weights}})
    (told,) = own.check([cell(), cell(training="adversarial")])
    assert told.startswith(
        f"weights.resnet8.adversarial: {weights}, normalised by mean (0.4914, 0.4822, 0.4465) and std (0.247, 0.2435, "
        "0.2616): right about "
    )
    assert "% of 12 test images" in told
    assert study().check([cell()]) == []


def test_a_file_without_normalisation_is_never_given_one_silently(weights: str) -> None:
    def checked(own: Any = None, of_study: Any = None) -> list[str]:
        given = {"file": weights} if own is None else {"file": weights, "normalisation": own}
        return study(normalisation=of_study, weights={"resnet8": {"standard": given}}).check([cell()])

    with pytest.raises(InputError, match=r"^weights.resnet8: found no normalisation in .*, expected .*none, cifar10, "):
        checked()
    for told in (checked(own="none"), checked(of_study="none"), checked(own="none", of_study="imagenet")):
        assert "mean (0, 0, 0) and std (1, 1, 1)" in told[0]
    numbers = {"mean": [0.5, 0.25, 0.125], "std": [0.1, 0.2, 0.3]}
    assert "mean (0.5, 0.25, 0.125) and std (0.1, 0.2, 0.3)" in checked(own=numbers)[0]
    assert study(normalisation=None).check([cell()]) == []  # what is trained here learns from any


def test_scores_of_hydra_that_are_left_out_are_told(weights: str, tmp_path: Path) -> None:
    arrays: dict[str, Any] = safetensors.numpy.load_file(weights)
    arrays["conv1.popup_scores"] = np.zeros((16, 3, 3, 3), np.float32)
    np.savez(tmp_path / "hydra.npz", **arrays)
    for path, told in ((weights, False), (str(tmp_path / "hydra.npz"), True)):
        (remark,) = study(weights={"resnet8": {"standard": path}}).check([cell()])
        assert remark.endswith("HYDRA's scores in it are left out, and no weight is pruned by them") == told


def test_layers_whose_channels_stay_are_named() -> None:
    mixer = cell(model="mlp-mixer-tiny")
    (told,) = study().check([mixer])
    tokens = ", ".join(f"blocks.{index}.mlp_tokens.fc2" for index in range(3))
    assert told.startswith(f"mlp-mixer-tiny: channels of {tokens} and 1 other cannot be pruned")
    assert study().check([{**mixer, "structure": "unstructured"}]) == []


def test_a_normalisation_that_is_chosen_goes_before_the_files_own(weights: str, tmp_path: Path) -> None:
    arrays: dict[str, Any] = safetensors.numpy.load_file(weights)
    path = tmp_path / "normalised.npz"
    own: dict[str, Any] = {"mean": np.full(3, 0.5, np.float32), "std": np.full(3, 0.25, np.float32)}
    np.savez(path, **arrays, **own)

    def mean(**given: Any) -> float:
        checkpoint = study(weights={"resnet8": {"standard": {"file": str(path), **given}}}).pretrain(cell())
        return float(checkpoint["mean"].flatten()[0])

    assert mean() == 0.5
    assert mean(normalisation="none") == 0


def test_the_choices_of_normalisation_are_part_of_keys(weights: str) -> None:
    def stage(**given: Any) -> Any:
        return study(weights={"resnet8": {"standard": {"file": weights, **given}}}).stage("pretrain", cell())

    numbers = {"mean": [0.5] * 3, "std": [0.1] * 3}
    stages = [stage(), stage(normalisation="none"), stage(normalisation=numbers), stage(part="best")]
    assert not any(one == other for i, one in enumerate(stages) for other in stages[:i])
    # What is trained from scratch has CIFAR-10's unless the study says otherwise.
    assert study(normalisation=None).stage("pretrain", cell()) == study().stage("pretrain", cell())


@pytest.mark.parametrize(
    ("normalisation", "sentence"),
    [
        ({"mean": [0.5] * 3, "std": [0, 1, 1]}, "greater than 0"),
        ({"mean": [125.0] * 3, "std": [0.1] * 3}, "less than or equal to 1"),
        ("cifar", "found 'cifar', expected 'cifar10', 'imagenet', 'none' or {mean: "),
    ],
)
def test_a_wrong_normalisation_is_refused(normalisation: Any, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        study(normalisation=normalisation)


@pytest.mark.parametrize(
    ("changes", "of", "message"),
    [
        ({}, {"model": "resnet21"}, "^model resnet21 has 21 layers, expected 6n \\+ 2"),
        ({}, {"model": "resnt20"}, "^unknown model 'resnt20': .* did you mean 'resnet20'"),
        ({}, {"model": "vgg19"}, "vgg19 cannot take images of 16 pixels .dataset.image_size., expected at least 32"),
        ({"dataset": {"name": "folders", "root": "nowhere"}}, {}, "nowhere"),
        ({"dataset": {"name": "cifar10", "root": "nowhere"}}, {}, "nowhere"),
        ({"weights": {"resnet8": {"standard": "nowhere.npz"}}}, {}, "nowhere.npz"),
        ({"weights": {"resnet8": {"adversarial": "x"}}}, {}, "^weights.resnet8.adversarial: found x, which no cell"),
        ({"holdout": 0.99}, {}, "^holdout: found 0.99, which leaves 0 of 36 images to train on, expected at least 2"),
        (
            {"initializers": {"hydra": {"batch_size": 1}}},
            {},
            "^initializers.hydra.batch_size: found 1, expected at least 2",
        ),
        ({}, {"model": "swin_t", "initializer": "deeplift"}, "deeplift cannot explain the activation GELU"),
        (
            {"weights": {"resnet20": {"standard": "x"}}},
            {},
            "^weights.resnet20.standard: found x, which no cell of the grid needs",
        ),
    ],
)
def test_the_check_names_what_is_wrong(changes: dict[str, Any], of: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        study(**changes).check([cell(**of)])


def test_the_check_tells_or_refuses_pictures_of_one_content_in_both_splits(tmp_path: Path) -> None:
    for shade in range(8):
        path = tmp_path / ("train" if shade < 4 else "test") / f"class {shade % 2}" / f"{shade}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (shade, 0, 0)).save(path)
    folders = {"name": "folders", "root": str(tmp_path), "image_size": 16}
    assert not [told for told in study(dataset=folders).check([cell()]) if "content" in told]
    twin = tmp_path / "test" / "class 1" / "again.png"
    twin.write_bytes((tmp_path / "train" / "class 0" / "0.png").read_bytes())
    told = (
        f"{tmp_path}/test: 1 images have the content of images of {tmp_path}/train, {twin} that of "
        f"{tmp_path}/train/class 0/0.png"
    )
    # Of another size, as what was read is kept.
    folders["image_size"] = 32
    assert f"{told}: what is measured on them tells nothing of other images" in study(dataset=folders).check([cell()])
    with pytest.raises(InputError, match=re.escape(f"{told}, expected disjoint splits (dataset.shared_pictures: ")):
        study(dataset=folders | {"shared_pictures": "refuse"}).check([cell()])


def test_the_check_names_the_tensor_that_does_not_fit(tmp_path: Path) -> None:
    state = study().task(cell()).build().network.state_dict()
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
        for each in (cell(ratio=0.0), cell(ratio=0.0, training="adversarial"), cell(ratio=0.5))
    )
    assert robust > row > half > row / 4
    # Single zeros are computed with as before; masked channels are left out, as those that are removed.
    single, masked = (
        sum(part.operations for part in own.workloads("evaluate_row", cell(structure=structure)))
        for structure in ("unstructured", "structured")
    )
    assert single == row > masked == half
    assert own.workloads("evaluate_row", baseline) == own.workloads("evaluate_row", cell(ratio=0.0))[-1:]
    assert [part.description for part in own.workloads("pretrain", cell(training="adversarial"))] == [
        "resnet8: adversarial training: 1 epoch of 32 images, under attack"
    ]
    given = study(weights={"resnet8": {"standard": weights}})
    assert [part.operations for part in given.workloads("pretrain", cell())] == [0]
    for initializer in INITIALIZERS:
        assert own.workloads("score", cell(initializer=initializer))


def test_the_work_of_measuring_counts_each_attack_of_the_ball() -> None:
    def operations(**attack: Any) -> float:
        evaluation = {**SPEC["evaluation"], "attack": {"epsilon": 0.1, **attack}}
        (baseline,) = study(evaluation=evaluation).baselines([cell()])
        return sum(part.operations for part in study(evaluation=evaluation).workloads("evaluate_row", baseline))

    clean_pass = operations(name="square", queries=2) - operations(name="square", queries=1)
    assert clean_pass > 0
    # A step is a forward and a backward pass, on the cross-entropy and on the logits ratio.
    assert operations(name="pgd", steps=6) - operations(name="pgd", steps=5) == pytest.approx(4 * clean_pass)
    aimed = operations(name="apgd", steps=6, targets=3) - operations(name="apgd", steps=5, targets=3)
    assert aimed == pytest.approx((1 + 3) * 2 * clean_pass)
    standard = operations(name="standard", queries=20) - operations(name="standard", queries=10)
    assert standard == pytest.approx(10 * clean_pass)


def test_scores_depend_on_images_and_attacks_only_where_they_see_them() -> None:
    other = study(adversary={"steps": 2, "random_start": True}, dataset={**SPEC["dataset"], "seed": 1})
    attacked = study(adversary={"steps": 2, "random_start": True})
    for initializer, unlike_other, unlike_attacked in (
        ("magnitude", False, False),
        ("random", False, False),
        ("taylor", True, True),
        ("snip", True, True),
        ("deeplift", True, False),
        ("hydra", True, True),
    ):
        robust = cell(initializer=initializer, training="adversarial")
        assert (other.stage("score", robust) != study().stage("score", robust)) == unlike_other
        assert (attacked.stage("score", robust) != study().stage("score", robust)) == unlike_attacked


def test_the_factor_of_a_schedule_counts_only_where_there_is_one() -> None:
    for schedule in ("exponential", "one-cycle"):
        stages = [
            study(retrain={**TRAINING, "schedule": schedule, "decay": decay}).stage("evaluate_row", cell())
            for decay in (0.5, 0.9)
        ]
        assert (stages[0] != stages[1]) == (schedule == "exponential")


def test_doubtful_figures_of_a_row_are_left_out_of_tests() -> None:
    doubts = ClassificationStudy.doubts
    assert doubts["accuracy_adv"] == "accuracy_adv_doubtful"
    assert doubts["median_l2"] == doubts["median_l2_high"] == "median_l2_at_floor"
    assert doubts["speedup"] == ("timing_doubtful", "accelerator")
    check_study(ClassificationStudy, ())
    rows = pd.DataFrame(
        {
            "accuracy_adv": [0.5, 0.8],
            "accuracy_adv_doubtful": [False, True],
            "median_l2": [0.1, 0.2],
            "median_l2_at_floor": [True, False],
        }
    )
    found = trusted(rows, doubts)
    assert found["accuracy_adv"].isna().tolist() == [False, True]
    assert found["median_l2"].isna().tolist() == [True, False]


def test_what_makes_no_curve_is_told(tmp_path: Path) -> None:
    for shade, (split, count) in enumerate((("train", 6), ("test", 2))):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count if name == "cat" else 2):
                colour = (100 * shade, 100 * (name == "dog"), number)  # no picture is in both splits
                Image.new("RGB", (320, 240), colour).save(tmp_path / split / name / f"{number}.png")
    own = study(dataset={"name": "folders", "root": str(tmp_path), "image_size": 16})
    assert own.check([cell()]) == [
        "pretrain.batch_size is 16, more than the 7 images to train on: an epoch is one step",
        "retrain.batch_size is 16, more than the 7 images to train on: an epoch is one step",
        "classes of fewer than 5 images to train on: dog 2",
        "dataset.image_size is 16, and the median picture to train on has 320x240 pixels: what is left of it has to "
        "tell the classes apart",
    ]
    splits, _ = own.data([cell()])
    assert splits.lines[0] == ["to train on", 8, "320x240", "16x16"]


def test_days_on_a_cpu_are_told() -> None:
    long = study(pretrain={**SPEC["pretrain"], "epochs": 10**7})
    (told,) = check_time(long.settings, [cell()], on_cpu=True)
    assert told.endswith("smaller dataset.train_images, epochs or dataset.image_size take less")
    assert check_time(study().settings, [cell()], on_cpu=True) == []
