"""Rows of masked filters: what is trained in place of the masked classifier ends where that would have."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from robustprune.classification.task import ClassificationTask
from tests.robustprune.studies.classification.tiny_study import TRAINING, cell, published, row_of, study


def test_a_row_is_that_of_the_masked_network_but_for_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    own, of = study(), cell(structure="structured", ratio=0.5)
    checkpoint = published(own.pretrain(of))
    narrow = row_of(own, of, checkpoint)

    def never(*_: Any) -> None:
        return None

    monkeypatch.setattr(ClassificationTask, "narrowed", never)
    masked = row_of(own, of, checkpoint)
    exact = ("params_kept", "macs", "channels_kept", "best_epoch", "accuracy_clean_hard", "accuracy_adv_hard")
    assert {name: narrow[name] for name in exact} == {name: masked[name] for name in exact}
    assert narrow["accuracy_clean"] == pytest.approx(masked["accuracy_clean"], abs=1 / 12 + 1e-9)
    assert narrow["median_l2"] == pytest.approx(masked["median_l2"], rel=0.05)


def test_without_a_training_what_is_measured_is_the_hard_pruned_network_to_the_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, of = study(retrain={**TRAINING, "epochs": 0}), cell(structure="structured", ratio=0.5)
    states: list[dict[str, Any]] = []

    def noting(measure: Callable[..., Any]) -> Callable[..., Any]:
        def noted(task: ClassificationTask, network: nn.Module, **options: Any) -> Any:
            states.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
            return measure(task, network, **options)

        return noted

    for measure in (ClassificationTask.accuracies, ClassificationTask.perturbations):
        monkeypatch.setattr(ClassificationTask, measure.__name__, noting(measure))
    checkpoint = published(own.pretrain(of))
    row_of(own, of, checkpoint)
    hard, final = states
    # Measured without what is masked, both times.
    assert sum(tensor.numel() for tensor in hard.values()) < 0.6 * sum(array.size for array in checkpoint.values())
    assert all(torch.equal(tensor, final[name]) for name, tensor in hard.items())
