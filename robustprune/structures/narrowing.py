"""The same network without the channels that masks leave idle: what is trained in place of one with masked filters.

Every number of the narrow network is one of the wide network's: `places` says which, so that masks, and what training
has made of the numbers, go from one to the other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robustprune.structures.groups import CoupledGroup
from robustprune.structures.masks import Masks
from robustprune.structures.removal import kept_decisions, remove

WHOLE = (nn.LayerNorm, nn.GroupNorm, nn.modules.dropout._DropoutNd)
"""Layers that see all channels at once, or draw a number for each: fewer of them are another training."""


def can_be_narrowed(network: nn.Module) -> bool:
    """Say whether a network of fewer channels is trained as this one is with those channels masked.

    Dropout right before a fully connected layer is no obstacle: it goes on drawing as many numbers; see `_Dropout`.
    """
    followed = _followed_dropouts(network)
    return not any(isinstance(module, WHOLE) and name not in followed for name, module in network.named_modules())


class Narrowed(NamedTuple):
    """A narrow network, and where its numbers are in the wide one.

    Attributes:
        network: on the wide one's device, with its values.
        places: of each parameter and buffer, by name and in its shape: int64, indices into the wide one's, flattened.
    """

    network: nn.Module
    places: Mapping[str, Tensor]

    def masks(self, held: Mapping[str, Tensor]) -> Masks:
        """Return masks of the wide network as those of the narrow one, without those that hold nothing there."""
        parameters = dict(self.network.named_parameters())
        found: Masks = {}
        for name, mask in held.items():
            places = self.places[name if name in parameters else f"{name}.weight"]
            own = mask.flatten()[places.to(mask.device)]
            if not own.all():
                found[name] = own
        return found

    @torch.no_grad()
    def write_back(self, wide: nn.Module) -> None:
        """Give the wide network the narrow one's numbers; those that are in it alone stay as they are."""
        own = self.network.state_dict()
        for name, tensor in wide.state_dict().items():
            flat = tensor.detach().clone(memory_format=torch.contiguous_format).flatten()
            places = self.places[name].to(flat.device).flatten()
            flat[places] = own[name].contiguous().flatten()
            tensor.copy_(flat.view(tensor.shape))


def narrowed(
    network: nn.Module, held: Mapping[str, Tensor], *, find: Callable[[nn.Module], Sequence[CoupledGroup]]
) -> Narrowed | None:
    """Return a network without the channels of which nothing stays; None where layers are not to be narrowed.

    Args:
        network: in which what is masked is zero; stays as it is.
        held: masks of whole filters, by layer, and of what departs with them.
        find: returns the groups of a copy, which can be removed.
    """
    if not can_be_narrowed(network):
        return None
    # Removed from a copy whose numbers are places. Exact: float64 counts to 2⁵³.
    counted = copy.deepcopy(network)
    groups = find(counted)
    counted.double()
    with torch.no_grad():
        for tensor in counted.state_dict().values():
            tensor.copy_(torch.arange(tensor.numel()).view(tensor.shape))
    remove(groups, kept_decisions(groups, held))
    for name, reader in _followed_dropouts(network).items():
        module, whole = counted.get_submodule(reader), network.get_submodule(reader)
        assert isinstance(module, nn.Linear)
        assert isinstance(whole, nn.Linear)
        own = module.weight.detach()[0].long() % whole.in_features
        counted.set_submodule(name, _Dropout(network.get_submodule(name), whole.in_features, own))
    places = {name: tensor.detach().long() for name, tensor in counted.state_dict().items()}
    return filled(counted, places, network)


@torch.no_grad()
def filled(narrow: nn.Module, places: Mapping[str, Tensor], wide: nn.Module) -> Narrowed:
    """Return a network of these shapes with the wide one's values, dtypes, mode and wish for gradients."""
    state = {}
    for name, tensor in wide.state_dict().items():
        at = places[name].to(tensor.device)
        state[name] = tensor.contiguous().flatten()[at.flatten()].view(at.shape)
    narrow.load_state_dict(state, assign=True)
    narrow.train(wide.training)
    asked = {name: parameter.requires_grad for name, parameter in wide.named_parameters()}
    for name, parameter in narrow.named_parameters():
        parameter.requires_grad_(asked[name])
    return Narrowed(narrow, places)


class _Dropout(nn.Dropout):
    """Dropout that draws a number for each channel of a wide network, and goes by those of its own channels."""

    channels: Tensor

    def __init__(self, wide: nn.Module, width: int, channels: Tensor) -> None:
        """Take the place of `wide`, among so many channels, of which `channels` are left: (count,) int64."""
        assert isinstance(wide, nn.Dropout)
        super().__init__(wide.p)
        self.width = width
        self.register_buffer("channels", channels, persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return inputs
        factors: Tensor = super().forward(inputs.new_ones(*inputs.shape[:-1], self.width))
        return inputs * factors[..., self.channels]


def _followed_dropouts(network: nn.Module) -> dict[str, str]:
    """Return the dropouts whose outputs go to a fully connected layer alone, and that layer, by their names."""
    found = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Sequential):
            named = [(f"{name}.{own}" if name else own, layer) for own, layer in module.named_children()]
            for (one, first), (other, second) in pairwise(named):
                if isinstance(first, nn.Dropout) and isinstance(second, nn.Linear):
                    found[one] = other
    return found
