"""The training loop: what it holds fixed, what it depends on, and how it ends."""

import copy
from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from robustprune.attacks import pgd
from robustprune.core.errors import DivergedError
from robustprune.detection.anchors import detector
from robustprune.detection.darknet import Detector
from robustprune.detection.data.samples import Samples
from robustprune.plugins import TaskEntry
from robustprune.structures import STRUCTURES
from robustprune.structures import masks as masking
from robustprune.studies.detection.training import AdamTraining
from robustprune.training import Objective, train
from robustprune.training.schedules import one_cycle
from tests.robustprune.detection.pruned import convolution, drawn_masks
from tests.robustprune.detection.tasks import batch_of, clean, under

robust = partial(under, partial(pgd, epsilon=0.05, step_size=0.05, steps=1))


def trained(
    detector: Detector,
    samples: Samples,
    *,
    seed: int = 0,
    objective: Callable[[Detector, Samples], Objective] = robust,
    masks: dict[str, Tensor] | None = None,
    **settings: object,
) -> Detector:
    """Return a copy of `detector` after two epochs of two steps, or as `settings` say."""
    detector = copy.deepcopy(detector)
    options = {"epochs": 2, "batch_size": 3, "learning_rate": 0.01} | settings
    train(
        detector,
        objective=objective(detector, samples),
        settings=AdamTraining.model_validate(options),
        generator=torch.Generator().manual_seed(seed),
        masks=masks,
    )
    return detector


def same(first: Detector, second: Detector) -> bool:
    return all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items())


@pytest.mark.parametrize("structure", STRUCTURES)
def test_pruned_weights_stay_exactly_zero_and_the_others_train(
    nano: Detector, samples: Samples, structure: str
) -> None:
    masks = drawn_masks(nano, structure)
    masking.apply(masks, nano)
    finetuned = trained(nano, samples, masks=masks)
    for name, layer in finetuned.prunable_layers(heads=True).items():
        before, after = nano.get_parameter(f"{name}.weight"), layer.weight
        kept = masks.get(name, torch.ones_like(after, dtype=torch.bool))
        assert (after[~kept] == 0).all()
        assert (after[kept] != before[kept]).float().mean() > 0.99


def test_gradients_are_cut_by_the_norm_of_what_is_trained(nano: Detector, samples: Samples) -> None:
    masks = drawn_masks(nano, "unstructured", 0.99)  # which leaves filters without weights, whose gradients are huge
    masking.apply(masks, nano)
    norms: list[float] = []

    def watched(optimizer: torch.optim.Optimizer, *_: object) -> None:
        gradients = [each.grad.flatten() for group in optimizer.param_groups for each in group["params"]]
        norms.append(float(torch.cat(gradients).norm()))

    handle = register_optimizer_step_pre_hook(watched)
    try:
        trained(nano, samples, masks=masks, objective=clean, epochs=1, clip_norm=None)
        without = norms[0]
        norms.clear()
        trained(nano, samples, masks=masks, objective=clean, epochs=1, clip_norm=1.001 * without)
    finally:
        handle.remove()
    # A limit just above it cuts nothing: what is pruned has no part in the norm.
    assert norms[0] == pytest.approx(without, rel=1e-6)


def test_the_same_seed_gives_the_same_bits(nano: Detector, samples: Samples) -> None:
    first = trained(nano, samples, seed=1)
    torch.manual_seed(99)  # torch's own generator plays no part
    assert same(first, trained(nano, samples, seed=1))
    assert not same(first, trained(nano, samples, seed=2))


def test_no_epochs_change_nothing_but_the_mode(nano: Detector, samples: Samples) -> None:
    nano.train()
    untrained = trained(nano, samples, epochs=0)
    assert same(untrained, nano)
    assert not any(module.training for module in untrained.modules())


def test_training_lowers_the_loss_and_ends_in_eval_mode(nano: Detector, samples: Samples) -> None:
    batch = batch_of(nano, samples, range(len(samples)))

    def loss(detector: Detector) -> float:
        with torch.no_grad():
            return clean(detector)(copy.deepcopy(detector).train(), *batch).item()

    finetuned = trained(nano, samples, objective=clean, epochs=10)
    assert loss(finetuned) < 0.7 * loss(nano)
    assert not any(module.training for module in finetuned.modules())


def scripted(values: Sequence[float]) -> TaskEntry:
    """Return a loss that takes its values from a list, in turn."""
    remaining = iter(values)

    def loss(outputs: Sequence[Tensor], *_: object) -> Tensor:
        return 0 * outputs[0].sum() + next(remaining)

    return TaskEntry(task="detection", provides=loss)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_training(
    nano: Detector, samples: Samples, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    # Two steps an epoch, so the fourth value is of the second.
    monkeypatch.setattr(detector, "LOSSES", {"scripted": scripted([1, 1, 1, value])})
    nano.loss_name = "scripted"
    with pytest.raises(DivergedError, match=f"the loss became {value} in epoch 2 of 3"):
        trained(nano, samples, objective=clean, epochs=3)


def test_the_first_step_of_adam_has_the_length_of_the_learning_rate(nano: Detector, samples: Samples) -> None:
    moved = trained(nano, samples, schedule="constant", learning_rate=0.003, weight_decay=0.0, epochs=1, batch_size=6)
    change = (convolution(moved, 3).weight - convolution(nano, 3).weight).abs()
    assert change.max().item() == pytest.approx(0.003, rel=1e-3)


@pytest.mark.parametrize(("schedule", "factor"), [("one-cycle", one_cycle), ("constant", lambda progress: 1.0)])
def test_the_learning_rate_follows_the_schedule(
    nano: Detector, samples: Samples, schedule: str, factor: Callable[[float], float]
) -> None:
    rates: list[float] = []
    hook = register_optimizer_step_pre_hook(
        lambda optimizer, *_: rates.extend(group["lr"] for group in optimizer.param_groups)
    )
    try:
        trained(nano, samples, objective=clean, schedule=schedule, epochs=3, batch_size=2, learning_rate=0.01)
    finally:
        hook.remove()
    assert rates == [pytest.approx(0.01 * factor((step + 0.5) / 9), abs=1e-12) for step in range(9)]
