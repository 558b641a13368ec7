"""Whether channels can be removed from a network, tried out: some that are found to go together do not.

A tracer follows which channel goes where, and is misled where channels change places, turn into pixels or are
normalised together. So a channel of every group is removed from a copy, and what is left computes the same as the
network in which that channel is zero and nobody reads it; or the group stays whole.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from robustprune.structures.groups import CoupledGroup

Find = Callable[[nn.Module, Tensor], list[CoupledGroup]]
"""From a network and an example to its groups."""

_FOUND: dict[str, frozenset[int]] = {}
"""The places of the groups that failed, by architecture: a study asks for the same one in every row."""


def removable(network: nn.Module, groups: Sequence[CoupledGroup], *, find: Find, example: Tensor) -> list[CoupledGroup]:
    """Return those of the groups of which channels can be removed; their order stays.

    Args:
        network: that the groups are of; stays as it is.
        groups: as `find` returns them.
        find: for copies of the network.
        example: an input, for its shape.
    """
    architecture = _architecture(network, example)
    if architecture not in _FOUND:
        _FOUND[architecture] = frozenset(_failing(network, len(groups), find, example))
    return [group for place, group in enumerate(groups) if place not in _FOUND[architecture]]


def _failing(network: nn.Module, groups: int, find: Find, example: Tensor) -> Iterator[int]:
    """Yield the places of groups that fail; one trial of all together will mostly do."""
    dense = copy.deepcopy(network).double().eval().requires_grad_(False)
    noise = torch.rand(example.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = noise.to(example.device)

    def holds(chosen: Iterable[int]) -> bool:
        silent, smaller = copy.deepcopy(dense), copy.deepcopy(dense)
        found = find(smaller, noise)
        for place in chosen:
            if found[place].decisions > 1:
                _silence(silent, found[place])
                found[place].remove([0])
        try:
            left = list(tensors(smaller.eval()(noise)))
        except Exception:  # Whatever a layer says of inputs that do not fit it any more.
            return False
        expected = list(tensors(silent(noise)))
        return len(left) == len(expected) and all(map(_agree, left, expected))

    with torch.no_grad():
        if not holds(range(groups)):
            yield from (place for place in range(groups) if not holds([place]))


def _silence(network: nn.Module, group: CoupledGroup) -> None:
    """Set to zero all that makes, normalises and reads the first of a group's channels."""
    for members, side in ((group.filters, 0), (group.norms, 0), (group.readers, 1)):
        for name, (indices, decisions) in members.items():
            module, chosen = network.get_submodule(name), indices[decisions == 0]
            for parameter in _parameters(module) if side == 0 else [module.weight]:
                assert isinstance(parameter, Tensor)
                parameter.index_fill_(side, chosen.to(parameter.device), 0)


def _parameters(module: nn.Module) -> list[Any]:
    return [each for each in (module.weight, module.bias) if each is not None]


def _agree(one: Tensor, other: Tensor) -> bool:
    # In float64 sums of other order differ by less; a channel in a wrong place differs by more.
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-6, atol=1e-9 * max(1.0, _largest(other)))


def _largest(values: Tensor) -> float:
    return float(values.abs().max()) if values.numel() else 0.0


def tensors(output: Any) -> Iterator[Tensor]:
    """Yield the tensors in what a network returns, however these are nested."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from tensors(list(output.values()))
    elif isinstance(output, list | tuple):
        for each in output:
            yield from tensors(each)
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        yield from tensors(list(vars(output).values()))


def _architecture(network: nn.Module, example: Tensor) -> str:
    shapes = [(name, tuple(tensor.shape)) for name, tensor in network.state_dict().items()]
    return f"{network!r} {shapes} {tuple(example.shape)}"
