"""What channels are worth: by torch-pruning's measures, or by scores of weights (see `importances`).

All of it is worked out before any channel leaves and knows no sparsity, so that what a higher sparsity keeps, a lower
one keeps too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from robustprune.classification.pruning.channel_groups import ChannelGroup

ChannelImportance = Callable[[Sequence[ChannelGroup]], list[Tensor]]
"""From groups to one tensor (decisions,) of each, at least 0 and on the CPU; higher is kept longer."""


def l1(groups: Sequence[ChannelGroup]) -> list[Tensor]:
    """Return the L1 norm of the weights that come and go with a channel, averaged over the layers of its group.

    Those are its filters, the weights that read it, and its scale in batch norm, as torch-pruning has it.
    """
    from torch_pruning.pruner.importance import MagnitudeImportance

    # Not normalised here: a group of zeros would become NaN.
    measure = MagnitudeImportance(p=1, group_reduction="mean", normalizer=None)
    return [measure(group.dependencies).cpu() for group in groups]


def random(generator: torch.Generator) -> ChannelImportance:
    """Return an importance that is drawn evenly from [0, 1), the same at every call.

    Args:
        generator: on the CPU; one number is drawn from it at once.
    """
    from torch_pruning.pruner.importance import RandomImportance

    seed = int(torch.randint(2**62, (), generator=generator))

    def draw(groups: Sequence[ChannelGroup]) -> list[Tensor]:
        # It draws from torch's own generator.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return [RandomImportance()(group.dependencies) for group in groups]

    return draw


def from_weights(scores: Mapping[str, Tensor]) -> ChannelImportance:
    """Return the importance of channels whose filters are worth the mean of their weights' scores.

    Filters that are decided on together are worth the mean of what each is worth beside the others of its layer: its
    score over the mean magnitude of theirs, so that no layer has more say for its scale; as in `structures.structured`.

    Args:
        scores: of every layer that the groups decide on, in the shape of its weights.
    """
    filters = {name: _relative(layer.cpu().flatten(1).mean(dim=1)) for name, layer in scores.items()}

    def average(groups: Sequence[ChannelGroup]) -> list[Tensor]:
        return [_average(group, filters) for group in groups]

    return average


def _relative(scores: Tensor) -> Tensor:
    tiny = torch.finfo(scores.dtype).tiny  # for a layer of zeros
    return scores / scores.abs().mean().clamp(min=tiny)


def _average(group: ChannelGroup, filters: Mapping[str, Tensor]) -> Tensor:
    decisions = torch.cat([coupled.decisions for coupled in group.filters.values()])
    values = torch.cat([filters[name][coupled.indices] for name, coupled in group.filters.items()])
    total = torch.zeros(group.decisions, dtype=values.dtype).index_add_(0, decisions, values)
    return total / decisions.bincount(minlength=group.decisions)
