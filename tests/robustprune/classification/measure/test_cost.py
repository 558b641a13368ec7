"""What a classifier costs, against sums by hand."""

import torch
from torch import nn

from robustprune.classification.measure.cost import measure_cost, size
from robustprune.classification.networks.classifier import CIFAR10, Classifier
from tests.robustprune.classification.small import convolutional


def test_parameters_and_multiply_accumulates_are_those_of_the_sums_by_hand() -> None:
    classifier = convolutional(width=4)
    # A 3x3 convolution from 3 to 4 channels on 8x8 pixels, its batch norm, and a layer from 4 to 2 with biases.
    assert size(classifier, image_size=8) == (3 * 9 * 4 + 2 * 4 + 4 * 2 + 2, 3 * 9 * 4 * 64 + 4 * 2)


def test_counting_changes_nothing_and_needs_no_numbers() -> None:
    classifier = convolutional().train()
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    counted = size(classifier, image_size=8)
    assert classifier.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in classifier.state_dict().items())
    assert size(classifier.to("meta"), image_size=8) == counted


def test_a_row_tells_both_sizes_and_a_ratio_of_medians() -> None:
    columns = measure_cost(convolutional(width=2), dense=convolutional(width=64), image_size=16, repeats=9, warm_up=2)
    assert columns["params_total"] > columns["params_kept"] > 0
    assert columns["macs_dense"] == 32 * (columns["macs"] - 2 * 2) + 64 * 2
    assert columns["speedup"] == columns["inference_ms_dense_p50"] / columns["inference_ms_p50"]


def test_grouped_convolutions_count_what_they_read() -> None:
    network = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 3, groups=6, padding=1), nn.Flatten())
    assert size(Classifier(network, CIFAR10, classes=["a"]), image_size=4).macs == 16 * (3 * 6 + 6 * 9)
