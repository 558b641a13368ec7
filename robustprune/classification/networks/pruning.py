"""What of a classifier can be pruned: its channels that go together, and the layer that gives its logits."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from robustprune.attacks import frozen
from robustprune.classification.networks.cifar import ChannelShortcut
from robustprune.classification.networks.declared import declared_groups
from robustprune.structures import CoupledGroup
from robustprune.structures.dependency_graph import dependency_groups
from robustprune.structures.trial import removable


def channel_groups(network: nn.Module, example: Tensor) -> list[CoupledGroup]:
    """Return the groups of channels that can be removed: those that the network tells of itself, or else those found by
    DepGraph and tried out; see `declared`, `structures.dependency_graph` and `structures.trial`.

    Args:
        network: keeps its mode; its parameters come out requiring gradients.
        example: an image, (1, 3, S, S).
    """
    if (declared := declared_groups(network)) is not None:
        return declared
    from torchvision.models.swin_transformer import ShiftedWindowAttention

    from robustprune.classification.networks.shortcut_pruning import ChannelShortcutPruner

    find = partial(
        dependency_groups, pruners={ChannelShortcut: ChannelShortcutPruner()}, passed=(ShiftedWindowAttention,)
    )
    return removable(network, find(network, example), find=find, example=example)


def kept_whole(network: nn.Module, example: Tensor) -> list[str]:
    """Return the names of the layers no filter of which can be pruned with all that depends on it, but for the logits'.

    Args:
        network: see `channel_groups`.
        example: an image, (1, 3, S, S).
    """
    groups = channel_groups(network, example)
    decided = {name for group in groups for name in group.filters} | {output_layer(network, example)}
    layers = (name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear))
    return [name for name in layers if name not in decided]


@torch.no_grad()
def output_layer(network: nn.Module, example: Tensor) -> str:
    """Return the name of the layer that gives the logits: the last one that is run."""
    run: list[str] = []

    def told(name: str) -> Any:
        return lambda *_: run.append(name)

    handles = [
        module.register_forward_hook(told(name))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    with frozen(network):
        network(example)
    for handle in handles:
        handle.remove()
    return run[-1]
