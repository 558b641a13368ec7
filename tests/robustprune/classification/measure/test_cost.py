"""What a classifier costs, against sums by hand."""

from typing import Any

import pytest
import torch
from torch import nn

from robustprune.classification.classifier import CIFAR10, Classifier
from robustprune.classification.measure.cost import measure_cost
from robustprune.core import timing
from robustprune.core.timing import Comparison, TimingSettings
from robustprune.inference import engine
from robustprune.inference.cost import Size, size
from robustprune.structures import Masks
from tests.robustprune.classification.small import convolutional

TIMING = TimingSettings(timing_repeats=9, timing_warm_up=2, timing_most=1)


def counted(classifier: Classifier, *, image_size: int) -> Size:
    return size(classifier, classifier.mean.new_zeros(1, 3, image_size, image_size))


def measured(pruned: Classifier, masks: Masks, *, dense: Classifier, image_size: int) -> dict[str, Any]:
    return measure_cost(pruned, masks, dense=dense, image_size=image_size, timing=TIMING)


def test_parameters_and_multiply_accumulates_are_those_of_the_sums_by_hand() -> None:
    found = counted(convolutional(width=4), image_size=8)
    # A 3x3 convolution from 3 to 4 channels on 8x8 pixels, its batch norm, and a layer from 4 to 2 with biases.
    assert (found.params, found.macs) == (3 * 9 * 4 + 2 * 4 + 4 * 2 + 2, 3 * 9 * 4 * 64 + 4 * 2)
    assert found.layer_macs == {"network.0": 3 * 9 * 4 * 64, "network.5": 4 * 2}


def test_counting_changes_nothing_and_needs_no_numbers() -> None:
    classifier = convolutional().train()
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    found = counted(classifier, image_size=8)
    assert classifier.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in classifier.state_dict().items())
    assert counted(classifier.to("meta"), image_size=8) == found


def test_a_row_tells_both_sizes_and_a_speed_up_with_its_control(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[int] = []

    def compare(*networks: Any, **options: Any) -> Comparison:
        timed.extend(size(network.func, torch.zeros(1, 3, 16, 16)).params for network in networks)
        assert networks[1].func is not networks[2].func
        return timing.compare(*networks, **options)

    monkeypatch.setattr(engine, "compare", compare)
    columns = measured(convolutional(width=2), {}, dense=convolutional(width=64), image_size=16)
    assert columns["params_total"] > columns["params_kept"] > 0
    assert columns["macs_dense"] == 32 * (columns["macs"] - 2 * 2) + 64 * 2
    # Folded, a batch norm is a bias less.
    assert timed[1:] == [columns["params_total"] - 64] * 2
    assert timed[0] < columns["params_kept"]
    assert columns["engine"] in ("compact", "sparse")
    assert columns["speedup_low"] <= columns["speedup"] <= columns["speedup_high"]
    assert columns["speedup_control_low"] <= columns["speedup_control"] <= columns["speedup_control_high"]


def test_weights_that_stay_as_zeros_are_neither_parameters_nor_work() -> None:
    classifier = convolutional(width=4)
    masks = {"network.0": torch.ones_like(classifier.get_parameter("network.0.weight"), dtype=torch.bool)}
    masks["network.0"].view(-1)[:30] = False
    whole, columns = counted(classifier, image_size=8), measured(classifier, masks, dense=classifier, image_size=8)
    assert (columns["params_total"], columns["macs_dense"]) == (whole.params, whole.macs)
    assert columns["params_kept"] == whole.params - 30
    assert columns["macs"] == whole.macs - 30 * 64


def test_channels_that_left_and_weights_that_stay_as_zeros_add_up() -> None:
    narrow, dense = convolutional(width=2), convolutional(width=4)
    masks = {"network.0": torch.arange(2 * 27).view(2, 3, 3, 3) % 2 == 0}
    columns = measured(narrow, masks, dense=dense, image_size=8)
    assert columns["params_total"] == counted(dense, image_size=8).params
    assert columns["params_kept"] == 27 + 2 * 2 + 2 * 2 + 2
    assert columns["macs"] == 27 * 64 + 2 * 2


def test_grouped_convolutions_count_what_they_read() -> None:
    network = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 3, groups=6, padding=1), nn.Flatten())
    assert counted(Classifier(network, CIFAR10, classes=["a"]), image_size=4).macs == 16 * (3 * 6 + 6 * 9)
