"""Inference with pruned classifiers and detectors that are no .cfg: one image in the fastest engine that their traced
graph offers, in turns with the unpruned network's. `benchmarks.inference` does so for Darknet's detectors.

Weights and scores are random, batch norms are those of no fresh network. `folding` is how many times as fast as the
network itself, in the memory format in which it is faster, the unpruned one is with its batch norms folded, which
is what pruned ones are compared with. `max_difference` is that of outputs from the masked network's, as a part of the
largest.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.inference import RATIOS
from benchmarks.output import parser, write
from robustprune.classification import networks as classifiers
from robustprune.classification.classifier import CIFAR10, Classifier
from robustprune.classification.measure import cost
from robustprune.classification.networks.by_name import NETWORKS as CLASSIFIERS
from robustprune.classification.networks.pruning import channel_groups
from robustprune.core.devices import device_name
from robustprune.core.memory import reuse_freed_memory
from robustprune.core.timing import TimingSettings
from robustprune.detection import networks as detectors
from robustprune.detection.detector import Detector
from robustprune.detection.measure import pruned
from robustprune.inference import engine, traced_engines
from robustprune.inference.engine import Engine
from robustprune.structures import draw_masks
from robustprune.structures import masks as masking
from robustprune.structures.dependency_graph import dependency_groups
from robustprune.structures.removal import departing, kept_decisions
from robustprune.structures.trial import tensors


def main() -> None:
    """Time pruned networks and print a row for each."""
    arguments = _command_line().parse_args()
    torch.set_num_threads(arguments.threads)
    reuse_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sides = arguments.image_size, arguments.image_size
    image = torch.rand(1, 3, *sides, generator=torch.Generator().manual_seed(0)).to(device)
    asked = {"structures": arguments.structures, "ratios": arguments.ratios, "repeats": arguments.repeats}
    rows = [row for name in arguments.networks for row in speedups(name, image, **asked)]
    write([{**row, "threads": arguments.threads} for row in rows], arguments.format)


def speedups(
    name: str, image: Tensor, *, structures: Sequence[str], ratios: Sequence[float], repeats: int
) -> Iterator[dict[str, Any]]:
    """Yield a row per structure and ratio: the fastest engine of a pruned network against the unpruned one's.

    Args:
        name: of a classifier or a detector.
        image: (1, 3, S, S), on the device.
        structures: of what is pruned.
        ratios: how much of it.
        repeats: turns of each.
    """
    settings = TimingSettings(timing_repeats=repeats, timing_warm_up=3)
    dense = traced_engines.dense_engine(random_network(name, image), image)
    itself = engine.compared(dense, engine.dense_engine(random_network(name, image), image), image, settings=settings)
    for structure in structures:
        for ratio in ratios:
            network = random_network(name, image)
            prune(network, image, structure, ratio)
            own = fastest_engine(network, image, dense)
            compared = engine.compared(own, dense, image, settings=settings)
            yield {
                "network": name,
                "structure": structure,
                "ratio": ratio,
                "engine": own.name,
                "inference_ms": compared.pruned.p50,
                "inference_ms_dense": compared.dense.p50,
                "folding": itself.speedup.median,
                "speedup": compared.speedup.median,
                "speedup_low": compared.speedup.low,
                "speedup_high": compared.speedup.high,
                "speedup_control": compared.control.median,
                "timing_doubtful": compared.is_doubtful,
                "max_difference": difference(network, own, image),
                "device": device_name(image.device),
            }
            print(f"{name} {structure} {ratio}: done", file=sys.stderr)


@torch.no_grad()
def random_network(name: str, image: Tensor) -> nn.Module:
    """Return the same network each time, in eval mode: random weights, and batch norms that shift what they see."""
    torch.manual_seed(0)
    side = image.shape[-1]
    network: nn.Module
    if name in CLASSIFIERS:
        network = Classifier(classifiers.build(name, classes=10, image_size=side), CIFAR10, classes=["?"] * 10)
    else:
        network = detectors.build(name, classes=6, image_size=side)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = 1.0
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(std=0.3)
    network.to(image.device).train()(image.expand(2, -1, -1, -1))
    return network.eval()


@torch.no_grad()
def prune(network: nn.Module, image: Tensor, structure: str, ratio: float) -> None:
    """Mask a network in place by random scores; with whole filters, what departs with them goes too."""
    groups = []
    layers = {name: each for name, each in network.named_modules() if isinstance(each, nn.Conv2d | nn.Linear)}
    if structure == "structured":
        find = channel_groups if isinstance(network, Classifier) else dependency_groups
        groups = find(network, image)
        layers = {name: layers[name] for group in groups for name in group.filters}
    importance = {name: torch.rand_like(layer.weight) for name, layer in layers.items()}
    masks = draw_masks(structure, importance, ratio, groups=groups, scope="layer", comparable=False)
    masking.apply(masks | departing(network, groups, kept_decisions(groups, masks)), network)


def fastest_engine(network: nn.Module, image: Tensor, dense: Engine) -> Engine:
    """Return the engine that rows of the network's study are timed in."""
    if isinstance(network, Detector):
        return pruned.fastest_engine(network, image, dense=dense)
    assert isinstance(network, Classifier)
    return cost.fastest_engine(network, image, dense=dense)


@torch.inference_mode()
def difference(network: nn.Module, own: Engine, image: Tensor) -> float:
    """Return how far an engine's outputs are from the network's, as a part of the largest of each."""
    pairs = zip(tensors(own.on(image)()), tensors(network(image)), strict=True)
    return max(float((found - expected).abs().max() / expected.abs().max()) for found, expected in pairs)


def _command_line() -> argparse.ArgumentParser:
    command_line = parser(__doc__)
    command_line.add_argument("--networks", nargs="+", default=["resnet18"], help="classifiers, or detectors by name")
    command_line.add_argument("--image-size", type=int, default=32, help="side of the image in pixels")
    command_line.add_argument("--structures", nargs="+", default=["structured", "unstructured"])
    command_line.add_argument("--ratios", nargs="+", type=float, default=RATIOS, help="of filters or weights pruned")
    command_line.add_argument("--repeats", type=int, default=20, help="turns of each")
    command_line.add_argument("--threads", type=int, default=1, help="of the CPU")
    return command_line


if __name__ == "__main__":
    main()
