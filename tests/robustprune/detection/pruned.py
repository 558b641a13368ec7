"""Detectors with weights and constants that show, pruned at random: nothing that an engine leaves out goes unseen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from robustprune.detection.darknet import Detector, build, cfg
from robustprune.detection.darknet.couplings import couplings
from robustprune.structures import CoupledGroup, draw_masks
from robustprune.structures import masks as masking
from robustprune.structures.masks import Masks

HEAD = "[convolutional]\nfilters=14\nsize=1\nactivation=linear\n[yolo]\nmask=0,1\nanchors=8,8,16,16\nclasses=2\nnum=2\n"


def conv(filters: int, *options: str, size: int = 3, activation: str = "leaky") -> str:
    own = "".join(f"{option}\n" for option in options)
    return f"[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize={size}\npad=1\n{own}activation={activation}\n"


def detector_of(*sections: str) -> Detector:
    """Return a detector of images of 32 x 32 pixels."""
    torch.manual_seed(0)
    return randomised(build(cfg.parse("[net]\nwidth=32\nheight=32\nchannels=3\n" + "".join(sections))))


def randomised(detector: Detector, seed: int = 0) -> Detector:
    """Give every layer, heads included, weights and constants that show in the outputs."""
    generator = torch.Generator().manual_seed(seed)
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.running_var, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, generator=generator)
            nn.init.normal_(module.running_mean, generator=generator)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.normal_(module.bias, generator=generator)
    return detector.eval()


def prune(detector: Detector, structure: str, ratio: float, *, heads: bool = False, seed: int = 0) -> None:
    """Prune by scores at random."""
    generator = torch.Generator().manual_seed(seed)
    layers = detector.prunable_layers(heads=heads)
    importance = {name: torch.rand(layer.weight.shape, generator=generator) for name, layer in layers.items()}
    masking.apply(masks_by(structure, importance, ratio, couplings(detector, layers)), detector)


def drawn_masks(detector: Detector, structure: str, ratio: float = 0.75) -> Masks:
    """Return masks that keep the largest weights."""
    importance = {name: layer.weight.detach().abs() for name, layer in detector.prunable_layers().items()}
    return masks_by(structure, importance, ratio, couplings(detector, importance))


def masks_by(structure: str, importance: Mapping[str, Tensor], ratio: float, groups: Sequence[CoupledGroup]) -> Masks:
    """Return the masks of a structure by name, which prunes the same ratio of every layer."""
    return draw_masks(structure, importance, ratio, groups=groups, scope="layer", comparable=False)


def rows_of(group: CoupledGroup) -> dict[str, Tensor]:
    """Return the filters of every layer that are subject to each decision, (decisions, filters of each)."""
    rows = {}
    for name, (indices, decisions) in group.filters.items():
        order = decisions.argsort(stable=True)
        assert decisions[order].bincount().tolist() == [len(indices) // group.decisions] * group.decisions
        rows[name] = indices[order].view(group.decisions, -1)
    return rows


def convolution(detector: nn.Module, layer: int) -> nn.Conv2d:
    """Return the convolution of a layer."""
    found = detector.get_submodule(f"layers.{layer}.conv")
    assert isinstance(found, nn.Conv2d)
    return found


def batch_norm(detector: nn.Module, layer: int) -> nn.BatchNorm2d:
    """Return the batch norm of a layer."""
    found = detector.get_submodule(f"layers.{layer}.batch_norm")
    assert isinstance(found, nn.BatchNorm2d)
    return found


@torch.no_grad()
def zero_filters(detector: Detector, layer: int, *filters: int) -> None:
    """Prune filters of one layer."""
    convolution(detector, layer).weight[list(filters)] = 0


@torch.no_grad()
def assert_same(network: nn.Module, detector: Detector, images: Tensor) -> None:
    """See that a network gives the detector's raw outputs, to 1e-4 of the largest."""
    for output, expected in zip(network(images), detector(images), strict=True):
        assert output.shape == expected.shape
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-4 * expected.abs().max().item())
