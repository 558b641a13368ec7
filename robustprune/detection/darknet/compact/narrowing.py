"""A Darknet detector without the filters that masks leave idle, to be trained in its place; see `structures.narrowing`.

For inference more can be left out: constants are folded, and sums need not agree (`compact`). Here the network stays
one of Darknet's, with its batch norms.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from robustprune.detection.darknet.couplings import channel_labels
from robustprune.detection.darknet.layers import Convolutional, Reorg, Route
from robustprune.detection.darknet.network import Detector
from robustprune.inference.graph import IMAGE
from robustprune.structures.narrowing import Narrowed, can_be_narrowed, filled


def narrowed(detector: Detector, masks: Mapping[str, Tensor]) -> Narrowed | None:
    """Return a detector without idle filters; None where it has layers that are not to be narrowed.

    Channels that the graph couples leave together, where all of them are idle. Those that a [reorg] mixes, a grouped
    convolution or a grouped [route] counts, or a logistic activation turns into one half, stay.

    Args:
        detector: whose masked weights are zero; stays as it is.
        masks: of weights, by the convolution's name, and of parameters of batch norm and biases, by theirs; see
            `structures.removal.departing`.
    """
    if not can_be_narrowed(detector):
        return None
    labels = channel_labels(detector)
    stays = np.zeros(1 + max(int(own.max()) for own in labels.values()), dtype=bool)
    stays[labels[IMAGE]] = True
    for index, (layer, inputs) in enumerate(zip(detector.layers, detector.inputs, strict=True)):
        if isinstance(getattr(layer, "activation", None), nn.Sigmoid):
            stays[labels[index]] = True
        if isinstance(layer, Convolutional):
            idle = _idle(layer, f"layers.{index}", masks)
            stays[labels[index][~idle.numpy()]] = True
            if layer.conv.groups > 1 and layer.conv.groups != layer.conv.in_channels:
                stays[labels[index]] = stays[labels[inputs[0]]] = True
        elif isinstance(layer, Reorg) or (isinstance(layer, Route) and layer.groups > 1):
            for source in inputs:
                stays[labels[source]] = True
    left = {index: torch.from_numpy(stays[own].nonzero()[0]) for index, own in labels.items()}
    return filled(_built(detector, left), _places(detector, left), detector)


def _idle(layer: Convolutional, name: str, masks: Mapping[str, Tensor]) -> Tensor:
    """Return which filters of a layer give zero everywhere, and go on to, (filters,), on the CPU."""
    none = torch.zeros(layer.conv.out_channels, dtype=torch.bool)
    if f"{name}.conv" not in masks:
        return none
    idle = ~masks[f"{name}.conv"].flatten(1).any(dim=1).cpu()
    for parameter in ["batch_norm.weight", "batch_norm.bias"] if layer.batch_norm is not None else ["conv.bias"]:
        own = masks.get(f"{name}.{parameter}")
        idle = none if own is None else idle & ~own.cpu()
    return idle


def _built(detector: Detector, left: Mapping[int, Tensor]) -> Detector:
    """Return the detector with so many filters per layer, its numbers yet to come."""
    sections = [detector.sections[0]]
    for index, (section, layer) in enumerate(zip(detector.sections[1:], detector.layers, strict=True)):
        if isinstance(layer, Convolutional):
            own = {"filters": str(len(left[index]))}
            if layer.conv.groups > 1:
                inputs = left[detector.inputs[index][0]]
                own |= {"groups": str(len(inputs) if _is_depthwise(layer) else layer.conv.groups)}
            section = dataclasses.replace(section, options={**section.options, **own})
        sections.append(section)
    with torch.device("meta"):
        narrow = Detector(sections)
    for index, layer in enumerate(detector.layers):
        if not isinstance(layer, Convolutional):
            narrow.layers[index] = copy.deepcopy(layer)
    return narrow


def _places(detector: Detector, left: Mapping[int, Tensor]) -> dict[str, Tensor]:
    places: dict[str, Tensor] = {}
    for index, (layer, inputs) in enumerate(zip(detector.layers, detector.inputs, strict=True)):
        if not isinstance(layer, Convolutional):
            continue
        rows, weight = left[index], layer.conv.weight
        read = torch.arange(weight.shape[1]) if layer.conv.groups > 1 else left[inputs[0]]
        every = torch.arange(weight.numel()).view(weight.shape)
        places[f"layers.{index}.conv.weight"] = every[rows][:, read]
        for name, tensor in layer.state_dict().items():
            if name != "conv.weight":
                places[f"layers.{index}.{name}"] = torch.tensor(0) if tensor.ndim == 0 else rows
    return places


def _is_depthwise(layer: Convolutional) -> bool:
    return layer.conv.groups == layer.conv.in_channels > 1
