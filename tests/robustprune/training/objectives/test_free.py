"""Free adversarial training: by hand on a line, as a plain step where nothing is carried, and to the same bits."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from robustprune.attacks import PgdSettings
from robustprune.core.errors import InputError
from robustprune.core.operations import training_passes
from robustprune.core.progress import NOWHERE, Progress
from robustprune.studies.classification.training import SgdTraining
from robustprune.studies.pruning.under_attack import loop_work
from robustprune.training import Objective, train
from robustprune.training.objectives.free import Free, Perturbation
from tests.robustprune.classification.small import bright_or_dark, convolutional, task_on
from tests.robustprune.studies.classification import tiny_study as classifiers
from tests.robustprune.studies.detection import small_study as detectors
from tests.robustprune.training.keeper import Keeper, KilledError
from tests.support.linear_regression import GradientDescent, LinearRegression

RATE, EPSILON = 0.1, 0.05


def trained(free: Free | None, *, images: int, epochs: int, progress: Progress = NOWHERE) -> Mapping[str, Tensor]:
    """Return a classifier after a training on batches of eight, free or clean."""
    network = convolutional()
    train(
        network,
        objective=Objective(task=task_on(bright_or_dark(images)), free=free),
        settings=SgdTraining(epochs=epochs, batch_size=8, learning_rate=0.05, schedule="one-cycle"),
        generator=torch.Generator().manual_seed(7),
        progress=progress,
    )
    return network.state_dict()


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_single_step_that_carries_nothing_is_a_clean_step() -> None:
    one = Free(replays=1, epsilon=EPSILON)
    assert same(trained(one, images=8, epochs=1), trained(None, images=8, epochs=1))
    # The second batch meets what the first one left.
    assert not same(trained(one, images=16, epochs=1), trained(None, images=16, epochs=1))


@pytest.mark.parametrize("replays", [1, 3])
def test_a_line_by_hand(replays: int) -> None:
    points = [(0.5, 1.0), (0.3, -0.4), (0.97, 0.2)]
    task = LinearRegression(
        inputs=torch.tensor([[x] for x, _ in points], dtype=torch.float64),
        targets=torch.tensor([[y] for _, y in points], dtype=torch.float64),
    )
    line = nn.Linear(1, 1).double()
    with torch.no_grad():
        line.weight.fill_(0.8)
        line.bias.fill_(0.1)
    train(
        nn.Sequential(line),
        objective=Objective(task=task, free=Free(replays=replays, epsilon=EPSILON)),
        settings=GradientDescent(epochs=2, batch_size=1, learning_rate=RATE, weight_decay=0),
        generator=torch.Generator().manual_seed(3),
    )
    generator = torch.Generator().manual_seed(3)
    weight, bias, added = 0.8, 0.1, 0.0
    for _ in range(2):
        for point in torch.randperm(3, generator=generator).tolist():
            x, y = points[point]
            for _ in range(replays):
                seen = min(1.0, max(0.0, x + added))
                error = weight * seen + bias - y
                slope = 2 * error * weight if 0 <= x + added <= 1 else 0.0  # nothing beyond white
                weight, bias = weight - RATE * 2 * error * seen, bias - RATE * 2 * error
                if slope:
                    added = min(EPSILON, max(-EPSILON, added + math.copysign(EPSILON, slope)))
    assert line.weight.item() == pytest.approx(weight, rel=1e-12)
    assert line.bias.item() == pytest.approx(bias, rel=1e-12)


def test_a_smaller_batch_takes_the_first_places_and_leaves_the_others() -> None:
    perturbation = Perturbation(torch.full((3, 1, 1, 2), 0.02), EPSILON)
    images = torch.tensor([[[[0.5, 0.99]]], [[[0.0, 0.4]]]])
    seen = perturbation.on(images)
    assert seen.flatten().tolist() == pytest.approx([0.52, 1.0, 0.02, 0.42])
    (seen * torch.tensor([1.0, 1.0, -1.0, 0.0]).view(2, 1, 1, 2)).sum().backward()
    perturbation.climb()
    # Up to the ball's edge; a pixel beyond white has no slope; down; and none of its own.
    expected = [0.05, 0.02, -0.03, 0.02, 0.02, 0.02]
    assert perturbation.tensor.flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("moment", [1, 2, 4, 5])
def test_killed_within_replays_it_ends_with_the_same_bits(moment: int) -> None:
    free = Free(replays=3, epsilon=EPSILON)
    undisturbed = trained(free, images=12, epochs=2)
    keeper = Keeper(last=moment, is_due=True)
    with pytest.raises(KilledError):
        trained(free, images=12, epochs=2, progress=keeper)
    assert same(trained(free, images=12, epochs=2, progress=Keeper(keeper.kept)), undisturbed)


def test_both_tasks_train_and_retrain_so_and_score_under_the_adversary() -> None:
    own = classifiers.study(adversary={"name": "fast-at", "epsilon": 0.03}, free={"replays": 2})
    cell = classifiers.cell(training="adversarial", initializer="hydra")
    row = classifiers.row_of(own, cell, classifiers.published(own.pretrain(cell)))
    assert row["best_epoch"] == 1
    assert row["gradient_cosine_after"] is not None  # watched, as trainings of single steps are
    detection = detectors.study(free={"replays": 2})
    cell = detectors.cell()
    checkpoint = detectors.published(detection.pretrain(cell, detectors.published(detection.base(cell))))
    scores = detectors.published(detection.score(cell, checkpoint))
    assert detection.evaluate_row(cell, checkpoint, scores)["map_adv"] >= 0


def test_the_spec_says_so_in_words_and_what_begins_without_a_slope_is_refused() -> None:
    own = classifiers.study(free={})
    cell = classifiers.cell(training="adversarial")
    assert own.facts([cell])["adversarial training"].endswith("; free, 4 replays")
    with pytest.raises(InputError, match=r"^objective: found 'trades' with free, expected one of attacked, clean-and"):
        classifiers.study(free={}, objective="trades").check([cell])


@pytest.mark.parametrize(("objective", "clean_too"), [("attacked", False), ("clean-and-attacked", True)])
def test_its_work_is_that_of_clean_steps(objective: str, clean_too: bool) -> None:
    settings = classifiers.study(free={"replays": 3}, objective=objective).settings
    work = loop_work(settings, PgdSettings())
    assert work.clean_too == clean_too
    assert training_passes(work.attack, clean_too=clean_too) == 3 * (1 + clean_too) * training_passes(None)
