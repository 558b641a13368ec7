"""Operations from masks: those of the network without the channels that go, to the unit."""

import copy
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from robustprune.classification import networks
from robustprune.classification.classifier import CIFAR10, Classifier
from robustprune.core.errors import InputError
from robustprune.detection.darknet import Detector, build, cfg
from robustprune.detection.darknet.compact.compaction import compact
from robustprune.detection.darknet.couplings import couplings
from robustprune.inference.cost import cost, size
from robustprune.methods import INITIALIZERS
from robustprune.methods.intrain.operations import Operations
from robustprune.structures import CoupledGroup, Masks, Members
from robustprune.structures import masks as masking
from robustprune.structures.groups import decided_layers
from robustprune.structures.removal import departing, remove, unread
from robustprune.structures.spread import spread
from tests.robustprune.classification.small import bright_or_dark, task_on
from tests.robustprune.detection.darknet.random_cfg import SIDE as RANDOM_SIDE
from tests.robustprune.detection.darknet.random_cfg import cfg_texts
from tests.robustprune.detection.pruned import HEAD, conv, detector_of, randomised
from tests.robustprune.structures.networks import SIZE, classifier, groups_of
from tests.robustprune.structures.test_removal import LARGE, SMALL, named


def drawn(groups: Sequence[CoupledGroup], *, seed: int = 0, share: float = 0.6) -> list[Tensor]:
    """Return what stays of every group at random, its first channel in any case."""
    generator = torch.Generator().manual_seed(seed)
    kept = [torch.rand(group.decisions, generator=generator) < share for group in groups]
    for stays in kept:
        stays[0] = True
    return kept


def operations_of(network: nn.Module, groups: Sequence[CoupledGroup], example: Tensor) -> Operations:
    return Operations(network, groups, size(network, example).layer_macs)


def masks_of(network: nn.Module, groups: Sequence[CoupledGroup], kept: Sequence[Tensor]) -> Masks:
    layers = decided_layers(network, groups)
    return {name: mask > 0 for name, mask in spread([k.float() for k in kept], groups, layers).items()}


def left(operations: Operations, kept: Sequence[Tensor]) -> int:
    found = operations(torch.cat([stays.float() for stays in kept])).item()
    assert found == int(found)
    return int(found)


def assert_counted(network: nn.Module, example: Tensor, *, seed: int, share: float) -> None:
    groups = groups_of(network, size=example.shape[-1])
    operations, kept = operations_of(network, groups, example), drawn(groups, seed=seed, share=share)
    assert left(operations, [torch.ones_like(stays) for stays in kept]) == operations.full
    smaller = copy.deepcopy(network)
    remove(groups_of(smaller, size=example.shape[-1]), kept)
    assert left(operations, kept) == size(smaller, example).macs


@pytest.mark.parametrize("seed", range(3))
def test_of_classifiers_they_are_counted_on_the_network_without_these_channels(seed: int) -> None:
    network = classifier(
        [("projected", 2), ("depthwise", 2), ("option A", 3), ("option A", 2), ("plain", 1)], hidden=6, seed=seed
    )
    assert_counted(network, torch.zeros(1, 3, SIZE, SIZE), seed=seed, share=0.3 + 0.3 * seed)


@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_of_known_classifiers_too(name: str) -> None:
    assert_counted(named(name), torch.zeros(1, 3, 32, 32), seed=0, share=0.6)


@settings(max_examples=30, deadline=None)
@given(text=cfg_texts(), seed=st.integers(0, 99), heads=st.booleans())
def test_of_any_detector_they_are_what_rows_say(text: str, seed: int, *, heads: bool) -> None:
    detector = randomised(build(cfg.parse(text)))
    example = torch.zeros(1, detector.channels, RANDOM_SIDE, RANDOM_SIDE)
    groups = couplings(detector, detector.prunable_layers(heads=heads))
    kept = drawn(groups, seed=seed)
    departed = departing(detector, groups, kept)
    gone = departed | unread(detector, groups, kept, departed)
    expected = cost(detector, masks_of(detector, groups, kept), example, gone=gone).macs
    assert left(operations_of(detector, groups, example), kept) == expected


ROUTED = detector_of(
    conv(6),
    conv(8),
    "[shortcut]\nfrom=-2\nactivation=linear\n",
    conv(8, "groups=8"),
    "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n",
    conv(5),
    "[route]\nlayers=-1,-3\n",
    conv(4, "groups=1"),
    HEAD,
)


@pytest.mark.parametrize("share", [0.3, 0.7])
@pytest.mark.parametrize("detector", [ROUTED, "yolov3-nano"], ids=["routed", "nano"])
def test_of_detectors_they_are_counted_on_the_compacted_one(detector: Detector | str, share: float) -> None:
    network = randomised(Detector.from_cfg(detector)) if isinstance(detector, str) else copy.deepcopy(detector)
    example = torch.zeros(1, 3, 32, 32)
    groups = couplings(network, network.prunable_layers())
    operations, kept = operations_of(network, groups, example), drawn(groups, share=share)
    masking.apply(masks_of(network, groups, kept) | departing(network, groups, kept), network)
    assert left(operations, kept) == size(compact(network), example).macs


def test_groups_of_a_convolution_read_channels_of_their_own() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 1, groups=2))
    every = torch.arange(4)
    first = CoupledGroup(decisions=4, filters={"0": Members(every, every)}, readers={"1": Members(every, every)})
    operations = operations_of(network, [first], torch.zeros(1, 3, 2, 2))
    # Three filters read the first two channels, and three the others; on four pixels.
    assert operations.full == 4 * (3 * 4 + 6 * 2)
    assert left(operations, [torch.tensor([True, False, False, False])]) == 4 * (3 * 1 + 3 * 1)
    assert left(operations, [torch.tensor([True, False, True, True])]) == 4 * (3 * 3 + 3 * 1 + 3 * 2)


@pytest.mark.parametrize("model", ["resnet8", "mlp-mixer-tiny"])
def test_networks_whose_layers_run_less_often_with_fewer_channels_are_refused(model: str) -> None:
    network = Classifier(networks.build(model, classes=2, image_size=16), CIFAR10, classes=("a", "b"))
    task = task_on(bright_or_dark(4, size=16), build=lambda: network)
    check = INITIALIZERS["intrain"].check
    assert check is not None
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    if model == "resnet8":
        check(task, network)
    else:
        with pytest.raises(InputError, match=r"^initializer 'intrain': found a network of which "):
            check(task, network)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
