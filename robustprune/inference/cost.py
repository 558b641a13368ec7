"""What a network costs on paper: parameters and multiply–accumulates, before and after pruning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from robustprune.attacks.frozen import frozen


class Size(NamedTuple):
    """What a network holds and does.

    Attributes:
        params: all its parameters.
        weights: those that are no biases, which compression is told of, as is usual (Zhou et al. 2023): weights of
            layers, and scales of batch norm.
        layer_macs: multiply–accumulates of each of its layers for one input, by name.
    """

    params: int
    weights: int
    layer_macs: dict[str, int]

    @property
    def macs(self) -> int:
        """Of all convolutions and fully connected layers."""
        return sum(self.layer_macs.values())


class Cost(NamedTuple):
    """What pruning saves, as columns of a row.

    Attributes:
        params_total: of the network as if it were not pruned.
        params_kept: without the weights that a mask prunes, and what goes with them.
        macs_dense: as if it were not pruned.
        macs: without the weights that a mask prunes, and what goes with them.
        compression: parameters but biases, as if it were not pruned, over those that are kept; at least 1.
        operations_removed: fraction of `macs_dense` that `macs` leaves out, in [0, 1).
        weights_pruned: fraction of the weights of the layers with a mask, in [0, 1]; 0 without masks.
        filters_pruned: fraction of their filters of which every weight is pruned.
    """

    params_total: int
    params_kept: int
    macs_dense: int
    macs: int
    compression: float
    operations_removed: float
    weights_pruned: float
    filters_pruned: float


def cost(
    network: nn.Module,
    masks: Mapping[str, Tensor],
    example: Tensor,
    *,
    gone: Mapping[str, Tensor] | None = None,
    before: Size | None = None,
) -> Cost:
    """Count what masks leave of a network.

    Args:
        network: pruned by the masks, its parameters of the shapes they had before.
        masks: of layers' weights, by the layer's name.
        example: one input of the network.
        gone: masks of what a network without the pruned filters would lack too, by the parameter's name, `True` where
            it stays; see `structures.removal`.
        before: of the network before channels left it; None: none did.
    """
    found = size(network, example)
    dense = before or found
    pruned = {name: ~mask for name, mask in masks.items()}
    left = {f"{name}.weight": mask for name, mask in masks.items()}
    for name, mask in (gone or {}).items():
        left[name] = left[name] & mask if name in left else mask
    saved = {name: int((~mask).sum()) for name, mask in left.items()}
    of_weights = {name: count for name in found.layer_macs if (count := saved.get(f"{name}.weight"))}
    macs = found.macs - sum(
        found.layer_macs[name] // left[f"{name}.weight"].numel() * count for name, count in of_weights.items()
    )
    weights = found.weights - sum(count for name, count in saved.items() if not is_bias(name))
    return Cost(
        params_total=dense.params,
        params_kept=found.params - sum(saved.values()),
        macs_dense=dense.macs,
        macs=macs,
        compression=dense.weights / weights,
        operations_removed=1 - macs / dense.macs,
        weights_pruned=_share(pruned.values()),
        filters_pruned=_share(weights.flatten(1).all(dim=1) for weights in pruned.values()),
    )


def is_bias(name: str) -> bool:
    """Say whether a parameter is a bias, by its name: of a layer, or the shift of a batch norm."""
    return "bias" in name


@torch.no_grad()
def size(network: nn.Module, example: Tensor) -> Size:
    """Count convolutions and fully connected layers by running one input, on the meta device too.

    A layer counts wherever its weight is multiplied by, be it as a module or by a function. Products of two
    activations, as in attention, are not counted.

    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(8 * 4 * 4, 10))
    >>> size(network, torch.zeros(1, 3, 4, 4)).layer_macs
    {'0': 3456, '2': 1280}

    Args:
        network: keeps its mode.
        example: (1, …).
    """
    layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    with frozen(network), _Counter({id(layer.weight): name for name, layer in layers.items()}) as counter:
        network(example)
    counts = {name: each.numel() for name, each in network.named_parameters()}
    weights = sum(count for name, count in counts.items() if not is_bias(name))
    return Size(sum(counts.values()), weights, counter.macs)


class _Counter(TorchFunctionMode):
    """Sees every call of the functions that convolutions and fully connected layers are made of."""

    def __init__(self, names: Mapping[int, str]) -> None:
        super().__init__()
        self._names = names
        self.macs: dict[str, int] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        output = _of_shape(func, *args, **(kwargs or {}))
        if output is None:
            output = func(*args, **(kwargs or {}))
        if func in (torch.conv2d, functional.conv2d, functional.linear):
            weight = args[1] if len(args) > 1 else (kwargs or {})["weight"]
            name = self._names.get(id(weight))
            if name is not None:
                places = output.numel() // len(weight)  # pixels, or tokens
                self.macs[name] = self.macs.get(name, 0) + weight.numel() * places
        return output


_KEEP_SHAPE = (functional.batch_norm, functional.leaky_relu)
_ADD = (Tensor.add, Tensor.__add__, torch.add)


def _of_shape(func: Callable[..., Any], first: Any = None, second: Any = None, *_: Any, **kwargs: Any) -> Tensor | None:
    """Return what a function gives on the meta device, where that is soon said; None of others.

    To say it of these itself, PyTorch imports its compiler, which takes a second and 100 MB.
    """
    if func in _KEEP_SHAPE or (func in _ADD and isinstance(second, Tensor) and first.shape == second.shape):
        return first if first.is_meta else None
    if func is not torch.cat or not first[0].is_meta:
        return None
    dim = kwargs.get("dim", second or 0)
    shape = list(first[0].shape)
    shape[dim] = sum(part.shape[dim] for part in first)
    return torch.empty(shape, dtype=first[0].dtype, device="meta")


def _share(flags: Iterable[Tensor]) -> float:
    """Return the fraction of all flags that are set, 0 if there are none."""
    counts = [(int(part.sum()), part.numel()) for part in flags]
    return sum(count for count, _ in counts) / max(1, sum(total for _, total in counts))
