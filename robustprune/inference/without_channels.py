"""A network without the channels that pruning has left idle, for networks of whose graph nothing is known beforehand.

DepGraph finds which channels go together; those whose filters, biases and batch norms are all zero leave a copy. That
the copy computes the same is not believed but tried: where it does not, the network stays whole.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from robustprune.core.devices import in_full_precision
from robustprune.structures.dependency_graph import dependency_groups
from robustprune.structures.groups import CoupledGroup
from robustprune.structures.removal import remove
from robustprune.structures.trial import Find, removable, tensors

TOLERANCE = 1e-4
"""Largest difference between outputs, as a part of the largest of them or of 1, that rounding may make."""


def without_idle_channels(network: nn.Module, example: Tensor, *, find: Find = dependency_groups) -> nn.Module:
    """Return a smaller network in eval mode, without gradients, that computes what `network` computes in eval mode.

    Args:
        network: its outputs are a tensor, or several in lists, dictionaries or dataclasses; not changed. Where no
            groups can be found in it, it stays whole.
        example: an input, (1, …); that there is a difference is seen on noise of its shape.
        find: which of its channels go together.
    """
    whole = copy.deepcopy(network).eval()
    if not any(_has_idle_filter(module) for module in whole.modules()):
        return whole.requires_grad_(False)
    for tried in (False, True):
        smaller = copy.deepcopy(whole)
        try:
            groups = find(smaller, example)
            if tried:  # group by group, which takes long
                groups = removable(smaller, groups, find=find, example=example)
            remove(groups, [_in_use(smaller, group) for group in groups])
        except Exception:  # whatever is tripped over in a network: numbers that are no float64, weights that are made
            continue
        if agree(smaller.eval(), whole, example):
            return smaller.requires_grad_(False)
    return whole.requires_grad_(False)


def _has_idle_filter(module: nn.Module) -> bool:
    if not isinstance(module, nn.Conv2d | nn.Linear):
        return False
    return not bool(module.weight.detach().flatten(1).any(dim=1).all())


def _in_use(network: nn.Module, group: CoupledGroup) -> Tensor:
    """Return which decisions of a group have a parameter that is not zero, (decisions,), boolean; one stays always."""
    found = torch.zeros(group.decisions, dtype=torch.bool)
    for layer, (indices, decisions) in (*group.filters.items(), *group.norms.items()):
        module = network.get_submodule(layer)
        for parameter in (module.weight, module.bias):
            if isinstance(parameter, Tensor):
                used = parameter.detach().flatten(1).any(dim=1) if parameter.ndim > 1 else parameter.detach() != 0
                found[decisions[used.cpu()[indices]]] = True
    if not found.any():
        found[0] = True
    return found


@torch.no_grad()
def agree(one: nn.Module, other: nn.Module, example: Tensor) -> bool:
    """Say whether two networks give the same of noise in the shape of an example, but for rounding (`TOLERANCE`)."""
    noise = torch.rand(example.shape, generator=torch.Generator().manual_seed(0)).to(example)
    with in_full_precision():
        expected = list(tensors(other(noise)))
        try:
            found = list(tensors(one(noise)))
        except Exception:  # Whatever a layer says of inputs that do not fit it any more.
            return False
    # Nothing is known of what has no tensors.
    return 0 < len(found) == len(expected) and all(map(_close, found, expected))


def _close(found: Tensor, expected: Tensor) -> bool:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    if torch.equal(found, expected):  # infinities, booleans and nothing at all have no differences
        return True
    if not expected.is_floating_point() and not expected.is_complex():
        return False
    return bool(((found - expected).abs() <= TOLERANCE * expected.abs().max().clamp(min=1)).all())
