"""Which channels of any network go together, found by torch-pruning's DepGraph (Fang et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from robustprune.structures.groups import CoupledGroup, Members
from robustprune.structures.trial import tensors


def dependency_groups(
    network: nn.Module,
    example: Tensor,
    *,
    pruners: Mapping[type[nn.Module], Any] | None = None,
    passed: Sequence[type[nn.Module]] = (),
) -> list[CoupledGroup]:
    """Return the groups of channels that can be removed, in the order of the network's layers.

    The network's outputs and its input stay whole, and so does whatever depends on them. Left whole too is what
    torch-pruning cannot follow soundly: channels of grouped convolutions that are not depthwise, those that group norm,
    layer norm or parameters outside of layers see, and those of a tensor that is cut into chunks. In a transformer that
    leaves the hidden channels of each MLP to prune: the stream of tokens and attention stay.

    Args:
        network: keeps its mode; its parameters come out requiring gradients, which tracing relies on.
        example: an input of it; the groups are those of any size the network takes.
        pruners: how torch-pruning prunes modules that it does not know, by their type.
        passed: modules that hand their input on while the network is traced: tracing attention takes hours, and the
            channels of tokens stay whole anyway, for the layer norm that they meet.
    """
    import torch_pruning

    with _traceable(network, tuple(passed)):
        graph = torch_pruning.DependencyGraph().build_dependency(
            network,
            example,
            output_transform=lambda outputs: list(tensors(outputs)),
            customized_pruners=dict(pruners or {}),
            verbose=False,
        )
    sound = [group for group in graph.get_all_groups() if _is_sound(group, graph)]
    names = {module: name for name, module in network.named_modules()}
    depth = {name: position for position, name in enumerate(names.values())}
    copying = [pruner.prune_in_channels for pruner in (pruners or {}).values()]
    groups = [_group(group, names, copying) for group in sound]
    return sorted(groups, key=lambda group: depth[next(iter(group.filters))])


@contextmanager
def _traceable(network: nn.Module, passed: tuple[type[nn.Module], ...]) -> Iterator[None]:
    """Hand inputs past some modules, and let all parameters have gradients."""
    training = {module: module.training for module in network.modules()}
    network.requires_grad_(True)
    handles = [
        module.register_forward_hook(lambda _, inputs, __: inputs[0])
        for module in network.modules()
        if isinstance(module, passed)
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
        is_normed = isinstance(module, nn.GroupNorm | nn.LayerNorm | nn.Parameter)
        is_cut = type(module).__name__ in ("_SplitOp", "_UnbindOp")
        if is_logits or is_grouped or is_normed or is_cut:
            return False
    return True


def _group(group: Any, names: Mapping[nn.Module, str], copying: Sequence[Any]) -> CoupledGroup:
    from torch_pruning.pruner import function

    filters = (
        function.prune_conv_out_channels,
        function.prune_depthwise_conv_out_channels,
        function.prune_linear_out_channels,
    )
    readers = (function.prune_conv_in_channels, function.prune_linear_in_channels)
    norms = (function.prune_batchnorm_out_channels,)
    known = {*filters, *readers, *norms}
    others = [item for item in group if item.dep.target.module in names and item.dep.handler not in known]
    return CoupledGroup(
        decisions=len(group[0].idxs),
        filters=_members(group, names, filters),
        readers=_members(group, names, readers),
        copied=_members(group, names, copying),
        norms=_members(group, names, norms),
        leaves=not others,
        dependencies=group,
    )


def _members(group: Any, names: Mapping[nn.Module, str], handlers: Sequence[Any]) -> dict[str, Members]:
    """Return the channels that some of torch-pruning's functions would prune, by layer, in the network's order."""
    found: dict[str, list[Any]] = {}
    for item in group:
        if item.dep.handler in handlers:
            found.setdefault(names[item.dep.target.module], []).append(item)
    return {
        name: Members(
            torch.tensor([index for item in found[name] for index in item.idxs]),
            torch.tensor([root for item in found[name] for root in item.root_idxs]),
        )
        for name in names.values()
        if name in found
    }
