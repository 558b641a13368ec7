"""Which filters have to go together, because a detector's graph adds or multiplies their channels.

A filter whose channel is added to another's leaves a smaller network only if the other goes too; a depthwise filter
and the channel it reads are of no use without each other. Sums, products and depthwise convolutions therefore couple
channel by channel; routes, pools and the like only hand channels on. How couplings are scored is told in `structures`,
what leaves a network in `inference`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn

from robustprune.detection.darknet.channels import origins
from robustprune.detection.darknet.layers import Convolutional, Reorg, Route, Yolo
from robustprune.detection.darknet.network import Detector
from robustprune.inference.graph import IMAGE
from robustprune.structures.groups import CoupledGroup, Members


def couplings(detector: Detector, layers: Collection[str]) -> list[CoupledGroup]:
    """Return groups in which each filter of `layers` occurs once; a layer that is coupled with none is one by itself.

    Whatever is not in `layers`, such as the image or a head that is spared, stays and keeps nothing else from leaving:
    filters whose channels are added to its channels are decided on without it, though together.

    Args:
        detector: its weights do not matter.
        layers: names of convolutions; their order does not matter.
    """
    labels = channel_labels(detector)
    filters = _coupled(
        {f"layers.{index}.conv": own for index, own in labels.items() if f"layers.{index}.conv" in layers}
    )
    together: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for label, members in filters.items():
        together[tuple(name for name, _ in members)].append(label)
    read, stay = _coupled(_inputs(detector, labels)), _staying(detector, labels, layers)
    return [_group(detector, own, filters, read, stay) for own in together.values()]


def channel_labels(detector: Detector) -> dict[int, NDArray[np.integer]]:
    """Return a number per channel of the image and of every layer, by its index, the same where channels are coupled.

    A layer without weights has the numbers of what it takes in.
    """
    channels, pairs = _channels_and_pairs(detector)
    first, second = torch.cat(pairs, dim=1)
    size = int(max(numbers.max() for numbers in channels.values())) + 1
    _, labels = connected_components(
        coo_array((torch.ones(len(first)), (first, second)), shape=(size, size)), directed=False
    )
    return {index: labels[numbers.numpy()] for index, numbers in channels.items()}


_Coupled = dict[int, list[tuple[str, int]]]
"""By the label of channels that go together, the layers and the positions of these in them, in order of depth."""


def _coupled(labels: Mapping[str, NDArray[np.integer]]) -> _Coupled:
    coupled: _Coupled = defaultdict(list)
    for name, own in labels.items():
        for position, label in enumerate(own.tolist()):
            coupled[label].append((name, position))
    return coupled


def _inputs(detector: Detector, labels: Mapping[int, NDArray[np.integer]]) -> dict[str, NDArray[np.integer]]:
    """Return the labels of what each convolution reads that is not depthwise."""
    return {
        f"layers.{index}.conv": labels[inputs[0]]
        for index, (layer, inputs) in enumerate(zip(detector.layers, detector.inputs, strict=True))
        if isinstance(layer, Convolutional) and not _is_depthwise(layer.conv)
    }


def _staying(detector: Detector, labels: Mapping[int, NDArray[np.integer]], layers: Collection[str]) -> set[int]:
    """Return labels of which no channel can be left out: of the image, of layers that are spared, of heads, and of what
    mixes or counts channels.
    """
    staying = set(labels[IMAGE].tolist())
    for index, (layer, inputs) in enumerate(zip(detector.layers, detector.inputs, strict=True)):
        if isinstance(layer, Convolutional):
            is_counted = layer.conv.groups > 1 and not _is_depthwise(layer.conv)
            own = [index, *inputs] if is_counted else [] if f"layers.{index}.conv" in layers else [index]
        else:
            counts = isinstance(layer, Yolo | Reorg) or (isinstance(layer, Route) and layer.groups > 1)
            own = list(inputs) if counts else []
        for source in own:
            staying.update(labels[source].tolist())
    return staying


def _group(
    detector: Detector, labels: Sequence[int], filters: _Coupled, read: _Coupled, stay: set[int]
) -> CoupledGroup:
    """Return the group of some labels, whose channels are filters of the same layers."""

    def members(coupled: _Coupled) -> dict[str, Members]:
        found: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for decision, label in enumerate(labels):
            for name, position in coupled.get(label, ()):
                found[name].append((position, decision))
        return {name: Members(*torch.tensor(pairs).unbind(dim=1)) for name, pairs in found.items()}

    own = members(filters)
    normed = {name: f"{name.removesuffix('.conv')}.batch_norm" for name in own}
    return CoupledGroup(
        decisions=len(labels),
        filters=own,
        readers=members(read),
        norms={
            norm: own[name]
            for name, norm in normed.items()
            if detector.get_submodule(name.removesuffix(".conv")).batch_norm is not None
        },
        leaves=stay.isdisjoint(labels),
    )


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
