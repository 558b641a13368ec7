"""Structural pruning of classifiers: whole channels leave, with everything in the network that depends on them.

Which channels depend on each other, and their removal, are torch-pruning's (DepGraph, Fang et al. 2023); how many stay
and which is decided here. What channels are worth is told in `channel_importance`.
"""

from robustprune.classification.pruning.channel_groups import ChannelGroup, channel_groups, prunable_layers
from robustprune.classification.pruning.channel_importance import ChannelImportance, from_weights, l1, random
from robustprune.classification.pruning.decisions import SCOPES, filter_masks
from robustprune.classification.pruning.prune import Pruned, prune, unpruned

__all__ = [
    "SCOPES",
    "ChannelGroup",
    "ChannelImportance",
    "Pruned",
    "channel_groups",
    "filter_masks",
    "from_weights",
    "l1",
    "prunable_layers",
    "prune",
    "random",
    "unpruned",
]
