"""The optima that attacks are held against, themselves against solvers that know nothing of them."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize

from tests.robustprune.attacks.classifiers.linear import to_half_space

SIZE = 6


def case(seed: int) -> tuple[np.ndarray, float, np.ndarray]:
    random = np.random.default_rng(seed)
    slope, image = random.normal(size=SIZE), np.clip(1.6 * random.random(SIZE) - 0.3, 0, 1)
    reachable = np.abs(slope) @ np.where(slope > 0, 1 - image, image)
    return slope, float(random.uniform(0.05, 0.95) * reachable), image


@pytest.mark.parametrize("seed", range(8))
def test_against_solvers(seed: int) -> None:
    slope, gain, image = case(seed)
    l0, l1, l2, linf = to_half_space(torch.tensor(slope), gain, torch.tensor(image))

    def squared(d: np.ndarray) -> float:
        return float(d @ d)

    def doubled(d: np.ndarray) -> np.ndarray:
        return 2 * d

    def excess(d: np.ndarray) -> float:
        return float(slope @ d - gain)

    box = list(zip(-image, 1 - image, strict=True))
    assert l2 == pytest.approx(
        minimize(
            squared,
            np.where(slope > 0, 1 - image, -image),
            jac=doubled,
            bounds=box,
            constraints={"type": "ineq", "fun": excess},
            tol=1e-12,
        ).fun
        ** 0.5,
        rel=1e-4,
    )

    # d = up - down; then d with a bound on every value.
    parts = [(0, high) for _, high in box] + [(0, -low) for low, _ in box]
    sums = linprog(np.ones(2 * SIZE), A_ub=[np.r_[-slope, slope]], b_ub=[-gain], bounds=parts)
    assert l1 == pytest.approx(sums.fun)
    below = np.c_[np.r_[np.eye(SIZE), -np.eye(SIZE)], -np.ones(2 * SIZE)]
    largest = linprog(
        np.r_[np.zeros(SIZE), 1],
        A_ub=np.r_[below, [np.r_[-slope, 0]]],
        b_ub=np.r_[np.zeros(2 * SIZE), -gain],
        bounds=[*box, (0, None)],
    )
    assert linf == pytest.approx(largest.fun)

    gains = np.abs(slope) * np.where(slope > 0, 1 - image, image)
    enough = [k for k in range(1, SIZE + 1) if any(sum(c) >= gain for c in itertools.combinations(gains, k))]
    assert l0 == enough[0]


def test_what_no_image_reaches() -> None:
    slope, _, image = case(0)
    assert to_half_space(torch.tensor(slope), 1e3, torch.tensor(image)) == (np.inf,) * 4
