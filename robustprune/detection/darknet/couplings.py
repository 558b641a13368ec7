"""Which filters have to go together, because a detector's graph adds or multiplies their channels.

A filter whose channel is added to another's leaves a smaller network only if the other goes too; a depthwise filter
and the channel it reads are of no use without each other. Sums, products and depthwise convolutions therefore couple
channel by channel; routes, pools and the like only hand channels on. How couplings are scored is told in `structures`,
what leaves a network in `inference`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn

from robustprune.detection.darknet.channels import origins
from robustprune.detection.darknet.graph import IMAGE
from robustprune.detection.darknet.layers import Convolutional
from robustprune.detection.darknet.network import Detector

Group = dict[str, Tensor]
"""Decisions about the same layers, by name in order of depth: (decisions, count) numbers of each layer's filters.

The filters in the i-th rows are kept or pruned together. `count` is 1, except where several filters of one layer are
coupled with each other, as those of a depthwise convolution that read the same channel.
"""


def couplings(detector: Detector, layers: Collection[str]) -> list[Group]:
    """Return groups in which each filter of `layers` occurs once; a layer that is coupled with none is one by itself.

    Whatever is not in `layers`, such as the image or a head that is spared, stays and keeps nothing else from leaving:
    filters whose channels are added to its channels are decided on without it, though together.

    Args:
        detector: its weights do not matter.
        layers: names of convolutions; their order does not matter.
    """
    channels, pairs = _channels_and_pairs(detector)
    first, second = torch.cat(pairs, dim=1)
    size = int(max(numbers.max() for numbers in channels.values())) + 1
    _, labels = connected_components(
        coo_array((torch.ones(len(first)), (first, second)), shape=(size, size)), directed=False
    )
    together: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for index, numbers in channels.items():
        if f"layers.{index}.conv" in layers:
            for position, number in enumerate(numbers.tolist()):
                together[labels[number]].append((f"layers.{index}.conv", position))
    groups: dict[tuple[str, ...], list[list[int]]] = defaultdict(list)
    for filters in together.values():
        groups[tuple(name for name, _ in filters)].append([position for _, position in filters])
    return [_group(names, torch.tensor(decisions)) for names, decisions in groups.items()]


def _group(names: tuple[str, ...], decisions: Tensor) -> Group:
    return {
        name: decisions[:, [column for column, other in enumerate(names) if other == name]]
        for name in dict.fromkeys(names)
    }


def _channels_and_pairs(detector: Detector) -> tuple[dict[int, Tensor], list[Tensor]]:
    """Number the channels of the image and of every convolution, and return which numbers are coupled.

    Returns:
        By index of each layer the numbers of its channels, those of a layer without weights being what it takes in;
        and pairs, (2, any) each.
    """
    channels = {IMAGE: torch.arange(detector.channels)}
    pairs = []
    size = detector.channels
    for index, (layer, inputs) in enumerate(zip(detector.layers, detector.inputs, strict=True)):
        if isinstance(layer, Convolutional):
            channels[index] = torch.arange(size, size + layer.conv.out_channels)
            size += layer.conv.out_channels
            if _is_depthwise(layer.conv):
                read = channels[inputs[0]].repeat_interleave(layer.conv.out_channels // layer.conv.groups)
                pairs.append(torch.stack([channels[index], read]))
        else:
            taken = [channels[source] for source in inputs]
            rows = torch.stack(
                [
                    torch.where(origin >= 0, numbers[origin], -1)
                    for numbers, origin in zip(taken, origins(layer, [len(numbers) for numbers in taken]), strict=True)
                ]
            )
            channels[index] = rows.amax(dim=0)
            pairs += [torch.stack([channels[index], row])[:, row >= 0] for row in rows]
    return channels, pairs


def _is_depthwise(conv: nn.Conv2d) -> bool:
    """Whether each filter reads one channel of several."""
    return conv.groups == conv.in_channels > 1
