"""What a detector costs on paper: parameters and multiply–accumulates, before and after pruning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from robustprune.attacks import frozen
from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.compaction import CompactDetector


class Size(NamedTuple):
    """Parameters of a network, and the multiply–accumulates of each of its convolutions for one image."""

    params: int
    layer_macs: dict[str, int]

    @property
    def macs(self) -> int:
        """Of all convolutions."""
        return sum(self.layer_macs.values())


class Cost(NamedTuple):
    """What pruning saves, as columns of a row.

    Attributes:
        params_total: of the detector as if it were not pruned.
        params_kept: without the weights that a mask prunes.
        params_compact: left in the smaller detector, batch norms being folded into it.
        macs_dense: as if it were not pruned.
        macs: without the weights that a mask prunes.
        macs_compact: of the smaller detector.
        weights_pruned: fraction of the weights of the layers with a mask, in [0, 1]; 0 without masks.
        filters_pruned: fraction of their filters of which every weight is pruned.
    """

    params_total: int
    params_kept: int
    params_compact: int
    macs_dense: int
    macs: int
    macs_compact: int
    weights_pruned: float
    filters_pruned: float


def cost(detector: Detector, masks: Mapping[str, Tensor], *, compacted: CompactDetector, image_size: int) -> Cost:
    """Count what masks leave of a detector: of its own weights, and in the smaller one that was made of it."""
    dense, smaller = (size(network, image_size=image_size) for network in (detector, compacted))
    pruned = {name: ~mask for name, mask in masks.items()}
    saved = {name: int(weights.sum()) for name, weights in pruned.items()}
    return Cost(
        params_total=dense.params,
        params_kept=dense.params - sum(saved.values()),
        params_compact=smaller.params,
        macs_dense=dense.macs,
        macs=dense.macs - sum(dense.layer_macs[name] // masks[name].numel() * count for name, count in saved.items()),
        macs_compact=smaller.macs,
        weights_pruned=_share(pruned.values()),
        filters_pruned=_share(weights.flatten(1).all(dim=1) for weights in pruned.values()),
    )


@torch.no_grad()
def size(network: Detector | CompactDetector, *, image_size: int) -> Size:
    """Count by running a blank image, a square of `image_size` pixels."""
    macs: dict[str, int] = {}

    def counted(name: str, layer: nn.Conv2d) -> RemovableHandle:
        def hook(_: nn.Module, __: object, output: Tensor) -> None:
            macs[name] = layer.weight.numel() * output.shape[-2] * output.shape[-1]

        return layer.register_forward_hook(hook)

    handles = [counted(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)]
    parameter = next(network.parameters())
    with frozen(network):
        network(parameter.new_zeros(1, network.channels, image_size, image_size))
    for handle in handles:
        handle.remove()
    return Size(sum(each.numel() for each in network.parameters()), macs)


def _share(flags: Iterable[Tensor]) -> float:
    """Return the fraction of all flags that are set, 0 if there are none."""
    counts = [(int(part.sum()), part.numel()) for part in flags]
    return sum(count for count, _ in counts) / max(1, sum(total for _, total in counts))
