"""Weights W, a copy Z of them that satisfies a structure, and multipliers Λ that bring the two together.

    L_ρ(W, Z, Λ) = f(W) + ⟨Λ, W − Z⟩ + ρ/2 ‖W − Z‖²,   Z ∈ S

f is what training lowers, and S what pruning could leave. Both ADMM and SLR take turns in W, Z and Λ; how is in
`updates`, and here is what a turn does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

Project = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""From values by name to the nearest of S."""


class Splitting:
    """W, Z and Λ, each by the same names; norms and products are over all of them together."""

    def __init__(self, weights: Mapping[str, Tensor], project: Project, *, rho: float) -> None:
        """Begin at Z = Π(W) and Λ = 0.

        Args:
            weights: W; whoever changes them does so in place.
            project: Π.
            rho: ρ, more than 0.
        """
        self.weights = {name: weight.detach() for name, weight in weights.items()}
        self._rho = torch.tensor(rho, dtype=torch.float64)
        self._project = project
        self.copies = {name: value.clone() for name, value in project(self.weights).items()}
        self.multipliers = {name: torch.zeros_like(weight) for name, weight in self.weights.items()}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Z, Λ and ρ, which are carried from turn to turn; changed in place."""
        named = {"copy": self.copies, "multiplier": self.multipliers}
        values = {f"{kind}.{name}": value for kind, values in named.items() for name, value in values.items()}
        return {**values, "rho": self._rho}

    @property
    def rho(self) -> float:
        """ρ."""
        return float(self._rho)

    @rho.setter
    def rho(self, rho: float) -> None:
        self._rho.fill_(rho)

    @torch.no_grad()
    def add_pull(self, gradients: Sequence[Tensor]) -> None:
        """Add ∂/∂W of all but f, Λ + ρ(W − Z), to the gradients of the weights, in their order."""
        into, w, z = list(gradients), list(self.weights.values()), list(self.copies.values())
        torch._foreach_add_(into, w, alpha=self.rho)
        torch._foreach_add_(into, z, alpha=-self.rho)
        torch._foreach_add_(into, list(self.multipliers.values()))

    def gap(self) -> float:
        """Return ‖W − Z‖."""
        return math.sqrt(sum(difference.square().sum() for difference in self._differences(self.copies)))

    def price(self, copies: Mapping[str, Tensor] | None = None) -> float:
        """Return ⟨Λ, W − Z⟩ + ρ/2 ‖W − Z‖²: L_ρ without f.

        Args:
            copies: in place of Z.
        """
        differences = self._differences(self.copies if copies is None else copies)
        pairs = zip(self.multipliers.values(), differences, strict=True)
        return float(sum((m.double() * d).sum() + self.rho / 2 * d.square().sum() for m, d in pairs))

    @torch.no_grad()
    def nearest(self) -> Mapping[str, Tensor]:
        """Return Π(W + Λ/ρ), the Z at which L_ρ is least."""
        shifted = torch._foreach_add(list(self.weights.values()), list(self.multipliers.values()), alpha=1 / self.rho)
        return self._project(dict(zip(self.weights, shifted, strict=True)))

    @torch.no_grad()
    def take(self, copies: Mapping[str, Tensor]) -> None:
        """Make these values Z."""
        for name, copy in self.copies.items():
            copy.copy_(copies[name])

    @torch.no_grad()
    def move(self, step: float) -> None:
        """Λ ← Λ + step (W − Z)."""
        multipliers = list(self.multipliers.values())
        torch._foreach_add_(multipliers, list(self.weights.values()), alpha=step)
        torch._foreach_add_(multipliers, list(self.copies.values()), alpha=-step)

    def _differences(self, copies: Mapping[str, Tensor]) -> Iterator[Tensor]:
        return (weight.double() - copies[name].double() for name, weight in self.weights.items())
