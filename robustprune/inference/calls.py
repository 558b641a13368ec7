"""Functions and methods of tensors as layers, so that a traced network is a list of layers and nothing besides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.fx.node import map_aggregate


@dataclass(frozen=True)
class Input:
    """Stands for one of a layer's inputs among the arguments of a function."""

    index: int


@dataclass(frozen=True)
class _Held:
    """Stands for a tensor that the layer has."""

    name: str


@dataclass(frozen=True)
class Method:
    """A method by its name, as a function of the object whose method it is."""

    name: str

    def __call__(self, owner: Any, *args: Any, **kwargs: Any) -> Any:
        """Return what the method does."""
        return getattr(owner, self.name)(*args, **kwargs)


class Call(nn.Module):
    """A function of the layer's inputs; its other arguments stay as they are."""

    def __init__(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Arguments may hold `Input`s and tensors, in lists too."""
        super().__init__()
        self.function = function
        given: Any = map_aggregate((tuple(args), dict(kwargs)), self._hold)
        self._args, self._kwargs = given
        count = sum(isinstance(each, Input) for each in self._args)
        found: list[Any] = []
        map_aggregate((self._args[count:], self._kwargs), found.append)
        self._in_order = self._args[:count] == tuple(map(Input, range(count))) and not any(
            isinstance(each, Input | _Held) for each in found
        )
        self._rest = self._args[count:]

    def forward(self, *inputs: Any) -> Any:
        """Return what the function returns."""
        if self._in_order:
            return self.function(*inputs, *self._rest, **self._kwargs)

        def filled(value: Any) -> Any:
            if isinstance(value, Input):
                return inputs[value.index]
            return getattr(self, value.name) if isinstance(value, _Held) else value

        given: Any = map_aggregate((self._args, self._kwargs), filled)
        return self.function(*given[0], **given[1])

    def _hold(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        name = f"tensor{len(self._buffers)}"
        self.register_buffer(name, value.detach())
        return _Held(name)

    def extra_repr(self) -> str:
        """Return the name of the function."""
        return called(self.function)


def called(function: Callable[..., Any]) -> str:
    """Return the name of a function, a method or a module."""
    return function.name if isinstance(function, Method) else getattr(function, "__name__", type(function).__name__)
