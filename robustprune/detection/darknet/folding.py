"""A detector for passes that share its weights: every batch norm taken into the convolution before it.

In eval mode a batch norm is an affine map per channel; a convolution followed by it is a convolution of other weights
and a bias. What is left out is a pass over memory per layer, forward and backward.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from robustprune.detection.darknet.layers import Convolutional, MaxPool
from robustprune.detection.darknet.network import Detector

_NETWORKS: WeakKeyDictionary[Detector, Detector] = WeakKeyDictionary()


class Folded(NamedTuple):
    """A detector in eval mode without batch norms, for `torch.func.functional_call`.

    Attributes:
        network: the layers alone; its own parameters have no memory.
        tensors: weight and bias of each convolution, by name, without gradient.
    """

    network: Detector
    tensors: dict[str, Tensor]


def fold(detector: Detector, weights: Mapping[str, Tensor] | None = None) -> Folded:
    """Return what `detector` is in eval mode, which need not be the mode it is in.

    Args:
        detector: not changed; fold it again once its weights have.
        weights: parameters to use in place of the detector's own, by name.
    """
    network = _NETWORKS.get(detector)
    if network is None:
        network = _NETWORKS[detector] = _without_batch_norms(detector)
    own = {**dict(detector.named_parameters()), **(weights or {})}
    tensors: dict[str, Tensor] = {}
    for index, layer in enumerate(detector.layers):
        if isinstance(layer, Convolutional):
            # It may have been given fewer channels since.
            alike = network.layers[index]
            assert isinstance(alike, Convolutional)
            alike.conv.groups = layer.conv.groups
            names = f"layers.{index}.conv.weight", f"layers.{index}.conv.bias"
            folded = _folded(layer, own, f"layers.{index}.")
            tensors |= {name: tensor.detach() for name, tensor in zip(names, folded, strict=True)}
    return Folded(network, tensors)


def _folded(layer: Convolutional, own: Mapping[str, Tensor], prefix: str) -> tuple[Tensor, Tensor]:
    weight = own[f"{prefix}conv.weight"]
    norm = layer.batch_norm
    if norm is None:
        return weight, own[f"{prefix}conv.bias"]
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale, shift = own[f"{prefix}batch_norm.weight"], own[f"{prefix}batch_norm.bias"]
    return fuse_conv_bn_weights(weight, None, norm.running_mean, norm.running_var, norm.eps, scale, shift)


def _without_batch_norms(detector: Detector) -> Detector:
    sections = [
        dataclasses.replace(section, options={k: v for k, v in section.options.items() if k != "batch_normalize"})
        for section in detector.sections
    ]
    with torch.device("meta"):
        network = Detector(sections).eval()
    _pool_first(network)
    return network


def _pool_first(network: Detector) -> None:
    """Let activations follow the max-pools that they come before: on a quarter of the pixels, and to the same bits.

    An activation that never falls returns the largest of its values where its argument is the largest.
    """
    readers = Counter(source for sources in network.inputs for source in sources)
    for index, (layer, sources) in enumerate(zip(network.layers, network.inputs, strict=True)):
        before = network.layers[sources[0]] if isinstance(layer, MaxPool) and sources[0] >= 0 else None
        if (
            isinstance(before, Convolutional)
            and isinstance(before.activation, nn.LeakyReLU | nn.ReLU)
            and readers[sources[0]] == 1
        ):
            network.layers[index] = nn.Sequential(layer, before.activation)
            before.activation = nn.Identity()
