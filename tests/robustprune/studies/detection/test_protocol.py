"""What makes rows comparable: statistics of their own, and independence where it is claimed."""

from typing import Any, cast

import numpy as np
import pytest
import torch

from robustprune.core.randomness import generator_for
from robustprune.core.timing import FEWEST
from robustprune.detection.task import DetectionTask
from robustprune.studies import pruning_study
from robustprune.studies.detection.columns import HARD
from robustprune.studies.detection.study import DetectionStudy
from robustprune.training import Renewal
from sweeps.engine.declared import DeclaredCell, only
from tests.robustprune.studies.detection.small_study import TRAINING, Arrays, cell, equal, published, study, untimed

TIMING = {"timing_repeats": FEWEST, "timing_warm_up": 0, "timing_most": 1, "margin": None}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Arrays:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        return published(study().base(cell()))


@pytest.fixture(scope="module")
def checkpoint(base: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Arrays:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        return published(study().pretrain(cell(), base))


def norms(arrays: Arrays) -> Arrays:
    return {name: array for name, array in arrays.items() if "running_" in name}


def test_a_row_renews_statistics_after_short_fine_tuning_and_tells_what_that_took(
    checkpoint: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Renewal] = []

    def renew(*_: object, settings: Renewal, **__: object) -> None:
        asked.append(settings)

    monkeypatch.setattr(pruning_study, "renew", renew)
    own = cell(ratio=0.0)
    row = study(evaluation=TIMING, renewal={"images": 8}, hard_pruned=False).evaluate_row(own, checkpoint, None)
    assert asked == [Renewal(images=8)]
    assert 0 <= row["renew_s"] <= row["finetune_s"]
    # After 50 steps running averages are of the fine-tuning alone.
    long = {**TRAINING, "epochs": 25}
    study(evaluation=TIMING, finetune=long, attack={"name": "fgsm"}, hard_pruned=False).evaluate_row(
        own, checkpoint, None
    )
    study(evaluation=TIMING, renewal=None).evaluate_row(own, checkpoint, None)
    assert len(asked) == 1


def test_a_row_tells_what_is_left_before_fine_tuning(checkpoint: Arrays) -> None:
    own = cell(ratio=0.9, initializer="magnitude")
    scores = published(study().score(own, checkpoint))
    lasting, trained, silent = (
        study(evaluation=TIMING, renewal={"images": 16}, **changes).evaluate_row(own, checkpoint, scores)
        for changes in ({"finetune": {**TRAINING, "epochs": 0}}, {}, {"hard_pruned": False})
    )
    hard = [name for name in lasting if name.endswith("_hard")]
    assert hard == [f"{name}_hard" for name in HARD]
    for name in hard:
        # Without training nothing happens between the two, and training has no part in the first.
        assert lasting[name] == lasting[name.removesuffix("_hard")] == trained[name]
        assert silent[name] is None
    after = {name: value for name, value in untimed(trained).items() if name not in hard}
    assert after == {name: value for name, value in untimed(silent).items() if name not in hard}


def test_renewed_statistics_are_what_a_row_is_measured_with(checkpoint: Arrays) -> None:
    own = cell(ratio=0.9, initializer="magnitude")
    scores = published(study().score(own, checkpoint))
    never, renewed, again = (
        study(evaluation=TIMING, renewal=renewal).evaluate_row(own, checkpoint, scores)
        for renewal in (None, {"images": 16}, {"images": 16})
    )
    assert untimed(renewed) == untimed(again)
    assert untimed(renewed) != untimed(never)


def test_trials_that_share_no_checkpoint_have_trainings_of_their_own(base: Arrays) -> None:
    trials = [cell(), cell(initializer="deeplift"), cell(structure="structured")]
    shared = [study().pretrain(trial, base) for trial in trials]
    assert all(equal(shared[0], other) for other in shared[1:])
    own = [study(share_pretraining=False).pretrain(trial, base) for trial in trials]
    assert not any(equal(own[first], own[second]) for first, second in ((0, 1), (0, 2), (1, 2)))
    # The ratio is no part of a trial.
    assert equal(own[0], study(share_pretraining=False).pretrain(cell(ratio=0.5), base))


def test_the_base_is_trained_in_the_colour_that_it_is_measured_in(
    base: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert equal(base, study().base(cell(seed=7, structure="structured")))
    seen: list[torch.Tensor] = []
    batches = DetectionTask.batches

    def watched(*args: object, **options: object) -> object:
        for batch in batches(*args, **options):  # type: ignore[arg-type]
            seen.append(batch.inputs)
            yield batch

    monkeypatch.setattr(DetectionTask, "batches", watched)
    grey = study().base(cell(colour="greyscale"))
    assert not equal(base, grey)
    assert seen
    assert all(torch.equal(images[:, 0], images[:, channel]) for images in seen for channel in (1, 2))


def test_seeds_draw_what_they_are_told_to(base: Arrays) -> None:
    def pretrained(seed: int, *draws: str) -> Arrays:
        return study(seed_draws=list(draws)).pretrain(cell(seed=seed), base)

    assert equal(pretrained(1, "scores"), pretrained(2, "scores"))
    assert not equal(pretrained(1, "training"), pretrained(2, "training"))
    assert not equal(pretrained(1, "data"), pretrained(2, "data"))
    assert equal(pretrained(1, "training"), study().pretrain(cell(seed=1), base))
    random = cell(initializer="random")
    first, second = (study(seed_draws=["training"]).score(random | {"seed": seed}, base) for seed in (1, 2))
    assert equal(first, second)


def test_data_is_drawn_from_the_training_images_with_replacement() -> None:
    task = study(seed_draws=["data"]).task(cell(seed=3))
    images = [image for batch in task.batches(4) for image in batch.inputs]
    whole = [image for batch in study().task(cell(seed=3)).batches(4) for image in batch.inputs]
    drawn = torch.randint(16, (16,), generator=generator_for(3, "data")).tolist()
    assert len(images) == len(whole) == 16
    assert all(torch.equal(image, whole[index]) for image, index in zip(images, drawn, strict=True))
    assert 4 < len(np.unique(drawn)) < 16


def test_stages_that_draw_data_declare_all_that_they_look_at(base: Arrays) -> None:
    draws = ["data", "scores", "training"]

    def handed(name: str, asked: dict[str, Any]) -> tuple[DetectionStudy, DeclaredCell]:
        """Return the study and the cell as the engine hands them to a stage."""
        whole = study(seed_draws=draws, evaluation=TIMING)
        stage = whole.stage(name, asked)
        assert stage is not None
        assert stage.fields is not None
        return DetectionStudy(cast(Any, only(whole.settings, stage.fields))), DeclaredCell(asked, stage.axes)

    asked = cell(initializer="deeplift", seed=2)
    own, declared = handed("pretrain", asked)
    checkpoint = published(own.pretrain(declared, base))
    own, declared = handed("score", asked)
    scores = published(own.score(declared, checkpoint))
    own, declared = handed("evaluate_row", asked)
    own.evaluate_row(declared, checkpoint, scores)
    (baseline,) = study(seed_draws=draws).baselines([asked])
    own, declared = handed("evaluate_row", baseline)
    own.evaluate_row(declared, base, None)
