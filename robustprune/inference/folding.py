"""A graph of layers with fewer of them: batch norms and activations become part of the layer that alone they read."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from robustprune.inference.calls import Call, called
from robustprune.inference.compact_layers import Sum
from robustprune.inference.graph import Step

_FUNCTIONS = {
    *("elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "mish", "relu6", "sigmoid", "silu"),
    *("softplus", "tanh"),
}
_MODULES = {
    *(nn.ELU, nn.GELU, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU, nn.Mish, nn.ReLU, nn.ReLU6),
    *(nn.Sigmoid, nn.SiLU, nn.Softplus, nn.Tanh),
}
_NOTHING = {nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout}
"""Layers that in eval mode hand on what they read."""


def folded(steps: Sequence[Step], heads: Sequence[int]) -> tuple[list[Step], list[int]]:
    """Return a graph that computes the same, and where its heads are.

    A convolution comes out as `Sequential(convolution, activation)`, with a bias, its batch norm folded in. Those of
    several inputs or of none stay.

    Args:
        steps: layers in eval mode, of which none writes over what it reads; stay as they are.
        heads: steps whose outputs are the network's.
    """
    readers = Counter(source for step in steps for source in step.inputs) + Counter(heads)
    layers = [step.module for step in steps]
    taken = list(range(len(steps)))  # the step that has each one's output by now
    for index, (layer, inputs) in enumerate(steps):
        if len(inputs) != 1 or inputs[0] < 0:
            continue
        source = taken[inputs[0]]
        if type(layer) in _NOTHING:
            taken[index] = source
            # Whoever reads this one reads the other.
            readers[source] += readers[index] - 1
        elif readers[source] == 1 and (joined := _joined(layers[source], layer)) is not None:
            layers[source], taken[index] = joined, source
            readers[source] = readers[index]
    left = [index for index in range(len(steps)) if taken[index] == index]
    place = {-1: -1} | {index: left.index(found) for index, found in enumerate(taken)}
    found = [Step(_finished(layers[index]), tuple(place[source] for source in steps[index].inputs)) for index in left]
    return found, [place[index] for index in heads]


def _joined(layer: nn.Module, reader: nn.Module) -> nn.Module | None:
    """Return a layer and the only one that reads it as one; None where that is no plain layer."""
    if type(layer) is nn.Conv2d and type(reader) is nn.BatchNorm2d and reader.running_mean is not None:
        return fuse_conv_bn_eval(layer, reader)
    if not _is_activation(reader):
        return None
    if type(layer) is nn.Conv2d:
        return nn.Sequential(layer, _in_place(reader))
    if type(layer) is Sum and type(layer.activation) is nn.Identity:
        return Sum([None], missing=0, constant=None, activation=_in_place(reader))
    return None


def _is_activation(layer: nn.Module) -> bool:
    """Whether a layer computes each value of its output from the same one of its input."""
    return called(layer.function) in _FUNCTIONS if isinstance(layer, Call) else type(layer) in _MODULES


def _in_place(activation: nn.Module) -> nn.Module:
    """Return an activation that writes over what it reads, where it can."""
    found: Any = copy.deepcopy(activation)
    if hasattr(found, "inplace"):
        found.inplace = True
    return found  # type: ignore[no-any-return]


def _finished(layer: nn.Module) -> nn.Module:
    """Return a convolution with its bias and activation, and other layers as they are."""
    if type(layer) is nn.Conv2d:
        return nn.Sequential(_biased(layer), nn.Identity())
    if type(layer) is nn.Sequential and type(layer[0]) is nn.Conv2d:
        return nn.Sequential(_biased(layer[0]), layer[1])
    return layer


def _biased(conv: nn.Conv2d) -> nn.Conv2d:
    if conv.bias is not None:
        return conv
    found = copy.copy(conv)
    found._parameters = dict(conv._parameters)
    found.bias = nn.Parameter(conv.weight.new_zeros(conv.out_channels), requires_grad=False)
    return found
