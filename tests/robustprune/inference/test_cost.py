"""Parameters and multiply–accumulates: counted by hand, and as PyTorch counts them."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from robustprune.classification import networks
from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.compact.compaction import compact
from robustprune.detection.darknet.couplings import couplings
from robustprune.inference.cost import Cost, Size, cost, size
from robustprune.structures import STRUCTURES, CoupledGroup, Masks, Members
from robustprune.structures import masks as masking
from tests.robustprune.detection.pruned import masks_by

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
WEIGHTS = PARAMS - 4 - 14


def image(side: int) -> Tensor:
    return torch.zeros(1, 3, side, side)


def pruned_cost(detector: Detector, masks: Masks, image_size: int = 32) -> tuple[Cost, Size]:
    """Return what masks leave of a detector, and of the smaller one that is made of it."""
    masking.apply(masks, detector)
    return cost(detector, masks, image(image_size)), size(compact(detector), image(image_size))


def test_a_dense_detector_by_hand(detector: Detector) -> None:
    found = size(detector, image(32))
    assert found == Size(PARAMS, WEIGHTS, {"layers.0.conv": 108 * POSITIONS, "layers.1.conv": 28 * POSITIONS})
    assert found.macs == MACS
    assert size(detector, image(64)).macs == 4 * MACS


def test_without_masks_only_batch_norms_are_saved(detector: Detector) -> None:
    found, smaller = pruned_cost(detector, {})
    assert found == Cost(
        params_total=PARAMS,
        params_kept=PARAMS,
        macs_dense=MACS,
        macs=MACS,
        compression=1.0,
        operations_removed=0.0,
        weights_pruned=0.0,
        filters_pruned=0.0,
    )
    assert (smaller.params, smaller.macs) == (PARAMS - 4, MACS)


def test_pruned_weights_are_neither_kept_nor_multiplied(detector: Detector) -> None:
    mask = torch.ones(4, 3, 3, 3, dtype=torch.bool)
    mask[2:] = False  # both channels of the second group
    mask[0, 0, 0, 0] = False
    found, smaller = pruned_cost(detector, {"layers.0.conv": mask})
    assert (found.params_total, found.macs_dense) == (PARAMS, MACS)
    assert found.params_kept == PARAMS - 55
    assert found.macs == MACS - 55 * POSITIONS
    assert found.compression == WEIGHTS / (WEIGHTS - 55)
    assert found.operations_removed == 1 - (MACS - 55 * POSITIONS) / MACS
    assert found.weights_pruned == 55 / 108
    assert found.filters_pruned == 2 / 4
    # Two filters are left, with a bias each; the groups of the second layer stay equally large.
    assert smaller.params == 2 * (27 + 1) + 28 + 14
    assert smaller.macs == (54 + 28) * POSITIONS


def test_a_filter_is_pruned_only_as_a_whole(detector: Detector) -> None:
    mask = torch.zeros(4, 3, 3, 3, dtype=torch.bool)
    mask[:, 0, 0, 0] = True
    found, _ = pruned_cost(detector, {"layers.0.conv": mask})
    assert found.weights_pruned == 104 / 108
    assert found.filters_pruned == 0.0


@pytest.mark.parametrize("structure", STRUCTURES)
def test_counts_are_those_of_the_masks(nano: Detector, structure: str) -> None:
    nano.eval()
    importance = {name: layer.weight.detach().abs() for name, layer in nano.prunable_layers().items()}
    masks = masks_by(structure, importance, 0.75, couplings(nano, importance))
    found, _ = pruned_cost(nano, masks, image_size=64)
    pruned = sum(int((~mask).sum()) for mask in masks.values())
    assert found.params_total == sum(parameter.numel() for parameter in nano.parameters())
    assert found.params_kept == found.params_total - pruned
    assert 0.2 < found.macs / found.macs_dense < 0.35
    assert found.weights_pruned == pytest.approx(0.75, abs=0.001)


@pytest.mark.parametrize(
    ("name", "side", "billions"), [("yolov3-tiny", 416, 5.56), ("yolov3", 416, 65.86), ("yolov3-spp", 608, 141.45)]
)
def test_bundled_detectors_multiply_as_often_as_published(name: str, side: int, billions: float) -> None:
    # Operations (pjreddie.com/darknet/yolo), two for each of ours.
    with torch.device("meta"):
        macs = size(Detector.from_cfg(name).eval(), image(side)).macs
    assert 2 * macs / 1e9 == pytest.approx(billions, abs=0.006)


@pytest.mark.slow
def test_counting_without_values_does_without_pytorchs_compiler() -> None:
    """Its import takes a second and 100 MB, of every plan."""
    code = (
        "import sys, torch\nfrom robustprune.detection.darknet import Detector\n"
        "from robustprune.inference.cost import size\n"
        "with torch.device('meta'): print(size(Detector.from_cfg('yolov3'), torch.zeros(1, 3, 64, 64)).macs)\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(ran.stdout) == pytest.approx(65.86e9 / 2 * (64 / 416) ** 2, rel=1e-3)


@pytest.mark.parametrize("training", [True, False])
def test_counting_changes_nothing(nano: Detector, training: bool) -> None:
    nano.train(training)
    before = {name: tensor.clone() for name, tensor in nano.state_dict().items()}
    size(nano, image(64))
    assert all(torch.equal(tensor, before[name]) for name, tensor in nano.state_dict().items())
    assert all(module.training is training for module in nano.modules())
    assert not any(module._forward_hooks for module in nano.modules())


# Against PyTorch's own counter


def counted_by_torch(network: nn.Module, example: Tensor) -> int:
    """Return the multiply–accumulates that PyTorch counts, of which it makes two operations each."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(example)
    operations: int = counter.get_total_flops()
    assert operations % 2 == 0
    return operations // 2


@pytest.mark.parametrize("name", ["resnet8", "resnet18", "mobilenet_v2", "wrn-10-1"])
@pytest.mark.parametrize("side", [32, 48])
def test_classifiers_multiply_as_often_as_torch_counts(name: str, side: int) -> None:
    with torch.device("meta"):
        network = networks.build(name, classes=7, image_size=side).eval()
        assert size(network, image(side)).macs == counted_by_torch(network, image(side))
    layers = {key for key, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    assert size(network, image(side).to("meta")).layer_macs.keys() == layers


@pytest.mark.parametrize("name", ["yolov3-nano", "yolov3-tiny"])
def test_detectors_multiply_as_often_as_torch_counts(name: str) -> None:
    detector = Detector.from_cfg(name).eval()
    assert size(detector, image(64)).macs == counted_by_torch(detector, image(64))
    assert size(compact(detector), image(64)).macs == counted_by_torch(compact(detector), image(64))


class Functional(nn.Module):
    """Hands weights of its layers to functions, by position and by name."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 4, 3, bias=False), nn.Linear(4, 5)
        self.idle = nn.Linear(7, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.conv2d(x, self.conv.weight, padding=1)
        x = functional.conv2d(input=x.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1), weight=self.conv.weight)
        x = torch.conv2d(x.narrow(1, 0, 3), self.conv.weight)
        return functional.linear(x.flatten(2).transpose(1, 2), weight=self.linear.weight, bias=self.linear.bias)


def test_layers_count_wherever_their_weights_are_multiplied_by() -> None:
    network = Functional()
    found = size(network, image(8))
    # 3 x 3 x 3 x 4 weights on 8 x 8, 6 x 6 and 4 x 4 pixels; 4 x 5 on the last of these.
    assert found.layer_macs == {"conv": 108 * (64 + 36 + 16), "linear": 20 * 16}
    assert found.macs == counted_by_torch(network, image(8))
    assert found.params == 108 + 20 + 5 + 7 * 8


def test_a_layer_that_is_called_twice_counts_twice_and_an_idle_one_not_at_all() -> None:
    shared = nn.Linear(6, 6)
    network = nn.Sequential(shared, nn.ReLU(), shared)
    assert size(network, torch.zeros(1, 6)).layer_macs == {"0": 2 * 36}
    assert "idle" not in size(Functional(), image(8)).layer_macs


def test_a_fully_connected_layer_counts_once_per_token() -> None:
    network = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 2))
    assert size(network, torch.zeros(1, 9, 6)).layer_macs == {"0": 9 * 30, "1": 9 * 10}


class Attention(nn.Module):
    """Multiplies activations by each other, besides two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.query(x) @ self.key(x).transpose(1, 2)
        return output


def test_products_of_two_activations_are_not_counted() -> None:
    network, example = Attention(), torch.zeros(1, 3, 6)
    assert size(network, example).layer_macs == {"query": 3 * 24, "key": 3 * 24}
    assert counted_by_torch(network, example) == size(network, example).macs + 3 * 3 * 4


@pytest.mark.parametrize("structure", STRUCTURES)
def test_of_a_classifier_masks_save_the_weights_they_prune(structure: str) -> None:
    torch.manual_seed(0)
    network = networks.build("resnet8", classes=5, image_size=32).eval()
    layer = network.get_submodule("layer2.0.conv1")
    assert isinstance(layer, nn.Conv2d)
    mask = masks_by(structure, {"layer": layer.weight.detach().abs()}, 0.75, [alone("layer", len(layer.weight))])
    found = cost(network, {"layer2.0.conv1": mask["layer"]}, image(32))
    # 32 filters of 16 x 3 x 3 weights on 16 x 16 pixels.
    assert found.params_total - found.params_kept == 3 * 32 * 16 * 9 // 4
    assert found.macs_dense - found.macs == 3 * 32 * 16 * 9 // 4 * 256
    assert found.weights_pruned == 0.75
    assert found.filters_pruned == (0.0 if structure == "unstructured" else 0.75)


def alone(name: str, filters: int) -> CoupledGroup:
    """Return the group of a layer that is coupled with none."""
    return CoupledGroup(decisions=filters, filters={name: Members(torch.arange(filters), torch.arange(filters))})
