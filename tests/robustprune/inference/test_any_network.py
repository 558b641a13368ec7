"""Whatever runs a pruned network of any task computes what the masked one computes: on every network there is."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustprune.classification import networks as classifiers
from robustprune.classification.classifier import CIFAR10, Classifier
from robustprune.classification.networks.by_name import NETWORKS as CLASSIFIERS
from robustprune.classification.networks.pruning import channel_groups
from robustprune.detection import networks as detectors
from robustprune.detection.networks import NETWORKS as DETECTORS
from robustprune.inference import engine
from robustprune.inference.sparse.convolution import SparseConvolution
from robustprune.inference.traced_engines import dense_engine, fastest_engine
from robustprune.inference.tracing import traced
from robustprune.inference.without_channels import without_idle_channels
from robustprune.structures import draw_masks
from robustprune.structures import masks as masking
from robustprune.structures.dependency_graph import dependency_groups
from robustprune.structures.removal import departing, kept_decisions, remove
from robustprune.structures.trial import tensors
from tests.support import batch_norms

SSDLITE = Path(__file__).parents[3] / "examples/plugin/robust_pruning_example/ssdlite.py"
CLASSES = ["owl", "hen", "jay"]

SIBLINGS = {
    **dict.fromkeys(["resnet20", "resnet56", "resnet110"], "resnet8"),
    **dict.fromkeys(["wrn-28-10", "wrn-34-10"], "wrn-10-1"),
    **dict.fromkeys(["mlp-mixer-s16", "mlp-mixer-b16"], "mlp-mixer-tiny"),
    "wrn-28-10-silu": "wrn-10-1-silu",
    "resnet50": "resnet18",
    "vgg19": "vgg16",
}
"""Small networks of the same modules as large ones."""

NAMES = sorted({SIBLINGS.get(name, name) for name in CLASSIFIERS} | {*DETECTORS, "ssdlite"})
SIDE = {"vgg16": 32, "swin_t": 16, "mobilenet_v2": 16}


def example(name: str, count: int = 1) -> Tensor:
    side = 64 if name in DETECTORS or name == "ssdlite" else SIDE.get(name, 8)
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(count))


def built(name: str) -> nn.Module:
    torch.manual_seed(0)
    side = example(name).shape[-1]
    network: nn.Module
    if name == "ssdlite":
        specification = importlib.util.spec_from_file_location("ssdlite_example", SSDLITE)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        network = module.SsdLite(classes=2, image_size=side)
    elif name in DETECTORS:
        network = detectors.build(name, classes=2, image_size=side)
    else:
        network = Classifier(classifiers.build(name, classes=3, image_size=side), CIFAR10, classes=CLASSES)
    batch_norms.draw(network)
    return network.eval()


def find(network: nn.Module) -> Callable[..., Any]:
    return channel_groups if isinstance(network, Classifier) else dependency_groups


@torch.no_grad()
def pruned(name: str, how: str, ratio: float) -> nn.Module:
    """Return a network with masked weights: single ones, filters, or filters with all that departs with them."""
    network, image = built(name), example(name)
    groups = find(network)(network, image) if how != "weights" else []
    layers = {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    if groups:
        layers = {name: layers[name] for name in dict.fromkeys(name for group in groups for name in group.filters)}
    importance = {name: torch.rand_like(layer.weight) for name, layer in layers.items()}
    structure = "unstructured" if how == "weights" else "structured"
    masks = draw_masks(structure, importance, ratio, groups=groups, scope="layer", comparable=False)
    if how == "channels":
        masks = masks | departing(network, groups, kept_decisions(groups, masks))
    masking.apply(masks, network)
    return network


@torch.no_grad()
def assert_same(network: nn.Module, expected: nn.Module, images: Tensor, *, rounding: float = 1e-4) -> None:
    """See that two networks return the same, but for a part of the largest value."""
    one, other = network(images), expected(images)
    assert type(one) is type(other)
    for found, wanted in zip(tensors(one), tensors(other), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=rounding * wanted.abs().max().item())


@pytest.mark.parametrize("name", NAMES)
def test_every_network_is_traced_to_layers_with_its_batch_norms_folded(name: str) -> None:
    network = built(name).double()
    found = traced(network, example(name).double())
    assert len(found.layers) > 15
    assert_same(found, network, example(name, count=3).double(), rounding=1e-8)
    preactivated = name.startswith(("wrn", "preact"))
    assert preactivated or not any(isinstance(module, nn.BatchNorm2d) for module in found.modules())


SMALL = ("centernet-small", "mlp-mixer-tiny", "resnet8", "wrn-10-1", "wrn-10-1-silu")


CASES = [
    pytest.param(name, how, ratio, marks=() if name in SMALL else (pytest.mark.slow,))
    for name in NAMES
    for how in ("weights", "channels", *(["filters"] if name in SMALL else []))
    for ratio in (0.5, 0.9)
]


@pytest.mark.parametrize(("name", "how", "ratio"), CASES)
def test_compact_and_sparse_networks_compute_what_the_masked_one_does(
    monkeypatch: pytest.MonkeyPatch, name: str, how: str, ratio: float
) -> None:
    network, image = pruned(name, how, ratio), example(name)
    smaller = without_idle_channels(network, image, find=find(network))
    size = [sum(parameter.numel() for parameter in each.parameters()) for each in (smaller, network)]
    assert how != "channels" or size[0] < 0.95 * size[1]
    compact = traced(smaller, image)
    # The last way to run a layer is without its zeros.
    monkeypatch.setattr(engine, "_milliseconds", lambda runs, device: [-float(place) for place, _ in enumerate(runs)])
    with torch.inference_mode():
        sparse = engine._tuned(compact, image).network
    assert any(isinstance(layer, SparseConvolution) for layer in sparse.modules())
    for found in (sparse, compact, compact.to(memory_format=torch.channels_last)):
        assert_same(found, network, image)
    assert_same(sparse, network, example(name, count=3).contiguous(memory_format=torch.channels_last))


def test_the_fastest_engine_returns_what_the_network_does() -> None:
    """Without any say in what is faster."""
    whole = built("resnet8")
    network, image = pruned("resnet8", "weights", 0.9), example("resnet8")
    found = fastest_engine(network, network, image, dense=dense_engine(whole, image))
    assert_same(found.network, network, image)


def test_a_network_that_channels_have_left_is_the_compact_one() -> None:
    dense, network, image = built("resnet8"), built("resnet8"), example("resnet8")
    groups = channel_groups(network, image)
    remove(groups, [torch.arange(group.decisions) % 2 == 0 for group in groups])
    found = fastest_engine(network, network, image, dense=dense_engine(dense, image))
    assert found.name == "compact"
    assert_same(found.network, network, image)
    # And that is so of an unpruned one by no luck.
    assert fastest_engine(dense, dense, image, dense=dense_engine(dense, image)).name == "dense"
