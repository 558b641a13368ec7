"""Prune a classifier: decide which channels stay, and remove the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from robustprune.classification.networks.classifier import Classifier
from robustprune.classification.pruning.channel_groups import channel_groups
from robustprune.classification.pruning.channel_importance import ChannelImportance
from robustprune.classification.pruning.decisions import SCOPES
from robustprune.core.lookup import lookup


class Pruned(NamedTuple):
    """What a pruning left of the channels that could be pruned; those that go together count once.

    Attributes:
        channels_total: before.
        channels_kept: after.
        fewest_channels: the fewest left in any group of layers.
        layers_at_floor: groups of layers cut to their last channel.
    """

    channels_total: int
    channels_kept: int
    fewest_channels: int
    layers_at_floor: int


@torch.no_grad()
def prune(
    classifier: Classifier, *, sparsity: float, scope: str, importance: ChannelImportance, image_size: int
) -> Pruned:
    """Remove channels of `classifier`, in place, and with them what depends on them.

    Whatever the sparsity, one channel of each group stays, and the classifier still runs.

    Args:
        classifier: keeps its mode; its parameters come out requiring gradients.
        sparsity: fraction of the channels to remove, in [0, 1]; 0 leaves the network bit for bit.
        scope: one of `SCOPES`: whether each layer loses that fraction, or all together.
        importance: of channels.
        image_size: side of an image in pixels.

    Raises:
        ValueError: a score is NaN.
    """
    groups = channel_groups(classifier, image_size=image_size)
    kept = lookup(SCOPES, scope, kind="scope")(importance(groups), sparsity)
    for group, stays in zip(groups, kept, strict=True):
        group.remove((~stays).nonzero()[:, 0].tolist())
    return _counts(kept)


def unpruned(classifier: Classifier, *, image_size: int) -> Pruned:
    """Return what `prune` would tell of a classifier that is left as it is; its parameters require gradients after."""
    groups = channel_groups(classifier, image_size=image_size)
    return _counts([torch.ones(group.decisions, dtype=torch.bool) for group in groups])


def _counts(kept: Sequence[Tensor]) -> Pruned:
    left = [int(stays.sum()) for stays in kept]
    return Pruned(
        channels_total=sum(map(len, kept)),
        channels_kept=sum(left),
        fewest_channels=min(left),
        layers_at_floor=sum(count == 1 < len(stays) for count, stays in zip(left, kept, strict=True)),
    )
