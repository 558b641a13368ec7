"""What of a classifier can be pruned: its channels that go together, and the layer that gives its logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from robustprune.attacks import frozen
from robustprune.classification.networks.cifar import ChannelShortcut
from robustprune.structures import CoupledGroup
from robustprune.structures.dependency_graph import dependency_groups


def channel_groups(network: nn.Module, example: Tensor) -> list[CoupledGroup]:
    """Return the groups of channels that can be removed; see `structures.dependency_graph`.

    Args:
        network: keeps its mode; its parameters come out requiring gradients.
        example: an image, (1, 3, S, S).
    """
    from torchvision.models.swin_transformer import ShiftedWindowAttention

    from robustprune.classification.networks.shortcut_pruning import ChannelShortcutPruner

    return dependency_groups(
        network, example, pruners={ChannelShortcut: ChannelShortcutPruner()}, passed=(ShiftedWindowAttention,)
    )


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
