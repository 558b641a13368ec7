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
from robustprune.detection.darknet import Detector
from robustprune.detection.data.samples import Samples, flip_horizontally
from robustprune.detection.losses import ciou
from robustprune.detection.objective import Objective
from robustprune.detection.training import Training, batches, train
from robustprune.structures import STRUCTURES
from robustprune.structures import masks as masking
from robustprune.training.schedules import one_cycle
from tests.robustprune.detection.pruned import drawn_masks

ROBUST = Objective(loss=ciou, attack=partial(pgd, epsilon=0.05, step_size=0.05, steps=1))
CLEAN = Objective(loss=ciou)
CPU = torch.device("cpu")


def trained(
    detector: Detector,
    samples: Samples,
    *,
    seed: int = 0,
    objective: Objective = ROBUST,
    masks: dict[str, Tensor] | None = None,
    **settings: object,
) -> Detector:
    """Return a copy of `detector` after two epochs of two steps, or as `settings` say."""
    detector = copy.deepcopy(detector)
    options = {"epochs": 2, "batch_size": 3, "learning_rate": 0.01} | settings
    train(
        detector,
        samples,
        objective=objective,
        settings=Training.model_validate(options),
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
    layers = nano.prunable_layers()
    masks = drawn_masks(nano, structure)
    masking.apply(masks, layers)
    finetuned = trained(nano, samples, masks=masks)
    for name, layer in finetuned.prunable_layers(heads=True).items():
        before, after = nano.get_submodule(name).weight, layer.weight
        kept = masks.get(name, torch.ones_like(after, dtype=torch.bool))
        assert (after[~kept] == 0).all()
        assert (after[kept] != before[kept]).float().mean() > 0.99


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
    batch = samples.batch(range(len(samples)))

    def loss(detector: Detector) -> float:
        with torch.no_grad():
            return CLEAN(copy.deepcopy(detector).train(), batch.images, batch.targets).item()

    finetuned = trained(nano, samples, objective=CLEAN, epochs=10)
    assert loss(finetuned) < 0.7 * loss(nano)
    assert not any(module.training for module in finetuned.modules())


class Scripted:
    """A loss that takes its values from a list, in turn."""

    def __init__(self, values: Sequence[float]) -> None:
        self.values = iter(values)

    def __call__(self, outputs: Sequence[Tensor], *_: object) -> Tensor:
        return 0 * outputs[0].sum() + next(self.values)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_training(nano: Detector, samples: Samples, value: float) -> None:
    # Two steps an epoch, so the fourth value is of the second.
    objective = Objective(loss=Scripted([1, 1, 1, value]))
    with pytest.raises(DivergedError, match=f"the loss became {value} in epoch 2 of 3"):
        trained(nano, samples, objective=objective, epochs=3)


def test_the_first_step_of_adam_has_the_length_of_the_learning_rate(nano: Detector, samples: Samples) -> None:
    moved = trained(nano, samples, schedule="constant", learning_rate=0.003, weight_decay=0.0, epochs=1, batch_size=6)
    change = (moved.layers[3].conv.weight - nano.layers[3].conv.weight).abs()
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
        trained(nano, samples, objective=CLEAN, schedule=schedule, epochs=3, batch_size=2, learning_rate=0.01)
    finally:
        hook.remove()
    assert rates == [pytest.approx(0.01 * factor((step + 0.5) / 9), abs=1e-12) for step in range(9)]


@pytest.mark.parametrize("total", range(1, 11))
def test_one_cycle_stays_in_bounds_and_rises_before_it_falls(total: int) -> None:
    factors = [one_cycle((step + 0.5) / total) for step in range(total)]
    assert all(0 < factor <= 1 for factor in factors), "a step of length zero would be wasted"
    top = factors.index(max(factors))
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)


def test_one_cycle_peaks_after_a_quarter() -> None:
    assert one_cycle(0.125) == 0.5
    assert one_cycle(0.25) == 1
    assert one_cycle(0.625) == pytest.approx(0.5)


def test_batches_hold_every_sample_once_in_an_order_of_the_seed(samples: Samples) -> None:
    def order(seed: int, count: int | None = None) -> list[int]:
        found = []
        for images, targets in batches(
            samples,
            batch_size=4,
            flip=False,
            generator=torch.Generator().manual_seed(seed),
            device=CPU,
            count=count,
        ):
            assert images.is_contiguous(memory_format=torch.channels_last)
            for position, image in enumerate(images):
                index = next(i for i in range(len(samples)) if torch.equal(samples[i].image, image))
                assert torch.equal(targets[targets[:, 0] == position, 2:], samples[index].boxes)
                found.append(index)
        return found

    assert sorted(order(0)) == list(range(6))
    assert len({tuple(order(seed)) for seed in range(5)}) > 1
    assert order(3) == order(3)
    assert sorted(order(0, count=4)) == [0, 1, 2, 3]
    assert sorted(order(0, count=100)) == list(range(6))


def test_about_half_of_the_images_are_mirrored_with_their_boxes(samples: Samples) -> None:
    generator = torch.Generator().manual_seed(0)
    mirrored = []
    for _ in range(10):
        ((images, targets),) = batches(samples, batch_size=6, flip=True, generator=generator, device=CPU)
        for position, image in enumerate(images):
            index, flipped = next(
                (i, flip)
                for i in range(len(samples))
                for flip in (False, True)
                if torch.equal(samples[i].image.flip(-1) if flip else samples[i].image, image)
            )
            expected = samples.batch([index])
            _, wanted = flip_horizontally(expected.images, expected.targets, torch.tensor([flipped]))
            assert torch.equal(targets[targets[:, 0] == position, 1:], wanted[:, 1:])
            mirrored.append(flipped)
    assert 15 < sum(mirrored) < 45
