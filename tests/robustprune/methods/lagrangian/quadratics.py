"""ADMM and SLR on losses that are quadratic, with weights that are found exactly: their ends are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from robustprune.methods.lagrangian.splitting import Splitting
from robustprune.methods.lagrangian.updates import Rule, Turns, Update
from robustprune.structures.masks import largest

A = (4.0, -3.0, 2.0, 1.5, -1.0, 0.5)
KEPT = 2

Known = dict[str, Tensor]


def top(count: int) -> Callable[[Mapping[str, Tensor]], Known]:
    """Return the projection that keeps so many of each tensor's largest."""
    return lambda values: {name: value * largest(value.abs(), count) for name, value in values.items()}


def onto(support: Tensor) -> Callable[[Mapping[str, Tensor]], Known]:
    """Return the projection onto a subspace: what is not of the support is zero."""
    return lambda values: {name: value * support for name, value in values.items()}


class Quadratic:
    """f = ½ WᵀHW − bᵀW, one vector of weights, drawn and updated by a rule from W⁰ = H⁻¹b or another."""

    def __init__(
        self,
        hessian: Tensor,
        slope: Tensor,
        project: Callable[[Mapping[str, Tensor]], Known],
        rule: Rule,
        *,
        start: Tensor | None = None,
    ) -> None:
        self.hessian, self.slope = hessian, slope
        self.weights = torch.linalg.solve(hessian, slope) if start is None else start.clone()
        self.splitting = Splitting({"w": self.weights}, project, rho=rule.rho(0))
        self.turns = Turns(self.splitting, rule, loss=self.loss())
        self.first_gap = self.splitting.gap()

    @property
    def copy(self) -> Tensor:
        return self.splitting.copies["w"]

    @property
    def multiplier(self) -> Tensor:
        return self.splitting.multipliers["w"]

    def loss(self) -> float:
        return float(self.weights @ self.hessian @ self.weights / 2 - self.slope @ self.weights)

    def solve(self) -> None:
        """Find the weights of least L_ρ: (H + ρI) W = b − Λ + ρZ."""
        rho = self.splitting.rho
        pulled = self.hessian + rho * torch.eye(len(self.slope), dtype=self.slope.dtype)
        self.weights.copy_(torch.linalg.solve(pulled, self.slope - self.multiplier + rho * self.copy))

    def turn(self) -> Update:
        return self.turns.turn(self.loss())

    def run(self, turns: int) -> list[Update]:
        updates = []
        for _ in range(turns):
            self.solve()
            updates.append(self.turn())
        return updates


def towards(target: tuple[float, ...], project: Callable[[Mapping[str, Tensor]], Known], rule: Rule) -> Quadratic:
    """Return f = ½ ‖W − target‖², which begins at W⁰ = target."""
    values = torch.tensor(target, dtype=torch.float64)
    return Quadratic(torch.eye(len(target), dtype=torch.float64), values, project, rule)


def positive_definite(size: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return H, well conditioned, and b."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(size, size, dtype=torch.float64, generator=generator)
    slope = torch.randn(size, dtype=torch.float64, generator=generator)
    return root @ root.T / size + torch.eye(size, dtype=torch.float64), slope


def restricted(hessian: Tensor, slope: Tensor, support: Tensor) -> tuple[Tensor, Tensor]:
    """Return the least of f where all but the support is zero, and the multipliers that hold it there, b − HW."""
    weights = torch.zeros_like(slope)
    weights[support] = torch.linalg.solve(hessian[support][:, support], slope[support])
    return weights, (slope - hessian @ weights) * ~support
