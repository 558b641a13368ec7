"""A GPU for a machine that has none: its tensors lie in the host's memory, say "cuda", and are not mixed with others.

Code runs the way it would there and meets what it would be refused there: a CPU's tensor beside a device's (but for
numbers without a dimension, and indices), a CPU's generator, NumPy. `waits` counts what would make the host wait for a
GPU: numbers read back, sizes that depend on values, copies from or to the host. So much as one of them is refused in a
CUDA graph, which is pretended too: its operations are computed again, in the same memory. There are no generators of
its own and no autocast. The arithmetic is the CPU's, in its order and precision: what rounding, TF32 or bfloat16 on a
GPU do to a result, and what its memory holds, only a GPU tells.

To PyTorch's C++ such a tensor is on "lazy", a device that autograd runs without asking for hardware.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, NamedTuple, Self
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

GPU = torch.device("cuda", 0)
_INSIDE = torch.device("lazy", 0)

aten = torch.ops.aten
_READ_BACK = {aten._local_scalar_dense.default, aten.equal.default, aten.is_nonzero.default}
_SIZED_BY_VALUES = {
    aten.nonzero.default,
    aten.masked_select.default,
    aten.repeat_interleave.Tensor,
    aten._unique2.default,
    aten.unique_consecutive.default,
}
_COPIES = {aten._to_copy.default, aten.copy_.default}
_INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
"""Take a CPU's indices on a GPU too."""

_WHOLE = set[Any]()
"""Operations that are found not to be made of others."""


class GpuTensor(torch.Tensor):
    """A tensor of the pretended GPU."""

    on_host: Tensor

    @staticmethod
    def __new__(cls, on_host: Tensor) -> Self:
        """Wrap a tensor of the CPU."""
        made: Self = torch.Tensor._make_wrapper_subclass(
            cls,
            on_host.shape,
            strides=on_host.stride(),
            storage_offset=on_host.storage_offset(),
            dtype=on_host.dtype,
            device=_INSIDE,
            requires_grad=False,
        )
        made.on_host = on_host
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Outside of a mode nothing is counted."""
        return _computed(func, args, kwargs or {}, Counter())

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return GPU

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    @property
    def data(self) -> Tensor:
        return self.detach()

    @data.setter
    def data(self, other: Tensor) -> None:
        assert isinstance(other, GpuTensor)
        torch.Tensor.data.__set__(self, other)  # type: ignore[attr-defined]
        self.on_host = other.on_host

    def __repr__(self) -> str:  # type: ignore[override]
        return f"GpuTensor({self.on_host})"

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        """As PyTorch's, which compares with the device that its C++ sees."""
        args, kwargs = tree_map_only(torch.device, _inside, (args, kwargs))
        args = tuple(_inside(torch.device(each)) if isinstance(each, str) else each for each in args)
        return super().to(*args, **kwargs)


class _Operation(NamedTuple):
    func: Any
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    out: Any


class Graph:
    """Operations that were recorded, to be computed again from and into the memory that they had."""

    def __init__(self) -> None:
        self.operations: list[_Operation] = []

    @torch.no_grad()
    def replay(self) -> None:
        """Compute them in their order."""
        for func, args, kwargs, out in self.operations:
            again = _computed(func, args, kwargs, Counter())
            for place, found in zip(tree_leaves(out), tree_leaves(again), strict=True):
                if isinstance(place, GpuTensor) and place.on_host.data_ptr() != found.on_host.data_ptr():
                    place.on_host.copy_(found.on_host)


class _Stream:
    def __init__(self, device: torch.device | None = None) -> None:
        pass

    def wait_stream(self, other: _Stream) -> None:
        pass


_CUDA: dict[str, Callable[..., Any]] = {
    "_lazy_init": lambda: None,
    "synchronize": lambda device=None: None,
    "manual_seed": torch.manual_seed,
    "get_rng_state": lambda device=None: torch.get_rng_state(),
    "set_rng_state": lambda state, device=None: torch.set_rng_state(state),
    "Stream": _Stream,
    "current_stream": _Stream,
    "stream": lambda stream: nullcontext(),
    "set_stream": lambda stream: None,
    "CUDAGraph": Graph,
    "get_device_name": lambda device=None: "pretended",
}
"""Functions of `torch.cuda` that ask for hardware, and what they do meanwhile."""


class PretendedGpu(TorchDispatchMode):
    """While it is entered, there is the device "cuda", and `waits` counts by operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waits = Counter[str]()
        self._recorded: list[_Operation] | None = None
        self._on_waits: str | int = 0
        self._entered = ExitStack()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # it would be imported for that, which takes seconds

    def __enter__(self) -> Self:
        """Let PyTorch not look for a driver, which it does before it makes a tensor."""
        torch._C._ensureCUDADeviceGuardSet()
        for name, value in {**_CUDA, **self._asked()}.items():
            self._entered.enter_context(patch(f"torch.cuda.{name}", value))
        self._entered.enter_context(_FromNumbers())
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *raised: Any) -> None:
        """There is no GPU any more."""
        super().__exit__(*raised)  # type: ignore[no-untyped-call]
        self._entered.close()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled() and func not in _WHOLE:
            # What autograd takes apart elsewhere, such as `to`, comes in one piece.
            super().__enter__()  # type: ignore[no-untyped-call]
            try:
                made = func.decompose(*args, **kwargs)
            finally:
                super().__exit__(None, None, None)  # type: ignore[no-untyped-call]
            if made is not NotImplemented:
                return made
            _WHOLE.add(func)
        before = self.waits.total()
        out = _computed(func, args, kwargs, self.waits)
        if self._on_waits == "error" and self.waits.total() > before:
            raise RuntimeError("called a synchronizing CUDA operation")
        if self._recorded is not None and any(isinstance(each, GpuTensor) for each in tree_leaves((args, kwargs, out))):
            if self.waits.total() > before:
                raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
            self._recorded.append(_Operation(func, args, kwargs, out))
        return out

    def _asked(self) -> dict[str, Any]:
        def set_mode(mode: str | int) -> None:
            self._on_waits = mode

        modes = {"set_sync_debug_mode": set_mode, "get_sync_debug_mode": lambda: self._on_waits}
        return {"graph": self._capture, **modes}

    @contextmanager
    def _capture(self, graph: Graph, **_: Any) -> Iterator[None]:
        self._recorded = graph.operations
        try:
            yield
        finally:
            self._recorded = None


class _FromNumbers(TorchFunctionMode):
    """Make tensors of numbers on the CPU, from where they are copied: C++ would ask the device for memory."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.new_tensor and isinstance(args[0], GpuTensor):
            return torch.tensor(args[1], dtype=kwargs.get("dtype", args[0].dtype)).to(kwargs.get("device", _INSIDE))
        if func in (torch.tensor, torch.as_tensor):
            device = kwargs.pop("device", None)
            made = func(*args, **kwargs)
            return made if device is None else made.to(_inside(torch.device(device)))
        return func(*args, **kwargs)


def _inside(device: torch.device) -> torch.device:
    return _INSIDE if device.type == "cuda" else device


def _computed(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], waits: Counter[str]) -> Any:
    """Compute one operation on the CPU, and leave the result where a GPU would have."""
    leaves = tree_leaves((args, kwargs))
    ours = [leaf for leaf in leaves if isinstance(leaf, GpuTensor)]
    asked = None if kwargs.get("device") is None else torch.device(kwargs["device"])
    is_ours = bool(ours) if asked is None else asked.type in ("cuda", "lazy")
    if func is aten.copy_.default:
        is_ours = isinstance(args[0], GpuTensor)
    if not ours and not is_ours:
        return func(*args, **kwargs)
    _check(func, args, kwargs, leaves, is_ours)
    if func in _READ_BACK | _SIZED_BY_VALUES or _crosses(func, leaves, is_ours):
        waits[func.overloadpacket.__name__] += 1
    plain_args, plain_kwargs = tree_map_only(GpuTensor, lambda each: each.on_host, (list(args), dict(kwargs)))
    if is_ours and asked is not None:
        plain_kwargs["device"] = torch.device("cpu")
    out = func(*plain_args, **plain_kwargs)
    if not is_ours:
        # Never the same memory on both sides.
        mine = {id(each.on_host) for each in ours}
        return (
            args[0]
            if func is aten.copy_.default
            else tree_map_only(Tensor, lambda each: each.clone() if id(each) in mine else each, out)
        )
    wrapped = tree_map_only(Tensor, GpuTensor, out)
    return return_and_correct_aliasing(func, args, kwargs, wrapped) if ours else wrapped


def _check(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], leaves: Sequence[Any], is_ours: bool) -> None:
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    strangers = [tuple(each.shape) for each in tensors if not isinstance(each, GpuTensor) and each.ndim]
    if len(strangers) < len(tensors) and strangers and func not in _COPIES | _INDEXED:
        raise RuntimeError(f"{func}: expected all tensors on {GPU}, found some of shapes {strangers} elsewhere")
    if is_ours:
        for each in leaves:
            if isinstance(each, torch.Generator) and each.device != GPU:
                raise RuntimeError(f"{func}: expected a generator of {GPU}, found one of {each.device}")


def _crosses(func: Any, leaves: Sequence[Any], is_ours: bool) -> bool:
    """Say whether an operation copies from the host to the GPU or back."""
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    there = sum(isinstance(each, GpuTensor) for each in tensors)
    if func in _COPIES:
        return 0 < there < len(tensors) or (there == len(tensors)) != is_ours
    return func in _INDEXED and there < len(tensors)
