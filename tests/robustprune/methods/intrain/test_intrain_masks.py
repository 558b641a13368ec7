"""Masks of channels as a training carries them: the exact gradients, steps and rules."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustprune.inference.cost import size
from robustprune.methods.intrain.channel_masks import ChannelMasks
from robustprune.methods.intrain.operations import Operations
from robustprune.methods.intrain.settings import IntrainSettings
from robustprune.structures import CoupledGroup, Members


def chain() -> tuple[nn.Module, list[CoupledGroup]]:
    """Return three layers of c = 144, 144, 36 with n = 3, 4, 5, 6 channels, of which the 4 and the 5 may go."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1), nn.Conv2d(5, 6, 3, stride=2, padding=1)
    )

    def group(layer: str, reader: str, channels: int) -> CoupledGroup:
        every = Members(torch.arange(channels), torch.arange(channels))
        return CoupledGroup(decisions=channels, filters={layer: every}, readers={reader: every})

    return network, [group("0", "1", 4), group("1", "2", 5)]


FULL = 144 * 3 * 4 + 144 * 4 * 5 + 36 * 5 * 6
FIRST, SECOND = 10 * (144 * 3 + 144 * 5) / FULL, 10 * (144 * 4 + 36 * 6) / FULL
"""Gradients of L_HW with respect to every mask of the two groups, b being 10."""


def masks_of(*, target: float = 0.3, steps_per_epoch: int = 1, **options: Any) -> ChannelMasks:
    network, groups = chain()
    given: dict[str, Any] = {"epochs": 100, "start_epoch": 0, "end_epoch": 100, "strength": 10.0, "mask_decay": 0.0}
    return ChannelMasks(
        network,
        groups,
        Operations(network, groups, size(network, torch.zeros(1, 3, 4, 4)).layer_macs),
        target=target,
        settings=IntrainSettings(**{**given, "mask_learning_rate": 0.01, **options}),
        steps_per_epoch=steps_per_epoch,
        removes=True,
    )


def step(masks: ChannelMasks) -> None:
    """Take one step under a task that has no loss."""
    masks.weights()
    penalty = masks.penalty()
    assert penalty is not None
    penalty.backward()
    masks.after_step()


def run(masks: ChannelMasks, epochs: int, *, steps: int = 1) -> None:
    for epoch in range(1, epochs + 1):
        masks.before_epoch(epoch)
        for _ in range(steps):
            step(masks)
        masks.after_epoch(epoch)


def gradient(masks: ChannelMasks) -> Tensor:
    masks.weights()
    penalty = masks.penalty()
    assert penalty is not None
    penalty.backward()
    assert masks.masks.grad is not None
    return masks.masks.grad


def test_the_pull_is_the_same_for_every_mask_of_a_layer() -> None:
    assert pytest.approx(2.0253165) == FIRST
    assert pytest.approx(1.3924051) == SECOND
    masks = masks_of()
    masks.before_epoch(1)
    torch.testing.assert_close(gradient(masks), torch.tensor([FIRST] * 4 + [SECOND] * 5))


def test_batches_of_an_epoch_share_the_pull() -> None:
    masks = masks_of(steps_per_epoch=4)
    masks.before_epoch(1)
    torch.testing.assert_close(4 * gradient(masks), torch.tensor([FIRST] * 4 + [SECOND] * 5))


@pytest.mark.parametrize("target", [2 / 3, 0.5, 0.3])
def test_at_the_target_or_below_it_nothing_pulls(target: float) -> None:
    masks = masks_of(target=target, mask_decay=0.1)
    masks.before_epoch(1)
    with torch.no_grad():
        masks.masks[1:4] = masks.masks[5:9] = 0.0
    # One channel of each group: a good deal less than asked.
    assert masks.left * FULL == 144 * 3 + 144 + 36 * 6
    assert not gradient(masks).any()


def test_exactly_at_the_target_the_gradient_is_zero() -> None:
    masks = masks_of(target=(FULL - 144 * (3 + 5)) / FULL)
    masks.before_epoch(1)
    with torch.no_grad():
        masks.masks[2] = 0.05
    assert not gradient(masks).any()


@pytest.mark.parametrize("how", ["batch", "epoch"])
def test_a_constant_pull_takes_a_mask_to_the_threshold_in_so_many_steps(how: str) -> None:
    needed = math.ceil((1 - 0.1) / (0.01 * FIRST))
    assert needed == 45
    masks = masks_of(step=how)
    run(masks, needed - 1)
    assert masks.by_group[0].all()
    run(masks, 1)
    # They cross together, and one channel of a group stays whatever its mask.
    assert masks.by_group[0].tolist() == [True, False, False, False]
    assert masks.by_group[1].all()


def test_decay_alone_is_exponential() -> None:
    masks = masks_of(strength=0.0, mask_decay=0.2, mask_learning_rate=0.05)
    run(masks, 7)
    torch.testing.assert_close(masks.masks.detach(), torch.full((9,), (1 - 0.05 * 0.2) ** 7))


def test_a_target_of_1_prunes_nothing() -> None:
    masks = masks_of(target=1.0, mask_decay=1.0, mask_learning_rate=0.5)
    with torch.no_grad():
        masks.masks.fill_(-1.0)
    for epoch in (1, 100):
        masks.before_epoch(epoch)
        assert masks.penalty() is None
        assert not masks.weights()
        masks.after_epoch(epoch)
        assert masks.left == 1
        assert masks.stay.all()


@pytest.mark.parametrize("how", ["batch", "epoch"])
def test_masks_are_pulled_from_the_first_of_their_epochs_to_the_last(how: str) -> None:
    masks = masks_of(step=how, epochs=9, start_epoch=2, end_epoch=5, steps_per_epoch=3)
    expected = []
    for epoch in range(1, 10):
        masks.before_epoch(epoch)
        for _ in range(3):
            masks.weights()
            penalty = masks.penalty()
            if penalty is not None:
                penalty.backward()
            masks.after_step()
        masks.after_epoch(epoch)
        expected.append(1 - 0.01 * FIRST * min(3, max(0, epoch - 2)))
        torch.testing.assert_close(masks.masks[0].item(), expected[-1])
        assert (penalty is None) == (epoch > 5)


def test_what_is_frozen_are_the_last_masks_that_met_the_target() -> None:
    masks = masks_of(target=0.6, epochs=4, end_epoch=2)
    kept = torch.tensor([True, True, False, True, True, True, False, False, True])
    masks.before_epoch(1)
    with torch.no_grad():
        masks.masks[~kept] = 0.0
    step(masks)
    with torch.no_grad():
        masks.masks.fill_(1.0)  # as if the task took all of them back
    masks.after_epoch(1)
    assert masks.stay.all()
    masks.before_epoch(2)
    masks.after_epoch(2)
    assert masks.stay.equal(kept)
    masks.before_epoch(3)
    assert masks.penalty() is None
    masks.after_epoch(3)
    assert masks.left == (144 * 3 * 3 + 144 * 3 * 3 + 36 * 3 * 6) / FULL
    rows = masks.history.tolist()
    assert rows[0] == [1.0, 10 * (1 - 0.6), 9]
    assert rows[1] == rows[2] == [masks.left, 0.0, 6]


def test_a_target_that_is_not_met_leaves_the_masks_of_the_moment() -> None:
    masks = masks_of(target=0.3, epochs=2, end_epoch=1)
    masks.before_epoch(1)
    with torch.no_grad():
        masks.masks[0] = 0.0
    masks.after_epoch(1)
    assert masks.stay.tolist() == [False] + [True] * 8


def test_where_the_published_rate_would_not_do_it_is_as_large_as_it_takes() -> None:
    mean = (4 * FIRST + 5 * SECOND) / 9
    for steps_per_epoch in (1, 7):
        masks = masks_of(mask_learning_rate=None, end_epoch=20, steps_per_epoch=steps_per_epoch)
        assert masks.learning_rate == pytest.approx(2 * 0.9 / (mean * 20))
    assert masks_of(mask_learning_rate=None, epochs=1000, end_epoch=1000).learning_rate == 0.01
    assert masks_of(mask_learning_rate=None, strength=0.0).learning_rate == 0.01
    # An average mask is at the threshold after half of the epochs.
    masks = masks_of(mask_learning_rate=None, end_epoch=20)
    assert 1 - masks.learning_rate * mean * 10 == pytest.approx(0.1)


def test_the_lower_the_target_the_stronger_the_pull() -> None:
    assert [IntrainSettings().strength_to(target) for target in (1.0, 0.125, 0.001)] == pytest.approx([10, 40, 1000])
    assert IntrainSettings(strength=7.0).strength_to(0.125) == 7
    masks = masks_of(strength=None, target=0.125)
    masks.before_epoch(1)
    torch.testing.assert_close(gradient(masks), 4 * torch.tensor([FIRST] * 4 + [SECOND] * 5))
    # How fast masks can be is none of its business.
    assert masks_of(strength=None, target=0.125, mask_learning_rate=None, end_epoch=20).learning_rate == (
        masks_of(mask_learning_rate=None, end_epoch=20).learning_rate
    )
