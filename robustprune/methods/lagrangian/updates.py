"""When Z and Λ move, and how far: one turn, of which ADMM and SLR are two ways.

After weights W^k were found, with Z^(k−1) and Λ as they were,

    (6)   L_ρ(W^k, Z^(k−1), Λ) < L_ρ(W^(k−1), Z^(k−1), Λ)        the weights are better than those before
          Λ ← Λ + s (W^k − Z^(k−1))                              SLR alone
          Z^k = Π(W^k + Λ/ρ)
    (11)  L_ρ(W^k, Z^k, Λ) < L_ρ(W^k, Z^(k−1), Λ)                the copy is better than the one before
          Λ ← Λ + s (W^k − Z^k)

numbered as in Zhou et al. 2023. SLR wants both: without (6) training goes on as if nothing had been asked, towards the
same Z and Λ, until its weights are better; without (11) the copy stays, and Λ. ADMM asks nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from robustprune.methods.lagrangian.splitting import Splitting


class Step(NamedTuple):
    """A step length: s of Λ ← Λ + s (W − Z), and α, what it was multiplied with since the last."""

    s: float
    alpha: float = 1.0


class Update(NamedTuple):
    """What a turn did.

    Attributes:
        k: moves of Λ so far.
        s: the step length of the last move.
        alpha: of the last move, see `Step`.
        gap: ‖W − Z‖ afterwards.
        c1: whether (6) held.
        c2: whether (11) held; it is not asked where (6) was wanted and did not hold.
    """

    k: int
    s: float
    alpha: float
    gap: float
    c1: bool
    c2: bool


class Rule(NamedTuple):
    """How far Λ moves, and what has to hold for that.

    Attributes:
        step: `step(k, gap, length)` returns the step length of move number `k`, from 1, where ‖W − Z‖ is `gap`, more
            than 0, and the last move was of `length`.
        rho: `rho(k)` returns ρ after `k` moves.
        first_length: what `step` is told of the move before the first, over ‖W⁰ − Z⁰‖.
        moves_twice: Λ moves before Z is renewed, too.
        conditional: moves want their condition.
    """

    step: Callable[[int, float, float], Step]
    rho: Callable[[int], float]
    first_length: float = 0.0
    moves_twice: bool = False
    conditional: bool = False


class Turns:
    """Turns of a splitting, and what is carried from one to the next."""

    def __init__(self, splitting: Splitting, rule: Rule, *, loss: float) -> None:
        """Begin.

        Args:
            splitting: at its beginning.
            rule: how far to move.
            loss: f of its weights.
        """
        self._splitting, self._rule = splitting, rule
        self._k = torch.zeros((), dtype=torch.int64)
        # The length of the last move of Λ, its step length and α, and L_ρ after the last turn.
        length = rule.first_length * splitting.gap()
        first = [length, rule.first_length, 1.0, loss + splitting.price()]
        self._numbers = torch.tensor(first, dtype=torch.float64)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What is carried on, besides the splitting's own."""
        return {"k": self._k, "numbers": self._numbers}

    def turn(self, loss: float) -> Update:
        """Let Z and Λ follow the weights.

        Args:
            loss: f of them, measured as ever.
        """
        splitting, rule = self._splitting, self._rule
        c1, c2 = loss + splitting.price() < float(self._numbers[3]), False
        if c1 or not rule.conditional:
            if rule.moves_twice:
                self._move()
            nearest = splitting.nearest()
            c2 = splitting.price(nearest) < splitting.price()
            if c2 or not rule.conditional:
                splitting.take(nearest)
                self._move()
            self._numbers[3] = loss + splitting.price()
        _, s, alpha, _ = self._numbers.tolist()
        return Update(int(self._k), s, alpha, splitting.gap(), c1, c2)

    def _move(self) -> None:
        gap = self._splitting.gap()
        if gap == 0:  # Λ would stay as it is, whatever the step
            return
        self._k += 1
        s, alpha = self._rule.step(int(self._k), gap, float(self._numbers[0]))
        self._splitting.move(s)
        self._numbers[:3] = torch.tensor([s * gap, s, alpha], dtype=torch.float64)
        self._splitting.rho = self._rule.rho(int(self._k))
