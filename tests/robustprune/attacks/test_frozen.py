"""A network that is held still comes out as it went in, bit for bit."""

import pytest
import torch
from torch import Tensor, nn

from robustprune.attacks import frozen, pgd
from tests.robustprune.attacks.losses import plain


@pytest.fixture
def network() -> nn.Module:
    """Return a training network with one layer already in eval mode and one parameter already fixed."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2)
    )
    network.train()
    network[4].eval()
    network[3].bias.requires_grad_(False)
    network(torch.rand(8, 3, 6, 6))  # statistics of its own
    return network


def state(network: nn.Module) -> tuple[dict[str, Tensor], dict[str, bool], dict[str, bool]]:
    return (
        {name: tensor.clone() for name, tensor in network.state_dict().items()},
        {name: parameter.requires_grad for name, parameter in network.named_parameters()},
        {name: module.training for name, module in network.named_modules()},
    )


def assert_same(network: nn.Module, before: tuple[dict[str, Tensor], dict[str, bool], dict[str, bool]]) -> None:
    tensors, trainable, training = state(network)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in before[0].items())
    assert (trainable, training) == before[1:]


def test_inside_nothing_trains(network: nn.Module) -> None:
    with frozen(network) as held:
        assert held is network
        assert not any(module.training for module in network.modules())
        assert not any(parameter.requires_grad for parameter in network.parameters())


def test_an_attack_leaves_no_trace(network: nn.Module) -> None:
    before = state(network)
    images = torch.rand(4, 3, 6, 6)
    with frozen(network):
        attacked = pgd(plain(lambda x: network(x).square().sum()), images, epsilon=0.1, step_size=0.05, steps=3)
    assert not torch.equal(attacked, images)
    assert_same(network, before)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_an_attacked_image_does_not_depend_on_its_neighbours(network: nn.Module) -> None:
    images = torch.rand(4, 3, 6, 6)

    def attack(batch: Tensor) -> Tensor:
        with frozen(network):
            return pgd(plain(lambda x: network(x).square().sum()), batch, epsilon=0.1, step_size=0.05, steps=1)

    together = attack(images)
    alone = torch.cat([attack(image[None]) for image in images])
    # Where the gradient is all but zero, its sign is rounding.
    assert (together == alone).float().mean() > 0.99


def test_an_error_inside_restores_as_well(network: nn.Module) -> None:
    before = state(network)
    with pytest.raises(RuntimeError, match="stop"), frozen(network):
        raise RuntimeError("stop")
    assert_same(network, before)
