"""What a detector costs on paper: parameters and multiply–accumulates, before and after pruning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robustprune.attacks import frozen
from robustprune.darknet import Detector


class Cost(NamedTuple):
    """Counts for one image; `kept` and `macs` leave out the weights that a mask prunes."""

    params_total: int
    params_kept: int
    macs_dense: int
    macs: int


@torch.no_grad()
def cost(detector: Detector, masks: Mapping[str, Tensor], *, image_size: int) -> Cost:
    """Count parameters of the whole detector and multiply–accumulates of its convolutions."""
    positions: dict[str, int] = {}
    convolutions = {name: m for name, m in detector.named_modules() if isinstance(m, nn.Conv2d)}
    handles = [
        layer.register_forward_hook(
            lambda _, __, output, name=name: positions.__setitem__(name, output.shape[-2] * output.shape[-1])
        )
        for name, layer in convolutions.items()
    ]
    parameter = next(detector.parameters())
    with frozen(detector):
        detector(parameter.new_zeros(1, 3, image_size, image_size))
    for handle in handles:
        handle.remove()
    total = sum(p.numel() for p in detector.parameters())
    weights = {name: layer.weight.numel() for name, layer in convolutions.items()}
    kept = {name: int(masks[name].sum()) if name in masks else count for name, count in weights.items()}
    return Cost(
        params_total=total,
        params_kept=total - sum(weights.values()) + sum(kept.values()),
        macs_dense=sum(weights[name] * positions[name] for name in weights),
        macs=sum(kept[name] * positions[name] for name in weights),
    )
