"""What goes along with a training: when it is asked and told, and that its own state comes back with the training's."""

import copy
from collections.abc import Mapping
from functools import partial

import pytest
import torch
from torch import Tensor

from robustprune.core.progress import NOWHERE, Progress
from robustprune.detection.darknet import Detector
from robustprune.detection.data.samples import Samples
from robustprune.studies.detection.training import AdamTraining
from robustprune.training import train
from robustprune.training.companion import Companion
from tests.robustprune.detection.tasks import clean
from tests.robustprune.training.keeper import Keeper, KilledError, killed_after

EPOCHS = 4


class Pull(Companion):
    """Pulls a layer towards an anchor that follows it, an epoch behind, and ends after so many epochs."""

    def __init__(self, detector: Detector, *, last: int = EPOCHS) -> None:
        name = next(name for name, _ in detector.named_parameters() if name.endswith("weight"))
        self.weight, self.last, self.told = detector.get_parameter(name), last, list[str]()
        self.tensors: Mapping[str, Tensor] = {"anchor": torch.zeros_like(self.weight), "steps": torch.zeros(())}

    def penalty(self) -> Tensor:
        return (self.weight - self.tensors["anchor"]).square().sum()

    def before_epoch(self, epoch: int) -> None:
        self.told.append(f"before {epoch}")

    def after_backward(self) -> None:
        assert self.weight.grad is not None

    def after_step(self) -> None:
        self.tensors["steps"].add_(1)

    def after_epoch(self, epoch: int) -> None:
        self.told.append(f"after {epoch}")
        self.tensors["anchor"].copy_(self.weight.detach())

    def stops(self, epoch: int) -> bool:
        return epoch == self.last


def trained(start: Detector, samples: Samples, progress: Progress, *, last: int = EPOCHS) -> tuple[Detector, Pull]:
    detector = copy.deepcopy(start)
    companion = Pull(detector, last=last)
    kept = train(
        detector,
        objective=clean(detector, samples),
        settings=AdamTraining(epochs=EPOCHS, batch_size=4, learning_rate=0.01),
        generator=torch.Generator().manual_seed(0),
        companion=companion,
        progress=progress,
    )
    assert kept == last
    return detector, companion


def assert_same(one: tuple[Detector, Pull], other: tuple[Detector, Pull]) -> None:
    for name, tensor in one[0].state_dict().items():
        assert torch.equal(tensor, other[0].state_dict()[name]), name
    for name, tensor in one[1].tensors.items():
        assert torch.equal(tensor, other[1].tensors[name]), name


def test_a_companion_is_told_of_each_epoch_and_step(nano: Detector, samples: Samples) -> None:
    detector, companion = trained(nano, samples, NOWHERE)
    steps = -(-len(samples) // 4)
    assert companion.told == [f"{when} {epoch}" for epoch in range(1, EPOCHS + 1) for when in ("before", "after")]
    assert companion.tensors["steps"] == EPOCHS * steps
    alone = copy.deepcopy(nano)
    train(
        alone,
        objective=clean(alone, samples),
        settings=AdamTraining(epochs=EPOCHS, batch_size=4, learning_rate=0.01),
        generator=torch.Generator().manual_seed(0),
    )
    own, other = (dict(network.named_parameters()) for network in (detector, alone))
    name = next(name for name in own if name.endswith("weight"))
    assert not torch.equal(own[name], other[name]), "the penalty has a gradient"


@pytest.mark.parametrize("last", [2, EPOCHS])
def test_a_killed_training_takes_its_companion_up_again(nano: Detector, samples: Samples, last: int) -> None:
    work = partial(trained, nano, samples, last=last)
    undisturbed = work(NOWHERE)
    for epoch in range(1, last + 1):
        assert_same(undisturbed, killed_after(epoch, lambda progress: work(progress), epochs=last))
    within = Keeper(last=1, is_due=True)
    with pytest.raises(KilledError):
        work(within)
    again = work(Keeper(within.kept))
    assert_same(undisturbed, again)
    assert again[1].told[0] == "after 1", "an epoch does not begin twice"
