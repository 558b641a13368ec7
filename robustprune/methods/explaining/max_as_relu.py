"""Max-pooling written as additions and ReLUs, which the Rescale rule explains exactly: max(a, b) = a + relu(b − a).

Captum's own rule for a max-pool replaces the gradient of other branches that read the same tensor, and is wrong for
overlapping windows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor, nn
from torch.nn.functional import pad

Module = TypeVar("Module", bound=nn.Module)


class MaxAsReLU(nn.Module):
    """A max-pool as two chains, along width and then height, with one ReLU module for every step.

    Shape: as the pool it stands for.
    """

    def __init__(self, *, size: int, stride: int, padding: tuple[int, int]) -> None:
        """Stand for a square pool; `padding` is (before, after), the same for rows and columns."""
        super().__init__()
        self.size, self.stride, self.padding = size, stride, padding
        self.horizontal = nn.ModuleList(nn.ReLU() for _ in range(self.size - 1))
        self.vertical = nn.ModuleList(nn.ReLU() for _ in range(self.size - 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the maxima of every window."""
        # Just under the minimum: never chosen, and near enough in size to cost no float32 precision.
        lowest = x.detach().amin()
        x = pad(x, self.padding * 2, value=(lowest - lowest.abs() * 1e-3 - 1e-6).item())
        return self._maximum(self._maximum(x, -1, self.horizontal), -2, self.vertical)

    def _maximum(self, x: Tensor, dim: int, steps: nn.ModuleList) -> Tensor:
        windows = x.unfold(dim, self.size, self.stride).unbind(dim=-1)
        largest = windows[0]
        for relu, window in zip(steps, windows[1:], strict=True):
            largest = largest + relu(window - largest)
        return largest


def replace(network: nn.Module, kind: type[Module], make: Callable[[Module], nn.Module]) -> None:
    """Replace every module of `network` that is of a kind by what `make` returns for it, in place."""
    for name, module in list(network.named_modules()):
        if isinstance(module, kind):
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, make(module))
