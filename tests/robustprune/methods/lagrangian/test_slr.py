"""SLR against closed forms: its step lengths, known multipliers, moves it refuses, and where it cannot succeed."""

import math

import pytest
import torch
from torch import Tensor

from robustprune.methods.lagrangian.admm import admm_rule
from robustprune.methods.lagrangian.slr import alpha, slr_rule
from robustprune.methods.lagrangian.updates import Step
from tests.robustprune.methods.lagrangian.quadratics import (
    KEPT,
    A,
    Quadratic,
    onto,
    positive_definite,
    restricted,
    top,
    towards,
)

SUPPORT = torch.tensor([True, False, True, False, False, True])


@pytest.mark.parametrize(
    ("m", "r", "expected"),
    [
        (300, 0.1, {1: 0.996667, 2: 0.996818, 100: 0.999391}),
        (300, 0.9, {1: 0.996667}),
        (5, 0.5, {1: 0.8}),
    ],
)
def test_alpha_is_as_tabulated(m: float, r: float, expected: dict[int, float]) -> None:
    for k, value in expected.items():
        assert alpha(k, m=m, r=r) == pytest.approx(value, abs=5e-7)


@pytest.mark.parametrize(
    ("m", "r", "products"),
    [
        (300, 0.1, {100: 0.8905, 200: 0.8495, 10_000: 0.555}),
        (150, 0.1, {100: 0.793, 200: 0.722, 10_000: 0.3078}),
        (150, 0.05, {100: 0.695, 200: 0.557, 10_000: 0.0067}),
    ],
)
def test_products_of_alpha_are_as_tabulated(m: float, r: float, products: dict[int, float]) -> None:
    for moves, expected in products.items():
        product = math.prod(alpha(k, m=m, r=r) for k in range(1, moves + 1))
        assert product == pytest.approx(expected, rel=0.01 if expected < 0.01 else 0.002)


@pytest.mark.parametrize("loss", ["convex", "not convex"])
def test_every_move_is_as_long_as_the_first_times_all_the_alphas(loss: str) -> None:
    m, r, s0 = 20.0, 0.3, 0.4
    rule = slr_rule(rho=0.1, m=m, r=r, s0=s0)
    convex = loss == "convex"
    found = Quadratic(*positive_definite(6), onto(SUPPORT), rule) if convex else towards(A, top(KEPT), rule)
    moves = 0
    for _ in range(100):
        before, old = found.multiplier.clone(), found.copy.clone()
        found.solve()
        update = found.turn()
        assert update.k - moves == update.c1 + update.c2
        lengths = [
            s0 * found.first_gap * math.prod(alpha(i, m=m, r=r) for i in range(1, k + 1))
            for k in range(moves + 1, update.k + 1)
        ]
        ways = [found.weights - old, found.weights - found.copy]
        along = [length * way / way.norm() for length, way in zip(lengths, ways, strict=False)]
        torch.testing.assert_close(found.multiplier, sum(along, before), rtol=1e-12, atol=1e-12)
        assert update.alpha == alpha(update.k, m=m, r=r)
        assert update.s == pytest.approx(lengths[-1] / float(ways[len(lengths) - 1].norm()), rel=1e-12)
        moves = update.k
    assert 150 < moves <= 200


@pytest.mark.parametrize(("m", "r", "s0", "turns"), [(300, 0.1, 0.01, 1_000), (150, 0.05, 0.05, 2_000)])
def test_it_finds_known_multipliers_and_both_conditions_always_hold(m: float, r: float, s0: float, turns: int) -> None:
    hessian, slope = positive_definite(6)
    found = Quadratic(hessian, slope, onto(SUPPORT), slr_rule(rho=0.1, m=m, r=r, s0=s0))
    updates = found.run(turns)
    _, multipliers = restricted(hessian, slope, SUPPORT)
    # Nearer than the steps that are still taken.
    assert float((found.multiplier - multipliers).norm()) < updates[-1].s * updates[-1].gap < 0.015
    assert all(update.c1 and update.c2 for update in updates)


def test_as_printed_multipliers_would_run_away() -> None:
    # The numerator ‖W^(k−1) − Z^(k−1)‖ in the second move, in place of the last norm.
    hessian, slope = positive_definite(6)
    found = Quadratic(hessian, slope, onto(SUPPORT), slr_rule(rho=0.1, m=300, r=0.1, s0=0.01))
    s, gap, k = 0.01, found.splitting.gap(), 0
    for _ in range(1_000):
        found.solve()
        for renew in (False, True):
            if renew:
                found.splitting.take(found.splitting.nearest())
            k += 1
            s *= alpha(k, m=300, r=0.1) * gap / found.splitting.gap()
            found.splitting.move(s)
        gap = found.splitting.gap()
    assert found.multiplier.norm() > 1e6


def state(found: Quadratic) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    return found.multiplier.clone(), found.copy.clone(), {n: t.clone() for n, t in found.turns.tensors.items()}


def test_weights_that_are_no_better_move_nothing_until_they_are() -> None:
    hessian, slope = positive_definite(6)
    found = Quadratic(hessian, slope, onto(SUPPORT), slr_rule(rho=0.1, m=300, r=0.1, s0=0.01))
    found.run(3)
    before = state(found)
    update = found.turn()  # the very weights of before
    assert not update.c1
    assert not update.c2
    torch.testing.assert_close(state(found), before, rtol=0, atol=0)
    found.weights.add_(1)
    assert not found.turn().c1
    torch.testing.assert_close(state(found), before, rtol=0, atol=0)
    assert found.run(1)[0].c1  # (6) is asked of the last weights that were accepted


def test_a_copy_that_is_no_better_moves_nothing() -> None:
    rule = slr_rule(rho=0.1, m=300, r=0.1, s0=0.01)._replace(moves_twice=False)
    hessian, slope = positive_definite(6)
    found = Quadratic(hessian, slope, onto(SUPPORT), rule)
    found.run(3)
    found.solve()
    found.splitting.take(found.splitting.nearest())  # already the best
    multiplier, copy, _ = state(found)
    update = found.turn()
    assert update.c1
    assert not update.c2
    assert update.k == 3
    torch.testing.assert_close((found.multiplier, found.copy), (multiplier, copy), rtol=0, atol=0)


def test_where_nothing_has_to_be_pruned_nothing_moves() -> None:
    found = towards(A, top(len(A)), slr_rule(rho=0.1, m=300, r=0.1, s0=0.01))
    updates = found.run(3)
    assert [update.gap for update in updates] == pytest.approx([0, 0, 0], abs=1e-12)
    assert float(found.multiplier.norm()) < 1e-12


def test_with_small_rho_it_never_becomes_feasible() -> None:
    found = towards(A, top(KEPT), slr_rule(rho=0.1, m=300, r=0.1, s0=0.01))
    found.run(1_000)
    supports, gaps = set(), []
    for _ in range(1_000):
        gaps.append(found.run(1)[0].gap)
        supports.add(tuple(found.copy.nonzero()[:, 0].tolist()))
    assert 2.8 < min(gaps) < max(gaps) < 8
    assert len(supports) > 9


@pytest.mark.parametrize("rho", [0.7, 2.0])
def test_with_large_rho_it_ends_where_admm_ends(rho: float) -> None:
    # Steps that vanish soon: how near it comes is how short they have become.
    found = towards(A, top(KEPT), slr_rule(rho=rho, m=20, r=0.05, s0=0.05))
    found.run(500)
    expected = torch.tensor([4, -3, 0, 0, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(found.copy, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.weights, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.multiplier, torch.tensor(A, dtype=torch.float64) - expected, rtol=0, atol=1e-4)


def test_with_steps_of_rho_one_move_and_no_conditions_it_is_admm_bit_for_bit() -> None:
    forced = slr_rule(rho=0.1, m=300, r=0.1, s0=0.01)._replace(
        step=lambda k, gap, length: Step(0.1), moves_twice=False, conditional=False
    )
    hessian, slope = positive_definite(6)
    one = Quadratic(hessian, slope, top(KEPT), forced)
    other = Quadratic(hessian, slope, top(KEPT), admm_rule(rho=0.1))
    weights = torch.linalg.solve(hessian, slope)
    copy, multiplier = top(KEPT)({"w": weights})["w"], torch.zeros_like(weights)
    for _ in range(200):
        one.run(1)
        other.run(1)
        weights = torch.linalg.solve(hessian + 0.1 * torch.eye(6).double(), slope - multiplier + 0.1 * copy)
        copy = top(KEPT)({"w": torch.add(weights, multiplier, alpha=1 / 0.1)})["w"]
        multiplier = multiplier.add(weights, alpha=0.1).add(copy, alpha=-0.1)
        for found in (one, other):
            assert torch.equal(found.weights, weights)
            assert torch.equal(found.copy, copy)
            assert torch.equal(found.multiplier, multiplier)
