"""Which channels layers without weights hand on: bookkeeping along a detector's graph, without a tensor of images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustprune.detection.darknet.layers import Reorg, Route


def origins(layer: nn.Module, widths: list[int]) -> list[Tensor]:
    """For each input of a layer without weights, (channels,): which of its channels each output channel takes in.

    -1 stands for none. `widths` are the inputs' numbers of channels. Of a `Reorg`, whose channels mix neighbouring
    ones where rows do not divide evenly, it is the one that most comes from.
    """
    if isinstance(layer, Route):
        spans = [torch.arange(width).chunk(layer.groups)[layer.group_id] for width in widths]
        return [torch.cat([span if other is span else torch.full_like(other, -1) for other in spans]) for span in spans]
    if isinstance(layer, Reorg):
        pixels = layer.stride**2
        part = torch.arange(pixels * widths[0]) // pixels % (widths[0] // pixels)
        return [part * pixels + torch.arange(pixels).repeat(widths[0])]
    channel = torch.arange(widths[0])
    return [torch.where(channel < width, channel, -1) for width in widths]
