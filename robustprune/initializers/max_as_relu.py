"""Max-pooling written as additions and ReLUs, which Captum explains exactly where its own max-pool rule does not.

Captum's hook on a max-pool replaces the gradient of other branches that read the same tensor, and is wrong for
overlapping windows. The same function as a chain of max(a, b) = a + relu(b − a) has neither problem.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import pad

from robustprune.darknet import Detector
from robustprune.darknet.layers import MaxPool


class MaxAsReLU(nn.Module):
    """A max-pool as two chains, along width and then height, with one ReLU module for every step.

    Shape: as the pool it replaces.
    """

    def __init__(self, pool: MaxPool) -> None:
        """Replace `pool`."""
        super().__init__()
        self.size, self.stride, self.padding = pool.size, pool.stride, pool.padding
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


def replace_max_pools(detector: Detector) -> None:
    """Replace every max-pool of `detector`, in place."""
    for name, module in list(detector.named_modules()):
        if isinstance(module, MaxPool):
            parent, _, child = name.rpartition(".")
            setattr(detector.get_submodule(parent), child, MaxAsReLU(module))
