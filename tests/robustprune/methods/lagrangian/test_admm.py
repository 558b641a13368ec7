"""ADMM against closed forms: fixed points, where it cycles, a convex case, and its gradient."""

import pytest
import torch

from robustprune.methods.lagrangian.admm import admm_rule
from robustprune.methods.lagrangian.splitting import Splitting
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

# ρ ≥ max off / min on of |A|, with h = 1.
THRESHOLD = 2 / 3


# ρ ≥ max off / min on of |A|, with h = 1.
THRESHOLD = 2 / 3


@pytest.mark.parametrize("rho", [0.67, 1.0, 5.0])
def test_above_the_threshold_it_ends_at_the_projection_with_the_multipliers_of_its_support(rho: float) -> None:
    assert rho > THRESHOLD
    found = towards(A, top(KEPT), admm_rule(rho=rho))
    found.run(300)
    expected = torch.tensor([4, -3, 0, 0, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(found.copy, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.weights, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.multiplier, torch.tensor(A, dtype=torch.float64) - expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("rho", "supports", "largest_gap"), [(0.66, 2, 4.24), (0.1, 9, 7.71)])
def test_below_the_threshold_it_cycles_for_ever(rho: float, supports: int, largest_gap: float) -> None:
    assert rho < THRESHOLD
    found = towards(A, top(KEPT), admm_rule(rho=rho))
    found.run(1_000)
    seen, gaps = set(), []
    for _ in range(500):
        gaps.append(found.run(1)[0].gap)
        seen.add(tuple(found.copy.nonzero()[:, 0].tolist()))
    assert min(gaps) > 0.01
    assert max(gaps) == pytest.approx(largest_gap, rel=0.01)
    assert len(seen) == supports


@pytest.mark.parametrize("rho", [0.2, 1.0, 20.0])
def test_of_a_fixed_support_it_finds_the_least_and_its_multipliers_for_any_rho(rho: float) -> None:
    hessian, slope = positive_definite(6)
    support = torch.tensor([True, False, True, False, False, True])
    found = Quadratic(hessian, slope, onto(support), admm_rule(rho=rho))
    found.run(1_000)
    weights, multipliers = restricted(hessian, slope, support)
    torch.testing.assert_close(found.weights, weights, rtol=0, atol=1e-8)
    torch.testing.assert_close(found.multiplier, multipliers, rtol=0, atol=1e-8)


def test_it_is_the_scaled_form_bit_for_bit() -> None:
    found = towards(A, top(KEPT), admm_rule(rho=0.5))
    weights = torch.tensor(A, dtype=torch.float64)
    project, copy, scaled = top(KEPT), top(KEPT)({"w": weights})["w"], torch.zeros(len(A), dtype=torch.float64)
    for _ in range(50):  # 1/ρ and ρ are powers of two: scaling rounds nothing
        weights = torch.linalg.solve(
            1.5 * torch.eye(len(A), dtype=torch.float64), torch.tensor(A) - 0.5 * scaled + 0.5 * copy
        )
        copy = project({"w": weights + scaled})["w"]
        scaled = scaled + weights - copy
        found.run(1)
        torch.testing.assert_close(found.copy, copy, rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(found.multiplier, 0.5 * scaled, rtol=1e-13, atol=1e-13)


def test_rho_grows_with_every_update_and_multipliers_keep_their_values() -> None:
    found = towards(A, top(KEPT), admm_rule(rho=0.1, growth=1.3))
    for turn, update in enumerate(found.run(5), start=1):
        assert update.k == turn
        assert update.s == pytest.approx(0.1 * 1.3 ** (turn - 1))
        assert update.alpha == 1
    assert found.splitting.rho == pytest.approx(0.1 * 1.3**5)
    before = found.multiplier.clone()
    found.solve()
    found.turn()
    moved = 0.1 * 1.3**5 * (found.weights - found.copy)
    torch.testing.assert_close(found.multiplier, before + moved, rtol=1e-12, atol=1e-12)


def test_the_pull_is_the_gradient_of_all_but_the_loss() -> None:
    torch.manual_seed(0)
    weights = {"a": torch.randn(4, 3, 2, dtype=torch.float64), "b": torch.randn(5, dtype=torch.float64)}
    splitting = Splitting(weights, top(2), rho=0.3)
    for multiplier in splitting.multipliers.values():
        multiplier.normal_()
    gradients = [torch.randn_like(weight) for weight in weights.values()]
    expected = []
    for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
        scaled = splitting.multipliers[name] / 0.3
        moving = weight.clone().requires_grad_()
        (0.15 * (moving - splitting.copies[name] + scaled).square().sum()).backward()
        assert moving.grad is not None
        torch.testing.assert_close(moving.grad, 0.3 * (weight - splitting.copies[name] + scaled))
        expected.append(gradient + moving.grad)
    splitting.add_pull(gradients)
    torch.testing.assert_close(gradients, expected)


def test_the_price_is_less_the_nearer_and_the_projection_is_nearest() -> None:
    torch.manual_seed(0)
    weights = {"w": torch.randn(8, dtype=torch.float64)}
    splitting = Splitting(weights, top(3), rho=0.2)
    splitting.multipliers["w"].normal_()
    difference = weights["w"] - splitting.copies["w"]
    price = splitting.multipliers["w"] @ difference + 0.1 * difference @ difference
    assert splitting.price() == pytest.approx(float(price), abs=1e-14)
    least = splitting.price(splitting.nearest())
    assert least < splitting.price()
    for support in torch.combinations(torch.arange(8), 3):
        other = torch.zeros(8, dtype=torch.float64)
        other[support] = (weights["w"] + splitting.multipliers["w"] / 0.2)[support]
        assert splitting.price({"w": other}) >= least - 1e-12
