"""Which channels of a classifier go together, found by torch-pruning's DepGraph (Fang et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from robustprune.classification.networks.cifar import ChannelShortcut
from robustprune.classification.networks.classifier import Classifier

Layer = nn.Conv2d | nn.Linear
"""What has filters: output channels of a convolution, or of a fully connected layer."""


class Filters(NamedTuple):
    """Some filters of a layer, and the decision that each is subject to, both (count,)."""

    indices: Tensor
    decisions: Tensor


@dataclass(frozen=True, kw_only=True)
class ChannelGroup:
    """Decisions about the same layers: with the i-th channel of the first, everything goes that depends on it.

    Attributes:
        decisions: how many channels the group has; channels that go together count once.
        filters: of every layer whose output channels are decided on, by name, in the network's order.
        dependencies: torch-pruning's own group, of all the decisions; it removes them.
    """

    decisions: int
    filters: Mapping[str, Filters]
    dependencies: Any

    def remove(self, decisions: Sequence[int]) -> None:
        """Take channels out of the network, in place; once only, as the others are numbered anew."""
        if decisions:
            self.dependencies.prune(list(decisions))


def channel_groups(classifier: Classifier, *, image_size: int) -> list[ChannelGroup]:
    """Return the groups of channels that can be pruned, in the order of the network's layers.

    The logits and the image stay whole, and so does whatever depends on them. Left whole too is what torch-pruning
    cannot follow soundly: channels of grouped convolutions that are not depthwise, and those that layer norm or
    parameters outside of layers see. In a transformer that leaves the hidden channels of each MLP to prune: the
    stream of tokens and attention stay.

    Args:
        classifier: keeps its mode; its parameters come out requiring gradients, which tracing relies on.
        image_size: side of an image in pixels; the groups are those of any size the network takes.
    """
    import torch_pruning

    from robustprune.classification.pruning.shortcut_pruning import ChannelShortcutPruner

    with _traceable(classifier):
        graph = torch_pruning.DependencyGraph().build_dependency(
            classifier,
            torch.zeros(1, 3, image_size, image_size, device=classifier.mean.device),
            customized_pruners={ChannelShortcut: ChannelShortcutPruner()},
            verbose=False,
        )
    sound = [group for group in graph.get_all_groups() if _is_sound(group, graph)]
    names = {module: name for name, module in classifier.named_modules()}
    depth = {name: position for position, name in enumerate(names.values())}
    groups = [_group(group, names) for group in sound]
    return sorted(groups, key=lambda group: depth[next(iter(group.filters))])


def prunable_layers(classifier: Classifier, groups: Sequence[ChannelGroup]) -> dict[str, Layer]:
    """Return the layers whose output channels `groups` decide on, by name, in the network's order."""
    decided = {name for group in groups for name in group.filters}
    return {
        name: module
        for name, module in classifier.named_modules()
        if name in decided and isinstance(module, nn.Conv2d | nn.Linear)
    }


@contextmanager
def _traceable(classifier: Classifier) -> Iterator[None]:
    """Hand tokens past attention, which takes torch-pruning hours to trace, and let all parameters have gradients.

    The channels of tokens stay whole for the layer norm that they meet, and attention with them.
    """
    from torchvision.models.swin_transformer import ShiftedWindowAttention

    training = {module: module.training for module in classifier.modules()}
    classifier.requires_grad_(True)
    handles = [
        module.register_forward_hook(lambda _, inputs, __: inputs[0])
        for module in classifier.modules()
        if isinstance(module, ShiftedWindowAttention)
    ]
    with torch.enable_grad():
        yield
    for handle in handles:
        handle.remove()
    for module, mode in training.items():
        module.training = mode


def _is_sound(group: Any, graph: Any) -> bool:
    """Whether all that the channels depend on can be pruned, and is followed rightly."""
    for dependency, _ in group:
        node, module = dependency.target, dependency.target.module
        is_logits = not node.outputs and graph.is_out_channel_pruning_fn(dependency.handler)
        is_depthwise = isinstance(module, nn.Conv2d) and module.groups == module.in_channels == module.out_channels
        is_grouped = isinstance(module, nn.Conv2d) and module.groups > 1 and not is_depthwise
        if is_logits or is_grouped or isinstance(module, nn.LayerNorm | nn.Parameter):
            return False
    return True


def _group(group: Any, names: Mapping[nn.Module, str]) -> ChannelGroup:
    from torch_pruning.pruner import function

    gives_filters = (
        function.prune_conv_out_channels,
        function.prune_depthwise_conv_out_channels,
        function.prune_linear_out_channels,
    )
    found = {
        names[item.dep.target.module]: Filters(torch.tensor(item.idxs), torch.tensor(item.root_idxs))
        for item in group
        if item.dep.handler in gives_filters
    }
    filters = {name: found[name] for name in names.values() if name in found}
    return ChannelGroup(decisions=len(group[0].idxs), filters=filters, dependencies=group)
