"""What plans and reports say of a study's settings: what seeds vary, and a retraining that is short."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from robustprune.studies.caveats import few_images, seeds_vary, short_retraining, unlike_methods
from robustprune.studies.cpu_time import too_slow
from robustprune.studies.detection.training import AdamTraining
from tests.robustprune.studies.classification import tiny_study
from tests.robustprune.studies.classification.tiny_study import TRAINING as SGD
from tests.robustprune.studies.detection import small_study
from tests.robustprune.studies.detection.small_study import SPEC, TRAINING

NONE = {"epochs": 0}


def detection(cells: int = 2, **changes: Any) -> str | None:
    return small_study.study(**changes).replication([small_study.cell(seed=seed) for seed in range(cells)])


def classification(*trainings: str, **changes: Any) -> str | None:
    cells = [tiny_study.cell(seed=seed, training=training) for training in trainings for seed in range(2)]
    return tiny_study.study(**changes).replication(cells)


def test_detectors_seeds_vary_trainings_but_never_where_they_start() -> None:
    assert detection() == (
        "seeds vary pretraining and fine-tuning (order of images, augmentation), and what scoring and attacks draw; "
        "the same for all: the data, the detector before pretraining (trained once)"
    )
    given = detection(detector={**SPEC["detector"], "weights": "some.weights"}, finetune={**TRAINING, **NONE})
    assert given == (
        "seeds vary pretraining (order of images, augmentation), and what scoring and attacks draw; "
        "the same for all: the data, the detector before pretraining (given)"
    )


def test_seeds_that_draw_data_vary_it() -> None:
    said = detection(seed_draws=["data", "training"])
    assert said == (
        "seeds vary the images of pretraining and fine-tuning, pretraining and fine-tuning (order of images, "
        "augmentation), and what attacks draw; the same for all: the images to measure on, the detector before "
        "pretraining (trained once)"
    )
    assert detection(seed_draws=["data"]) == (
        "seeds vary the images of pretraining and fine-tuning, and what attacks draw; the same for all: the images to "
        "measure on, the detector before pretraining (trained once)"
    )
    assert detection(seed_draws=["scores"]) == (
        "seeds vary no training, only what scoring and attacks draw; the same for all: the data, the detector before "
        "pretraining (trained once)"
    )


def test_of_one_seed_there_is_nothing_to_say() -> None:
    assert detection(1) is None


def test_seeds_of_weights_that_are_given_are_no_replicates_of_training(weights: str) -> None:
    given = {"resnet8": {"standard": weights}}
    trained = "seeds vary training and retraining (order of images, augmentation), and what scoring and attacks draw"
    assert classification("standard") == f"{trained}; the same for all: the data"
    retrained = (
        "seeds vary retraining (order of images, augmentation), and what scoring and attacks draw; "
        "the same for all: the data, the weights that are given"
    )
    assert classification("standard", weights=given) == retrained
    untrained = classification("standard", weights=given, retrain={**SGD, **NONE})
    assert untrained is not None
    assert untrained.startswith("seeds vary no training, only what scoring and attacks draw; the same")
    both = classification("standard", "adversarial", weights=given)
    assert both == f"resnet8 (standard): {retrained}; resnet8 (adversarial): {trained}; the same for all: the data"


@pytest.mark.parametrize(
    ("structure", "ratio", "again", "is_short"),
    [
        ("structured", 0.5, 2, True),
        ("channels", 0.5, 2, True),
        ("structured", 0.5, 3, False),
        ("structured", 0.0, 2, False),
        ("unstructured", 0.5, 2, False),
    ],
)
def test_fine_tuning_of_networks_without_whole_channels_may_be_short(
    structure: str, ratio: float, again: int, is_short: bool
) -> None:
    said = short_retraining([{"structure": structure, "ratio": ratio}], again=("again", again), before=("before", 12))
    expected = f"again.epochs is 2, less than 25% of before.epochs, 12: {structure} pruning needs longer to recover"
    assert bool(said) == is_short
    assert all(sentence.startswith(expected) for sentence in said)


EPOCHS = {"slr": 4, "admm": 0}


def unlike(structure: str, *initializers: str, ratio: float = 0.5) -> list[str]:
    cells = [{"structure": structure, "initializer": name, "ratio": ratio} for name in (*initializers, "none")]
    return unlike_methods(cells, lambda name: SimpleNamespace(epochs=EPOCHS.get(name, 9)))


def test_where_ratios_are_shares_of_unlike_things_it_is_said() -> None:
    assert unlike("channels", "magnitude", "intrain", "hydra") == [
        "ratio: in the structure channels it is the share of operations that go for intrain, and the share of channels "
        "for magnitude, hydra, of whose operations more go at the same ratio: compare them by operations_removed"
    ]
    assert unlike("channels", "intrain") == unlike("channels", "magnitude", "hydra") == []
    assert unlike("channels", "magnitude", "intrain", ratio=0.0) == []


def test_where_some_weights_are_trained_longer_before_they_are_pruned_it_is_said() -> None:
    assert unlike("unstructured", "magnitude", "slr", "admm", "hydra") == [
        "slr (4 epochs): weights are trained so much longer before they are pruned than for magnitude, hydra; some of "
        "what that gains may be owed to the epochs alone"
    ]
    assert unlike("unstructured", "slr") == unlike("unstructured", "admm", "magnitude") == []


def test_studies_say_both() -> None:
    names = ["magnitude", "slr", "intrain"]
    of_detectors = [small_study.cell(structure="structured", initializer=name) for name in names]
    of_classifiers = [tiny_study.cell(initializer=name) for name in names]
    assert len(small_study.study().remarks(of_detectors)) == 2
    assert len(tiny_study.study().remarks(of_classifiers)) == 2


def test_a_study_says_so_of_what_it_trains_both_before_and_after(weights: str) -> None:
    long, short = TRAINING | {"epochs": 9}, "less than 25% of pretrain.epochs, 9"
    cells = [small_study.cell(structure="structured")]
    assert short in small_study.study(pretrain=long).remarks(cells)[0]
    assert small_study.study().remarks(cells) == []
    cells = [tiny_study.cell()]
    assert short in tiny_study.study(pretrain=SGD | {"epochs": 9}).remarks(cells)[0]
    given = tiny_study.study(pretrain=SGD | {"epochs": 9}, weights={"resnet8": {"standard": weights}})
    assert given.remarks(cells) == []


def test_no_training_at_all_is_said() -> None:
    assert "no training, only" in seeds_vary({"fine-tuning": 0}, ["the data"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "found an empty list, with which all seeds would give the same rows"),
        (["data", "data"], "found 'data' 2 times"),
        (["date"], "found 'date'"),
        (["date"], "did you mean 'data'?"),
        ("data", "found 'data', expected a list of some of data, scores, training, each once"),
    ],
)
@pytest.mark.parametrize("tiny", [small_study, tiny_study])
def test_what_seeds_draw_is_refused_where_it_says_nothing_or_something_twice(tiny: Any, given: Any, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        tiny.study(seed_draws=given)
    (problem,) = caught.value.errors()
    assert problem["loc"] == ("seed_draws",)
    assert said in problem["msg"]


@pytest.mark.parametrize(("tiny", "images"), [(small_study, 16), (tiny_study, 32)])
def test_more_images_to_renew_on_than_there_are_is_said(tiny: Any, images: int) -> None:
    def said(**renewal: int) -> list[str]:
        remarks: list[str] = tiny.study(renewal=renewal).check([tiny.cell()])
        return [each for each in remarks if each.startswith("renewal.images")]

    expected = f"renewal.images is 2,000, more than the {images} images to train on: statistics are renewed on all"
    assert said(images=2000)[0].startswith(expected)
    assert said() == said(images=8) == []


def test_batches_larger_than_the_data_are_told() -> None:
    ten = AdamTraining(epochs=1, batch_size=10, learning_rate=0.1)
    given = {"base": None, "pretrain": ten, "finetune": ten.model_copy(update={"epochs": 0})}
    assert few_images(given, 10) == []
    assert few_images(given, 1)[0].startswith("pretrain.batch_size is 10, more than the 1 image to train on: ")
    assert few_images(given, 9) == [
        "pretrain.batch_size is 10, more than the 9 images to train on: an epoch is one step"
    ]


def test_a_training_of_days_on_a_cpu_is_told() -> None:
    assert too_slow(2e15, fields="epochs", on_cpu=True) == []
    assert too_slow(1e17, fields="epochs", on_cpu=False) == []
    (told,) = too_slow(1e17, fields="epochs", on_cpu=True)
    assert told == "one checkpoint takes some 40 days on a CPU core, and here is no GPU: smaller epochs take less"
