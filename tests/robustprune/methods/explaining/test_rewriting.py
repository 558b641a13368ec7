"""Networks rewritten to be explained compute what they did, with an activation module for every call."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from robustprune.classification.classifier import CIFAR10, Classifier
from robustprune.classification.networks import cifar, torchvision_networks
from robustprune.core.errors import InputError
from robustprune.methods.explaining.contributions import Explainer
from robustprune.methods.explaining.rewriting import ReLU6AsReLU, explainable
from tests.robustprune.structures.networks import experienced, images


class Reusing(nn.Module):
    """One ReLU for three calls, two functions, in-place sums, and a max-pool for two calls."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.relu, self.pool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu(self.first(x))
        y += self.relu(self.second(y))
        y = functional.relu(self.pool(y) - 0.5).relu()
        y = self.pool(self.relu(torch.relu(y) - 0.1))
        return y.mean((2, 3))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "reusing": Reusing,
    "resnet": lambda: cifar.resnet(8, classes=3),
    "wide resnet": lambda: cifar.wide_resnet(10, 1, classes=3),
    **{
        name: partial(getattr(torchvision_networks, name), classes=3, image_size=32)
        for name in ("resnet18", "mobilenet_v2", "vgg19")
    },
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_rewritten_network_computes_the_same_with_each_activation_called_once(name: str) -> None:
    torch.manual_seed(0)
    network = experienced(Classifier(NETWORKS[name](), CIFAR10, classes=("a", "b", "c")))
    rewritten = explainable(network)
    calls: dict[str, int] = {}
    for path, module in rewritten.named_modules():
        assert not isinstance(module, nn.ReLU6 | nn.MaxPool2d)
        if isinstance(module, nn.ReLU):
            assert not module.inplace
            module.register_forward_hook(lambda *_, path=path: calls.__setitem__(path, calls.get(path, 0) + 1))
    expected = network(images(size=32))
    torch.testing.assert_close(rewritten(images(size=32)), expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    assert set(calls.values()) == {1}
    assert calls.keys() == {path for path, module in rewritten.named_modules() if isinstance(module, nn.ReLU)}
    layers = {path for path, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    assert layers == {path for path, module in rewritten.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}


def test_relu6_is_a_difference_of_relus() -> None:
    x = torch.linspace(-3, 9, 49)
    torch.testing.assert_close(ReLU6AsReLU()(x), functional.relu6(x))


def test_what_goes_into_an_activation_in_place_is_kept() -> None:
    torch.manual_seed(0)
    parts = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.LeakyReLU(0.1, inplace=True), nn.Flatten(), nn.Linear(144, 2)
    network = nn.Sequential(*parts).double().eval()
    pixels, reference = torch.randn(2, 3, 8, 8).double(), torch.randn(1, 3, 8, 8).double()
    rewritten = explainable(network).requires_grad_(False)
    explainer = Explainer(rewritten, reference, layers={"0": rewritten.get_submodule("0")})
    found = explainer.contributions(pixels, lambda outputs: outputs[:, 1])["0"].sum()
    with torch.no_grad():
        torch.testing.assert_close(found, (network(pixels) - network(reference))[:, 1].sum())


@pytest.mark.parametrize(
    "norm",
    [
        nn.GroupNorm(2, 4),
        nn.LayerNorm(6),
        nn.InstanceNorm2d(4),
        nn.LocalResponseNorm(2),
        nn.BatchNorm2d(4, track_running_stats=False),
    ],
)
def test_norms_that_divide_by_what_an_image_holds_are_refused(norm: nn.Module) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.ReLU())
    with pytest.raises(InputError, match=rf"^deeplift cannot explain the norm {type(norm).__name__} of 1: expected"):
        explainable(network)
