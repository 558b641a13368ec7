"""Parameters and multiply–accumulates, counted by hand."""

from pathlib import Path

import pytest
import torch

from robustprune.darknet import Detector
from robustprune.measure.cost import Cost, cost
from robustprune.structures import STRUCTURES

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


def test_a_dense_detector_by_hand(detector: Detector) -> None:
    params, macs = 108 + 8 + 28 + 14, (108 + 28) * POSITIONS
    assert cost(detector, {}, image_size=32) == Cost(params, params, macs, macs)
    assert cost(detector, {}, image_size=64).macs == 4 * macs


def test_pruned_weights_are_neither_kept_nor_multiplied(detector: Detector) -> None:
    mask = torch.ones(4, 3, 3, 3, dtype=torch.bool)
    mask[2] = False
    mask[0, 0, 0, 0] = False
    found = cost(detector, {"layers.0.conv": mask}, image_size=32)
    dense = cost(detector, {}, image_size=32)
    assert found.params_kept == dense.params_total - 28
    assert found.macs == dense.macs - 28 * POSITIONS
    assert (found.params_total, found.macs_dense) == (dense.params_total, dense.macs_dense)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_counts_are_those_of_the_masks(nano: Detector, structure: str) -> None:
    nano.eval()
    masks = {
        name: STRUCTURES[structure](layer.weight.detach().abs(), 0.75) for name, layer in nano.prunable_layers().items()
    }
    found = cost(nano, masks, image_size=64)
    pruned = sum(int((~mask).sum()) for mask in masks.values())
    assert found.params_total == sum(parameter.numel() for parameter in nano.parameters())
    assert found.params_kept == found.params_total - pruned
    assert 0.2 < found.macs / found.macs_dense < 0.35


@pytest.mark.parametrize(("name", "billions"), [("yolov3-tiny", 5.56), ("yolov3", 65.86)])
def test_bundled_detectors_multiply_as_often_as_published(name: str, billions: float) -> None:
    # Operations at 416 pixels (pjreddie.com/darknet/yolo), two for each of ours.
    with torch.device("meta"):
        macs = cost(Detector.from_cfg(name).eval(), {}, image_size=416).macs_dense
    assert 2 * macs / 1e9 == pytest.approx(billions, abs=0.006)


@pytest.mark.parametrize("training", [True, False])
def test_counting_changes_nothing(nano: Detector, training: bool) -> None:
    nano.train(training)
    before = {name: tensor.clone() for name, tensor in nano.state_dict().items()}
    cost(nano, {}, image_size=64)
    assert all(torch.equal(tensor, before[name]) for name, tensor in nano.state_dict().items())
    assert all(module.training is training for module in nano.modules())
    assert not any(module._forward_hooks for module in nano.modules())
