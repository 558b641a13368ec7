"""Parameters and multiply–accumulates, counted by hand."""

from pathlib import Path

import pytest
import torch

from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.compaction import compact
from robustprune.detection.darknet.couplings import couplings
from robustprune.inference.cost import Cost, Size, cost, size
from robustprune.structures import STRUCTURES
from robustprune.structures import masks as masking
from robustprune.structures.masks import Masks

CFG = """
[net]
width=32
height=32
channels=3

[convolutional]
batch_normalize=1
filters=4
size=3
stride=2
pad=1
activation=leaky

[convolutional]
groups=2
filters=14
size=1
activation=linear

[yolo]
mask=0,1
anchors=8,8, 16,16
classes=2
num=2
"""
# The first layer has 4 x 3 x 3 x 3 weights on 16 x 16 positions, and 4 + 4 of batch norm; the second has
# 14 x 2 weights, since each of its groups reads two channels, and 14 biases.
POSITIONS = 16 * 16


@pytest.fixture
def detector(tmp_path: Path) -> Detector:
    (tmp_path / "two.cfg").write_text(CFG)
    return Detector.from_cfg(tmp_path / "two.cfg").eval()


PARAMS, MACS = 108 + 8 + 28 + 14, (108 + 28) * POSITIONS


def pruned_cost(detector: Detector, masks: Masks, image_size: int = 32) -> Cost:
    masking.apply(masks, detector.prunable_layers(heads=True))
    return cost(detector, masks, compacted=compact(detector), image_size=image_size)


def test_a_dense_detector_by_hand(detector: Detector) -> None:
    found = size(detector, image_size=32)
    assert found == Size(PARAMS, {"layers.0.conv": 108 * POSITIONS, "layers.1.conv": 28 * POSITIONS})
    assert found.macs == MACS
    assert size(detector, image_size=64).macs == 4 * MACS


def test_without_masks_only_batch_norms_are_saved(detector: Detector) -> None:
    assert pruned_cost(detector, {}) == Cost(
        params_total=PARAMS,
        params_kept=PARAMS,
        params_compact=PARAMS - 4,
        macs_dense=MACS,
        macs=MACS,
        macs_compact=MACS,
        weights_pruned=0.0,
        filters_pruned=0.0,
    )


def test_pruned_weights_are_neither_kept_nor_multiplied(detector: Detector) -> None:
    mask = torch.ones(4, 3, 3, 3, dtype=torch.bool)
    mask[2:] = False  # both channels of the second group
    mask[0, 0, 0, 0] = False
    found = pruned_cost(detector, {"layers.0.conv": mask})
    assert (found.params_total, found.macs_dense) == (PARAMS, MACS)
    assert found.params_kept == PARAMS - 55
    assert found.macs == MACS - 55 * POSITIONS
    assert found.weights_pruned == 55 / 108
    assert found.filters_pruned == 2 / 4
    # Two filters are left, with a bias each; the groups of the second layer stay equally large.
    assert found.params_compact == 2 * (27 + 1) + 28 + 14
    assert found.macs_compact == (54 + 28) * POSITIONS


def test_a_filter_is_pruned_only_as_a_whole(detector: Detector) -> None:
    mask = torch.zeros(4, 3, 3, 3, dtype=torch.bool)
    mask[:, 0, 0, 0] = True
    found = pruned_cost(detector, {"layers.0.conv": mask})
    assert found.weights_pruned == 104 / 108
    assert found.filters_pruned == 0.0


@pytest.mark.parametrize("structure", STRUCTURES)
def test_counts_are_those_of_the_masks(nano: Detector, structure: str) -> None:
    nano.eval()
    importance = {name: layer.weight.detach().abs() for name, layer in nano.prunable_layers().items()}
    masks = STRUCTURES[structure](importance, 0.75, couplings(nano, importance))
    found = pruned_cost(nano, masks, image_size=64)
    pruned = sum(int((~mask).sum()) for mask in masks.values())
    assert found.params_total == sum(parameter.numel() for parameter in nano.parameters())
    assert found.params_kept == found.params_total - pruned
    assert 0.2 < found.macs / found.macs_dense < 0.35
    assert found.weights_pruned == pytest.approx(0.75, abs=0.001)


@pytest.mark.parametrize(("name", "billions"), [("yolov3-tiny", 5.56), ("yolov3", 65.86)])
def test_bundled_detectors_multiply_as_often_as_published(name: str, billions: float) -> None:
    # Operations at 416 pixels (pjreddie.com/darknet/yolo), two for each of ours.
    with torch.device("meta"):
        macs = size(Detector.from_cfg(name).eval(), image_size=416).macs
    assert 2 * macs / 1e9 == pytest.approx(billions, abs=0.006)


@pytest.mark.parametrize("training", [True, False])
def test_counting_changes_nothing(nano: Detector, training: bool) -> None:
    nano.train(training)
    before = {name: tensor.clone() for name, tensor in nano.state_dict().items()}
    size(nano, image_size=64)
    assert all(torch.equal(tensor, before[name]) for name, tensor in nano.state_dict().items())
    assert all(module.training is training for module in nano.modules())
    assert not any(module._forward_hooks for module in nano.modules())
