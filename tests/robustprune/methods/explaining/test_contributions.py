"""Contributions in networks small enough for the Rescale rule to be written out."""

import pytest
import torch
from torch import Tensor, nn

from robustprune.methods.explaining.contributions import contributions_to


class First(nn.Module):
    """The first output of a network."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.network = nn.Sequential(*modules)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.network(x)
        return output.flatten(1)[:, 0]


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU(0.1), nn.Sigmoid()])
@pytest.mark.parametrize("tokens", [(), (3,)])
def test_the_rescale_rule_of_an_activation_right_behind_a_layer(activation: nn.Module, tokens: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    first, last = nn.Linear(4, 20).double(), nn.Linear(20, 1).double()
    functional = First(first, activation, last).requires_grad_(False)
    x, reference = torch.randn(2, 5, *tokens, 4, dtype=torch.float64)
    found = contributions_to(functional, x, reference, layers={"first": first, "last": last})
    # The functional is of the first token.
    x, reference = (values.flatten(1, -2)[:, 0] if tokens else values for values in (x, reference))
    before, before_reference = first(x), first(reference)
    after, after_reference = activation(before), activation(before_reference)
    multipliers = last.weight * (after - after_reference) / (before - before_reference)
    torch.testing.assert_close(found["first"], first.weight * (multipliers.T @ (x - reference)))
    torch.testing.assert_close(found["last"], last.weight * (after - after_reference).sum(dim=0))
    expected = (last(after) - last(after_reference)).sum()
    assert all(contribution.sum().item() == pytest.approx(expected.item()) for contribution in found.values())


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), [(1, 0, 1, 1), (2, 1, 1, 2), (1, 2, 2, 4)])
def test_a_convolution_is_a_cut_whatever_its_options(stride: int, padding: int, dilation: int, groups: int) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(4, 8, 3, stride=stride, padding=padding, dilation=dilation, groups=groups)
    functional = First(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1))
    functional.double().requires_grad_(False)
    x, reference = torch.randn(2, 3, 4, 7, 7, dtype=torch.float64)
    (found,) = contributions_to(functional, x, reference, layers={"layer": convolution}).values()
    assert found.shape == convolution.weight.shape
    assert found.sum().item() == pytest.approx((functional(x) - functional(reference)).sum().item())
