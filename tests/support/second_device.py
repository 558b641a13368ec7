"""A second device for a machine that has none: its tensors lie in the host's memory, and nothing mixes them up.

What a GPU refuses is refused here too: a CPU's tensor among a device's (but for numbers without a dimension), a
generator of another device, NumPy's view of what it cannot reach. Sums are the CPU's. `waits` counts what would make a
program wait for a GPU: numbers read back, and copies between the two. PyTorch calls such a device `privateuseone`;
where that is `device.type`, code that asks for "cuda" goes its other way.

To register it changes PyTorch for good: use it in a process of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

CPU = torch.device("cpu")
aten = torch.ops.aten

_READS = {aten._local_scalar_dense.default, aten.equal.default, aten.is_nonzero.default}
"""Operations that hand a number to Python."""

_SIZED_BY_VALUES = {aten.nonzero.default, aten.masked_select.default, aten._unique2.default}
"""Operations whose output's size depends on values: the host has to know it."""

_COPIES = {aten._to_copy.default, aten.copy_.default}
"""Operations that may read one device and write another."""


class OnDevice(torch.Tensor):
    """A tensor of the second device."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor, device: torch.device) -> Self:
        """Wrap a tensor of the CPU."""
        made: Self = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=device,
            requires_grad=inner.requires_grad,
        )
        made.inner = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {}, Counter())


class SecondDevice(TorchDispatchMode):
    """While it is entered, tensors can be made on its `device`, and `waits` counts by operation."""

    def __init__(self) -> None:
        super().__init__()
        self.device, self.waits = device(), Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {}, self.waits)


_registered = False


def device() -> torch.device:
    """Return the second device, registered at the first call."""
    global _registered
    if not _registered:
        _setup_privateuseone_for_python_backend()
        _registered = True
    return torch.device("privateuseone:0")


def computed(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], waits: Counter[str]) -> Any:
    """Compute one operation on the CPU, its results on the device that a device would have left them on."""
    leaves = tree_flatten((args, kwargs))[0]
    there = [leaf for leaf in leaves if isinstance(leaf, OnDevice)]
    wanted = kwargs.get("device")
    onto = None if wanted is None else torch.device(wanted)
    if not there and (onto is None or onto == CPU):
        return func(*args, **kwargs)
    copies = func in _COPIES
    if there and not copies:
        strangers = [
            leaf
            for leaf in leaves
            if isinstance(leaf, Tensor) and not isinstance(leaf, OnDevice) and leaf.ndim and leaf.device.type != "meta"
        ]
        if strangers and not _takes_indices(func):
            raise RuntimeError(f"{func}: found tensors on the CPU {[tuple(each.shape) for each in strangers]} and on it")
    generator = kwargs.get("generator") or next((leaf for leaf in leaves if isinstance(leaf, torch.Generator)), None)
    if generator is not None and generator.device == CPU:
        raise RuntimeError(f"{func}: expected a generator on the device, found one on the CPU")
    if func in _READS or func in _SIZED_BY_VALUES:
        waits[str(func)] += 1
    place = there[0].device if there else device()
    if onto is not None:
        place = onto
    if copies:
        ends = {leaf.device.type for leaf in leaves if isinstance(leaf, Tensor)} | ({onto.type} if onto else set())
        if len(ends) > 1:
            waits[str(func)] += 1
        if func is aten.copy_.default:
            place = args[0].device
    bare_args, bare_kwargs = tree_map_only(OnDevice, lambda each: each.inner, (list(args), dict(kwargs)))
    if "device" in bare_kwargs:
        bare_kwargs["device"] = CPU
    if func is aten._to_copy.default and not bare_kwargs.get("non_blocking"):
        bare_kwargs.pop("non_blocking", None)
    out = func(*bare_args, **bare_kwargs)
    if place == CPU and not isinstance(args[0] if args else None, OnDevice) and not there:
        return out
    if place == CPU:
        return tree_map_only(Tensor, lambda each: each.clone() if each is getattr(args[0], "inner", None) else each, out)
    wrapped = tree_map_only(Tensor, lambda each: OnDevice(each, place), out)
    return return_and_correct_aliasing(func, args, kwargs, wrapped) if there else wrapped


def _takes_indices(func: Any) -> bool:
    """Say whether a GPU takes a CPU's indices too."""
    return func in (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default)
