"""How a learning rate changes."""

import pytest

from robustprune.training.schedules import one_cycle


@pytest.mark.parametrize("total", range(1, 11))
def test_one_cycle_stays_in_bounds_and_rises_before_it_falls(total: int) -> None:
    factors = [one_cycle((step + 0.5) / total) for step in range(total)]
    assert all(0 < factor <= 1 for factor in factors), "a step of length zero would be wasted"
    top = factors.index(max(factors))
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)


def test_one_cycle_peaks_after_a_quarter() -> None:
    assert one_cycle(0.125) == 0.5
    assert one_cycle(0.25) == 1
    assert one_cycle(0.625) == pytest.approx(0.5)
