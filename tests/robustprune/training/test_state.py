"""Trainings that are killed: whatever epoch they had reached, they end with the bits of an undisturbed one."""

import copy
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import Tensor

from robustprune.attacks import pgd
from robustprune.core.progress import NOWHERE, Nowhere, Progress
from robustprune.detection.darknet import Detector
from robustprune.detection.data.samples import Samples
from robustprune.structures import masks as masking
from robustprune.studies.detection.training import AdamTraining
from robustprune.training import train
from robustprune.training.state import TrainingState
from tests.robustprune.detection.pruned import drawn_masks
from tests.robustprune.detection.tasks import under
from tests.robustprune.training.keeper import Keeper, KilledError, killed_after

robust = partial(under, partial(pgd, epsilon=0.05, step_size=0.05, steps=1))
EPOCHS = 3

Masks = dict[str, Tensor]


def trained(
    start: Detector, samples: Samples, progress: Progress, *, masks: Masks | None = None, **settings: object
) -> Detector:
    """Return a copy of `start` after a training with a smaller last batch, as settings say."""
    detector = copy.deepcopy(start)
    if masks is not None:
        masking.apply(masks, detector)
    options = {"epochs": EPOCHS, "batch_size": 4, "learning_rate": 0.01} | settings
    train(
        detector,
        objective=robust(detector, samples),
        settings=AdamTraining.model_validate(options),
        generator=torch.Generator().manual_seed(0),
        masks=masks,
        progress=progress,
    )
    return detector


def assert_same(first: Detector, second: Detector) -> None:
    assert list(first.state_dict()) == list(second.state_dict())
    for name, tensor in first.state_dict().items():
        other = second.state_dict()[name]
        assert torch.equal(tensor, other), name
        assert tensor.stride() == other.stride(), name
    for module in second.modules():
        assert not module.training


@pytest.mark.parametrize(
    ("memory_format", "structure", "settings"),
    [
        (torch.channels_last, None, {"schedule": "one-cycle"}),
        (torch.channels_last, "unstructured", {"schedule": "one-cycle"}),
        (torch.channels_last, "structured", {"schedule": "constant"}),
        (torch.channels_last, None, {"flip": False, "clip_norm": None, "weight_decay": 0.0, "learning_rate": 0.001}),
        (torch.contiguous_format, None, {"schedule": "constant"}),
        (torch.contiguous_format, "unstructured", {"flip": False}),
    ],
)
def test_a_killed_training_ends_as_an_undisturbed_one(
    nano: Detector,
    samples: Samples,
    memory_format: torch.memory_format,
    structure: str | None,
    settings: dict[str, Any],
) -> None:
    start = nano.to(memory_format=memory_format)
    masks = None if structure is None else drawn_masks(start, structure)

    def work(progress: Progress) -> Detector:
        return trained(start, samples, progress, masks=masks, **settings)

    undisturbed = work(NOWHERE)
    for epoch in range(1, EPOCHS + 1):
        assert_same(undisturbed, killed_after(epoch, work, epochs=EPOCHS))


def test_a_training_may_be_killed_after_every_epoch(nano: Detector, samples: Samples) -> None:
    keeper = Keeper()
    for _ in range(EPOCHS):
        keeper = Keeper(keeper.kept, last=1)
        with pytest.raises(KilledError):
            trained(nano, samples, keeper)
    assert_same(trained(nano, samples, NOWHERE), trained(nano, samples, Keeper(keeper.kept)))


def test_a_training_may_be_killed_within_an_epoch(nano: Detector, samples: Samples) -> None:
    def killed_at(moment: int) -> Detector:
        keeper = Keeper(last=moment, is_due=True)
        with pytest.raises(KilledError):
            trained(nano, samples, keeper)
        after = Keeper(keeper.kept)
        result = trained(nano, samples, after)
        assert after.saved == EPOCHS - (moment - 1) // per_epoch
        return result

    undisturbed, everything = trained(nano, samples, NOWHERE), Keeper(is_due=True)
    assert_same(undisturbed, trained(nano, samples, everything))
    per_epoch = everything.saved // EPOCHS
    assert per_epoch > 2, "a state after each step, and one after the epoch"
    for moment in (1, 2, per_epoch - 1, per_epoch + 1):
        assert_same(undisturbed, killed_at(moment))


def test_moments_come_back_in_the_memory_format_of_their_parameters() -> None:
    parameter = torch.nn.Parameter(torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last))
    parameter.grad = torch.randn_like(parameter)

    def state(progress: Progress) -> TrainingState:
        optimizer = torch.optim.Adam([parameter])
        generator = torch.Generator()
        return TrainingState(tensors={}, optimizer=optimizer, generator=generator, progress=progress)

    keeper = Keeper()
    before, after = state(keeper), state(keeper)
    before.optimizer.step()
    before.save(7)
    assert after.resume() == (7, None)
    expected, found = (of.optimizer.state[parameter] for of in (before, after))
    assert expected.keys() == found.keys() == {"step", "exp_avg", "exp_avg_sq"}
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
        assert found[name].stride() == tensor.stride(), name


def test_later_epochs_leave_a_state_alone(nano: Detector, samples: Samples) -> None:
    class Album(Keeper):
        """Keeps the arrays of every state, besides what they were."""

        states: ClassVar[list[tuple[dict[str, np.ndarray[Any, Any]], bytes]]] = []

        def save(self, state: Any) -> None:
            arrays = state()
            self.states.append((arrays, safetensors.numpy.save(arrays)))

    trained(nano, samples, Album())
    assert len(Album.states) == EPOCHS
    for arrays, before in Album.states:
        assert safetensors.numpy.save(arrays) == before


def test_a_state_is_built_only_when_it_is_asked_for(
    nano: Detector, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Busy(Nowhere):
        def __init__(self) -> None:
            self.moments = 0

        def save(self, state: object) -> None:
            self.moments += 1

    def to_arrays(*_: object) -> None:
        raise AssertionError("nobody asked")

    monkeypatch.setattr("robustprune.training.state.to_arrays", to_arrays)
    busy = Busy()
    trained(nano, samples, busy)
    assert busy.moments == EPOCHS
