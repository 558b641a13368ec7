"""Catastrophic overfitting: what is looked at, when a training ends, and what is kept then, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustprune.attacks import FastAtSettings, FgsmSettings, PgdSettings, configured
from robustprune.core.progress import NOWHERE, Progress
from robustprune.core.settings import Settings
from robustprune.studies.classification.training import SgdTraining
from robustprune.task import Batch
from robustprune.training import Objective, train
from robustprune.training.overfitting import Look, Overfitting, Watch, fell
from tests.robustprune.classification.small import ByBrightness, bright_or_dark, convolutional, task_on
from tests.robustprune.training.keeper import Keeper, KilledError, killed_after
from tests.support.linear_regression import LinearRegression

EPSILON = 0.03
ADVERSARY = FastAtSettings(epsilon=EPSILON)
TRAINING = SgdTraining(epochs=4, batch_size=8, learning_rate=0.05, schedule="one-cycle")


def watch_of(task: Any, adversary: Settings = ADVERSARY, **settings: Any) -> Watch:
    found = Watch.of(Overfitting(**settings), task=task, adversary=adversary, seed=5)
    assert found is not None
    return found


class Fitted:
    """A classifier after a training, watched as told; how its states were after each epoch, and which was kept."""

    def __init__(
        self,
        *,
        watched: bool = True,
        chosen_by: Callable[[nn.Module], float] | None = None,
        progress: Progress = NOWHERE,
        **options: Any,
    ) -> None:
        task = task_on(bright_or_dark(33), held_out=bright_or_dark(16, seed=1))
        generator = torch.Generator().manual_seed(7)
        self.network = convolutional()
        self.watch = watch_of(task) if watched else None
        self.kept = train(
            self.network,
            objective=Objective(task=task, attack=configured(ADVERSARY, generator)),
            settings=TRAINING,
            generator=generator,
            chosen_by=chosen_by,
            watch=self.watch,
            progress=progress,
            **options,
        )
        self.state = state(self.network)


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


class Scripted:
    """Lets watches see what a script says of each epoch, and remembers the network then."""

    def __init__(self, patch: pytest.MonkeyPatch, standings: list[float]) -> None:
        self.states: dict[int, dict[str, Tensor]] = {}

        def look(_: Watch, epoch: int, network: nn.Module, batches: Any) -> Look:
            self.states[epoch] = state(network)
            return Look(standings[epoch - 1], 1 - standings[epoch - 1], 0.5)

        patch.setattr(Watch, "_look", look)


# The rule


@pytest.mark.parametrize(
    ("standings", "ends"), [([0.6, 0.45, 0.26], None), ([0.6, 0.39], 2), ([0.9, 0.7], None), ([0.1, 0.9, 0.6], 3)]
)
def test_it_has_overfitted_where_it_fell_by_more_than_a_fifth_in_an_epoch(
    standings: list[float], ends: int | None
) -> None:
    found = [
        epoch
        for epoch, (before, now) in enumerate(zip([float("nan"), *standings], standings, strict=False), start=1)
        if fell(before, now, drop=0.2)
    ]
    assert found == ([] if ends is None else [ends])


def test_the_state_before_is_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted(monkeypatch, [0.6, 0.39, 0.0, 0.0])
    fitted = Fitted()
    assert fitted.kept == 1
    assert sorted(script.states) == [1, 2]
    assert same(fitted.state, script.states[1])
    assert not same(fitted.state, script.states[2])
    assert not any(module.training for module in fitted.network.modules())
    assert fitted.watch is not None
    assert fitted.watch.seen == (2, 0.61, 0.5)


def test_a_fall_under_one_step_too_is_no_overfitting(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(_: Watch, epoch: int, network: nn.Module, batches: Any) -> Look:
        return Look([0.6, 0.2, 0.5, 0.1][epoch - 1], [0.0, 0.09, 0.0, 0.1][epoch - 1], 0.9)

    monkeypatch.setattr(Watch, "_look", look)
    fitted = Fitted()
    assert fitted.watch is not None
    assert (fitted.kept, fitted.watch.seen.epoch) == (3, 4)


def test_a_training_that_never_fell_goes_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    Scripted(monkeypatch, [0.6, 0.45, 0.26, 0.1])
    fitted, undisturbed = Fitted(), Fitted(watched=False)
    assert fitted.kept == undisturbed.kept == 4
    assert same(fitted.state, undisturbed.state)
    assert fitted.watch is not None
    assert fitted.watch.seen == (0, 0.9, 0.5)


def test_the_best_epoch_is_one_before_it_overfitted(monkeypatch: pytest.MonkeyPatch) -> None:
    # Under a single step the overfitted one would look best.
    script, asked = Scripted(monkeypatch, [0.6, 0.6, 0.3, 0.3]), []

    def chosen_by(network: nn.Module) -> float:
        asked.append(state(network))
        return [0.5, 0.4, 1.0, 1.0][len(asked) - 1]

    fitted = Fitted(chosen_by=chosen_by)
    assert len(asked) == 2
    assert fitted.kept == 1
    assert same(fitted.state, script.states[1])


def test_masks_hold_in_the_state_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    Scripted(monkeypatch, [0.9, 0.1, 0.1, 0.1])
    mask = torch.rand(convolutional().get_parameter("network.0.weight").shape) < 0.5
    fitted = Fitted(masks={"network.0": mask})
    assert fitted.kept == 1
    assert (fitted.state["network.0.weight"][~mask] == 0).all()


# Resumption


@pytest.mark.parametrize("chosen", [False, True])
@pytest.mark.parametrize("standings", [[0.9, 0.8, 0.7, 0.6], [0.9, 0.8, 0.1, 0.1]])
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_cut_off_after_an_epoch_it_ends_at_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, chosen: bool, standings: list[float], epoch: int
) -> None:
    Scripted(monkeypatch, standings)
    ends = 3 if standings[2] < 0.5 else 4
    options: dict[str, Any] = {"chosen_by": lambda network: -network.get_parameter("network.5.bias").sum().item()}

    def work(progress: Progress) -> Fitted:
        return Fitted(progress=progress, **(options if chosen else {}))

    whole, resumed = work(NOWHERE), killed_after(epoch, work, epochs=ends)
    assert resumed.kept == whole.kept
    assert same(resumed.state, whole.state)
    assert resumed.watch is not None
    assert whole.watch is not None
    assert resumed.watch.seen == whole.watch.seen
    if not chosen:
        assert whole.kept == (2 if ends == 3 else 4)


@pytest.mark.parametrize("moment", [1, 3, 7])
def test_cut_off_within_an_epoch_it_sees_the_same(moment: int) -> None:
    keeper = Keeper(last=moment, is_due=True)
    with pytest.raises(KilledError):
        Fitted(progress=keeper)
    whole, resumed = Fitted(), Fitted(progress=Keeper(keeper.kept))
    assert same(whole.state, resumed.state)
    assert whole.watch is not None
    assert resumed.watch is not None
    assert whole.watch.seen == resumed.watch.seen
    assert torch.equal(whole.watch.tensors["last"], resumed.watch.tensors["last"])


# What is looked at


def test_watching_changes_nothing_of_a_training() -> None:
    assert same(Fitted().state, Fitted(watched=False).state)


def test_the_images_are_the_first_that_the_epoch_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Tensor] = []
    looked: dict[int, list[Tensor]] = {}

    def look(_: Watch, epoch: int, network: nn.Module, batches: Any) -> Look:
        looked[epoch] = [inputs for inputs, _ in batches]
        return Look(1.0, 0.0, 1.0)

    monkeypatch.setattr(Watch, "_look", look)
    task, generator = task_on(bright_or_dark(33)), torch.Generator().manual_seed(7)
    network = convolutional()
    network.register_forward_pre_hook(lambda module, args: trained.append(args[0]) if module.training else None)
    # No attack: what the network is trained on is what the task gave.
    train(
        network,
        objective=Objective(task=task),
        settings=TRAINING,
        generator=generator,
        watch=watch_of(task, images=2 * TRAINING.batch_size - 1),
    )
    assert len(trained) == 4 * 4
    for epoch, batches in looked.items():
        assert len(batches) == 2
        for index, batch in enumerate(batches):
            assert torch.equal(batch, trained[4 * (epoch - 1) + index])


class Trap(nn.Module):
    """Right about every image but where its mean was raised by nearly half a radius: a single step jumps over that."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(10.0))

    def forward(self, images: Tensor) -> Tensor:
        raised = (images.mean(dim=(1, 2, 3)) - 0.5) / EPSILON
        evidence = self.slope * ((raised - 0.5).square() - 0.3**2)
        return torch.stack([-evidence, evidence], dim=1)


def grey(network: nn.Module, **settings: Any) -> Look:
    """Look at images of one grey, of the class that the trap is right about."""
    images = torch.full((6, 3, 16, 16), 0.5)
    task = task_on(bright_or_dark(8))
    batch = Batch(images, torch.ones(6, dtype=torch.int64))
    return watch_of(task, **settings)._look(1, network, [batch, batch])


def test_a_network_that_foils_one_step_and_not_several() -> None:
    # One step ends .86 radii above, where the answer is right; steps of a quarter end at a quarter or three.
    found = grey(Trap())
    assert (found.standing, found.gap) == (0.0, 1.0)
    assert grey(Trap(), steps=1, step_size=1.25).gap == 0.0


def test_a_network_whose_gradient_is_the_same_everywhere_is_as_robust_to_one_step() -> None:
    found = grey(ByBrightness(threshold=0.45, slope=5.0))
    assert (found.standing, found.gap) == (1.0, 0.0)
    assert found.cosine == pytest.approx(1.0)


@pytest.mark.parametrize("part", [0.25, 0.5, 1.0])
def test_without_accuracy_it_is_the_loss_under_one_step_as_a_share_of_that_under_several(part: float) -> None:
    # Residuals r grow by the step times |w| of the whole layer: (r + part ε|w|)² against (r + ε|w|)².
    inputs = torch.full((4, 5), 0.5)
    task = LinearRegression(inputs=inputs, targets=torch.full((4, 1), -3.0))
    network = task.fresh(0)
    weight = network.get_parameter("0.weight")
    single = FgsmSettings(epsilon=EPSILON, step_size=part * EPSILON, random_start=False)
    found = watch_of(task, single, step_size=1.0)._look(1, network, list(task.batches(4)))
    with torch.no_grad():
        residual = float((network(inputs) + 3).mean())
        reach = EPSILON * float(weight.abs().sum())
    expected = (residual + part * reach) ** 2 / (residual + reach) ** 2
    assert found.standing == pytest.approx(expected, rel=1e-5)
    assert found.gap == pytest.approx(1 - expected, abs=1e-5)
    assert found.cosine == pytest.approx(1.0)


def test_which_trainings_are_watched() -> None:
    task = task_on(bright_or_dark(8))
    several = PgdSettings(epsilon=EPSILON, step_size=0.01)
    assert Watch.of(None, task=task, adversary=ADVERSARY, seed=0) is None
    assert Watch.of(Overfitting(), task=task, adversary=several, seed=0) is None
    assert Watch.of(Overfitting(always=True), task=task, adversary=several, seed=0) is not None
    assert Watch.of(Overfitting(), task=task, adversary=FgsmSettings(), seed=0) is not None
