"""A training tells of every step how far it is, and its mean loss in the epoch so far."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from robustprune.core.progress import NOWHERE
from robustprune.training.epochs import Epochs
from tests.robustprune.training.keeper import Told


def test_the_loss_is_the_mean_of_the_epoch_so_far() -> None:
    told = Told()
    epochs = Epochs(told, epochs=3, steps_per_epoch=2, done=1)
    for epoch, taken, loss in ((2, 1, 1.0), (2, 2, 4.0), (3, 1, 8.0)):
        epochs.step(epoch, taken, torch.tensor(loss, requires_grad=True))
    assert told.reports == [
        (1, 3, "epoch", {}),
        (1.5, 3, "epoch", {"loss": 1.0}),
        (2.0, 3, "epoch", {"loss": 2.5}),
        (2.5, 3, "epoch", {"loss": 8.0}),
    ]


def test_within_an_epoch_that_was_begun_before_it_is_of_the_steps_since() -> None:
    told = Told()
    Epochs(told, epochs=1, steps_per_epoch=10, done=0).step(1, 8, torch.tensor(3.0))
    assert told.reports[-1] == (0.8, 1, "epoch", {"loss": 3.0})


def test_the_losses_that_are_told_stay_as_they_are() -> None:
    epochs, losses = Epochs(NOWHERE, epochs=1, steps_per_epoch=2, done=0), torch.tensor([1.0, 2.0])
    for taken in (1, 2):
        epochs.step(1, taken, losses[taken - 1])
    assert losses.tolist() == [1.0, 2.0]
    assert float(epochs) == 1.5


def test_a_keeper_that_knows_of_no_reports_is_told_nothing() -> None:
    keeper: Any = SimpleNamespace(is_due=False, load=lambda: None, save=lambda state: None)
    Epochs(keeper, epochs=1, steps_per_epoch=1, done=0).step(1, 1, torch.tensor(1.0))
