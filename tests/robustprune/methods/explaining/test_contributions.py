"""Contributions in networks small enough for the Rescale rule to be written out."""

import pytest
import torch
from captum.attr import DeepLift
from torch import Tensor, nn

from robustprune.methods.explaining.contributions import Explainer, multipliers
from robustprune.methods.explaining.max_as_relu import MaxAsReLU
from tests.support import batch_norms


def first(outputs: Tensor) -> Tensor:
    """Return the first output of a network."""
    return outputs.flatten(1)[:, 0]


def contributions_to(
    network: nn.Module, images: Tensor, reference: Tensor, *, layers: dict[str, nn.Module]
) -> dict[str, Tensor]:
    return Explainer(network, reference, layers=layers).contributions(images, first)


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU(0.1), nn.Sigmoid()])
@pytest.mark.parametrize("tokens", [(), (3,)])
def test_the_rescale_rule_of_an_activation_right_behind_a_layer(activation: nn.Module, tokens: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer, last = nn.Linear(4, 20).double(), nn.Linear(20, 1).double()
    network = nn.Sequential(layer, activation, last).requires_grad_(False)
    x, reference = torch.randn(2, 5, *tokens, 4, dtype=torch.float64)
    found = contributions_to(network, x, reference, layers={"first": layer, "last": last})
    # The answer is the first token's.
    x, reference = (values.flatten(1, -2)[:, 0] if tokens else values for values in (x, reference))
    before, before_reference = layer(x), layer(reference)
    after, after_reference = activation(before), activation(before_reference)
    multipliers = last.weight * (after - after_reference) / (before - before_reference)
    torch.testing.assert_close(found["first"], layer.weight * (multipliers.T @ (x - reference)))
    torch.testing.assert_close(found["last"], last.weight * (after - after_reference).sum(dim=0))
    expected = (last(after) - last(after_reference)).sum()
    assert all(contribution.sum().item() == pytest.approx(expected.item()) for contribution in found.values())


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), [(1, 0, 1, 1), (2, 1, 1, 2), (1, 2, 2, 4)])
def test_a_convolution_is_a_cut_whatever_its_options(stride: int, padding: int, dilation: int, groups: int) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(4, 8, 3, stride=stride, padding=padding, dilation=dilation, groups=groups)
    network = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1))
    network.double().requires_grad_(False)
    x, reference = torch.randn(2, 3, 4, 7, 7, dtype=torch.float64)
    (found,) = contributions_to(network, x, reference, layers={"layer": convolution}).values()
    assert found.shape == convolution.weight.shape
    assert found.sum().item() == pytest.approx((network(x) - network(reference)).sum().item())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_multipliers_of_close_inputs_are_slopes_without_noise(dtype: torch.dtype) -> None:
    reference = torch.tensor([3.0, -3.0, 0.25, -1e-30, 0.0, 0.0, 2.0], dtype=dtype)
    x = torch.tensor([3.0 + 1e-6, -3.0 - 1e-6, 0.25, 1e-30, 0.0, 1.0, -2.0], dtype=dtype)
    leaky = nn.LeakyReLU(0.1)
    expected = torch.tensor([1.0, 0.1, 1.0, 0.55, 0.1, 1.0, 0.55], dtype=dtype)
    torch.testing.assert_close(multipliers(leaky, x, leaky(x), reference), expected)
    sigmoid = nn.Sigmoid()
    middle = torch.sigmoid((x.double() + reference.double()) / 2)
    near = (x - reference).abs() < 1e-5
    found = multipliers(sigmoid, x, sigmoid(x), reference)[near]
    torch.testing.assert_close(found, (middle * (1 - middle))[near].to(dtype))


class Pooled(nn.Module):
    """Convolutions, activations and a max-pool as ReLUs, with a shortcut behind an activation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.norm, self.activations = nn.BatchNorm2d(6), nn.ModuleList([nn.LeakyReLU(0.1), nn.ReLU(), nn.Sigmoid()])
        self.pool, self.last = MaxAsReLU(size=3, stride=2, padding=(1, 1)), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.activations[0](self.norm(self.first(x)))
        y = self.pool(y + self.activations[1](self.second(y)))
        answer: Tensor = self.last(self.activations[2](y.mean((2, 3))))
        return answer


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
@pytest.mark.parametrize("per_image", [False, True])
def test_gradients_of_images_agree_with_captum(per_image: bool) -> None:
    torch.manual_seed(0)
    network = Pooled().double().eval().requires_grad_(False)
    batch_norms.draw(network)
    images, reference = torch.rand(2, 4, 3, 9, 9, dtype=torch.float64)
    reference = reference if per_image else reference[:1]
    captum = DeepLift(network).attribute(images, reference.expand_as(images).contiguous(), target=0)
    # A first layer that hands its images on, weighed by one.
    identity = nn.Conv2d(3, 3, 1, groups=3, bias=False).double().requires_grad_(False)
    identity.weight.fill_(1)
    found = contributions_to(nn.Sequential(identity, network), images, reference, layers={"images": identity})
    torch.testing.assert_close(found["images"].flatten(), captum.sum(dim=(0, 2, 3)))
    layers = {"first": network.first, "second": network.second, "last": network.last}
    answers = (network(images) - network(reference))[:, 0].sum().item()
    by_layer = contributions_to(network, images, reference, layers=layers)
    assert by_layer["first"].sum().item() == pytest.approx(captum.sum().item())
    assert by_layer["last"].sum().item() == pytest.approx(answers)
