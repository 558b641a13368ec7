"""Precision on clean and on attacked images, of a detector that knows its images by heart."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from robustprune.attacks import FgsmSettings, PgdSettings, frozen, pgd
from robustprune.detection.darknet import Detector
from robustprune.detection.data.coco import CocoSplit
from robustprune.detection.data.samples import Samples
from robustprune.detection.losses.assignment import assign
from robustprune.detection.losses.margin import MarginLoss
from robustprune.detection.measure import detections
from robustprune.detection.measure.evaluation import Evaluation, MarginSettings, evaluate, margin_attack
from robustprune.detection.measure.suppression import suppress
from tests.robustprune.attacks.losses import plain
from tests.robustprune.detection.tasks import clean, task_of, under

strong = partial(under, partial(pgd, epsilon=0.05, step_size=0.02, steps=5))


def test_an_attack_that_does_nothing_costs_nothing(trained: Detector, samples: Samples) -> None:
    identity = under(lambda loss, images: images, trained)
    found = evaluate(trained, samples, objective=identity, settings=Evaluation())
    assert found.clean.ap50 > 0.9
    assert found.attacked == found.clean


def test_without_an_attack_only_clean_images_are_measured(trained: Detector, samples: Samples) -> None:
    found = evaluate(trained, samples, objective=clean(trained), settings=Evaluation())
    assert found.attacked is None
    assert found.attacked_detections == []
    assert found.clean == evaluate(trained, samples, objective=strong(trained), settings=Evaluation()).clean


def test_an_attack_ruins_a_detector_without_defence(trained: Detector, samples: Samples) -> None:
    found = evaluate(trained, samples, objective=strong(trained), settings=Evaluation())
    assert found.attacked is not None
    assert found.attacked.ap50 < 0.2 < 0.9 < found.clean.ap50


def test_boxes_are_suppressed_in_units_of_each_picture(
    trained: Detector, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    units: list[tuple[float, float]] = []

    def told(*tensors: Tensor, sides: tuple[float, float], **options: Any) -> Tensor:
        units.append(sides)
        return suppress(*tensors, sides=sides, **options)

    monkeypatch.setattr(detections, "suppress", told)
    oblong = Samples(samples.split, image_size=(64, 128))
    evaluate(trained, oblong, objective=clean(trained), settings=Evaluation())
    assert set(units) == {(64, 64)}


def test_each_image_is_read_once_for_clean_and_attacked(
    trained: Detector, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    image = CocoSplit.image

    def told(split: CocoSplit, index: int) -> Image.Image:
        read.append(index)
        return image(split, index)

    monkeypatch.setattr(CocoSplit, "image", told)
    unread = Samples(samples.split, image_size=64, cache_bytes=0)
    found = evaluate(trained, unread, objective=strong(trained), settings=Evaluation(batch_size=4))
    assert sorted(read) == list(range(len(samples)))
    for of_images in (found.clean_detections, found.attacked_detections):
        assert tuple(one.image_id for one in of_images) == samples.split.image_ids


@pytest.mark.parametrize(
    "attacks",
    [
        [partial(pgd, epsilon=epsilon, step_size=epsilon, steps=3) for epsilon in (0, 0.01, 0.05)],
        [partial(pgd, epsilon=0.02, step_size=0.005, steps=steps) for steps in (0, 1, 5)],
    ],
    ids=["radius", "steps"],
)
def test_precision_falls_as_the_attack_grows(
    trained: Detector, samples: Samples, attacks: list[Callable[..., Tensor]]
) -> None:
    found = []
    for attack in attacks:
        objective = under(attack, trained)
        attacked = evaluate(trained, samples, objective=objective, settings=Evaluation()).attacked
        assert attacked is not None
        found.append(attacked.ap)
    assert found[0] > found[1] > found[2]


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_the_batch_size_does_not_matter(trained: Detector, samples: Samples, batch_size: int) -> None:
    # The attack is a fixed pattern: gradients of all but zero would turn their signs on rounding.
    def checkerboard(loss: object, images: Tensor) -> Tensor:
        rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
        return (images + 0.1 * ((rows + columns) % 2)).clamp(0, 1)

    objective = under(checkerboard, trained)
    expected, found = (
        evaluate(trained, samples, objective=objective, settings=Evaluation(batch_size=size))
        for size in (6, batch_size)
    )
    assert expected.attacked is not None
    assert found.attacked is not None
    assert expected.attacked != expected.clean
    assert found.clean == pytest.approx(expected.clean, abs=1e-6)
    assert found.attacked == pytest.approx(expected.attacked, abs=1e-6)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_attacks_find_an_images_own_perturbation_in_any_batch(
    trained: Detector, samples: Samples, batch_size: int
) -> None:
    """In double precision: rounding, which differs with the batch, turns the sign of next to no gradient there."""
    detector = trained.double()
    attack = partial(pgd, epsilon=0.02, step_size=0.008, steps=5)
    task = task_of(detector)

    def perturbed(indices: list[int]) -> list[Tensor]:
        batch = samples.batch(indices)
        images, targets = batch.images.double(), batch.targets.double()
        assignments = assign(targets, detector.heads, 64)
        with frozen(detector) as answer:
            losses = partial(task.losses, targets=assignments)
            margin = MarginLoss(answer, targets, detector.candidates, losses)
            return [
                attack(plain(lambda pixels: task.attack_loss(answer(pixels), assignments)), images),
                attack(margin, images),
            ]

    chunks = torch.arange(6).split(batch_size)
    apart = zip(*(perturbed(chunk.tolist()) for chunk in chunks), strict=True)
    for found, expected in zip(apart, perturbed(list(range(6))), strict=True):
        differing = (torch.cat(found) - expected).abs() > 1e-9
        assert differing.double().mean() < 1e-3


def test_batches_of_1_and_of_32_give_the_same_precision(trained: Detector, samples: Samples) -> None:
    attack = PgdSettings(epsilon=0.02, step_size=0.008)
    found = [
        task_of(
            trained,
            val=samples,
            attack_settings=attack,
            evaluation=Evaluation(batch_size=size, margin=MarginSettings(steps=5)),
        ).detections(trained, seed=0)
        for size in (1, 32)
    ]
    # Signs of gradients next to zero turn on rounding in single precision: a few pixels, a hundredth of AP.
    one, many = ([measured.attacked, measured.margin, *(measured.interval or ())] for measured in found)
    for first, second in zip(one, many, strict=True):
        assert first == pytest.approx(second, abs=0.02)


def test_the_margin_attack_is_pgd_in_the_ball_of_the_other() -> None:
    own = margin_attack(PgdSettings(epsilon=0.1, step_size=0.03, steps=7, random_start=True, restarts=3), steps=20)
    assert own == PgdSettings(epsilon=0.1, step_size=0.03, steps=20)
    assert margin_attack(FgsmSettings(epsilon=0.1), steps=20) == PgdSettings(epsilon=0.1, step_size=0.0125, steps=20)
    assert margin_attack(FgsmSettings(epsilon=0.1), steps=1) == PgdSettings(epsilon=0.1, step_size=0.1, steps=1)


def test_without_a_margin_attack_its_columns_are_empty(trained: Detector, samples: Samples) -> None:
    attack = PgdSettings(steps=1)
    row = task_of(trained, val=samples, attack_settings=attack, evaluation=Evaluation(margin=None)).measure(
        trained, seed=0
    )
    assert row["map_adv_margin"] is row["map50_adv_margin"] is None
    assert row["map50_adv_low"] <= row["map50_adv"] <= row["map50_adv_high"]


def test_progress_is_told_after_each_batch(trained: Detector, samples: Samples) -> None:
    told: list[int] = []
    evaluate(trained, samples, objective=clean(trained), settings=Evaluation(batch_size=4), tell=told.append)
    assert told == [4, 6]


def test_measuring_changes_nothing_but_the_mode(trained: Detector, samples: Samples) -> None:
    trained.train()
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    evaluate(trained, samples, objective=strong(trained), settings=Evaluation())
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.state_dict().items())
    assert all(parameter.grad is None for parameter in trained.parameters())
    assert not any(module.training for module in trained.modules())
