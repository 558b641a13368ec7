"""Training classifiers: what is kept, what is random, and that a training that was cut off ends at the same bits."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustprune.attacks import PgdSettings, configured
from robustprune.classification.classifier import Classifier
from robustprune.classification.measure.accuracy import accuracy
from robustprune.core.errors import DivergedError
from robustprune.core.progress import NOWHERE, Progress
from robustprune.structures import Masks
from robustprune.structures import masks as masking
from robustprune.studies.classification.training import SgdTraining
from robustprune.training import Objective, train
from tests.robustprune.classification.small import bright_or_dark, convolutional, task_on
from tests.robustprune.training.keeper import Keeper, KilledError, killed_after

SETTINGS: dict[str, Any] = {
    "epochs": 4,
    "batch_size": 8,
    "learning_rate": 0.05,
    "schedule": "one-cycle",
}


def fit(
    classifier: Classifier,
    *,
    progress: Progress = NOWHERE,
    attacked: bool = False,
    masks: Masks | None = None,
    chosen_by: Callable[[nn.Module], float] | None = None,
    **changes: Any,
) -> int:
    # A last batch of a single image, which batch norm cannot take.
    task = task_on(bright_or_dark(33), held_out=bright_or_dark(16, seed=1))
    generator = torch.Generator().manual_seed(7)
    attack = configured(PgdSettings(epsilon=0.02, step_size=0.01, steps=2, random_start=True), generator)
    objective = Objective(task=task, attack=attack if attacked else None)
    settings = SgdTraining(**{**SETTINGS, **changes})
    return train(
        classifier,
        objective=objective,
        settings=settings,
        generator=generator,
        masks=masks,
        chosen_by=chosen_by or task.chosen_by(objective.attack, settings.batch_size),
        progress=progress,
    )


def state(classifier: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in classifier.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_classifier_learns_and_is_left_in_eval_mode() -> None:
    classifier = convolutional()
    fit(classifier, epochs=12)
    assert accuracy(classifier, bright_or_dark(64, seed=2), batch_size=16, device=torch.device("cpu")) > 0.95
    assert not any(module.training for module in classifier.modules())


def test_the_best_epoch_is_kept_and_the_earliest_among_equals() -> None:
    reached = [0.5, 0.75, 0.5, 0.75]
    seen: list[dict[str, Tensor]] = []

    def scripted(network: nn.Module) -> float:
        seen.append(state(network))
        return reached[len(seen) - 1]

    classifier = convolutional()
    assert fit(classifier, chosen_by=scripted) == 2
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
    classifier, task = convolutional().train(), task_on(bright_or_dark(8))
    ((pixels, labels),) = task.batches(8)
    before = state(classifier)
    attack = configured(PgdSettings(epsilon=0.05, step_size=0.02, steps=3), torch.Generator())
    attacked = Objective(task=task, attack=attack).attacked(classifier, pixels, labels)
    assert same(before, state(classifier))
    assert classifier.training
    assert (attacked - pixels).abs().max() <= 0.05 + 1e-6
    plain = Objective(task=task)
    assert plain(classifier.eval(), attacked, labels) > plain(classifier, pixels, labels)


def test_clean_and_attacked_images_are_learnt_in_the_same_pass() -> None:
    # One of batch norm's passes, so that its statistics are of both halves, and the loss is the sum of theirs.
    classifier, task = convolutional().train(), task_on(bright_or_dark(8))
    ((pixels, labels),) = task.batches(8)
    attack = configured(PgdSettings(epsilon=0.05, step_size=0.02, steps=3), torch.Generator())
    objective = Objective(task=task, attack=attack, clean_too=True)
    attacked = objective.attacked(classifier, pixels, labels)
    together = nn.functional.cross_entropy(convolutional().train()(torch.cat([pixels, attacked])), labels.repeat(2))
    torch.testing.assert_close(objective(classifier, pixels, labels), 2 * together)
    assert classifier.get_buffer("network.1.num_batches_tracked") == 1


def test_a_loss_that_is_no_number_ends_a_training() -> None:
    with pytest.raises(DivergedError, match="in epoch 1 of 4"):
        fit(convolutional(), learning_rate=1e30, schedule="constant")


def test_a_classifier_that_answers_no_number_does_not_pass_for_one_that_was_trained() -> None:
    # Batch norm hides it in training: only its statistics, which serve in eval mode, overflow.
    classifier = convolutional()
    classifier.get_buffer("network.1.running_var").fill_(float("nan"))
    with pytest.raises(DivergedError, match="answers NaN"):
        fit(classifier, epochs=1)


@pytest.mark.parametrize("size", [72, 120, 138])
def test_the_first_epoch_is_kept_where_nothing_moves(size: int) -> None:
    task = task_on(bright_or_dark(32), held_out=bright_or_dark(size, seed=1))
    settings = SgdTraining(
        epochs=3, batch_size=16, learning_rate=1e-30, schedule="constant", weight_decay=0, momentum=0
    )
    generator, classifier = torch.Generator().manual_seed(0), convolutional().eval()
    norm = classifier.get_submodule("network.1")
    assert isinstance(norm, nn.BatchNorm2d)
    norm.momentum = 0.0
    kept = train(
        classifier,
        objective=Objective(task=task),
        settings=settings,
        generator=generator,
        chosen_by=task.chosen_by(None, settings.batch_size),
    )
    assert kept == 1


@pytest.mark.parametrize("attacked", [False, True])
def test_weights_that_are_masked_stay_exactly_zero_and_the_others_train(attacked: bool) -> None:
    classifier = convolutional()
    masks = {"network.0": torch.rand(classifier.get_parameter("network.0.weight").shape) < 0.5}
    masking.apply(masks, classifier)
    before = state(classifier)
    seen: list[Tensor] = []

    def reached(network: nn.Module) -> float:
        seen.append(network.get_parameter("network.0.weight").detach().clone())
        return float(len(seen))

    assert fit(classifier, masks=masks, attacked=attacked, chosen_by=reached) == SETTINGS["epochs"]
    assert len(seen) == SETTINGS["epochs"]
    for weight in (*seen, classifier.get_parameter("network.0.weight")):
        assert torch.equal(weight != 0, masks["network.0"])
    assert not torch.equal(classifier.get_parameter("network.0.weight"), before["network.0.weight"])
    assert not torch.equal(classifier.get_parameter("network.5.weight"), before["network.5.weight"])


def test_dropout_draws_from_the_seed_alone() -> None:
    states = []
    for noise in (1, 2):
        classifier = convolutional()
        assert isinstance(classifier.network, nn.Sequential)
        classifier.network.insert(3, nn.Dropout(0.5))
        torch.manual_seed(noise)
        fit(classifier)
        states.append(state(classifier))
    assert same(*states)


def test_a_network_with_dropout_goes_on_within_an_epoch_to_the_same_bits() -> None:
    def fitted(progress: Progress) -> dict[str, Tensor]:
        classifier = convolutional()
        assert isinstance(classifier.network, nn.Sequential)
        classifier.network.insert(3, nn.Dropout(0.5))
        fit(classifier, progress=progress)
        return state(classifier)

    for moment in (1, 2):
        keeper = Keeper(last=moment, is_due=True)
        with pytest.raises(KilledError):
            fitted(keeper)
        assert same(fitted(NOWHERE), fitted(Keeper(keeper.kept)))


@pytest.mark.parametrize("images", [9, 16, 17, 33])
def test_steps_are_counted_as_batches_are_drawn(images: int) -> None:
    task = task_on(bright_or_dark(images))
    drawn = list(task.batches(8, generator=torch.Generator()))
    assert len(drawn) == task.steps(images, 8)
    assert all(len(labels) > 1 for _, labels in drawn)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("exponential", [0.1, 0.1, 0.05, 0.05]), ("constant", [0.1] * 4)],
)
def test_the_learning_rate_falls_as_told(schedule: str, expected: list[float]) -> None:
    settings = SgdTraining.model_validate({"epochs": 2, "learning_rate": 0.1, "schedule": schedule, "decay": 0.5})
    assert [settings.learning_rate_at(step, 2) for step in range(4)] == pytest.approx(expected)
