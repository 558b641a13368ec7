"""Batch norm as it is in no fresh network, where its scale is 1, its shift 0 and its statistics do nothing."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def draw(network: nn.Module) -> None:
    """Draw the statistics, scales and shifts of every batch norm from torch's own generator."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5)
            module.bias.uniform_(-0.5, 0.5)
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
