"""Training classifiers: what is kept, what is random, and that a training that was cut off ends at the same bits."""

from typing import Any

import pytest
import torch
from torch import Tensor

from robustprune.attacks import PgdSettings, configured
from robustprune.classification.measure.accuracy import accuracy
from robustprune.classification.networks.classifier import Classifier
from robustprune.classification.objective import Objective
from robustprune.classification.training import Training, augmented, steps_per_epoch, train, training_batches
from robustprune.core.errors import DivergedError
from robustprune.core.progress import NOWHERE, Progress
from tests.robustprune.classification.small import bright_or_dark, convolutional
from tests.robustprune.training.keeper import killed_after

SETTINGS: dict[str, Any] = {
    "epochs": 4,
    "batch_size": 8,
    "learning_rate": 0.05,
    "schedule": "one-cycle",
}


def fit(classifier: Classifier, *, progress: Progress = NOWHERE, attacked: bool = False, **changes: Any) -> int:
    generator = torch.Generator().manual_seed(7)
    attack = configured(PgdSettings(epsilon=0.02, step_size=0.01, steps=2, random_start=True), generator)
    return train(
        classifier,
        bright_or_dark(33),  # a last batch of a single image, which batch norm cannot take
        held_out=bright_or_dark(16, seed=1),
        objective=Objective(attack=attack if attacked else None),
        settings=Training(**{**SETTINGS, **changes}),
        generator=generator,
        progress=progress,
    )


def state(classifier: Classifier) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in classifier.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_classifier_learns_and_is_left_in_eval_mode() -> None:
    classifier = convolutional()
    fit(classifier, epochs=12)
    assert accuracy(classifier, bright_or_dark(64, seed=2), batch_size=16, device=torch.device("cpu")) > 0.95
    assert not any(module.training for module in classifier.modules())


def test_the_best_epoch_is_kept_and_the_earliest_among_equals(monkeypatch: pytest.MonkeyPatch) -> None:
    reached = [0.5, 0.75, 0.5, 0.75]
    seen: list[dict[str, Tensor]] = []

    def scripted(classifier: Classifier, *_: object, **__: object) -> float:
        seen.append(state(classifier))
        return reached[len(seen) - 1]

    monkeypatch.setattr("robustprune.classification.training._accuracy", scripted)
    classifier = convolutional()
    assert fit(classifier) == 2
    assert same(state(classifier), seen[1])
    assert not same(seen[1], seen[3])


def test_no_epoch_leaves_every_bit() -> None:
    classifier = convolutional()
    before = state(classifier)
    assert fit(classifier, epochs=0) == 0
    assert same(before, state(classifier))


@pytest.mark.parametrize("attacked", [False, True])
@pytest.mark.parametrize("epoch", [1, 3])
def test_a_training_that_was_cut_off_ends_at_the_same_bits(epoch: int, attacked: bool) -> None:
    def work(progress: Progress) -> tuple[int, dict[str, Tensor]]:
        classifier = convolutional()
        return fit(classifier, progress=progress, attacked=attacked), state(classifier)

    kept, undisturbed = work(NOWHERE)
    kept_again, resumed = killed_after(epoch, work, epochs=SETTINGS["epochs"])
    assert kept_again == kept
    assert same(undisturbed, resumed)


def test_adversarial_training_does_not_move_batch_norm_in_its_attacks() -> None:
    classifier = convolutional().train()
    images = bright_or_dark(8)
    pixels, labels = next(images.batches(8, device=torch.device("cpu")))
    before = state(classifier)
    attack = configured(PgdSettings(epsilon=0.05, step_size=0.02, steps=3), torch.Generator())
    attacked = Objective(attack=attack).attacked(classifier, pixels, labels)
    assert same(before, state(classifier))
    assert classifier.training
    assert (attacked - pixels).abs().max() <= 0.05 + 1e-6
    assert Objective()(classifier.eval(), attacked, labels) > Objective()(classifier, pixels, labels)


def test_a_loss_that_is_no_number_ends_a_training() -> None:
    with pytest.raises(DivergedError, match="in epoch 1 of 4"):
        fit(convolutional(), learning_rate=1e30, schedule="constant")


def test_a_classifier_that_answers_no_number_does_not_pass_for_one_that_was_trained() -> None:
    # Batch norm hides it in training: only its statistics, which serve in eval mode, overflow.
    classifier = convolutional()
    classifier.network[1].running_var.fill_(float("nan"))
    with pytest.raises(DivergedError, match="answers NaN"):
        fit(classifier, epochs=1)


@pytest.mark.parametrize("size", [72, 120, 138])
def test_the_first_epoch_is_kept_where_nothing_moves(size: int) -> None:
    held_out = bright_or_dark(size, seed=1)
    settings = Training(epochs=3, batch_size=16, learning_rate=1e-30, schedule="constant", weight_decay=0, momentum=0)
    generator, classifier = torch.Generator().manual_seed(0), convolutional().eval()
    classifier.network[1].momentum = 0.0
    kept = train(
        classifier,
        bright_or_dark(32),
        held_out=held_out.take(range(size)),
        objective=Objective(),
        settings=settings,
        generator=generator,
    )
    assert kept == 1


def test_dropout_draws_from_the_seed_alone() -> None:
    states = []
    for noise in (1, 2):
        classifier = convolutional()
        classifier.network.insert(3, torch.nn.Dropout(0.5))
        torch.manual_seed(noise)
        fit(classifier)
        states.append(state(classifier))
    assert same(*states)


@pytest.mark.parametrize("images", [9, 16, 17, 33])
def test_steps_are_counted_as_batches_are_drawn(images: int) -> None:
    drawn = list(training_batches(bright_or_dark(images), 8, device=torch.device("cpu"), generator=torch.Generator()))
    assert len(drawn) == steps_per_epoch(images, 8)
    assert all(len(labels) > 1 for _, labels in drawn)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("exponential", [0.1, 0.1, 0.05, 0.05]), ("constant", [0.1] * 4)],
)
def test_the_learning_rate_falls_as_told(schedule: str, expected: list[float]) -> None:
    settings = Training.model_validate({"epochs": 2, "learning_rate": 0.1, "schedule": schedule, "decay": 0.5})
    assert [settings.learning_rate_at(step, 2) for step in range(4)] == pytest.approx(expected)


def test_augmented_images_are_mirrored_and_shifted_copies() -> None:
    images = torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    moved = augmented(images, torch.Generator().manual_seed(1))
    padded = torch.nn.functional.pad(images, [2] * 4)
    found = set()
    for image, original in zip(moved, padded, strict=True):
        matches = [
            (mirrored, top, left)
            for mirrored in (False, True)
            for top in range(5)
            for left in range(5)
            if torch.equal(image.flip(-1) if mirrored else image, original[:, top : top + 16, left : left + 16])
        ]
        assert len(matches) == 1
        found.add(matches[0])
    assert {mirrored for mirrored, _, _ in found} == {False, True}
    assert {top for _, top, _ in found} == {left for _, _, left in found} == set(range(5))
